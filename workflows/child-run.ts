/**
 * A child run spends its parent's budget (BU7): its whole limit is reserved in the parent before it starts, and replaced by
 * what it used when it ends. It has a grant, calls and accounts like any run, and opens no allowance of its own.
 */
import { ChildWorkflowCancellationType, executeChild, ParentClosePolicy } from '@temporalio/workflow';
import { BUDGET_UNITS, reserve, ZERO } from '../governance/budget.ts';
import type { Amount, Limit, RunResult } from '../governance/call.ts';
import type { Denial } from '../governance/errors.ts';
import { childRunOf, childOpenedBy } from '../governance/family.ts';
import type { agentRun } from './agent-run.ts';
import type { Governor } from './governor.ts';
import { addEntry, leftOf, noteDenial, settleCall, stopReason } from './governor-state.ts';
import { workflowIdOf } from './ids.ts';
import type { AgentRunInput } from './messages.ts';
import { budgetDenial } from './words.ts';

/** What a child run is asked for. */
export interface ChildRun {
  /** An agent of the configuration, with a model. */
  readonly agent: string;
  readonly input: string;
  /** At most what is left of the parent's; a unit that is not named gets all that is left. */
  readonly budget: Limit;
}

/** How it ended, or why it did not begin. */
export type ChildResult =
  { readonly kind: 'ended'; readonly result: RunResult } | { readonly kind: 'denied'; readonly denial: Denial };

/** Runs an agent as a child of this run. @throws when the parent is cancelled; the child is asked to stop then */
export async function childRun(governor: Governor, child: ChildRun, taskQueue: string): Promise<ChildResult> {
  governor.throwIfCancelled();
  const stopped = stopReason(governor.state, Date.now());
  const limit: Limit = { ...leftOf(governor.state), ...child.budget };
  const needed = worstOf(governor, limit);
  const taken = stopped ? null : reserve(governor.state.budget, needed);
  if (stopped || taken?.kind !== 'ok') {
    const denial = stopped ?? budgetDenial(governor.state, taken as Extract<typeof taken, { kind: 'exceeded' }>);
    governor.refuse(child.agent, denial);
    return { kind: 'denied', denial };
  }
  const seq = governor.nextSeq();
  const run = childRunOf(governor.state.run, seq);
  governor.state = addEntry(
    { ...governor.state, budget: taken.state },
    { kind: 'child.started', atMs: Date.now(), seq, data: { run, agent: child.agent, reserved: { ...needed } } },
  );
  await governor.flush();
  let spent: Amount = needed;
  try {
    const result = await start(governor, { ...child, budget: limit }, run, taskQueue);
    const { usdMicros, tokens, calls } = result.usage;
    spent = { usdMicros, tokens, calls };
    if (result.status === 'failed' && result.denials.length > 0)
      governor.state = noteDenial(governor.state, result.denials[0] as Denial);
    return { kind: 'ended', result };
  } finally {
    // a child that was terminated tells nothing: it costs what it could
    governor.state = addEntry(settleCall(governor.state, needed, spent), {
      kind: 'child.ended',
      atMs: Date.now(),
      seq,
      data: { run, spent: { ...spent } },
    });
    governor.noteSpend();
  }
}

/** What of the child's limit the parent limits, too. */
function worstOf(governor: Governor, limit: Limit): Amount {
  const limited = BUDGET_UNITS.filter(
    (unit) => governor.state.budget.limit[unit] !== undefined || limit[unit] !== undefined,
  );
  return { ...ZERO, ...Object.fromEntries(limited.map((unit) => [unit, limit[unit] ?? 0])) };
}

function start(governor: Governor, child: ChildRun, run: string, taskQueue: string): Promise<RunResult> {
  const { tenant, user } = governor.state.principal;
  const input: AgentRunInput = {
    ...{ v: 1, run, tenant, user, agent: child.agent, input: child.input, budget: child.budget },
    openedBy: childOpenedBy(governor.state.run),
    deadlineMs: governor.state.deadlineMs,
  };
  return executeChild<typeof agentRun>('agentRun', {
    taskQueue,
    workflowId: workflowIdOf(run),
    workflowIdReusePolicy: 'REJECT_DUPLICATE',
    parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
    cancellationType: ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
    args: [input],
    searchAttributes: { ActGuardTenant: [tenant], ActGuardAgent: [child.agent], ActGuardStatus: ['running'] },
  });
}
