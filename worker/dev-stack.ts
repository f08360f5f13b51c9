/** The dev stack: Temporal with its Web UI, Postgres, a mail inbox and a worker, on loopback, in one directory. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { migrate, schemaMarker } from '../activities/migrate.ts';
import { databasePlace } from '../activities/postgres.ts';
import { ActGuardError } from '../governance/errors.ts';
import { endProcess } from './children.ts';
import type { Child } from './children.ts';
import { claimDevFile, prepareStateDirectory, stateTrouble, STATE_DIRECTORY } from './dev-file.ts';
import { startDevPage } from './dev-page.ts';
import type { DevChild, DevFile, DevFileHandle } from './dev-file.ts';
import { devDatabaseDirectory, devPassword } from './dev-state.ts';
import { startDevWitness } from './dev-witness.ts';
import { superviseWorker } from './dev-worker.ts';
import type { DevWorker, WorkerEvent } from './dev-worker.ts';
import { findConfig } from './load-config.ts';
import { startMail } from './mail-server.ts';
import { choosePort } from './ports.ts';
import { startPostgres } from './postgres-server.ts';
import { findTemporal, startTemporal } from './temporal-server.ts';

/** Ports that are tried first when none are given. */
const USUAL_PORTS = { temporal: 7233, ui: 8233, postgres: 5433, mail: 1025, page: 8400 };
/** Whatever takes longer says so. */
const PATIENCE_MS = 1_000;

/** What happens while the stack starts and runs. */
export type DevEvent =
  | { readonly kind: 'progress'; readonly message: string }
  | { readonly kind: 'ended'; readonly name: string; readonly how: string }
  | WorkerEvent;

/** How to start it. */
export interface DevStackOptions {
  /** The project: state lies in `.actguard` below it. */
  readonly directory: string;
  /** Everything in a temporary folder, removed at the end. */
  readonly ephemeral?: boolean;
  readonly noWorker?: boolean;
  /** 0: any free one. */
  readonly ports?: { readonly [part in keyof typeof USUAL_PORTS]?: number };
  readonly configPath?: string;
  /** Migrate a database of the user's own that does not carry our marker yet. */
  readonly init?: boolean;
  /** Only ACTGUARD_DATABASE_URL, ACTGUARD_SMTP_URL and TEMPORAL_CLI_PATH are read from it; default: process.env. */
  readonly env?: NodeJS.ProcessEnv;
  readonly onEvent?: (event: DevEvent) => void;
}

/** A running stack. */
export interface DevStack {
  readonly kind: 'started';
  readonly stateDirectory: string;
  readonly file: () => DevFile;
  /** Resolves when a part ended by itself, with its name. */
  readonly broken: Promise<string>;
  /** Worker first, then the rest; state stays (unless ephemeral). May be called twice. */
  stop(): Promise<void>;
}

/**
 * Starts the stack, or says what runs in this directory already. Throws BACKEND_UNAVAILABLE (a part does not start, a
 * port is taken, the state directory cannot be written) and CONFIG_INVALID (a foreign database without `init`).
 */
export async function startDevStack(
  options: DevStackOptions,
): Promise<DevStack | { readonly kind: 'running'; readonly file: DevFile }> {
  const base = options.ephemeral ? await temporaryFolder() : resolve(options.directory);
  const state = join(base, STATE_DIRECTORY);
  await prepareStateDirectory(state);
  const claim = await claimDevFile(state).catch((error: unknown) => {
    throw stateTrouble(error, state);
  });
  if (claim.kind === 'running') return claim;
  const stack = new Stack(options, base, state, claim.file);
  try {
    for (const child of claim.leftover?.children ?? []) await endProcess(child, child.signal, 20_000);
    await stack.start();
    return {
      kind: 'started',
      stateDirectory: state,
      file: claim.file.current,
      broken: stack.broken,
      stop: () => stack.stop(),
    };
  } catch (error) {
    await stack.stop();
    throw stateTrouble(error, state);
  }
}

class Stack {
  readonly broken: Promise<string>;
  private readonly options: DevStackOptions;
  private readonly base: string;
  private readonly state: string;
  private readonly file: DevFileHandle;
  private readonly env: NodeJS.ProcessEnv;
  private readonly stops: { readonly order: number; readonly stop: () => Promise<void> }[] = [];
  private worker: DevWorker | undefined;
  private stopped: Promise<void> | undefined;
  private breakDown: (name: string) => void = () => undefined;

  constructor(options: DevStackOptions, base: string, state: string, file: DevFileHandle) {
    this.options = options;
    this.base = base;
    this.state = state;
    this.file = file;
    this.env = options.env ?? process.env;
    this.broken = new Promise((resolve_) => (this.breakDown = resolve_));
  }

  async start(): Promise<void> {
    // Ports one after the other, so that two parts do not choose the same one.
    const ports = {
      temporal: await choosePort('Temporal', this.options.ports?.temporal, USUAL_PORTS.temporal),
      ui: await choosePort("Temporal's Web UI", this.options.ports?.ui, USUAL_PORTS.ui),
      postgres: this.env['ACTGUARD_DATABASE_URL']
        ? 0
        : await choosePort('Postgres', this.options.ports?.postgres, USUAL_PORTS.postgres),
      mail: this.env['ACTGUARD_SMTP_URL'] ? 0 : await choosePort('mail', this.options.ports?.mail, USUAL_PORTS.mail),
    };
    const page = await choosePort('the approval page', this.options.ports?.page, USUAL_PORTS.page);
    const parts = await Promise.allSettled([
      this.patiently('starting Postgres', this.startDatabase(ports.postgres)),
      this.patiently('starting Temporal', this.startTemporal(ports.temporal, ports.ui)),
      this.startMail(ports.mail),
    ]);
    const failed = parts.find((part) => part.status === 'rejected');
    if (failed) throw failed.reason;
    await this.startPage(page);
    if (!this.options.noWorker) await this.patiently('starting the worker', this.startWorker());
    await this.file.update({ ready: true });
  }

  stop(): Promise<void> {
    return (this.stopped ??= this.stopAll());
  }

  private async stopAll(): Promise<void> {
    await this.worker?.stop();
    for (const { stop } of this.stops.toSorted((a, b) => a.order - b.order)) await stop();
    await this.file.release();
    if (this.options.ephemeral) await rm(this.base, { recursive: true, force: true });
  }

  private async startDatabase(port: number): Promise<void> {
    const own = this.env['ACTGUARD_DATABASE_URL'];
    if (own) {
      this.say(`using the database at ${databasePlace(own)} (ACTGUARD_DATABASE_URL)`);
      await this.mayMigrate(own);
      await migrate(own);
      return this.file.update({ postgres: { url: own } });
    }
    const data = await devDatabaseDirectory(this.state, (message) => this.say(message));
    const server = await startPostgres({
      dataDirectory: data.path,
      port,
      password: await devPassword(this.state),
      logFile: join(this.state, 'logs', 'postgres.log'),
      database: 'actguard',
      durable: !this.options.ephemeral,
      onProgress: (message) => this.say(message),
    });
    this.watchOver(server.child);
    this.stops.push({
      order: 3,
      stop: async () => {
        await server.stop();
        if (this.options.ephemeral && data.outside) await rm(data.outside, { recursive: true, force: true });
      },
    });
    await this.remember(server.child, 'SIGINT');
    await migrate(server.url);
    await this.file.update({ postgres: { url: server.url } });
  }

  private async mayMigrate(url: string): Promise<void> {
    const marker = await schemaMarker(url);
    if (typeof marker === 'number' || this.options.init) return;
    const what = marker === 'none' ? 'is empty' : 'holds tables that are not ours';
    throw new ActGuardError(
      'CONFIG_INVALID',
      `the database at ${databasePlace(url)} ${what}: it is not migrated unasked`,
      {
        details: { marker },
        hint: 'if it is meant for ActGuard, start once with --init',
      },
    );
  }

  private async startTemporal(port: number, uiPort: number): Promise<void> {
    const { path } = await findTemporal({ env: this.env, onProgress: (message) => this.say(message) });
    const server = await startTemporal({
      program: path,
      port,
      uiPort,
      databaseFile: join(this.state, 'temporal.db'),
      logFile: join(this.state, 'logs', 'temporal.log'),
    });
    this.watchOver(server.child);
    this.stops.push({ order: 2, stop: () => server.stop() });
    await this.remember(server.child, 'SIGTERM');
    await chmod(join(this.state, 'temporal.db'), 0o600); // histories hold arguments
    await this.file.update({ temporal: { address: server.address, namespace: server.namespace, ui: server.ui } });
  }

  private async startMail(port: number): Promise<void> {
    const own = this.env['ACTGUARD_SMTP_URL'];
    if (own) {
      this.say('sending mail through ACTGUARD_SMTP_URL');
      return this.file.update({ mail: { smtp: own, directory: null } });
    }
    const server = await startMail({ directory: join(this.state, 'mail'), port });
    this.stops.push({ order: 1, stop: () => server.stop() });
    await this.file.update({ mail: { smtp: server.url, directory: server.directory } });
  }

  private async startPage(port: number): Promise<void> {
    const started = await startDevPage(this.state, this.file.current(), port, (message) => this.say(message));
    if (!started) return;
    this.stops.push({ order: 0, stop: () => started.page.stop() });
    await this.file.update({ page: { url: started.url } });
  }

  private async startWorker(): Promise<void> {
    const configPath = findConfig(this.options.configPath, this.options.directory);
    if (configPath === undefined) {
      const asked = this.options.configPath;
      if (asked !== undefined) throw new ActGuardError('CONFIG_INVALID', `there is no configuration at \`${asked}\``);
      return this.say('no actguard.config.ts here: running without a worker');
    }
    await this.startWitness();
    this.worker = superviseWorker({
      stateDirectory: this.state,
      configPath,
      onEvent: (event) => this.options.onEvent?.(event),
      onChild: async (child) => {
        const others = this.file.current().children.filter((other) => other.name !== 'worker');
        // First in the list: ended first by the next start.
        const children: DevChild[] = child ? [{ ...child, name: 'worker', signal: 'SIGTERM' }, ...others] : others;
        await this.file.update({ worker: child ? { pid: child.pid } : null, children });
      },
    });
    await this.worker.started;
  }

  private async startWitness(): Promise<void> {
    const { url, key, child } = await startDevWitness(this.state);
    this.watchOver(child);
    this.stops.push({ order: 1, stop: () => child.stop() });
    await this.remember(child, 'SIGTERM');
    await this.file.update({ witness: { url, key } });
  }

  private remember(child: Child, signal: NodeJS.Signals): Promise<void> {
    const { name, pid, startTime } = child;
    return this.file.update({ children: [...this.file.current().children, { name, pid, startTime, signal }] });
  }

  private watchOver(child: Child): void {
    void child.exited.then((how) => {
      if (this.stopped) return;
      this.options.onEvent?.({ kind: 'ended', name: child.name, how: String(how) });
      this.breakDown(child.name);
    });
  }

  private async patiently<T>(what: string, work: Promise<T>): Promise<T> {
    const timer = setTimeout(() => this.say(what), PATIENCE_MS);
    try {
      return await work;
    } finally {
      clearTimeout(timer);
    }
  }

  private say(message: string): void {
    this.options.onEvent?.({ kind: 'progress', message });
  }
}

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'actguard-dev-'));
  await chmod(folder, 0o711); // Postgres may run as another user
  return folder;
}
