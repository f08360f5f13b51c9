/**
 * The sealer: one long workflow. Each activity seals for a minute; the last head that was signed is carried in this
 * workflow's state, outside the database, and what does not extend it is not signed (a tripwire, not a witness).
 */
import { condition, continueAsNew, proxyActivities, setHandler, workflowInfo } from '@temporalio/workflow';
import type { SealActivities, SealResult } from '../activities/seal-types.ts';
import type { Json } from '../governance/json.ts';
import { MAX_REJECTED_ANSWERS, SEALS_PER_RUN, SEAL_FOR_MS } from '../governance/limits.ts';
import { type SealerState, recoverSignal, sealedQuery } from './messages.ts';
import { holdUntilReadable } from './readable.ts';

const sealing = proxyActivities<SealActivities>({
  startToCloseTimeout: SEAL_FOR_MS * 2,
  heartbeatTimeout: 15_000,
  retry: { initialInterval: 1_000, backoffCoefficient: 2, maximumInterval: 10_000 },
});

/** Seals for ever. Started without state once, by whichever worker has the sealing key. */
export async function sealer(carried?: SealerState): Promise<never> {
  let state: SealerState = holdUntilReadable(carried) ?? { v: 1, last: null, trouble: null, refused: null };
  const inbox: Json[] = [];
  setHandler(sealedQuery, () => state);
  setHandler(recoverSignal, (signal: Partial<{ envelope: Json }> | null | undefined) => {
    if (inbox.length < MAX_REJECTED_ANSWERS) inbox.push(signal?.envelope ?? null);
  });
  for (let rounds = 0; ; rounds += 1) {
    if (state.trouble === null) {
      inbox.length = 0; // nothing to recover from
      state = after(state, holdUntilReadable(await sealing.sealLedger({ v: 1, last: state.last })));
    } else {
      await condition(() => inbox.length > 0);
      const envelope = inbox.shift() ?? null;
      const result = holdUntilReadable(await sealing.recoverLedger({ v: 1, envelope, trouble: state.trouble }));
      if (result.kind === 'accepted') state = { v: 1, last: result.last, trouble: null, refused: null };
      else state = { ...state, refused: result.reason };
    }
    if (rounds >= SEALS_PER_RUN || workflowInfo().continueAsNewSuggested) await continueAsNew<typeof sealer>(state);
  }
}

function after(state: SealerState, result: SealResult): SealerState {
  return { ...state, last: result.last, trouble: result.kind === 'broken' ? result.trouble : null };
}
