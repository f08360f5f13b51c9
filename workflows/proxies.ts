/** Activities as workflows call them: timeouts and retries on purpose. */
import { ActivityCancellationType, proxyActivities, type ActivityOptions } from '@temporalio/workflow';
import type { AccountActivities } from '../activities/account-types.ts';
import type { ReservationActivities } from '../activities/reservation-types.ts';
import type { Activities } from '../activities/types.ts';
import type {
  AgentActivities,
  EraseActivities,
  FreezeActivities,
  PolicyActivities,
  RunCommandActivities,
} from '../activities/request-types.ts';
import { HEARTBEAT_TIMEOUT_MS } from '../governance/limits.ts';
import type { ToolSummary } from '../governance/tool.ts';

/**
 * The database or a worker may be away for long: the run waits and goes on. What no other attempt can mend, activities throw as
 * final (activities/failures.ts): a list of codes here would stand in every event that schedules one.
 */
const RETRY = { initialInterval: 1_000, backoffCoefficient: 2, maximumInterval: 30_000 };
/** Beyond a tool's timeout: two round trips to the database, and a worker that is slow. */
const CALL_SLACK_MS = 60_000;
const MODEL_TIMEOUT_MS = 15 * 60_000;

/** A user's own workflow runs on its own queue, our activities on that of ActGuard's worker. */
let queue: Pick<ActivityOptions, 'taskQueue'> = {};

/** From now on this workflow's governed activities run on that task queue. */
export function activitiesOn(taskQueue: string): void {
  queue = { taskQueue };
}

/** Activities by name, on the queue of the moment. */
function proxies<A>(options: ActivityOptions): A {
  return new Proxy(
    {},
    { get: (_target, name) => (proxyActivities({ ...options, ...queue }) as { [n: string | symbol]: unknown })[name] },
  ) as A;
}

/** `openRun`, `record`, `recordAnswer`, `verifyCommand`, `endAsk`: short transactions. */
export const transactions = proxies<
  Pick<Activities, 'openRun' | 'record' | 'recordAnswer' | 'verifyCommand' | 'endAsk'>
>({
  startToCloseTimeout: 30_000,
  retry: RETRY,
});

/** `changeFreeze`: tried until the database is there. */
export const freezing = proxies<FreezeActivities>({ startToCloseTimeout: 30_000, retry: RETRY });

/** `changeAccount`: the same. */
export const accounts = proxies<AccountActivities>({ startToCloseTimeout: 30_000, retry: RETRY });

/** `priceModel`, `reserveModel`, `settleModel`: short, too; tried until the database is there. */
export const reservations = proxies<ReservationActivities>({ startToCloseTimeout: 30_000, retry: RETRY });

/** `commandRun`: short, too. */
export const runCommands = proxyActivities<RunCommandActivities>({ startToCloseTimeout: 30_000, retry: RETRY });

/** `describeAgent`: reads the configuration only. */
export const agents = proxies<AgentActivities>({ startToCloseTimeout: 30_000, retry: RETRY });
/** `eraseContent`: a user's runs of years may be many rows. */
export const erasing = proxyActivities<EraseActivities>({ startToCloseTimeout: 10 * 60_000, retry: RETRY });

/** `changePolicies`: the same; checking a large set takes a second. */
export const policies = proxies<PolicyActivities>({ startToCloseTimeout: 60_000, retry: RETRY });

/** Mail: an outage delays nothing else and ends after a day. */
export const notifications = proxies<Pick<Activities, 'notify'>>({
  startToCloseTimeout: 60_000,
  scheduleToCloseTimeout: 24 * 60 * 60_000,
  retry: { ...RETRY, maximumInterval: 15 * 60_000 },
});

/** `callTool` for one tool, with its summary for the Temporal UI. */
export function callToolActivity(tool: ToolSummary, summary: string): Activities['callTool'] {
  return proxies<Pick<Activities, 'callTool'>>({
    startToCloseTimeout: tool.timeoutMs + CALL_SLACK_MS,
    heartbeatTimeout: HEARTBEAT_TIMEOUT_MS,
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: RETRY,
    summary,
  }).callTool;
}

/** `callModel`, with its summary. */
export function callModelActivity(summary: string): Activities['callModel'] {
  return proxies<Pick<Activities, 'callModel'>>({
    startToCloseTimeout: MODEL_TIMEOUT_MS,
    heartbeatTimeout: HEARTBEAT_TIMEOUT_MS * 3,
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: RETRY,
    summary,
  }).callModel;
}
