/**
 * Whether a budget holds: a thousand runs, a hundred at once, under one tenant's budget that pays for about 800 of them.
 * `--kill`: workers die and runs are terminated at random meanwhile.
 */
import { ulid } from 'ulid';
import { settleDeadCalls } from '../activities/accounts.ts';
import { accountId } from '../governance/account.ts';
import type { CallResult } from '../governance/call.ts';
import { workflowIdOf } from '../workflows/ids.ts';
import { killedWorkers } from './budget-kills.ts';
import { pairsPerSecond } from './budget-pairs.ts';
import { AT_ONCE, config, LIMIT_MICROS, models, POLICY, RUNS, TENANT } from './budget-world.ts';
import { benchStack, say, type BenchStack } from './stack.ts';
import type { budgetRun } from './workflows.ts';

/** The janitor's round is 30 s; after the last run, leaks have a minute. */
const ROUND_MS = 5_000;
const LEAKS_GONE_WITHIN_MS = 60_000;
/** One run in so many is terminated while it works. */
const TERMINATE_EVERY = 20;

/** What must hold: no overrun, no leak, at least 0.95 of the limit usable. Money in micro-dollars. */
export interface BudgetResult {
  readonly runs: number;
  readonly limitMicros: number;
  readonly spentMicros: number;
  readonly overrunMicros: number;
  readonly leakedMicros: number;
  readonly usableShare: number;
  readonly reservationsPerSecond: number;
  readonly barePerSecond: number;
}

/** Runs it. @throws when a run was refused without saying why */
export async function benchBudget(words: readonly string[]): Promise<BudgetResult> {
  const kill = words.includes('--kill');
  const stack = await benchStack(config, POLICY, {}, models, { activitiesElsewhere: kill });
  try {
    return await stack.run(() => measure(stack, kill));
  } finally {
    await stack.end();
  }
}

async function measure(stack: BenchStack, kill: boolean): Promise<BudgetResult> {
  const workers = kill ? await killedWorkers([stack.address, stack.databaseUrl, stack.policies]) : null;
  const janitor = setInterval(() => void settleDeadCalls(stack.deps).catch(() => undefined), ROUND_MS);
  try {
    const ended = { done: 0, refused: 0, unknown: 0, terminated: 0 };
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < RUNS) {
        const n = next++;
        ended[await oneRun(stack, n, kill)] += 1;
        if (n % 100 === 99) say(`${n + 1} runs: ${JSON.stringify(ended)}`);
      }
    };
    // all of them end before the stack does: what went wrong is seen, not what came of the stack's end
    const lanes = await Promise.allSettled(Array.from({ length: AT_ONCE }, lane));
    const failed = lanes.find((each) => each.status === 'rejected');
    if (failed) throw failed.reason;
    workers?.cease();
    const { spent, reserved } = await settled(stack);
    const limit = LIMIT_MICROS;
    say(`runs: ${JSON.stringify(ended)}; now reservations alone`);
    const { reservationsPerSecond, barePerSecond } = await pairsPerSecond(stack);
    return {
      runs: RUNS,
      limitMicros: limit,
      spentMicros: spent,
      overrunMicros: Math.max(0, spent - limit),
      leakedMicros: reserved,
      usableShare: Number((spent / limit).toFixed(4)),
      reservationsPerSecond,
      barePerSecond,
    };
  } finally {
    clearInterval(janitor);
    workers?.end();
  }
}

type Ended = 'done' | 'refused' | 'unknown' | 'terminated';

async function oneRun(stack: BenchStack, n: number, kill: boolean): Promise<Ended> {
  const run = ulid();
  const handle = await stack.client.workflow.start<typeof budgetRun>('budgetRun', {
    taskQueue: stack.taskQueue,
    workflowId: workflowIdOf(run),
    args: [
      {
        ...{ v: 1, run, tenant: TENANT, user: `user-${n % 10}`, agent: 'bench', openedBy: 'bench', input: '' },
        ...{ budget: { usdMicros: 1_000_000 }, deadlineMs: null },
      },
      n,
    ],
  });
  if (kill && n % TERMINATE_EVERY === 0) {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 1_000));
    await handle.terminate('bench').catch(() => undefined); // it may be done
  }
  let result: CallResult;
  try {
    result = await handle.result();
  } catch (error) {
    if (error instanceof Error && error.cause instanceof Error && error.cause.name === 'TerminatedFailure')
      return 'terminated';
    throw error;
  }
  if (result.kind === 'done' || result.kind === 'unknown') return result.kind;
  const denial = result.kind === 'denied' ? result.denial : null;
  if (denial?.code === 'BUDGET_EXCEEDED' && denial.details['scope'] === 'tenant' && denial.reason !== '')
    return 'refused';
  throw new Error(`a run was refused without saying why: ${JSON.stringify(result)}`);
}

/** Waits until nothing is reserved, or the minute is over. */
async function settled(stack: BenchStack): Promise<{ spent: number; reserved: number }> {
  const until = performance.now() + LEAKS_GONE_WITHIN_MS;
  for (;;) {
    const [row] = await stack.deps.db.query<{ a: { spent: [number]; reserved: [number] } }>(
      'select actguard.read_account($1) as a',
      [accountId({ tenant: TENANT, scope: 'tenant', value: TENANT })],
    );
    const spent = row?.a.spent[0] ?? 0;
    const reserved = row?.a.reserved[0] ?? 0;
    if (reserved === 0 || performance.now() > until) return { spent, reserved };
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
