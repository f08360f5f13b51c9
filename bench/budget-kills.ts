/** Workers in processes of their own, one of which dies every few seconds in the middle of what it does. */
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { say } from './stack.ts';

const WORKERS = 3;
const KILL_EVERY_MS = 4_000;

/** Workers under fire. `end` stops all of them. */
export interface KilledWorkers {
  readonly kills: () => number;
  /** No further kills; the workers go on. */
  cease(): void;
  end(): void;
}

/** Starts the workers and the killing. */
export async function killedWorkers(args: readonly string[]): Promise<KilledWorkers> {
  const workers = await Promise.all(Array.from({ length: WORKERS }, () => start(args)));
  let kills = 0;
  let ended = false;
  const killing = setInterval(() => {
    const i = Math.floor(Math.random() * workers.length);
    const victim = workers[i];
    if (!victim) return;
    kills += 1;
    victim.kill('SIGKILL');
    void start(args).then((next) => {
      if (ended) next.kill('SIGKILL');
      else workers[i] = next;
    });
  }, KILL_EVERY_MS);
  return {
    kills: () => kills,
    cease: () => clearInterval(killing),
    end() {
      ended = true;
      clearInterval(killing);
      for (const worker of workers) worker.kill('SIGKILL');
      say(`${kills} workers were killed`);
    },
  };
}

function start(args: readonly string[]): Promise<ChildProcess> {
  const child = fork(fileURLToPath(new URL('./budget-worker.ts', import.meta.url)), [...args], {
    execArgv: [...process.execArgv, '--conditions=actguard:source'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  return new Promise((resolve, reject) => {
    child.once('message', () => resolve(child));
    child.once('exit', (code) => (code === null ? resolve(child) : reject(new Error(`a worker ended with ${code}`))));
  });
}
