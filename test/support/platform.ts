/** A worker and a client on the shared test servers, with a task queue and a database of their own. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Database } from '../../activities/deps.ts';
import { connect, type ActGuard } from '../../client/index.ts';
import { defineAgent, defineConfig, type Config, type Tool } from '../../define/index.ts';
import type { ConfigOptions } from '../../define/types.ts';
import { type WorkerOptions, jsonLog, runWorker } from '../../worker/worker.ts';
import { makeBundle } from '../../worker/bundle.ts';
import { freshDatabase } from './database.ts';
import { temporalAddress } from './temporal.ts';

export interface Platform {
  readonly actguard: ActGuard;
  readonly db: Database;
  readonly directory: string;
  readonly taskQueue: string;
  readonly databaseUrl: string;
  /** Stops the worker (deploy) and starts another. */
  restart(): Promise<void>;
  stopWorker(): Promise<void>;
  end(): Promise<void>;
}

export interface PlatformOptions {
  readonly tools: readonly Tool[];
  readonly agents?: Config['agents'];
  /** Text of policies/test.cedar; default: everything is permitted. */
  readonly policy?: string;
  /** `process`: the worker takes its secrets out of this process's own environment. */
  readonly environment?: Record<string, string> | 'process';
  readonly modelReplayUrl?: string;
  /** Default: one of its own. */
  readonly taskQueue?: string;
  readonly sealing?: WorkerOptions['sealing'];
  /** File of the payload keys, for worker and client. */
  readonly payloadKeys?: string;
  /** Default: no mail is sent. */
  readonly smtpUrl?: string;
  readonly config?: {
    readonly approvals?: ConfigOptions['approvals'];
    readonly budgets?: ConfigOptions['budgets'];
    readonly budgetWait?: ConfigOptions['budgetWait'];
    readonly secrets?: ConfigOptions['secrets'];
  };
}

let bundle: ReturnType<typeof makeBundle> | undefined;

/** Starts a worker (about 3 s the first time in a file) and connects a client. */
export async function platform(options: PlatformOptions): Promise<Platform> {
  const directory = await mkdtemp(join(tmpdir(), 'actguard-test-'));
  const policies = join(directory, 'policies');
  await mkdir(policies);
  await writeFile(join(policies, 'test.cedar'), options.policy ?? '@id("all") permit (principal, action, resource);\n');
  const database = await freshDatabase({ max: 4 });
  const taskQueue = options.taskQueue ?? `q-${randomUUID()}`;
  const agents = options.agents ?? [defineAgent({ name: 'desk', tools: options.tools })];
  const config = defineConfig({ tools: options.tools, agents, policies: './policies', ...options.config });
  bundle ??= makeBundle();
  const workflowBundle = await bundle;
  let stop = new AbortController();
  let running = Promise.resolve();
  const startWorker = async (): Promise<void> => {
    stop = new AbortController();
    await new Promise<void>((resolve, reject) => {
      running = runWorker({
        config,
        configDirectory: directory,
        temporal: { address: temporalAddress(), namespace: 'default' },
        databaseUrl: database.url,
        smtpUrl: options.smtpUrl ?? null,
        devDirectory: directory,
        modelReplayUrl: options.modelReplayUrl ?? null,
        taskQueue,
        sealing: options.sealing ?? null,
        ...(options.payloadKeys === undefined ? {} : { payloadKeys: options.payloadKeys }),
        workflowBundle,
        signal: stop.signal,
        log: (level, message, data) => {
          if (level === 'error') jsonLog(level, message, data);
        },
        onReady: resolve,
        ...(options.environment === 'process' ? {} : { environment: options.environment ?? {} }),
      });
      running.catch(reject);
    });
  };
  await startWorker();
  const actguard = await connect({
    address: temporalAddress(),
    namespace: 'default',
    databaseUrl: database.url,
    taskQueue,
    ...(options.payloadKeys === undefined ? {} : { payloadKeys: options.payloadKeys }),
  });
  const stopWorker = async (): Promise<void> => {
    stop.abort();
    await running;
  };
  return {
    actguard,
    db: database.db,
    directory,
    taskQueue,
    databaseUrl: database.url,
    stopWorker,
    async restart() {
      await stopWorker();
      await startWorker();
    },
    async end() {
      await actguard.close();
      await stopWorker();
      await database.drop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
