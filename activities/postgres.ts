/** The one connection pool to Postgres. Trouble with the connection is BACKEND_UNAVAILABLE; other SQL errors pass unchanged. */
import pg from 'pg';
import { ActGuardError } from '../governance/errors.ts';
import { ContentCipher } from './content.ts';
import type { Database, OpenTransaction } from './deps.ts';
import type { PayloadKeys } from './payload-keys.ts';

/** A statement that takes longer than this is stuck, not slow: a claim is one round trip. */
const STATEMENT_TIMEOUT_MS = 10_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** Times the statement's own limit: after that its answer does not come any more (a network that stalls closes nothing). */
const ANSWER_TIMES = 1.5;
const INT8_OID = 20;
/** Raised by functions/tenants.sql. */
const OTHER_TENANT = 'AG403';

/** The role of workers and readers: EXECUTE on functions, nothing on tables. */
export const WORKER_ROLE = 'actguard_worker';
/** The role of the sealer: the functions that grow the tree, nothing else. */
export const SEALER_ROLE = 'actguard_sealer';

/** Options of {@link connectDatabase}. */
export interface DatabaseOptions {
  /** Connections at most; default 10. */
  readonly max?: number;
  /** Shown in pg_stat_activity; default `actguard`. */
  readonly applicationName?: string;
  /** Milliseconds; default 10 s. 0: none. */
  readonly statementTimeoutMs?: number;
  /** Everything runs as this role: `actguard_worker` may call our functions and touch no table. */
  readonly role?: string;
  /** Keys that content is encrypted with; absent or null: it stands in clear. */
  readonly keys?: PayloadKeys | null;
  /** Everything that is read or written belongs to this tenant: the database keeps the connection to it. */
  readonly tenant?: string;
  /** Called when an idle connection breaks; the pool replaces it by itself. */
  readonly onIdleError?: (error: Error) => void;
}

/**
 * Opens a pool on a `postgres://` URL; connects with the first query. int8 arrives as a number and throws beyond
 * 2^53, never rounds. Throws CONFIG_INVALID for a malformed URL; queries throw BACKEND_UNAVAILABLE when the
 * database cannot be reached.
 */
export function connectDatabase(url: string, options: DatabaseOptions = {}): Database {
  const where = databasePlace(url);
  const { statementTimeoutMs = STATEMENT_TIMEOUT_MS } = options;
  const pool = new pg.Pool({
    connectionString: url,
    ...startupOptions(options),
    max: options.max ?? 10,
    application_name: options.applicationName ?? 'actguard',
    statement_timeout: statementTimeoutMs,
    ...(statementTimeoutMs > 0 ? { query_timeout: ANSWER_TIMES * statementTimeoutMs } : {}),
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    allowExitOnIdle: true,
    types: { getTypeParser: typeParser } as pg.CustomTypesConfig,
  });
  // Without a listener a connection that breaks while idle would end the process.
  pool.on('error', (error) => options.onIdleError?.(error));
  pool.on('connect', (client) => client.on('error', () => undefined));
  let ended: Promise<void> | undefined;
  const content = new ContentCipher(options.keys ?? null);
  return {
    content,
    async query<R>(text: string, values: readonly unknown[] = [], name?: string): Promise<R[]> {
      if (ended) throw new ActGuardError('BACKEND_UNAVAILABLE', `the connection to Postgres at ${where} is closed`);
      try {
        const result = await pool.query({ text, values: [...values], ...(name === undefined ? {} : { name }) });
        return result.rows as R[];
      } catch (error) {
        throw asUnavailable(error, where);
      }
    },
    async begin(): Promise<OpenTransaction> {
      const unavailable = (error: unknown): never => {
        throw asUnavailable(error, where);
      };
      const client = await pool.connect().catch(unavailable);
      await client.query('begin').catch((error: unknown) => {
        client.release(true);
        return unavailable(error);
      });
      const endWith = async (last: 'commit' | 'rollback'): Promise<void> => {
        try {
          await client.query(last);
          client.release();
        } catch (error) {
          client.release(true); // its connection ends, and with it the transaction
          unavailable(error);
        }
      };
      return {
        content,
        query: (text, values = []) =>
          client.query({ text, values: [...values] }).then(({ rows }) => rows as never, unavailable),
        commit: () => endWith('commit'),
        rollback: () => endWith('rollback'),
      };
    },
    end: () => (ended ??= pool.end()),
  };
}

/** Settings that come with the connection itself: no round trip of their own. */
function startupOptions({ role, tenant }: DatabaseOptions): { options?: string } {
  const settings = [
    ...(role === undefined ? [] : [`-c role=${role}`]),
    ...(tenant === undefined ? [] : [`-c actguard.session_tenant=${tenant.replace(/[\\ ]/g, '\\$&')}`]),
  ];
  return settings.length === 0 ? {} : { options: settings.join(' ') };
}

/** `host:port/database` of a URL: safe to show, without user and password. Throws CONFIG_INVALID. */
export function databasePlace(url: string): string {
  try {
    const parsed = new URL(url);
    if (!/^postgres(ql)?:$/.test(parsed.protocol)) throw new Error('scheme');
    return `${parsed.hostname}:${parsed.port || '5432'}${parsed.pathname}`;
  } catch {
    // The URL itself is not shown: it carries a password.
    throw new ActGuardError('CONFIG_INVALID', 'the database URL is not a Postgres URL', {
      hint: 'write it as postgres://user:password@host:5432/database',
    });
  }
}

/** Turns a broken connection into BACKEND_UNAVAILABLE, another tenant's data into FORBIDDEN; returns every other error as it is. */
export function asUnavailable(error: unknown, where: string): unknown {
  if ((error as { code?: unknown }).code === OTHER_TENANT) {
    return new ActGuardError('FORBIDDEN', (error as Error).message, {
      hint: 'name that tenant, or connect as somebody who serves every tenant',
      cause: error,
    });
  }
  if (!isConnectionTrouble(error)) return error;
  return new ActGuardError('BACKEND_UNAVAILABLE', `Postgres at ${where} cannot be reached`, {
    details: { backend: 'postgres', reason: troubleOf(error) },
    hint: 'start the database or check its address; `actguard doctor` tells more',
    cause: error,
  });
}

// SQLSTATE class 08 (connection), 57P01-57P05 (server going down or starting), 53300 (no connection left).
const TROUBLE_STATES = /^(08...|57P0\d|53300)$/;
const TROUBLE_CODES =
  /^(ECONNREFUSED|ECONNRESET|ECONNABORTED|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|EADDRNOTAVAIL)$/;
// pg's own errors for these carry no code.
const TROUBLE_TEXTS =
  /^(Connection terminated|timeout exceeded when trying to connect|timeout expired|Query read timeout|Client has encountered a connection error|Client was closed|Cannot use a pool after calling end)/;

function isConnectionTrouble(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof AggregateError && error.errors.some(isConnectionTrouble)) return true;
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'string') return TROUBLE_STATES.test(code) || TROUBLE_CODES.test(code);
  return TROUBLE_TEXTS.test(error.message);
}

function troubleOf(error: unknown): string {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? code : 'connection lost';
}

function typeParser(oid: number, format?: 'text' | 'binary'): unknown {
  if (oid === INT8_OID && format !== 'binary') return parseInt8;
  return (pg.types.getTypeParser as (oid: number, format?: string) => unknown)(oid, format);
}

function parseInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`the integer ${text} is too large to be exact`);
  return value;
}
