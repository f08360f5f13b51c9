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

type Call = { -readonly [K in keyof ToldCall]: ToldCall[K] };

interface RunSoFar {
  opened: boolean;
  /** Numbers of calls that were seen: all up to `seenTo`, and these above it. */
  seenTo: number;
  readonly seenAbove: Set<number>;
  readonly calls: Map<string, Call>;
  /** The call of each ask that was granted. */
  readonly granted: Map<string, string>;
  lastSeq: number | null;
  reconciled: boolean;
  /** What its workflow's history says otherwise. */
  readonly differs: string[];
}

/** A judgement under way. */
export interface CompletenessCheck {
  /** One more entry, in the order of the ledger. */
  entry(entry: JsonObject): void;
  /** What is missing, by run and call; `waiting`: entries that are not sealed yet exist, a missing end may be among them. */
  end(options?: { readonly waiting?: boolean }): {
    readonly missing: readonly string[];
    /** All of them with `keepCalls`, else those that something is missing of. */
    readonly calls: readonly ToldCall[];
    /** Runs that are told of; with `keepCalls` only. `reconciled`: compared with their histories. */
    readonly runs: ReadonlyMap<string, { readonly opened: boolean; readonly reconciled: boolean }>;
  };
}

const ENDS: { readonly [kind: string]: string } = {
  'call.succeeded': 'succeeded',
  'call.failed': 'failed',
  'call.unknown': 'unknown',
};
const MAX_NAMED = 50;

/**
 * Begins a judgement. Memory grows with calls that are open, and by a name and a number for each run; with `keepCalls`
 * (for comparing with what the platform knows) by each call.
 */
export function checkCompleteness({ keepCalls = false }: { readonly keepCalls?: boolean } = {}): CompletenessCheck {
  const runs = new Map<string, RunSoFar | number>();
  return {
    entry(entry) {
      const { run, kind } = entry;
      if (typeof run !== 'string' || typeof kind !== 'string') return;
      const before = runs.get(run);
      const known = typeof before === 'object' ? before : newRun(before);
      const changed = apply(known, run, kind, entry);
      if (!keepCalls && changed) forgetWhatIsWhole(known, changed);
      runs.set(run, !keepCalls && isWhole(known) ? (known.lastSeq ?? 0) : known);
    },
    end({ waiting = false } = {}) {
      const missing: string[] = [];
      const calls: ToldCall[] = [];
      for (const [run, known] of runs) {
        if (typeof known === 'number') continue;
        for (const problem of missingOf(known, waiting))
          if (missing.length < MAX_NAMED) missing.push(`run ${run}: ${problem}`);
        calls.push(...known.calls.values());
      }
      const whole = [...runs].flatMap(([run, known]) => (typeof known === 'object' ? [[run, known] as const] : []));
      return { missing, calls, runs: new Map(whole) };
    },
  };
}

/** A run of which nothing is known yet, or one that was whole with so many calls. */
function newRun(lastSeq: number | undefined): RunSoFar {
  const common = {
    reconciled: false,
    differs: [],
    seenAbove: new Set<number>(),
    calls: new Map<string, Call>(),
    granted: new Map<string, string>(),
  };
  return lastSeq === undefined
    ? { opened: false, seenTo: 0, lastSeq: null, ...common }
    : { opened: true, seenTo: lastSeq, lastSeq, ...common };
}

function isWhole({ opened, calls, lastSeq, seenTo, differs }: RunSoFar): boolean {
  return opened && lastSeq !== null && seenTo >= lastSeq && calls.size === 0 && differs.length === 0;
}

function forgetWhatIsWhole(known: RunSoFar, call: Call): void {
  const ended = call.state === 'succeeded' || call.state === 'failed';
  const allowed = call.approval === null || known.granted.get(call.approval) === call.call;
  if (call.started ? ended && allowed : call.state === null) known.calls.delete(call.call);
}

/** The call that an entry is about; null: of none. */
function apply(known: RunSoFar, run: string, kind: string, entry: JsonObject): Call | null {
  const data = (entry['data'] ?? {}) as JsonObject;
  if (kind === 'run.opened') known.opened = true;
  if (kind === 'run.closed' && typeof data['lastSeq'] === 'number') known.lastSeq = data['lastSeq'];
  if (kind === 'approval.granted') known.granted.set(String(data['approvalId']), String(entry['call']));
  if (kind === 'run.reconciled') {
    known.reconciled = true;
    const named = (field: string): string[] => (Array.isArray(data[field]) ? data[field].map(String) : []);
    known.differs.push(...differencesOf(named('notInLedger'), named('notInHistory')));
  }
  const seq = typeof entry['seq'] === 'number' ? entry['seq'] : null;
  if (seq !== null) seen(known, seq);
  if (typeof entry['call'] !== 'string') return null;
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
  // it happened, whatever its other attempts say; a call that has ended is not looked at again
  const open = call.started && (call.state === null || call.state === 'unknown');
  if (kind === 'call.late' && open && data['state'] === 'succeeded') call.state = 'succeeded';
  return call;
}

/** In words: what a run's history and its entries do not both tell. */
export function differencesOf(notInLedger: readonly string[], notInHistory: readonly string[]): string[] {
  return [
    ...notInLedger.map((call) => `call ${call} is in the workflow's history and not in the ledger`),
    ...notInHistory.map((call) => `call ${call} is in the ledger and not in the workflow's history`),
  ];
}

function seen(known: RunSoFar, seq: number): void {
  if (seq <= known.seenTo) return;
  known.seenAbove.add(seq);
  while (known.seenAbove.delete(known.seenTo + 1)) known.seenTo += 1;
}

function missingOf(known: RunSoFar, waiting: boolean): string[] {
  const problems: string[] = [...known.differs];
  if (!known.opened) problems.push('its opening is missing');
  for (const { call, started, state, approval } of known.calls.values()) {
    if (started && state === null && known.lastSeq !== null && !waiting)
      problems.push(`call ${call} started and has no end`);
    if (!started && state !== null) problems.push(`call ${call} ended and has no start`);
    if (approval !== null && known.granted.get(approval) !== call)
      problems.push(`call ${call} says approved, its yes is missing`);
  }
  // the highest numbers of a run that goes on may be under way; in a closed run none may be missing
  if (known.lastSeq === null || waiting) return problems;
  for (let seq = known.seenTo + 1; seq <= known.lastSeq && problems.length < MAX_NAMED; seq += 1) {
    if (!known.seenAbove.has(seq)) problems.push(`call number ${seq} is missing`);
  }
  return problems;
}
