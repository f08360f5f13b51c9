/** Workflows of the benchmark: the same tool, bare and governed, in the same shape. */
import { condition, defineSignal, proxyActivities, setHandler } from '@temporalio/workflow';
import type { CallResult } from '../governance/call.ts';
import { Governor } from '../workflows/governor.ts';
import { newState } from '../workflows/governor-state.ts';
import type { AgentRunInput } from '../workflows/messages.ts';
import { openRun } from '../workflows/open.ts';

export { agentRun, command, session } from '../workflows/index.ts';

export const goSignal = defineSignal<[]>('go');

/** What the bare activity is: the tool's own function. */
export interface BareActivities {
  bareTool(args: { to: string; n: number; note: string }): Promise<{ n: number }>;
}

const NOTE = 'x'.repeat(150);
const { bareTool } = proxyActivities<BareActivities>({ startToCloseTimeout: 30_000 });

/** A plain workflow with a plain activity. */
export async function bareLoop(_input: AgentRunInput, calls: number): Promise<void> {
  let go = false;
  setHandler(goSignal, () => void (go = true));
  await condition(() => go);
  for (let n = 0; n < calls; n += 1) await bareTool({ to: 'bob', n, note: NOTE });
}

/** The same, every call governed. */
export async function governedLoop(input: AgentRunInput, calls: number): Promise<void> {
  const opened = await openRun(input, 'workflow');
  if (opened.kind === 'denied') throw new Error(opened.denial.reason);
  const principal = { tenant: input.tenant, user: input.user, agent: input.agent };
  const governor = new Governor(newState(input.run, principal, opened.limit, opened.deadlineMs, opened.tools));
  let go = false;
  setHandler(goSignal, () => void (go = true));
  await condition(() => go);
  for (let n = 0; n < calls; n += 1) {
    const { result } = await governor.call('bench.tool', { to: 'bob', n, note: NOTE });
    if (result.kind !== 'done') throw new Error(JSON.stringify(result));
  }
}

/** A run with one priced call: what became of it. Reads and writes in turn. */
export async function budgetRun(input: AgentRunInput, n: number): Promise<CallResult> {
  const opened = await openRun(input, 'workflow');
  if (opened.kind === 'denied') return { kind: 'denied', denial: opened.denial, callId: '' };
  const principal = { tenant: input.tenant, user: input.user, agent: input.agent };
  const governor = new Governor(newState(input.run, principal, opened.limit, opened.deadlineMs, opened.tools));
  const { result } = await governor.call(n % 2 === 0 ? 'bench.search' : 'bench.order', { n });
  await governor.close('answered');
  return result;
}
