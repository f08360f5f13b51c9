/** The sealer's activities: a minute of sealing, what happens when the database is not what was sealed, and `recover`. */
import { setTimeout as pause } from 'node:timers/promises';
import { MAX_SEAL_BATCH, SEAL_EVERY_MS, SEAL_FOR_MS } from '../governance/limits.ts';
import { makeEntry } from '../governance/entry.ts';
import { EVERY_TENANT } from '../governance/freeze.ts';
import type { JsonObject } from '../governance/json.ts';
import type { Database, Deps } from './deps.ts';
import { pgJson } from './pg-json.ts';
import { type SealDeps, type SealState, headOf, lookAtTree, sealOnce } from './seal.ts';
import type { SealInput, SealResult, SealTrouble, SealedHead } from './seal-types.ts';
import { type WitnessPlace, askWitness } from './witnesses.ts';

/** What the sealer needs besides {@link SealDeps}. */
export interface SealerDeps extends SealDeps {
  readonly witnesses: readonly WitnessPlace[];
  /** As a worker: entries and freezes. */
  readonly worker: Pick<Database, 'query'>;
  readonly dev: boolean;
  /** The worker is asked to stop: a minute of sealing ends at once. */
  readonly stopping: AbortSignal;
  readonly log: Deps['log'];
}

/** What the activity has of its attempt. */
export interface SealAttempt {
  /** What an attempt before this one remembered. */
  readonly remembered: SealedHead | null;
  readonly remember: (last: SealedHead | null) => void;
  readonly cancelled: AbortSignal;
}

/** Seals about every second until a minute is over. @throws BACKEND_UNAVAILABLE */
export async function sealLedger(
  deps: SealerDeps,
  input: SealInput,
  attempt: SealAttempt,
  forMs: number = SEAL_FOR_MS,
): Promise<SealResult> {
  let last = newer(input.last, attempt.remembered);
  let state: SealState | null = null;
  let asked = false;
  const ends = performance.now() + forMs;
  for (;;) {
    if (state === null) {
      const looked = await lookAtTree(deps, last);
      if (looked.kind === 'broken') return breakOff(deps, looked.trouble);
      state = looked.state;
    }
    // the witness is asked before anything new is signed: it may know more than a restored database
    if (state.note !== null && (!asked || !state.cosigned)) {
      const seen = await cosign(deps, state, last);
      if (seen.kind === 'broken') return breakOff(deps, seen.trouble);
      state = seen.state;
      asked = true;
    }
    const sealed = await sealOnce(deps, state);
    if (sealed === null) {
      state = null;
      continue;
    }
    state = sealed.state;
    last = state.note === null ? last : headOf(state.peaks);
    attempt.remember(last);
    if (attempt.cancelled.aborted || deps.stopping.aborted || performance.now() >= ends)
      return { kind: 'sealed', last };
    if (sealed.taken === MAX_SEAL_BATCH) continue; // more waits already
    await pause(SEAL_EVERY_MS, undefined, { signal: AbortSignal.any([attempt.cancelled, deps.stopping]) }).catch(
      () => undefined,
    );
  }
}

function newer(a: SealedHead | null, b: SealedHead | null): SealedHead | null {
  return (b?.size ?? 0) > (a?.size ?? 0) ? b : a;
}

async function cosign(
  deps: SealerDeps,
  state: SealState,
  last: SealedHead | null,
): Promise<{ kind: 'ok'; state: SealState } | { kind: 'broken'; trouble: SealTrouble }> {
  let note = state.note ?? '';
  let all = true;
  for (const witness of deps.witnesses) {
    const answer = await askWitness(deps, witness, state.peaks.size, note);
    if (answer.kind === 'ahead' || answer.kind === 'fork') {
      const kind = answer.kind === 'ahead' ? 'witness-ahead' : 'witness-fork';
      return { kind: 'broken', trouble: { kind, reason: answer.reason, head: headOf(state.peaks), last } };
    }
    if (answer.kind === 'cosigned') note = answer.note;
    else {
      all = false;
      deps.log('warn', `a checkpoint is not witnessed yet: ${answer.reason}`);
    }
  }
  if (note !== state.note) {
    await deps.db.query('select actguard.seal_cosigned($1, $2, $3)', [state.peaks.size, state.note, note]);
  }
  return { kind: 'ok', state: { ...state, note, cosigned: all } };
}

/** Freezes everything: lost entries may be lost claims, and lost claims would be sent again. */
async function breakOff(deps: SealerDeps, trouble: SealTrouble): Promise<SealResult> {
  deps.log('error', `the ledger is not what was sealed: ${trouble.reason}`, { trouble: plain(trouble) });
  const atMs = Date.now();
  const entry = makeEntry({
    kind: 'ledger.broken',
    tenant: EVERY_TENANT,
    run: null,
    key: `ledger:broken:${trouble.kind}:${trouble.last?.size ?? 0}:${trouble.head?.size ?? -1}:${atMs}`,
    atMs,
    data: { ...plain(trouble), ...(deps.dev ? { dev: true } : {}) },
  });
  await deps.worker.query('select actguard.ledger_broken($1::jsonb)', [
    pgJson({ reason: `the ledger is not what was sealed: ${trouble.reason}`, entries: [entry] }),
  ]);
  return { kind: 'broken', last: trouble.last, trouble };
}

/** A trouble as an entry holds it. */
export function plain(trouble: SealTrouble): JsonObject {
  const head = (of: SealedHead | null): JsonObject | null => (of === null ? null : { size: of.size, root: of.root });
  return { trouble: trouble.kind, reason: trouble.reason, head: head(trouble.head), last: head(trouble.last) };
}
