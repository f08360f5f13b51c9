/** Keeps the dev stack's worker running as a child process, and starts it again when the project's files change. */
import { existsSync, readdirSync, watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startChild } from './children.ts';
import type { Child, ProcessRef } from './children.ts';

const BIN = fileURLToPath(
  new URL(
    existsSync(new URL('../bin/actguard.mjs', import.meta.url)) ? '../bin/actguard.mjs' : '../../bin/actguard.mjs',
    import.meta.url,
  ),
);
/** An editor writes several times for one save. */
const DEBOUNCE_MS = 300;
const READY_TIMEOUT_MS = 60_000;
/** A worker that crashes at once is not started in a tight loop. */
const LONGEST_PAUSE_MS = 10_000;
/** A stopping worker lets its tools finish: tools' own timeouts end before this. */
const GRACE_MS = 60_000;
const MAX_WATCHED_FOLDERS = 200;

/** What happens to the worker. */
export type WorkerEvent =
  | { readonly kind: 'worker-ready'; readonly pid: number }
  | { readonly kind: 'worker-failed'; readonly code: string; readonly message: string; readonly hint: string | null }
  | { readonly kind: 'worker-restarting'; readonly why: string };

/** What the child says to us (client/cli/worker.ts). */
export type WorkerMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string; readonly hint: string | null };

/** How to run it. */
export interface DevWorkerOptions {
  readonly stateDirectory: string;
  readonly configPath: string;
  readonly onEvent: (event: WorkerEvent) => void;
  /** The child that runs now: kept in dev.json, so that the next start can end it. */
  readonly onChild: (child: ProcessRef | null) => Promise<void>;
}

/** A supervised worker. */
export interface DevWorker {
  /** Resolves when the first start is ready or has failed. */
  readonly started: Promise<void>;
  stop(): Promise<void>;
}

// Addresses of other platforms never reach the worker of a dev stack; keys and secrets of tools do.
const NEVER =
  /^(TEMPORAL_\w+|DATABASE_URL|SMTP_URL|PG[A-Z]+|ACTGUARD_DATABASE_URL|ACTGUARD_SMTP_URL|NODE_CHANNEL_\w+|NODE_OPTIONS)$/;

/** Starts the worker and keeps it: a crash starts it again after a pause, a change of files at once. */
export function superviseWorker(options: DevWorkerOptions): DevWorker {
  let child: Child | undefined;
  let stopping = false;
  let crashes = 0;
  let timer: NodeJS.Timeout | undefined;
  let turn: Promise<void> = Promise.resolve();
  const start = async (): Promise<void> => {
    if (stopping) return;
    let settle: () => void = () => undefined;
    const settled = new Promise<void>((resolve) => (settle = resolve));
    let told = false;
    const mine = await startChild({
      name: 'worker',
      command: process.execPath,
      args: [BIN, 'worker', '--config', options.configPath, '--dev-state', options.stateDirectory],
      env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !NEVER.test(name))),
      cwd: dirname(options.configPath),
      logFile: join(options.stateDirectory, 'logs', 'worker.log'),
      onMessage(message) {
        const said = message as WorkerMessage;
        if (said.kind === 'ready') {
          crashes = 0;
          options.onEvent({ kind: 'worker-ready', pid: mine.pid });
          settle();
        } else {
          told = true;
          options.onEvent({ kind: 'worker-failed', code: said.code, message: said.message, hint: said.hint });
        }
      },
    });
    child = mine;
    await options.onChild({ pid: mine.pid, startTime: mine.startTime });
    void mine.exited.then((code) => {
      settle();
      if (stopping || child !== mine) return;
      child = undefined;
      void options.onChild(null);
      if (code === 3) return; // its configuration is wrong: a change of files starts it again
      crashes += 1;
      const pauseMs = Math.min(500 * 2 ** crashes, LONGEST_PAUSE_MS);
      if (!told)
        options.onEvent({
          kind: 'worker-restarting',
          why: `the worker ended (${code}), starting it again; its log tells more`,
        });
      timer = setTimeout(() => void enqueue(start), pauseMs);
    });
    const late = setTimeout(settle, READY_TIMEOUT_MS);
    await settled;
    clearTimeout(late);
  };
  const enqueue = (work: () => Promise<void>): Promise<void> => (turn = turn.catch(() => undefined).then(work));
  const restart = async (): Promise<void> => {
    clearTimeout(timer);
    const old = child;
    child = undefined;
    await old?.stop({ graceMs: GRACE_MS });
    await start();
  };
  const watcher = watchFiles(dirname(options.configPath), (file) => {
    if (stopping) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      options.onEvent({ kind: 'worker-restarting', why: `${file} changed` });
      void enqueue(restart);
    }, DEBOUNCE_MS);
  });
  return {
    started: enqueue(start),
    async stop() {
      stopping = true;
      clearTimeout(timer);
      watcher.close();
      const running = child;
      await running?.stop({ graceMs: GRACE_MS });
      await turn.catch(() => undefined);
      await child?.stop({ graceMs: GRACE_MS });
    },
  };
}

const WATCHED = /\.(?:[cm]?[jt]sx?|json|cedar)$|^\.env$/;
const IGNORED_FOLDER = /^(?:node_modules|dist|build|coverage|\..*)$/;

// Folder by folder: Node's recursive watch would walk node_modules.
function watchFiles(root: string, onChange: (file: string) => void): { close(): void } {
  const watchers: FSWatcher[] = [];
  const folders = [root];
  for (let i = 0; i < folders.length && i < MAX_WATCHED_FOLDERS; i++) {
    const folder = folders[i] as string;
    try {
      const watcher = watch(folder, (_event, name) => {
        if (name !== null && WATCHED.test(name)) onChange(name);
      });
      watcher.on('error', () => undefined);
      watchers.push(watcher);
      for (const entry of readdirSync(folder, { withFileTypes: true })) {
        if (entry.isDirectory() && !IGNORED_FOLDER.test(entry.name)) folders.push(join(folder, entry.name));
      }
    } catch {
      // A folder that cannot be watched only means that nothing restarts by itself.
    }
  }
  return { close: () => watchers.forEach((watcher) => watcher.close()) };
}
