/**
 * Equal asks join (trust.md): while a person is asked about a call, another call of the run with the same tool and
 * arguments asks nobody. It shares the no; a yes is used once, by the call that asked, so that the other one is looked
 * at again after that: the effect is done already, or it is another one and a person is asked anew.
 */
import { isCancellation } from '@temporalio/workflow';
import { canonicalize } from '../governance/canonical.ts';
import type { Denial } from '../governance/errors.ts';
import type { GovernedRun } from './governed-run.ts';
import * as step from './governor-state.ts';
import type { GovernorState, OpenCall } from './governor-state.ts';
import { noYes, runEnded } from './words.ts';

/** The open ask of another call that is equal to this one. */
export function equalAsk(state: GovernorState, { call, tool, args }: OpenCall): string | undefined {
  const asking = Object.values(state.open).filter(
    (c) => c.phase === 'asking' && c.answer === null && c.tool === tool && c.call !== call && !c.ask?.joined,
  );
  // rarely anything is asked: arguments are compared only then
  const same = asking.length === 0 ? '' : canonicalize(args);
  return asking.find((c) => canonicalize(c.args) === same)?.ask?.approvalId;
}

/** What came of an ask, for the call that asked and for those that joined it. */
export function setAnswer(state: GovernorState, approvalId: string, answer: OpenCall['answer']): GovernorState {
  const asking = Object.values(state.open).filter((c) => c.phase === 'asking' && c.ask?.approvalId === approvalId);
  return asking.reduce((next, open) => step.setOpen(next, { ...open, answer }), state);
}

/**
 * Waits for what comes of the ask that a call joined: null to look at the call again as if it were new, else why nothing
 * runs. @throws CancelledFailure, LongHistory
 */
export async function waitForEqual(run: GovernedRun, { call, tool, ask }: OpenCall): Promise<Denial | null> {
  const id = ask?.approvalId ?? '';
  const asker = (): OpenCall | undefined =>
    Object.values(run.state.open).find((c) => c.ask?.approvalId === id && !c.ask.joined && c.phase !== 'unknown');
  const answer = (): OpenCall['answer'] => run.state.open[call]?.answer ?? null;
  const untilMs = Math.min(ask?.expiresAtMs ?? 0, run.state.deadlineMs);
  try {
    const waited = await run.until(() => answer() !== null || asker() === undefined, untilMs);
    if (waited === 'ended') return runEnded();
    if (waited === 'time') return noYes(tool, 'expired', id);
    if (answer() === 'rejected') return noYes(tool, 'rejected', id);
    return (await run.until(() => asker() === undefined, run.state.deadlineMs)) === 'ended' ? runEnded() : null;
  } catch (error) {
    // whoever asked still waits: nothing is withdrawn
    if (isCancellation(error)) run.state = step.removeOpen(run.state, call);
    throw error;
  }
}
