/** What happens in a run, as it is recorded: for chat screens and logs. Reads the ledger; decides nothing. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../activities/deps.ts';
import type { RunResult } from '../governance/call.ts';
import type { JsonObject } from '../governance/json.ts';
import { listEntries, type ListedEntry } from './ledger.ts';
import { LiveReader, type Said } from './live-text.ts';

/** One thing that happened. */
export type RunEvent =
  /** A ledger entry: a call that started, was refused, asked a person, succeeded … */
  | { readonly kind: 'entry'; readonly entry: ListedEntry }
  /**
   * More of what the model says in a turn, while it says it; all of a call's, joined, are its text. An attempt that was
   * lost says no more, and is said again under another call.
   */
  | { readonly kind: 'delta'; readonly text: string; readonly call: string }
  /** What the model said in one turn, in full: it stands after the entry of its call. */
  | { readonly kind: 'text'; readonly text: string; readonly call: string }
  /** The run has ended; nothing comes after. */
  | { readonly kind: 'ended'; readonly result: RunResult };

/** How events are read. */
export interface EventsOptions {
  /** Ends the iteration. */
  readonly signal?: AbortSignal;
  /** Pause between two looks, milliseconds; default 300. */
  readonly everyMs?: number;
}

const EVERY_MS = 300;
const PAGE = 1_000;
/** Entries are numbered when they are written and seen when they are committed: older than this, none is missing. */
const SETTLED_MS = 30_000;

/** Every entry once, from the first on, in the order of the ledger as far as it is committed; then the end. */
export async function* eventsOf(
  db: Database,
  run: string,
  ended: Promise<RunResult>,
  { signal, everyMs = EVERY_MS }: EventsOptions = {},
): AsyncGenerator<RunEvent, void, void> {
  const live = new LiveReader(db, run);
  const seen = new Set<number>();
  let settled = 0;
  let result: RunResult | null = null;
  let failed: { readonly error: unknown } | null = null;
  const watching = ended.then(
    (value) => void (result = value),
    (error: unknown) => void (failed = { error }),
  );
  for (;;) {
    if (signal?.aborted) return;
    // looked at before the entries are read: what the end has recorded is read after
    const last = result as RunResult | null;
    if (failed) throw (failed as { error: unknown }).error;
    // before the entries: what was said before a call's end is not told after it
    const said = last ? [] : await live.look();
    for (let after = settled; ;) {
      const page = await listEntries(db, { run, after, limit: PAGE });
      for (const entry of page) {
        if (seen.has(entry.id)) continue;
        seen.add(entry.id);
        yield { kind: 'entry', entry };
        const words = saidIn(entry);
        if (!words) continue;
        yield* live.end(words).map(delta);
        yield { kind: 'text', ...words };
      }
      const newestMs = page.at(-1)?.insertedAtMs ?? 0;
      for (const { id, insertedAtMs } of page) {
        if (insertedAtMs > newestMs - SETTLED_MS) break;
        settled = id;
        seen.delete(id);
      }
      if (page.length < PAGE) break;
      after = page.at(-1)?.id ?? after;
    }
    yield* live.hear(said).map(delta);
    if (last) {
      yield { kind: 'ended', result: last };
      return;
    }
    await Promise.race([watching, sleep(everyMs, undefined, signal ? { signal } : {}).catch(() => undefined)]);
  }
}

/** A model's words lie beside the entry of its call, as long as they are not erased. */
function saidIn({ kind, call, content }: ListedEntry): Said | null {
  const answer = kind === 'call.succeeded' ? (content?.['answer'] as JsonObject | undefined) : undefined;
  const text = answer?.['text'];
  return typeof text === 'string' && text !== '' ? { text, call: call ?? '' } : null;
}

function delta(said: Said): RunEvent {
  return { kind: 'delta', ...said };
}
