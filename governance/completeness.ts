/**
 * Whether a ledger is complete, judged from its entries alone: calls of a run numbered without gaps, each start with its
 * end or an open question, each approved call with its yes, each close where it belongs.
 */
import type { JsonObject } from './json.ts';

/** A call as its entries tell it. */
export interface ToldCall {
  readonly run: string;
  readonly call: string;
  readonly seq: number | null;
  readonly started: boolean;
  readonly approval: string | null;
  /** succeeded, failed, unknown; null: no end yet. */
  readonly state: string | null;
}

interface RunSoFar {
  opened: boolean;
  readonly seqs: Set<number>;
  readonly calls: Map<string, { -readonly [K in keyof ToldCall]: ToldCall[K] }>;
  readonly granted: Set<string>;
  lastSeq: number | null;
}

/** A judgement under way. */
export interface CompletenessCheck {
  /** One more entry, in the order of the ledger. */
  entry(entry: JsonObject): void;
  /** What is missing, by run and call; `waiting`: entries that are not sealed yet exist, a missing end may be among them. */
  end(options?: { readonly waiting?: boolean }): {
    readonly missing: readonly string[];
    readonly calls: readonly ToldCall[];
  };
}

const ENDS: { readonly [kind: string]: string } = {
  'call.succeeded': 'succeeded',
  'call.failed': 'failed',
  'call.unknown': 'unknown',
};
const MAX_NAMED = 50;

/** Begins a judgement. Memory grows with the number of runs and calls. */
export function checkCompleteness(): CompletenessCheck {
  const runs = new Map<string, RunSoFar>();
  return {
    entry(entry) {
      const { run, kind } = entry;
      if (typeof run !== 'string' || typeof kind !== 'string') return;
      const known = runs.get(run) ?? newRun();
      runs.set(run, known);
      apply(known, run, kind, entry);
    },
    end({ waiting = false } = {}) {
      const missing: string[] = [];
      const calls: ToldCall[] = [];
      for (const [run, known] of runs) {
        for (const problem of missingOf(known, waiting))
          if (missing.length < MAX_NAMED) missing.push(`run ${run}: ${problem}`);
        calls.push(...known.calls.values());
      }
      return { missing, calls };
    },
  };
}

function newRun(): RunSoFar {
  return { opened: false, seqs: new Set(), calls: new Map(), granted: new Set(), lastSeq: null };
}

function apply(known: RunSoFar, run: string, kind: string, entry: JsonObject): void {
  const data = (entry['data'] ?? {}) as JsonObject;
  if (kind === 'run.opened') known.opened = true;
  if (kind === 'run.closed' && typeof data['lastSeq'] === 'number') known.lastSeq = data['lastSeq'];
  if (kind === 'approval.granted') known.granted.add(String(data['approvalId']));
  if (typeof entry['seq'] === 'number') known.seqs.add(entry['seq']);
  if (typeof entry['call'] !== 'string') return;
  const seq = typeof entry['seq'] === 'number' ? entry['seq'] : null;
  const call = known.calls.get(entry['call']) ?? {
    run,
    call: entry['call'],
    seq,
    started: false,
    approval: null,
    state: null,
  };
  known.calls.set(entry['call'], call);
  call.seq ??= seq;
  if (kind === 'call.started') {
    call.started = true;
    if (data['authorization'] === 'approved') call.approval = String(data['approval']);
  }
  const end = ENDS[kind];
  if (end !== undefined && (call.state === null || call.state === 'unknown')) call.state = end;
  if (kind === 'call.resolved') call.state = data['happened'] === false ? 'failed' : 'succeeded';
  if (kind === 'call.late' && call.state === 'unknown' && data['state'] === 'succeeded') call.state = 'succeeded';
}

function missingOf(known: RunSoFar, waiting: boolean): string[] {
  const problems: string[] = [];
  if (!known.opened) problems.push('its opening is missing');
  for (const { call, started, state, approval } of known.calls.values()) {
    if (started && state === null && known.lastSeq !== null && !waiting)
      problems.push(`call ${call} started and has no end`);
    if (!started && state !== null) problems.push(`call ${call} ended and has no start`);
    if (approval !== null && !known.granted.has(approval))
      problems.push(`call ${call} says approved, its yes is missing`);
  }
  const last = known.lastSeq ?? Math.max(0, ...known.seqs);
  // the highest numbers of a run that goes on may be under way; below them and in a closed run none may be missing
  for (let seq = 1; seq <= last && !waiting; seq += 1) {
    if (!known.seqs.has(seq) && known.lastSeq !== null) problems.push(`call number ${seq} is missing`);
  }
  return problems;
}
