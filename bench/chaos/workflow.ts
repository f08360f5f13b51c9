/** A run of the experiment: refunds its orders one after the other, and asks again as an agent would. */
import { ActivityFailure, isCancellation, sleep } from '@temporalio/workflow';
import { Governor } from '../../workflows/governor.ts';
import { newState } from '../../workflows/governor-state.ts';
import type { AgentRunInput } from '../../workflows/messages.ts';
import { openRun } from '../../workflows/open.ts';
import type { Receiver } from './config.ts';

export { command, janitor, sealer } from '../../workflows/index.ts';

/** One refund that is wanted. */
export interface Wanted {
  readonly receiver: Receiver;
  readonly orderId: string;
}

const PAUSE_MS = 2_000;
const MAX_TRIES = 300;

/** Answers the orders that were refunded, and those that were given up with why. */
export async function chaosRun(
  input: AgentRunInput,
  wanted: readonly Wanted[],
): Promise<{ readonly done: readonly string[]; readonly givenUp: readonly string[] }> {
  const opened = await openRun(input, 'workflow');
  if (opened.kind === 'denied') return { done: [], givenUp: [opened.denial.reason] };
  const principal = { tenant: input.tenant, user: input.user, agent: input.agent };
  const governor = new Governor(newState(input.run, principal, opened.limit, opened.deadlineMs, opened.tools));
  const done: string[] = [];
  const givenUp: string[] = [];
  for (const one of wanted) {
    const why = await refund(governor, one);
    if (why === null) done.push(one.orderId);
    else givenUp.push(`${one.orderId}: ${why}`);
  }
  await governor.close('answered');
  return { done, givenUp };
}

/** null: it is done. A failure for certain, a refusal for now: tried again as a new call. */
async function refund(governor: Governor, { receiver, orderId }: Wanted): Promise<string | null> {
  let why = '';
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    try {
      const args = { orderId, amountCents: 100 };
      const { result } = await governor.call(`payments.${receiver}`, args, { unknown: 'wait' });
      if (result.kind === 'done') return null;
      why = result.kind === 'denied' ? `${result.denial.code} ${result.denial.reason}` : result.kind;
    } catch (error) {
      if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
      why = error.message;
    }
    await sleep(PAUSE_MS);
  }
  return why;
}
