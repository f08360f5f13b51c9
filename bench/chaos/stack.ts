/** The experiment's servers and workers, each of which can be stopped and started again. */
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode } from '@temporalio/worker';
import type { Database } from '../../activities/deps.ts';
import { migrate } from '../../activities/migrate.ts';
import { connectDatabase } from '../../activities/postgres.ts';
import { connect, type ActGuard } from '../../client/index.ts';
import { DEV_APPROVER_KEY_FILE } from '../../client/dev-approver.ts';
import { readKeyFile, type SigningKey } from '../../client/keys.ts';
import { cleanEnvironment } from '../../worker/children.ts';
import { freePort } from '../../worker/ports.ts';
import { startPostgres, type PostgresServer } from '../../worker/postgres-server.ts';
import { findTemporal, startTemporal, type TemporalServer } from '../../worker/temporal-server.ts';
import { payloadConverterPath } from '../../workflows/converter-path.ts';
import { say } from '../stack.ts';
import { POLICY } from './config.ts';
import { postgresProxy, serviceProxy, type AtPoint } from './proxies.ts';

const API_KEY = 'chaos-payments-0123456789';
const QUIET = {
  log: () => undefined,
  trace: () => undefined,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
};

/** A refund in the service's own books. */
export interface Booked {
  readonly refundId: string;
  readonly orderId: string;
  /** ISO 8601. */
  readonly at?: string;
}

export class ChaosStack {
  readonly folder: string;
  readonly workers: (ChildProcess | null)[] = [];
  actguard!: ActGuard;
  key!: SigningKey;
  /** As the database's owner: the judge looks at tables. */
  db!: Database;
  #ports = { postgres: 0, temporal: 0, service: 0 };
  #postgres!: PostgresServer;
  #temporal!: TemporalServer;
  #service!: ChildProcess;
  readonly #ways: { readonly database: string; readonly service: string; close(): void }[] = [];
  readonly #orders: number;
  #ended = false;

  constructor(orders: number) {
    this.#orders = orders;
    this.folder = mkdtempSync(join(tmpdir(), 'actguard-chaos-'));
    chmodSync(this.folder, 0o711); // Postgres may run as another user
  }

  async start(workers: number, at: AtPoint): Promise<void> {
    mkdirSync(join(this.folder, 'policies'));
    writeFileSync(join(this.folder, 'policies', 'all.cedar'), POLICY);
    const { code } = await bundleWorkflowCode({
      workflowsPath: fileURLToPath(new URL('./workflow.ts', import.meta.url)),
      payloadConverterPath,
      logger: { ...QUIET, error: (message: string) => say(message) },
    });
    writeFileSync(join(this.folder, 'bundle.js'), code);
    this.#ports = { postgres: await freePort(), temporal: await freePort(), service: await freePort() };
    await Promise.all([this.#startPostgres(), this.#startTemporal(), this.#startService()]);
    await migrate(this.#postgres.url);
    for (let n = 0; n < workers; n += 1) {
      const [database, service] = [
        await postgresProxy(this.#ports.postgres, n, at),
        await serviceProxy(this.#ports.service, n, at),
      ];
      const url = new URL(this.#postgres.url);
      url.port = String(database.port);
      this.#ways.push({
        database: url.href,
        service: `http://127.0.0.1:${service.port}`,
        close: () => (database.close(), service.close()),
      });
      await this.startWorker(n); // one after the other: the first makes the dev keys
    }
    this.db = connectDatabase(this.#postgres.url, { max: 2 });
    this.key = readKeyFile(join(this.folder, DEV_APPROVER_KEY_FILE), null);
    const { address } = this.#temporal;
    this.actguard = await connect({ address, namespace: 'default', databaseUrl: this.#postgres.url });
  }

  /** Starts worker n again, and waits until it polls. */
  async startWorker(n: number): Promise<void> {
    const way = this.#ways[n];
    if (!way || this.#ended) return;
    const { database, service } = way;
    const { folder } = this;
    const given = {
      database,
      service,
      folder,
      temporal: this.#temporal.address,
      bundle: join(folder, 'bundle.js'),
      apiKey: API_KEY,
    };
    const child = fork(fileURLToPath(new URL('./worker.ts', import.meta.url)), [JSON.stringify(given)], {
      execArgv: ['--conditions=actguard:source'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: { ...cleanEnvironment(), NODE_COMPILE_CACHE: join(folder, 'compiled') },
    });
    this.workers[n] = child;
    await Promise.race([once(child, 'message'), once(child, 'exit')]);
    // it could not start (its server was away, say): again
    if (child.exitCode !== null && child.exitCode !== 0) return this.startWorker(n);
  }

  async restartPostgres(): Promise<void> {
    await this.#postgres.stop();
    await this.#startPostgres();
  }
  async restartTemporal(): Promise<void> {
    await this.#temporal.stop();
    await this.#startTemporal();
  }
  async restartService(): Promise<void> {
    this.#service.kill('SIGKILL');
    await once(this.#service, 'exit');
    await this.#startService();
  }

  /** The service's own books. */
  async books(): Promise<readonly Booked[]> {
    const response = await fetch(`http://127.0.0.1:${this.#ports.service}/books`, {
      headers: { authorization: `Bearer ${API_KEY}` },
    });
    return ((await response.json()) as { refunds: Booked[] }).refunds;
  }

  async end(): Promise<void> {
    this.#ended = true;
    for (const worker of this.workers) worker?.kill('SIGKILL');
    await this.actguard?.close();
    await this.db?.end();
    for (const way of this.#ways) way.close();
    this.#service?.kill('SIGKILL');
    await Promise.all([this.#temporal?.stop(), this.#postgres?.stop()]);
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #startPostgres(): Promise<void> {
    this.#postgres = await startPostgres({
      dataDirectory: join(this.folder, 'postgres'),
      port: this.#ports.postgres,
      password: 'chaos-only',
      logFile: join(this.folder, 'postgres.log'),
      database: 'actguard',
      durable: true,
    });
  }

  async #startTemporal(): Promise<void> {
    this.#temporal = await startTemporal({
      program: (await findTemporal({ onProgress: say })).path,
      port: this.#ports.temporal,
      uiPort: null,
      databaseFile: join(this.folder, 'temporal.db'),
      logFile: join(this.folder, 'temporal.log'),
    });
  }

  async #startService(): Promise<void> {
    const program = fileURLToPath(new URL('../../examples/refund-desk/service.ts', import.meta.url));
    const { service } = this.#ports;
    const args = ['--port', String(service), '--data', join(this.folder, 'books'), '--more', String(this.#orders)];
    this.#service = spawn(process.execPath, [program, ...args], {
      env: { ...cleanEnvironment(), PAYMENTS_API_KEY: API_KEY },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(this.#service.stdout as NodeJS.ReadableStream, 'data');
  }
}
