/** Where the platform is: given, the dev stack by `.actguard/dev.json` upwards, or TEMPORAL_* (envconfig). */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { Client, Connection, type ConnectionOptions } from '@temporalio/client';
import { WORKER_ROLE, connectDatabase } from '../activities/postgres.ts';
import type { Database } from '../activities/deps.ts';
import { ActGuardError } from '../governance/errors.ts';
import { parseName } from '../governance/id.ts';
import { dataConverterOf, keysAt, payloadKeysFile } from './data-converter.ts';
import { tenantGuard } from './tenant-guard.ts';

/** A server that does not answer within this is away. */
const CONNECT_TIMEOUT_MS = 5_000;

/** Where to connect; everything has a default. */
export interface ConnectOptions {
  /** `host:port` of Temporal; default: the dev stack, then TEMPORAL_ADDRESS. */
  readonly address?: string;
  readonly namespace?: string;
  /** Needed for reading approvals and the ledger; default: the dev stack's, then ACTGUARD_DATABASE_URL. */
  readonly databaseUrl?: string;
  /** Folder where the search for `.actguard/dev.json` begins; default: the working directory. */
  readonly cwd?: string;
  readonly taskQueue?: string;
  /** Keeps this client to one tenant: another's runs, asks and entries are not there for it; default: ACTGUARD_TENANT, else every tenant. */
  readonly tenant?: string;
  /** A caller's token (`actguard token create`): runs are opened in its name; default: ACTGUARD_TOKEN. */
  readonly token?: string;
  /** File of the keys that payloads are encrypted with; default: ACTGUARD_PAYLOAD_KEYS; null: none. The worker has to have the same. */
  readonly payloadKeys?: string | null;
}

/** What was found. */
export interface Target {
  readonly connection: ConnectionOptions;
  readonly namespace: string;
  readonly databaseUrl: string | null;
  /** Temporal's Web UI, where it is known. */
  readonly ui: string | null;
  /** The dev stack's state directory. */
  readonly stateDirectory: string | null;
  /** File of the payload keys; null: payloads and content stand in clear. */
  readonly payloadKeys: string | null;
  /** Where the approval page is, where it is known: the dev stack's. */
  readonly pageUrl?: string | null;
  /** `smtp://…`, where it is known: the dev stack's, or ACTGUARD_SMTP_URL. */
  readonly smtpUrl?: string | null;
  /** The tenant that this client is kept to; absent: every tenant. */
  readonly tenant?: string;
}

interface DevFile {
  readonly v: 1;
  readonly pid: number;
  readonly temporal?: { readonly address: string; readonly namespace: string; readonly ui: string | null };
  readonly postgres?: { readonly url: string };
  readonly page?: { readonly url: string };
  readonly mail?: { readonly smtp: string };
}

/** @throws BACKEND_UNAVAILABLE when nothing says where the platform is */
export function findTarget(options: ConnectOptions = {}): Target {
  const target = findPlace(options);
  const tenant = options.tenant ?? (options.address === undefined ? process.env['ACTGUARD_TENANT'] : undefined);
  return tenant === undefined || tenant === '' ? target : { ...target, tenant: parseName(tenant, 'tenant') };
}

function findPlace(options: ConnectOptions): Target {
  const payloadKeys = options.payloadKeys === undefined ? payloadKeysFile() : options.payloadKeys;
  if (options.address !== undefined) {
    return {
      connection: { address: options.address },
      namespace: options.namespace ?? 'default',
      databaseUrl: options.databaseUrl ?? null,
      ui: null,
      stateDirectory: null,
      payloadKeys,
    };
  }
  const dev = findDevFile(options.cwd ?? process.cwd());
  if (dev?.file.temporal) {
    return {
      connection: { address: dev.file.temporal.address },
      namespace: options.namespace ?? dev.file.temporal.namespace,
      databaseUrl: options.databaseUrl ?? dev.file.postgres?.url ?? null,
      ui: dev.file.temporal.ui,
      stateDirectory: dev.directory,
      payloadKeys,
      pageUrl: dev.file.page?.url ?? null,
      smtpUrl: dev.file.mail?.smtp ?? null,
    };
  }
  if (process.env['TEMPORAL_ADDRESS']) {
    const { connectionOptions, namespace } = loadClientConnectConfig();
    return {
      connection: connectionOptions,
      namespace: options.namespace ?? namespace ?? 'default',
      databaseUrl: options.databaseUrl ?? process.env['ACTGUARD_DATABASE_URL'] ?? null,
      ui: null,
      stateDirectory: null,
      payloadKeys,
      pageUrl: null,
      smtpUrl: process.env['ACTGUARD_SMTP_URL'] ?? null,
    };
  }
  throw new ActGuardError('BACKEND_UNAVAILABLE', 'no ActGuard platform found from here', {
    hint: 'run `actguard dev` in your project, or set TEMPORAL_ADDRESS',
  });
}

/** A Temporal client; `place` answers a run's tenant by the database. @throws BACKEND_UNAVAILABLE when the server does not answer */
export async function openClient(
  target: Target,
  place: (run: string) => Promise<string | null> = () => Promise.resolve(null),
): Promise<Client> {
  try {
    const connection = await Connection.connect({ ...target.connection, connectTimeout: CONNECT_TIMEOUT_MS });
    const options = { connection, namespace: target.namespace, dataConverter: dataConverterOf(target.payloadKeys) };
    const raw = new Client(options);
    if (target.tenant === undefined) return raw;
    return new Client({ ...options, interceptors: { workflow: [tenantGuard(target.tenant, raw, place)] } });
  } catch (error) {
    throw new ActGuardError(
      'BACKEND_UNAVAILABLE',
      `Temporal at ${target.connection.address ?? 'its address'} does not answer`,
      {
        hint: 'is `actguard dev` running? `actguard doctor` tells more',
        details: { backend: 'temporal' },
        cause: error,
      },
    );
  }
}

/** The database, for reading. @throws BACKEND_UNAVAILABLE when its address is not known */
export function openDatabase(target: Target): Database {
  if (target.databaseUrl === null) {
    throw new ActGuardError('BACKEND_UNAVAILABLE', 'the address of the database is not known here', {
      hint: 'set ACTGUARD_DATABASE_URL, or run this beside the dev stack',
      details: { backend: 'postgres' },
    });
  }
  return connectDatabase(target.databaseUrl, {
    max: 4,
    role: WORKER_ROLE,
    keys: keysAt(target.payloadKeys),
    ...(target.tenant === undefined ? {} : { tenant: target.tenant }),
  });
}

/** The file of a dev stack that lives, here or above. */
function findDevFile(cwd: string): { file: DevFile; directory: string } | null {
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    const directory = join(folder, '.actguard');
    const path = join(directory, 'dev.json');
    if (existsSync(path)) {
      try {
        const file = JSON.parse(readFileSync(path, 'utf8')) as DevFile;
        if (file.v === 1 && lives(file.pid)) return { file, directory };
      } catch {
        // a file that is being written, or somebody else's: look further up
      }
    }
    if (folder === dirname(folder)) return null;
  }
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
