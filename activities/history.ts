/** Reads a run's workflow history, as far as the ledger is compared with it: which calls it asked for, and a digest of it. */
import { createHash } from 'node:crypto';
import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { decodeArrayFromPayloads } from '@temporalio/common/lib/internal-non-workflow/index.js';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { canonicalize } from '../governance/canonical.ts';
import type { HistoryCall } from '../governance/history.ts';
import type { Json } from '../governance/json.ts';

/** A history, of all Temporal runs that continued each other. */
export interface SeenHistory {
  /** Of the latest of them: `RUNNING`, `COMPLETED`, … */
  readonly status: string;
  /** Events. */
  readonly length: number;
  /** SHA-256, hex, over each event's JSON (as Temporal writes it) in canonical form, each ended by LF. */
  readonly digest: string;
  readonly calls: readonly HistoryCall[];
  /** Activities whose input this worker cannot read: nothing is said about their calls. */
  readonly unreadable: number;
}

type Handle = ReturnType<Client['workflow']['getHandle']>;
type Event = NonNullable<Awaited<ReturnType<Handle['fetchHistory']>>['events']>[number];

/** Activities that are a call each. */
const CALLS = new Set(['callTool', 'callModel', 'reserveModel']);
/** What a call answers only after it has written an entry. */
const RECORDED = new Set(['ask', 'failed', 'unknown', 'lost', 'reserved']);
/** Temporal runs of one workflow that are followed. */
const MAX_CONTINUED = 1_000;

/** The history of a run's workflow; null: Temporal does not have it any more. @throws when Temporal cannot be asked */
export async function readHistory(
  client: Pick<Client, 'workflow' | 'options'>,
  workflowId: string,
  run: string,
): Promise<SeenHistory | null> {
  try {
    const { status, runId } = await client.workflow.getHandle(workflowId).describe();
    const reader = eventReader(client, run);
    const latest = (await client.workflow.getHandle(workflowId, runId).fetchHistory()).events ?? [];
    const first = latest[0]?.workflowExecutionStartedEventAttributes?.firstExecutionRunId ?? runId;
    let at: string | null = first;
    for (let n = 0; at !== null && at !== runId && n < MAX_CONTINUED; n += 1) {
      const events: Event[] = (await client.workflow.getHandle(workflowId, at).fetchHistory()).events ?? [];
      await reader.add(events);
      at = events.at(-1)?.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId ?? null;
    }
    await reader.add(latest);
    // a Temporal reset goes on from an earlier point: what was called after it stands in the run that it was made from
    for (const base of reader.resetFrom) {
      if (reader.resetFrom.size > MAX_CONTINUED) break;
      const before = await client.workflow.getHandle(workflowId, base).fetchHistory().catch(ifGone);
      await reader.add(before?.events ?? [], true);
    }
    return { status: status.name, ...reader.end() };
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  }
}

function ifGone(error: unknown): null {
  if (error instanceof WorkflowNotFoundError) return null;
  throw error;
}

function eventReader(client: Pick<Client, 'options'>, run: string) {
  const hash = createHash('sha256');
  const calls: HistoryCall[] = [];
  let [length, unreadable] = [0, 0];
  const decode = async (payloads: Parameters<typeof decodeArrayFromPayloads>[1]): Promise<unknown> => {
    const decoded = await decodeArrayFromPayloads(client.options.loadedDataConverter, payloads).catch(() => []);
    return decoded[0];
  };
  const resetFrom = new Set<string>();
  return {
    /** Temporal runs that were reset. */
    resetFrom,
    /** `beside`: they stand beside the history, not in its length and digest. */
    async add(events: readonly Event[], beside = false): Promise<void> {
      const scheduled = new Map<string, string>();
      for (const event of events) {
        if (!beside) {
          length += 1;
          const { events: written } = JSON.parse(historyToJSON({ events: [event] })) as { events: Json[] };
          hash.update(`${canonicalize(written[0] ?? null)}\n`);
        }
        const base = event.workflowTaskFailedEventAttributes?.baseRunId;
        if (base) resetFrom.add(base);
        const asked = event.activityTaskScheduledEventAttributes;
        if (asked && CALLS.has(asked.activityType?.name ?? '')) {
          const input = (await decode(asked.input?.payloads)) as { run?: unknown; call?: unknown } | undefined;
          if (typeof input?.call !== 'string') unreadable += 1;
          else if (input.run === run) {
            calls.push({ call: input.call, recorded: false });
            scheduled.set(String(event.eventId), input.call);
          }
        }
        const done = event.activityTaskCompletedEventAttributes;
        const call = done ? scheduled.get(String(done.scheduledEventId)) : undefined;
        if (done && call !== undefined) {
          const result = (await decode(done.result?.payloads)) as { kind?: string; repeats?: unknown } | undefined;
          const recorded = result?.kind === 'done' ? result.repeats === undefined : RECORDED.has(result?.kind ?? '');
          if (recorded) calls.push({ call, recorded });
        }
      }
    },
    end: () => ({ length, digest: hash.digest('hex'), calls, unreadable }),
  };
}
