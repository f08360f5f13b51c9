/**
 * Brings a database to this version's shape, one worker at a time: numbered SQL files for tables, each run once, then
 * the functions, replaced when their text changed.
 */
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { runner } from 'node-pg-migrate';
import pg from 'pg';
import { ActGuardError } from '../governance/errors.ts';
import { applyFunctions, functionsDigest, readFunctionsMark } from './functions.ts';
import { asUnavailable, databasePlace } from './postgres.ts';

const DIRECTORY = fileURLToPath(new URL('./migrations/', import.meta.url));
const SCHEMA = 'actguard';
const TABLE = 'migrations';
/** Our advisory lock: the first eight bytes of "actguard" read as a signed 64-bit integer. */
const LOCK = '7017580632073138788';
/** Another worker may be migrating: wait for it this long. */
const LOCK_TIMEOUT_MS = 120_000;

/**
 * What a database says of itself: `none` (empty), `foreign` (somebody else's tables and no marker of ours), or the
 * number of the last migration that ran.
 */
export type SchemaMarker = 'none' | 'foreign' | number;

/** The number of the newest migration that this code brings. */
export function codeVersion(): number {
  const versions = readdirSync(DIRECTORY).map((name) => /^(\d{4})_[a-z0-9_-]+\.sql$/.exec(name)?.[1]);
  return Math.max(0, ...versions.filter((v) => v !== undefined).map(Number));
}

/**
 * Runs the migrations that are missing, each in a transaction of its own, and returns the database's version.
 * Several workers may call it at once: the first works, the others wait. Throws CONFIG_INVALID when the database is
 * newer than the code, BACKEND_UNAVAILABLE when it cannot be reached.
 */
export async function migrate(url: string): Promise<number> {
  return withClient(url, async (client) => {
    await client.query(`set lock_timeout = ${LOCK_TIMEOUT_MS}`);
    await client.query('select pg_advisory_lock($1::bigint)', [LOCK]);
    await client.query('set lock_timeout = 0');
    const before = await markerOf(client);
    const newest = codeVersion();
    if (typeof before === 'number' && before > newest) throw newerThanCode(before, newest, databasePlace(url));
    if (before !== newest || (await missing(client)).length > 0) await runMissing(client);
    await applyFunctions(client, databasePlace(url));
    return newest;
  });
}

/** Files that this database has not run, whatever their numbers. */
async function missing(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(`select name from ${SCHEMA}.${TABLE}`);
  const ran = new Set(rows.map(({ name }) => name));
  return readdirSync(DIRECTORY)
    .filter((name) => name.endsWith('.sql'))
    .map((name) => name.slice(0, -'.sql'.length))
    .filter((name) => !ran.has(name));
}

async function runMissing(client: pg.Client): Promise<void> {
  const run = await loadRunner();
  await run({
    dbClient: client,
    dir: DIRECTORY,
    direction: 'up',
    migrationsSchema: SCHEMA,
    createMigrationsSchema: true,
    migrationsTable: TABLE,
    noLock: true, // theirs does not wait
    singleTransaction: false,
    checkOrder: false, // two capabilities may land with numbers in any order
    log: () => undefined,
  });
}

/** Reads the marker without changing anything. Throws BACKEND_UNAVAILABLE. */
export async function schemaMarker(url: string): Promise<SchemaMarker> {
  return withClient(url, markerOf);
}

/** Throws CONFIG_INVALID unless the database has exactly the shape that this code expects. */
export async function requireMigrated(url: string): Promise<void> {
  const newest = codeVersion();
  const { marker, functions } = await withClient(url, async (client) => {
    const marker = await markerOf(client);
    const complete = marker === newest && (await missing(client)).length === 0;
    return { marker, functions: complete ? await readFunctionsMark(client) : null };
  });
  if (marker === newest && functions?.digest === functionsDigest()) return;
  if (typeof marker === 'number' && marker > newest) throw newerThanCode(marker, newest, databasePlace(url));
  throw new ActGuardError('CONFIG_INVALID', `the database at ${databasePlace(url)} has not been migrated`, {
    details: { database: marker, code: newest },
    hint: 'run `actguard dev --init` against it once, or migrate it in your deployment',
  });
}

async function markerOf(client: pg.Client): Promise<SchemaMarker> {
  const { rows: found } = await client.query<{ ours: boolean; tables: number }>(
    `select to_regclass('${SCHEMA}.${TABLE}') is not null as ours,
            (select count(*)::int from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where c.relkind in ('r', 'p', 'v', 'm') and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema') as tables`,
  );
  const state = found[0];
  if (!state?.ours) return state?.tables === 0 ? 'none' : 'foreign';
  const { rows } = await client.query<{ name: string }>(
    `select name from ${SCHEMA}.${TABLE} order by name desc limit 1`,
  );
  return Number(/^\d+/.exec(rows[0]?.name ?? '')?.[0] ?? 0);
}

// node-pg-migrate makes a loader for TypeScript migrations as soon as it is imported, with a cache in a temporary folder
// that others may write to. Ours are SQL: it gets none.
async function loadRunner(): Promise<typeof runner> {
  const given = process.env['JITI_FS_CACHE'];
  process.env['JITI_FS_CACHE'] = 'false';
  try {
    return (await import('node-pg-migrate')).runner;
  } finally {
    if (given === undefined) delete process.env['JITI_FS_CACHE'];
    else process.env['JITI_FS_CACHE'] = given;
  }
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const where = databasePlace(url);
  const client = new pg.Client({
    connectionString: url,
    application_name: 'actguard-migrate',
    connectionTimeoutMillis: 5_000,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await work(client);
  } catch (error) {
    throw asUnavailable(error, where);
  } finally {
    // Ends the session, and with it the advisory lock.
    await client.end().catch(() => undefined);
  }
}

function newerThanCode(database: number, code: number, where: string): ActGuardError {
  return new ActGuardError('CONFIG_INVALID', `the database at ${where} is newer than this version of actguard`, {
    details: { database, code },
    hint: `it has migration ${database}, this version knows ${code}: install the version that migrated it`,
  });
}
