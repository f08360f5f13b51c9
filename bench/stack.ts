/** One embedded stack for a benchmark: Temporal in memory, Postgres with durable commits, a worker in this process. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker, bundleWorkflowCode } from '@temporalio/worker';
import { createActivities } from '../activities/index.ts';
import type { Deps } from '../activities/deps.ts';
import { environmentSecrets } from '../activities/credentials.ts';
import { migrate } from '../activities/migrate.ts';
import { loadPolicyDirectory } from '../activities/policy-load.ts';
import { connectDatabase } from '../activities/postgres.ts';
import { SecretSet } from '../activities/scrub.ts';
import type { Config } from '../define/types.ts';
import { keepSyntax } from '../worker/bundle-syntax.ts';
import { freePort } from '../worker/ports.ts';
import { startPostgres } from '../worker/postgres-server.ts';
import { findTemporal, startTemporal } from '../worker/temporal-server.ts';
import { payloadConverterPath } from '../workflows/converter-path.ts';

export interface BenchStack {
  readonly client: Client;
  readonly deps: Deps;
  readonly taskQueue: string;
  /** Where other workers of the same stack connect to. */
  readonly address: string;
  readonly databaseUrl: string;
  readonly policies: string;
  /** Runs `work` while the worker polls. */
  run<T>(work: () => Promise<T>): Promise<T>;
  end(): Promise<void>;
}

/** Starts everything; progress on standard error. */
export async function benchStack(
  config: Config,
  policy: string,
  bare: object,
  models: Deps['models'],
  options: { readonly activitiesElsewhere?: boolean } = {},
): Promise<BenchStack> {
  Runtime.install({ logger: new DefaultLogger('WARN') });
  const folder = mkdtempSync(join(tmpdir(), 'actguard-bench-'));
  chmodSync(folder, 0o755);
  const policies = join(folder, 'policies');
  mkdirSync(policies);
  writeFileSync(join(policies, 'bench.cedar'), policy);
  say('starting Postgres and Temporal');
  const postgres = await startPostgres({
    dataDirectory: join(folder, 'postgres'),
    port: await freePort(),
    password: 'bench-only',
    logFile: join(folder, 'postgres.log'),
    database: 'actguard',
    durable: true,
  });
  await migrate(postgres.url);
  const { path } = await findTemporal({ onProgress: say });
  const temporal = await startTemporal({
    program: path,
    port: await freePort(),
    uiPort: null,
    databaseFile: null,
    logFile: join(folder, 'temporal.log'),
  });
  const db = connectDatabase(postgres.url, { max: 20 });
  const engine = await loadPolicyDirectory(
    policies,
    config.tools.map((t) => t.manifest),
    config.agents.map((a) => a.name),
  );
  const deps: Deps = {
    db,
    config,
    policy: () => engine,
    secrets: environmentSecrets({ BENCH_KEY: 'bench-secret-0123456789' }),
    known: new SecretSet(),
    mailer: null,
    roots: [],
    dev: true,
    models,
    log: () => undefined,
  };
  const nativeConnection = await NativeConnection.connect({ address: temporal.address });
  const connection = await Connection.connect({ address: temporal.address });
  const taskQueue = 'bench';
  say('bundling workflows');
  const workflowBundle = await bundleWorkflowCode({
    workflowsPath: fileURLToPath(new URL('./workflows.ts', import.meta.url)),
    payloadConverterPath,
    webpackConfigHook: keepSyntax,
    logger: new DefaultLogger('WARN'),
  });
  const worker = await Worker.create({
    connection: nativeConnection,
    taskQueue,
    workflowBundle,
    dataConverter: { payloadConverterPath },
    ...(options.activitiesElsewhere ? {} : { activities: { ...createActivities(deps), ...bare } }),
  });
  return {
    client: new Client({ connection, dataConverter: { payloadConverterPath } }),
    deps,
    taskQueue,
    address: temporal.address,
    databaseUrl: postgres.url,
    policies,
    run: (work) => worker.runUntil(work),
    async end() {
      await connection.close();
      await nativeConnection.close();
      await db.end();
      await temporal.stop();
      await postgres.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export function say(message: string): void {
  process.stderr.write(`${message}\n`);
}

/** The middle value; of an even number the lower middle. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? NaN;
}
