/**
 * Governed calls in a workflow of your own: your worker runs the workflow, ActGuard's worker runs the tools. Waits are
 * durable: a call that a person has to answer comes back days later, and holds nothing meanwhile.
 */
import { ApplicationFailure, workflowInfo } from '@temporalio/workflow';
import { parseLabel } from '../governance/account.ts';
import { newBudget, parseLimit, type WrittenLimit } from '../governance/budget.ts';
import type { CallResult, Usage } from '../governance/call.ts';
import type { Json } from '../governance/json.ts';
import { parsing } from '../governance/strict.ts';
import { childRun, type ChildResult } from './child-run.ts';
import { Governor } from './governor.ts';
import { newState, usageOf, type GovernorState } from './governor-state.ts';
import { runOfWorkflow, TASK_QUEUE } from './ids.ts';
import { openRun } from './open.ts';
import { activitiesOn } from './proxies.ts';

/** For whom a workflow acts, and with what. */
export interface GovernedOptions {
  readonly tenant: string;
  readonly user: string;
  /** An agent of the configuration: its tools are the ones that can be called. */
  readonly agent: string;
  /** The user's own request. */
  readonly input?: string;
  /** Dollars, tokens, calls, any mix; at most what the configuration allows a run. */
  readonly budget?: WrittenLimit;
  /** Parts of the budget for labels of calls: `{ search: { usd: 0.1 }, 'write-report': { calls: 5 } }`. */
  readonly labels?: { readonly [label: string]: WrittenLimit };
  /** Milliseconds since the epoch; default a week from now. */
  readonly deadlineMs?: number;
  /** Your signature over this run (`actguard.signOpening`), made before your workflow starts; needed outside a dev stack. */
  readonly opening?: Json;
  /** The task queue of ActGuard's worker; default `actguard`. */
  readonly taskQueue?: string;
}

/** How one call is made. */
export interface GovernedCallOptions {
  /** Your own key in this run; default `c1`, `c2` … in the order of the calls. */
  readonly callId?: string;
  /** What the call is for, outermost first (`report/search`): limits of labels count it. */
  readonly label?: string;
  /** An unknown outcome: wait until somebody knows (default), or answer `unknown` at once. */
  readonly unknown?: 'wait' | 'answer';
}

/**
 * Opens the run that this workflow is, or goes on with it after your own continue-as-new. The workflow has to be
 * started with the options of `governedWorkflow` (`actguard/client`): its id names the run, so that approvals, freezes and
 * `actguard show` find it.
 *
 * @example
 * export async function payout(order: Order, carried?: GovernorState): Promise<string> {
 *   const run = await openGoverned({ tenant: 'acme', user: order.user, agent: 'payouts' }, carried);
 *   const paid = await run.call('payments.send', { to: order.to, cents: order.cents });
 *   if (workflowInfo().continueAsNewSuggested) return continueAsNew(order, await run.state());
 *   await run.close();
 *   return paid.kind;
 * }
 * @throws ApplicationFailure with the denial's code as its type where the run is refused; ARGUMENTS_INVALID
 */
export async function openGoverned(options: GovernedOptions, carried?: GovernorState): Promise<Governed> {
  const run = runOfWorkflow(workflowInfo().workflowId);
  if (run === null) {
    throw failure('ARGUMENTS_INVALID', 'a governed workflow is started with the options of `governedWorkflow`');
  }
  if (carried !== undefined && (carried.v !== 1 || carried.run !== run)) {
    throw failure('ARGUMENTS_INVALID', 'the carried state is not one of this run');
  }
  const { taskQueue = TASK_QUEUE } = options;
  activitiesOn(taskQueue);
  return new Governed(new Governor(carried ?? (await open(run, options))), taskQueue);
}

/** A workflow's governed run; made by {@link openGoverned}. */
export class Governed {
  /** The run's id. */
  readonly id: string;
  readonly #governor: Governor;
  /** Of ActGuard's worker. */
  readonly #taskQueue: string;
  #underWay = 0;
  #closed = false;

  /** @internal */
  constructor(governor: Governor, taskQueue: string) {
    this.id = governor.state.run;
    this.#governor = governor;
    this.#taskQueue = taskQueue;
  }

  /**
   * One governed call: one activity, as a bare one. Refusals are values. Waits for people, within the run's deadline.
   * @throws CancelledFailure when the workflow is cancelled
   */
  async call<T = Json>(tool: string, args: Json, options: GovernedCallOptions = {}): Promise<CallResult<T>> {
    if (this.#closed) throw failure('CONFLICT', 'the run is closed: nothing can be called in it');
    this.#underWay += 1;
    try {
      const { result } = await this.#governor.call(tool, args, { unknown: 'wait', ...options });
      return result as CallResult<T>;
    } finally {
      this.#underWay -= 1;
    }
  }

  /**
   * Runs an agent as a child of this run: it spends this run's budget, and cannot be topped up itself (BU7).
   *
   * @example
   * const report = await run.child({ agent: 'writer', input: 'Summarise ...', budget: { usd: 0.1 } });
   * if (report.kind === 'ended') use(report.result.text);
   * @throws ApplicationFailure ARGUMENTS_INVALID for a budget that is none; CancelledFailure
   */
  async child(options: { agent: string; input: string; budget: WrittenLimit }): Promise<ChildResult> {
    if (this.#closed) throw failure('CONFLICT', 'the run is closed: nothing can be started in it');
    this.#underWay += 1;
    try {
      return await childRun(this.#governor, { ...options, budget: limitOf(options.budget) }, this.#taskQueue);
    } finally {
      this.#underWay -= 1;
    }
  }

  /** What the run has used. */
  get usage(): Usage {
    return usageOf(this.#governor.state);
  }

  /**
   * What your own continue-as-new has to carry: budget, facts, call counts. Wait for your calls first.
   * @throws ApplicationFailure CONFLICT while a call is under way
   */
  async state(): Promise<GovernorState> {
    if (this.#underWay > 0) throw failure('CONFLICT', 'calls are under way: wait for them, then continue as new');
    await this.#governor.drain();
    await this.#governor.flush();
    return this.#governor.state;
  }

  /** Ends the run in the ledger; also in a workflow that is cancelled. Twice is harmless. */
  async close(status: 'answered' | 'stopped' | 'failed' = 'answered'): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#governor.endWaits();
    await this.#governor.close(status);
  }
}

async function open(run: string, options: GovernedOptions): Promise<GovernorState> {
  const { tenant, user, agent, input = '', budget, deadlineMs } = options;
  const opened = await openRun(
    {
      ...{ v: 1, run, tenant, user, agent, input },
      openedBy: `workflow:${workflowInfo().workflowType}`,
      ...(options.opening === undefined ? {} : { opening: options.opening }),
      budget: budget === undefined ? null : limitOf(budget),
      deadlineMs: deadlineMs ?? null,
    },
    'workflow',
  );
  if (opened.kind === 'denied') throw failure(opened.denial.code, `${opened.denial.reason} (${opened.denial.hint})`);
  const state = newState(run, { tenant, user, agent }, opened.limit, opened.deadlineMs, opened.tools);
  return { ...state, ...(options.labels === undefined ? {} : { labels: labelsOf(options.labels) }) };
}

function labelsOf(written: NonNullable<GovernedOptions['labels']>): NonNullable<GovernorState['labels']> {
  return Object.fromEntries(
    Object.entries(written).map(([label, limit]) => {
      const read = parsing(() => parseLabel(label));
      if (read.kind === 'invalid') throw failure('ARGUMENTS_INVALID', read.reason);
      return [label, newBudget(limitOf(limit))] as const;
    }),
  );
}

function limitOf(budget: WrittenLimit): ReturnType<typeof parseLimit> {
  try {
    return parseLimit(budget);
  } catch (error) {
    throw failure('ARGUMENTS_INVALID', error instanceof Error ? error.message : 'the budget cannot be read');
  }
}

/** A plain error would be tried again for ever. */
function failure(type: string, message: string): ApplicationFailure {
  return ApplicationFailure.create({ type, message, nonRetryable: true });
}
