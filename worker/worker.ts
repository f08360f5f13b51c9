/**
 * The composition root: connects to Temporal and Postgres, loads configuration and policies, and runs a worker until it
 * is told to stop. Whatever is missing keeps it from starting (P7).
 */
import { userInfo } from 'node:os';
import { dirname, resolve } from 'node:path';
import { NativeConnection, type NativeConnectionOptions, Worker, type WorkflowBundle } from '@temporalio/worker';
import { ensureDevApprover } from '../activities/directory.ts';
import { createActivities } from '../activities/index.ts';
import type { Deps } from '../activities/deps.ts';
import { createModelGateway } from '../activities/model-gateway.ts';
import { DatabaseClock } from '../activities/clock.ts';
import { migrate } from '../activities/migrate.ts';
import { loadPolicies, readPolicyDirectory, policySources } from '../activities/policy-load.ts';
import { PolicyStore } from '../activities/policy-store.ts';
import { WORKER_ROLE, connectDatabase } from '../activities/postgres.ts';
import { SecretSet } from '../activities/scrub.ts';
import { secretProblem } from '../activities/secret-problem.ts';
import { converterWith, keysAt, payloadKeysFile } from '../client/data-converter.ts';
import { devApprover } from '../client/dev-approver.ts';
import type { Config } from '../define/types.ts';
import type { Json } from '../governance/json.ts';
import { passkeysAt } from '../governance/webauthn.ts';
import { POLICY_POLL_MS } from '../governance/limits.ts';
import { TASK_QUEUE } from '../workflows/ids.ts';
import { bundleWorkflows, type LoadableBundle } from './bundle.ts';
import { startJanitor } from './janitor.ts';
import { smtpMailer } from './mailer.ts';
import { scrubOutput } from './scrub-output.ts';
import { openSecrets, secretVariables, secretsOfEnvironment } from './secrets.ts';
import { type Sealing, startSealer } from './sealer.ts';
import { checkSearchAttributes } from './search-attributes.ts';
import { untilReachable } from './until-reachable.ts';

/** Milliseconds beyond the longest tool that a stopping worker waits. */
const SHUTDOWN_MARGIN_MS = 10_000;

/** Where a worker connects to and what it runs. */
export interface WorkerOptions {
  readonly config: Config;
  /** Folder of the configuration: policies are relative to it. */
  readonly configDirectory: string;
  readonly temporal: {
    readonly address: string;
    readonly namespace: string;
    readonly apiKey?: string;
    /** True, or what Temporal's TLSConfig holds: a client certificate for mTLS, a root of your own. */
    readonly tls?: NativeConnectionOptions['tls'];
  };
  readonly databaseUrl: string;
  readonly smtpUrl: string | null;
  /** Set on a dev stack: its state directory, where the dev keys lie. */
  readonly devDirectory: string | null;
  /** Base URL of a server that replays recorded models; real providers are not called then. */
  readonly modelReplayUrl: string | null;
  /** Set on a dev stack: the origin of its approval page, `http://localhost:8400`. */
  readonly pageUrl?: string | null;
  readonly taskQueue?: string;
  /** Set where the sealing key is: this worker seals the ledger, too. */
  readonly sealing?: Sealing | null;
  readonly workflowBundle?: WorkflowBundle;
  /** Stops the worker: polling ends at once, running tools finish. */
  readonly signal: AbortSignal;
  readonly log: Deps['log'];
  readonly onReady?: () => void;
  /** This process is the worker's own: what is written to standard output and error is scrubbed as well. */
  readonly scrubOutput?: boolean;
  /** File of the keys that payloads and content are encrypted with; default: ACTGUARD_PAYLOAD_KEYS. Clients have to have the same. */
  readonly payloadKeys?: string;
  /** Where secrets are read from; default: the environment as it was when the worker started. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/** Runs a worker until `signal` aborts. @throws CONFIG_INVALID, BACKEND_UNAVAILABLE when it cannot start */
export async function runWorker(options: WorkerOptions): Promise<void> {
  const { config } = options;
  const known = new SecretSet();
  for (const value of ownSecrets(options)) known.add(value);
  const log = scrubbedLog(options.log, known);
  const policies = resolve(options.configDirectory, config.policies);
  const world = policySources(config);
  const files = readPolicyDirectory(policies);
  loadPolicies({ files, ...world }); // before anything is connected to: every problem with its line
  const environment = options.environment ?? { ...process.env };
  for (const value of secretsOfEnvironment(config, environment)) known.add(value);
  const keys = keysAt(options.payloadKeys ?? payloadKeysFile(environment));
  const db = connectDatabase(options.databaseUrl, { role: WORKER_ROLE, keys });
  const restoreOutput = options.scrubOutput ? scrubOutput(known) : () => undefined;
  let connection: NativeConnection | undefined;
  let polling: NodeJS.Timeout | undefined;
  try {
    await untilReachable('Postgres', log, options.signal, () => migrate(options.databaseUrl));
    connection = await untilReachable('Temporal', log, options.signal, () => connectTemporal(options));
    await checkSearchAttributes(connection, options.temporal.namespace);
    const dev =
      options.devDirectory === null ? null : devApprover(options.devDirectory, userInfo().username, Date.now());
    const roots = dev ? [...config.approvals.roots, dev.rootKeyId] : config.approvals.roots;
    if (dev) await ensureDevApprover({ db, roots, dev: true }, dev);
    const passkeys = dev && options.pageUrl ? passkeysAt(options.pageUrl) : config.approvals.passkeys;
    const policySets = new PolicyStore({ db, roots, passkeys, dev: dev !== null, log }, world, files);
    await policySets.begin(files, `worker:${userInfo().username}`);
    const secrets = openSecrets(config, options.configDirectory, environment, known);
    const clock = new DatabaseClock();
    await clock.sync(db);
    const deps: Deps = {
      db,
      config,
      now: clock.now,
      policy: (tenant) => policySets.of(tenant),
      policySets,
      secrets,
      known,
      mailer: options.smtpUrl === null ? null : smtpMailer(options.smtpUrl),
      roots,
      passkeys,
      dev: dev !== null,
      models: createModelGateway({
        config,
        secrets,
        known,
        ...(options.modelReplayUrl === null ? {} : { replay: { baseUrl: options.modelReplayUrl } }),
      }),
      log,
    };
    if (options.environment === undefined) forgetSecrets(config);
    const workflows: LoadableBundle = options.workflowBundle
      ? { bundle: options.workflowBundle, loaded: () => undefined }
      : await bundleWorkflows();
    const dataConverter = converterWith(keys);
    const worker = await Worker.create({
      connection,
      namespace: options.temporal.namespace,
      taskQueue: options.taskQueue ?? TASK_QUEUE,
      workflowBundle: workflows.bundle,
      dataConverter,
      activities: createActivities(deps),
      shutdownGraceTime: Math.max(...config.tools.map((t) => t.manifest.timeoutMs), 0) + SHUTDOWN_MARGIN_MS,
      maxConcurrentActivityTaskExecutions: 100,
    });
    const sealer = options.sealing
      ? await startSealer(options.sealing, {
          ...options,
          connection,
          deps,
          dataConverter,
          workflowBundle: workflows.bundle,
        })
      : null;
    workflows.loaded();
    await startJanitor(connection, options.temporal.namespace, options.taskQueue ?? TASK_QUEUE);
    const stop = (): void => worker.shutdown();
    options.signal.addEventListener('abort', stop, { once: true });
    if (options.signal.aborted) return;
    const running = worker.run();
    const look = (): Promise<unknown> => Promise.all([policySets.poll(), clock.sync(db)]);
    polling = setInterval(() => void look().catch(() => undefined), POLICY_POLL_MS); // away: claims say it
    options.onReady?.();
    await Promise.all([running, sealer?.stopped]);
  } finally {
    restoreOutput();
    clearInterval(polling);
    await connection?.close();
    await db.end();
  }
}

function connectTemporal({ temporal }: WorkerOptions): Promise<NativeConnection> {
  return NativeConnection.connect({
    address: temporal.address,
    ...(temporal.apiKey === undefined ? {} : { apiKey: temporal.apiKey }),
    ...(temporal.tls === undefined ? {} : { tls: temporal.tls }),
  });
}

/** Secrets and keys leave the environment once they are read: children and crash dumps do not get them. */
function forgetSecrets(config: Config): void {
  for (const name of secretVariables(config)) delete process.env[name];
}

/** Passwords and keys that the worker itself connects with. */
function ownSecrets({ databaseUrl, smtpUrl, temporal }: WorkerOptions): string[] {
  const passwords = [databaseUrl, smtpUrl].map((url) => (url === null ? undefined : URL.parse(url)?.password));
  const values = [...passwords.map((p) => (p === undefined ? undefined : decodeURIComponent(p))), temporal.apiKey];
  return values.filter((value) => value !== undefined).filter((value) => secretProblem(value) === null);
}

/** Nothing that a worker logs holds a secret that it knows, whoever wrote the line. */
function scrubbedLog(log: Deps['log'], known: SecretSet): Deps['log'] {
  return (level, message, data) => log(level, known.text(message), data === undefined ? undefined : known.json(data));
}

/** A logger that writes one line of JSON to standard error. */
export const jsonLog: Deps['log'] = (level, message, data?: Json) => {
  process.stderr.write(
    `${JSON.stringify({ at: new Date().toISOString(), level, message, ...(data === undefined ? {} : { data }) })}\n`,
  );
};

/** The folder of a configuration file. */
export function directoryOf(configPath: string): string {
  return dirname(resolve(configPath));
}
