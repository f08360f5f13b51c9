/**
 * `actguard secrets scan`: a project's own run on a stack that is thrown away, with a canary for every secret that a tool
 * uses; afterwards no canary may stand anywhere: history, database, logs, mails, files, in any encoding that is known.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { connectDatabase } from '../activities/postgres.ts';
import { connect } from '../client/client.ts';
import type { Config } from '../define/types.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import { startDevStack } from './dev-stack.ts';
import { CONFIG_NAMES, findConfig, loadConfig } from './load-config.ts';
import { prepareScan } from './scan-prepare.ts';
import { CanarySearch, searchFiles, searchPostgres, searchTemporal, type Leak } from './scan-places.ts';
import { runWorker } from './worker.ts';

/** What is run. */
export interface ScanOptions {
  readonly configPath?: string;
  /** A project's folder: its configuration is scanned, none above it. */
  readonly project?: string;
  /** Asked by `input`; absent: the first one. */
  readonly agent?: string;
  /** The request that opens the agent's run; absent: the one of `actguard.scan.ts`, or only `calls` are made. */
  readonly input?: string;
  /** Calls of tools in a session of their own. */
  readonly calls: readonly { readonly tool: string; readonly args: Json }[];
  /** Uses the environment's values as canaries, where a receiver checks them; default: random ones. */
  readonly ownValues?: boolean;
  /** Stops waiting for a run after this; what it left is looked at all the same. */
  readonly timeoutMs: number;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly onProgress: (message: string) => void;
}

/** What was found. */
export interface ScanResult {
  /** No leak, and at least one secret was used: a run that used none proves nothing. */
  readonly ok: boolean;
  readonly leaks: readonly Leak[];
  /** Secrets that went out or were revealed in the run. */
  readonly used: readonly string[];
  /** Secrets of tools that the run did not use: nothing is known of them. */
  readonly unused: readonly string[];
  /** Texts that were looked at. */
  readonly searched: number;
}

/** Runs and looks. @throws CONFIG_INVALID, ARGUMENTS_INVALID, BACKEND_UNAVAILABLE: nothing to run, or it does not start */
export async function scanSecrets(given: ScanOptions): Promise<ScanResult> {
  const configPath = configOf(given);
  const file = findConfig(configPath);
  const prepared = file === undefined ? undefined : await prepareScan(file);
  const plan = prepared?.plan ?? {};
  try {
    Object.assign(process.env, plan.environment);
    const options: ScanOptions = {
      ...plan,
      ...given,
      ...(configPath === undefined ? {} : { configPath }),
      calls: [...(plan.calls ?? []), ...given.calls],
      ownValues: given.ownValues === true || plan.ownValues === true,
      environment: { ...given.environment, ...plan.environment },
    };
    if (options.input === undefined && options.calls.length === 0) {
      const hint = 'give a request or --call, or write an actguard.scan.ts beside the configuration';
      throw new ActGuardError('ARGUMENTS_INVALID', 'there is nothing to run', { hint });
    }
    return await runAndLook(options);
  } finally {
    await prepared?.end();
  }
}

/** The configuration of a project's own folder. @throws CONFIG_INVALID where it has none */
function configOf({ project, configPath }: ScanOptions): string | undefined {
  if (configPath !== undefined || project === undefined) return configPath;
  const found = CONFIG_NAMES.map((name) => join(project, name)).find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new ActGuardError('CONFIG_INVALID', `there is no \`actguard.config.ts\` in \`${project}\``);
}

async function runAndLook(options: ScanOptions): Promise<ScanResult> {
  const { config, directory } = await loadConfig(options.configPath);
  const canaries = canariesOf(config, options);
  const search = new CanarySearch(canaries);
  const sinceMs = Date.now() - 1_000;
  options.onProgress('starting a stack that is thrown away');
  const stack = await startDevStack({
    ...{ directory, ephemeral: true, noWorker: true },
    ports: { temporal: 0, ui: 0, postgres: 0, mail: 0, page: 0 },
    env: { TEMPORAL_CLI_PATH: options.environment['TEMPORAL_CLI_PATH'], PATH: options.environment['PATH'] },
  });
  if (stack.kind === 'running') throw new ActGuardError('CONFLICT', 'a stack runs where a new one was to be');
  // stopped by hand: nothing of the stack stays behind
  const onSignal = (): void => void stack.stop().then(() => process.exit(1));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, onSignal);
  try {
    const { temporal, postgres, mail } = stack.file();
    if (!temporal || !postgres) throw new ActGuardError('BACKEND_UNAVAILABLE', 'the stack did not start');
    const lines: string[] = [];
    const stop = new AbortController();
    let ready = (): void => undefined;
    const started = new Promise<void>((resolve) => (ready = resolve));
    const running = runWorker({
      config: { ...config, secrets: { from: [(name) => Promise.resolve(canaries[name])], cacheMs: 60_000 } },
      configDirectory: directory,
      temporal,
      databaseUrl: postgres.url,
      smtpUrl: mail?.smtp ?? null,
      devDirectory: stack.stateDirectory,
      modelReplayUrl: options.environment['ACTGUARD_MODEL_REPLAY_URL'] ?? null,
      environment: {},
      signal: stop.signal,
      log: (level, message, data) => lines.push(JSON.stringify([level, message, data ?? null])),
      onReady: ready,
    });
    await Promise.race([started, running]);
    options.onProgress('running');
    const actguard = await connect({ ...temporal, databaseUrl: postgres.url, payloadKeys: null });
    try {
      await play(actguard, config, options);
    } finally {
      await actguard.close();
      stop.abort();
      await running;
    }
    options.onProgress('looking everywhere');
    await searchTemporal(search, temporal.address, temporal.namespace);
    await searchPostgres(search, postgres.url);
    search.look("the worker's log", lines.join('\n'));
    searchFiles(search, stack.stateDirectory, '.actguard', 0);
    if (existsSync(directory)) searchFiles(search, directory, '.', sinceMs);
    return judgeScan(search, Object.keys(canaries), await usedSecrets(postgres.url));
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.removeListener(signal, onSignal);
    await stack.stop();
  }
}

/** What a search says of the secrets of a project, of which some were used. */
export function judgeScan(
  { leaks, searched }: Pick<CanarySearch, 'leaks' | 'searched'>,
  names: readonly string[],
  inUse: ReadonlySet<string>,
): ScanResult {
  const used = names.filter((name) => inUse.has(name));
  const ok = leaks.length === 0 && used.length > 0;
  return { ok, leaks, used, unused: names.filter((name) => !inUse.has(name)), searched };
}

function canariesOf(config: Config, options: ScanOptions): { readonly [name: string]: string } {
  const found: { [name: string]: string } = {};
  for (const tool of config.tools) {
    for (const ref of Object.values(tool.code.credentials)) {
      const own = options.ownValues ? options.environment[ref.env] : undefined;
      found[ref.name] ??= own ?? `canary-${randomBytes(15).toString('base64url')}`;
    }
  }
  if (Object.keys(found).length > 0) return found;
  throw new ActGuardError('CONFIG_INVALID', 'no tool of this project has credentials: there is nothing to look for');
}

/** The agent's run and the calls; how they end does not matter, only what they leave. */
async function play(
  actguard: Awaited<ReturnType<typeof connect>>,
  config: Config,
  options: ScanOptions,
): Promise<void> {
  const agent = options.agent ?? config.agents[0]?.name ?? '';
  const who = { user: 'scan', tenant: 'scan' };
  if (options.calls.length > 0) {
    const session = await actguard.session({ id: 'scan', agent, ...who });
    for (const { tool, args } of options.calls) {
      const { kind } = await session.call(tool, args);
      options.onProgress(`${tool}: ${kind}`);
    }
    await session.close();
  }
  if (options.input === undefined) return;
  const run = await actguard.start(agent, { input: options.input, ...who });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => (timer = setTimeout(() => resolve('late'), options.timeoutMs)));
  const ended = await Promise.race([run.result().then(({ status }) => status), late]);
  clearTimeout(timer);
  options.onProgress(`${agent}: ${ended === 'late' ? 'still waiting; what it left so far is looked at' : ended}`);
  if (ended === 'late') await run.cancel();
}

/** Names that outcomes and reveals speak of. */
async function usedSecrets(url: string): Promise<ReadonlySet<string>> {
  const db = connectDatabase(url);
  try {
    const rows = await db.query<{ body: string }>(`select convert_from(body, 'UTF8') as body from actguard.entries`);
    const names = rows.flatMap(({ body }) => {
      const { kind, data } = JSON.parse(body) as {
        kind: string;
        data: { uses?: readonly { readonly name: string }[]; name?: string };
      };
      const revealed = kind === 'credential.revealed' && data.name !== undefined ? [data.name] : [];
      return [...(data.uses ?? []).map((use) => use.name), ...revealed];
    });
    return new Set(names);
  } finally {
    await db.end();
  }
}
