/** The experiment: many runs, things that go wrong, a person, and then the books. */
import { ulid } from 'ulid';
import { workflowIdOf } from '../../workflows/ids.ts';
import type { AgentRunInput } from '../../workflows/messages.ts';
import { say } from '../stack.ts';
import type { AuditVerdict } from '../../client/ledger-audit.ts';
import { audited } from './audit.ts';
import { AGENT, RECEIVERS, TENANT } from './config.ts';
import { Faults, LONG_STOPPED_MS, planFaults, planLongStops, randomOf, sleep, STOPPED_MS } from './faults.ts';
import { startHuman } from './human.ts';
import { judge } from './judge.ts';
import { ChaosStack } from './stack.ts';
import type { chaosRun, Wanted } from './workflow.ts';

export interface ChaosOptions {
  readonly seed: number;
  readonly calls: number;
  readonly faults: number;
  readonly workers: number;
  /** Milliseconds from when the servers stand until it is judged whatever is still open. */
  readonly limitMs: number;
  /** Nothing but workers that are stopped for longer than the horizon. */
  readonly longStops?: boolean;
}

/** The last line of `--output json`. */
export interface ChaosResult {
  readonly seed: number;
  readonly calls: number;
  readonly faults: number;
  readonly duplicates: number;
  readonly lost: number;
  readonly unknown: number;
  readonly unknownWrong: number;
  readonly ledgerMismatches: number;
  readonly stuckRuns: number;
  readonly pointsHit: { readonly [point: string]: number };
}

/** With what is only shown to people. */
export interface ChaosReport {
  readonly result: ChaosResult;
  readonly questionsLeft: number;
  readonly humanAnswers: number;
  /** Answers of a person about receivers that need none. */
  readonly humanNotNeeded: number;
  readonly seconds: number;
  readonly table: { readonly [fault: string]: number };
  readonly wrong: readonly string[];
  /** The ledger's: valid and complete, or what is not. */
  readonly audit: AuditVerdict;
}

const CALLS_A_RUN = 10;
const RUNS_AT_ONCE = 40;
/** The last fault is due when so much of the work is done. */
const SPREAD = 0.85;
/** Beyond twice the calls: for faults that have not found their point yet. */
const MORE_ORDERS = 300;

/** Runs it once. */
export async function experiment(options: ChaosOptions): Promise<ChaosReport> {
  const { seed, calls, workers, limitMs, longStops = false } = options;
  const at = performance.now();
  const stack = new ChaosStack(2 * calls + MORE_ORDERS);
  const plan = longStops ? planLongStops(options.faults, RECEIVERS) : planFaults(options.faults, seed, RECEIVERS);
  const faults = new Faults(stack, plan, longStops ? LONG_STOPPED_MS : STOPPED_MS);
  try {
    say(`starting the servers and ${workers} workers`);
    await stack.start(workers, faults.at);
    const untilMs = performance.now() + limitMs;
    const human = startHuman(stack);
    const random = randomOf(seed + 1);
    const live = new Set<string>();
    const done = new Set<string>();
    const givenUp: string[] = [];
    let stuck = 0;
    const striking = strikeAll(faults, live, () => done.size / calls, random, untilMs);
    // a small experiment has small runs: its faults are spread by the runs that are done
    const callsARun = Math.min(CALLS_A_RUN, Math.ceil(calls / 15));
    const lanes = Math.max(2, Math.min(RUNS_AT_ONCE, Math.ceil(calls / callsARun / 5)));
    const next = batches(calls, callsARun, () => !faults.done && performance.now() < untilMs);
    const lane = async (): Promise<void> => {
      for (const batch of next) {
        const finished = await runBatch(stack, batch, live, untilMs);
        for (const order of finished.done) done.add(order);
        for (const line of finished.givenUp) {
          say(`given up: ${line}`);
          givenUp.push(line);
        }
        if (finished.stuck) stuck += 1;
      }
    };
    const progress = setInterval(() => say(`${done.size} of ${calls} refunds, ${faults.struck} faults`), 15_000);
    await Promise.all(Array.from({ length: lanes }, lane));
    clearInterval(progress);
    await striking;
    await faults.cease();
    await settled(stack, untilMs);
    await human.stop();
    const judged = await judge(stack.db, await stack.books(), done, givenUp.length);
    say('auditing the ledger');
    const audit = await audited(stack);
    const { duplicates, lost, unknown, unknownWrong, ledgerMismatches } = judged;
    return {
      result: {
        ...{ seed, calls: done.size, faults: faults.struck, duplicates, lost, unknown, unknownWrong, ledgerMismatches },
        stuckRuns: stuck,
        pointsHit: Object.fromEntries(faults.points),
      },
      questionsLeft: judged.questionsLeft,
      humanAnswers: human.answered(),
      humanNotNeeded: human.notTheirs(),
      seconds: Math.round((performance.now() - at) / 1_000),
      table: Object.fromEntries([...faults.hits].sort()),
      wrong: [...judged.wrong, ...audit.problems, ...audit.missing],
      audit,
    };
  } finally {
    await stack.end();
  }
}

/** Orders in batches, one a run; and a few more as long as faults are due. */
function* batches(calls: number, callsARun: number, more: () => boolean): Generator<readonly Wanted[]> {
  const orders = (from: number, to: number): Wanted[] =>
    Array.from({ length: to - from }, (_, n): Wanted => {
      return { receiver: RECEIVERS[(from + n) % RECEIVERS.length] ?? 'kept', orderId: String(100_001 + from + n) };
    });
  let i = 0;
  for (; i < calls; i += callsARun) yield orders(i, Math.min(calls, i + callsARun));
  for (i = calls; i < 2 * calls + MORE_ORDERS - RECEIVERS.length && more(); i += RECEIVERS.length)
    yield orders(i, i + RECEIVERS.length);
}

/** Faults spread over the calls: as many as the work is far. What waits for a point keeps the next ones from piling up. */
async function strikeAll(
  faults: Faults,
  live: ReadonlySet<string>,
  share: () => number,
  random: () => number,
  untilMs: number,
): Promise<void> {
  for (let begun = 0; !faults.done && performance.now() < untilMs;) {
    const due = share() >= (SPREAD * begun) / faults.planned;
    if (due && faults.strikeNext([...live], random)) begun += 1;
    else await sleep(100);
  }
}

/** Carries refunds through, under a new run where one was terminated, as whoever uses it would. */
async function runBatch(
  stack: ChaosStack,
  batch: readonly Wanted[],
  live: Set<string>,
  untilMs: number,
): Promise<{ done: string[]; givenUp: string[]; stuck: boolean }> {
  for (;;) {
    const run = ulid();
    const input: AgentRunInput = {
      ...{ v: 1, run, tenant: TENANT, user: 'alice', agent: AGENT, openedBy: 'chaos', input: '', budget: null },
      deadlineMs: null,
    };
    const { client } = stack.actguard;
    const handle = await persistently(untilMs, () =>
      client.workflow.start<typeof chaosRun>('chaosRun', {
        taskQueue: 'actguard',
        workflowId: workflowIdOf(run),
        args: [input, batch],
      }),
    );
    if (!handle) return { done: [], givenUp: ['it could not be started'], stuck: true };
    live.add(run);
    const ended = await endOf(stack, run, untilMs);
    live.delete(run);
    if (ended !== 'terminated') return ended;
  }
}

async function endOf(stack: ChaosStack, run: string, untilMs: number) {
  for (;;) {
    const status = await persistently(untilMs, () =>
      stack.actguard.client.workflow.getHandle(workflowIdOf(run)).describe(),
    );
    if (!status || performance.now() > untilMs) return { done: [], givenUp: [], stuck: true };
    if (status.status.name === 'TERMINATED') return 'terminated' as const;
    if (status.status.name !== 'RUNNING') {
      const handle = stack.actguard.client.workflow.getHandle<typeof chaosRun>(workflowIdOf(run), status.runId);
      try {
        const { done, givenUp } = await handle.result();
        // reset in the moment in which it ended: it does nothing any more
        if (givenUp.some((why) => why.includes('was opened before'))) return 'terminated' as const;
        return { done: [...done], givenUp: [...givenUp], stuck: false };
      } catch (error) {
        return { done: [], givenUp: [`run ${run}: ${String(error)}`], stuck: true };
      }
    }
    await sleep(500);
  }
}

/** Until no claim is held and no question of a receiver that needs no person is open. */
async function settled(stack: ChaosStack, untilMs: number): Promise<void> {
  while (performance.now() < untilMs) {
    const rows = await stack.db
      .query<{ n: number }>(
        `select count(*)::int as n from actguard.calls where state in ('claimed', 'retrying', 'unknown')`,
      )
      .catch(() => []);
    if (rows[0]?.n === 0) return;
    await sleep(1_000);
  }
}

/** A server may be away just now. null: for too long. */
async function persistently<T>(untilMs: number, work: () => Promise<T>): Promise<T | null> {
  for (;;) {
    try {
      return await work();
    } catch {
      if (performance.now() > untilMs) return null;
      await sleep(500);
    }
  }
}
