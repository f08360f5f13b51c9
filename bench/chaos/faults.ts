/** What goes wrong, when and to whom: made from a seed, counted where it has happened. */
import { randomUUID } from 'node:crypto';
import { workflowIdOf } from '../../workflows/ids.ts';
import { makeCommand } from '../../client/commands.ts';
import { commandRun } from '../../client/run-commands.ts';
import { say } from '../stack.ts';
import { TENANT, type Receiver } from './config.ts';
import { POINTS, type AtPoint, type Point } from './proxies.ts';
import type { ChaosStack } from './stack.ts';

/** Past Temporal's heartbeat timeout and the lease; well within the horizon (SETTLES_WITHIN_MS after the lease's end). */
export const STOPPED_MS = 12_000;
/** Beyond the horizon: by then "it never will" counts, and the call may have been made again. */
export const LONG_STOPPED_MS = 45_000;
/** So many wait for their points at most. */
const MAX_ARMED = 6;
const DELAY_MS = 4_000;

/** Faults that wait for a point of a call, and faults that just happen. */
export const AT_POINTS = ['kill', 'stop', 'drop', 'delay'] as const;
export const ANYWHERE = ['deploy', 'postgres', 'temporal', 'service', 'terminate', 'reset'] as const;
type AtPointKind = (typeof AT_POINTS)[number];
export type FaultKind = AtPointKind | (typeof ANYWHERE)[number];

export interface Fault {
  readonly kind: FaultKind;
  /** Where it strikes; null: anywhere. */
  readonly point: Point | null;
  readonly receiver: Receiver | null;
  /** Whether bytes in hand go on when a worker is killed or stopped. */
  readonly pass: boolean;
}

/** mulberry32: the same faults for the same seed. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Three of four strike at a point, all points and receivers in turn; the others anywhere. */
export function planFaults(count: number, seed: number, receivers: readonly Receiver[]): Fault[] {
  const random = randomOf(seed);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  return Array.from({ length: count }, (_, i): Fault => {
    const pass = random() < 0.5;
    if (i % 4 === 3)
      return { kind: ANYWHERE[Math.floor(i / 4) % ANYWHERE.length] as FaultKind, point: null, receiver: null, pass };
    const at = i - Math.floor(i / 4);
    const kind = random() < 0.4 ? 'kill' : pick(AT_POINTS);
    return {
      kind,
      point: POINTS[at % POINTS.length] as Point,
      receiver: receivers[Math.floor(at / POINTS.length) % receivers.length] as Receiver,
      pass,
    };
  });
}

/** Nothing but stops beyond the horizon, at all points of all receivers in turn. */
export function planLongStops(count: number, receivers: readonly Receiver[]): Fault[] {
  return Array.from({ length: count }, (_, i): Fault => {
    const receiver = receivers[Math.floor(i / POINTS.length) % receivers.length] as Receiver;
    return { kind: 'stop', point: POINTS[i % POINTS.length] as Point, receiver, pass: true };
  });
}

/** Strikes faults, several at once, and counts them where they have happened. What did not happen is due again. */
export class Faults {
  readonly hits = new Map<string, number>();
  readonly points = new Map<Point, number>();
  readonly #armed: Fault[] = [];
  readonly #stack: ChaosStack;
  readonly #due: Fault[];
  readonly #stoppedMs: number;
  readonly #busy = new Set<Promise<unknown>>();
  readonly #busyWorkers = new Set<number>();
  /** Temporal and Postgres are restarted one at a time: with both away nothing is proven. */
  #server: Promise<void> = Promise.resolve();
  struck = 0;
  readonly planned: number;

  constructor(stack: ChaosStack, plan: readonly Fault[], stoppedMs: number) {
    this.#stack = stack;
    this.#due = [...plan];
    this.#stoppedMs = stoppedMs;
    this.planned = plan.length;
  }

  /** For the proxies: whether something strikes here. */
  readonly at: AtPoint = async (point, worker, receiver) => {
    const i = this.#armed.findIndex((f) => f.point === point && f.receiver === receiver);
    const fault = this.#armed[i];
    if (!fault || (this.#busyWorkers.has(worker) && (fault.kind === 'kill' || fault.kind === 'stop'))) return 'pass';
    this.#armed.splice(i, 1);
    this.#count(fault, receiver);
    this.points.set(point, (this.points.get(point) ?? 0) + 1);
    switch (fault.kind) {
      case 'kill':
        this.#background(this.#kill(worker));
        return fault.pass ? 'pass' : 'drop';
      case 'stop':
        this.#background(this.#pause(worker));
        return 'pass';
      case 'drop':
        return 'drop';
      default:
        await sleep(DELAY_MS);
        return 'pass';
    }
  };

  /** Arms the next fault for its point, or lets it happen now to one of these runs. False: not just now. */
  strikeNext(runs: readonly string[], random: () => number): boolean {
    if (this.#armed.length >= MAX_ARMED) return false;
    const fault = this.#due.shift();
    if (!fault) return false;
    if (fault.point !== null) {
      this.#armed.push(fault);
      return true;
    }
    const run = runs[Math.floor(random() * runs.length)];
    const worker = Math.floor(random() * this.#stack.workers.length);
    const again = (): void => void this.#due.push(fault);
    this.#background(this.#happen(fault, run, worker).then((happened) => happened || again(), again));
    return true;
  }

  /** Whether everything planned has happened. */
  get done(): boolean {
    return this.struck >= this.planned;
  }

  /** Nothing more strikes; what is under way ends. */
  async cease(): Promise<void> {
    this.#armed.length = 0;
    while (this.#busy.size > 0) await Promise.allSettled(this.#busy);
  }

  async #happen(fault: Fault, run: string | undefined, worker: number): Promise<boolean> {
    const { actguard } = this.#stack;
    const inTurn = (restart: () => Promise<void>): Promise<void> => (this.#server = this.#server.then(restart));
    switch (fault.kind) {
      case 'deploy':
        if (this.#busyWorkers.has(worker)) return false;
        await this.#deploy(worker);
        break;
      case 'postgres':
        await inTurn(() => this.#stack.restartPostgres());
        break;
      case 'temporal':
        await inTurn(() => this.#stack.restartTemporal());
        break;
      case 'service':
        await inTurn(() => this.#stack.restartService());
        break;
      case 'terminate':
        if (run === undefined) return false;
        await actguard.client.workflow.getHandle(workflowIdOf(run)).terminate('chaos');
        break;
      case 'reset':
        if (run === undefined) return false;
        await this.#reset(run);
        break;
      default:
        return false;
    }
    this.#count(fault, null);
    return true;
  }

  async #kill(n: number): Promise<void> {
    this.#busyWorkers.add(n);
    this.#stack.workers[n]?.kill('SIGKILL');
    await this.#stack.startWorker(n);
    this.#busyWorkers.delete(n);
  }

  async #pause(n: number): Promise<void> {
    this.#busyWorkers.add(n);
    const worker = this.#stack.workers[n];
    worker?.kill('SIGSTOP');
    await sleep(this.#stoppedMs);
    worker?.kill('SIGCONT');
    this.#busyWorkers.delete(n);
  }

  /** SIGTERM under load: what runs finishes, another worker starts meanwhile. */
  async #deploy(n: number): Promise<void> {
    this.#busyWorkers.add(n);
    this.#stack.workers[n]?.kill('SIGTERM');
    await this.#stack.startWorker(n);
    this.#busyWorkers.delete(n);
  }

  /** Back to its first workflow task; then an operator recovers it. */
  async #reset(run: string): Promise<void> {
    const { actguard, key } = this.#stack;
    const handle = actguard.client.workflow.getHandle(workflowIdOf(run));
    const { runId } = await handle.describe();
    await actguard.client.workflowService.resetWorkflowExecution({
      namespace: 'default',
      workflowExecution: { workflowId: workflowIdOf(run), runId },
      reason: 'chaos',
      workflowTaskFinishEventId: 4 as never, // a Long in its types, a number on the wire
      requestId: randomUUID(),
    });
    for (let tries = 0; tries < 20; tries += 1) {
      await sleep(3_000);
      const signed = makeCommand(
        'recover',
        { tenant: TENANT, run, reason: 'reset by the experiment' },
        key,
        Date.now(),
      );
      const why = await commandRun(actguard, run, signed).then(() => null, String);
      if (why === null || /has ended|nothing is wrong|nothing to recover/.test(why)) return;
    }
    say(`run ${run} was not recovered`);
  }

  #count(fault: Fault, receiver: Receiver | null): void {
    this.struck += 1;
    const name = `${fault.kind}${fault.point === null ? '' : ` ${fault.point}`}${receiver === null ? '' : ` ${receiver}`}`;
    this.hits.set(name, (this.hits.get(name) ?? 0) + 1);
  }

  #background(work: Promise<unknown>): void {
    const kept = work
      .catch((error: unknown) => say(`a fault did not work: ${String(error)}`))
      .finally(() => this.#busy.delete(kept));
    this.#busy.add(kept);
  }
}

/** Milliseconds. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
