import { readdirSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { afterAll, expect, test } from 'vitest';
import pg from 'pg';
import { codeVersion, migrate, requireMigrated, schemaMarker } from '../../activities/migrate.ts';
import { connectDatabase } from '../../activities/postgres.ts';
import { freePort } from '../../worker/ports.ts';
import { emptyDatabase, freshDatabase } from '../support/database.ts';

const drops: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const drop of drops) await drop();
});

async function empty(): Promise<string> {
  const { url, drop } = await emptyDatabase();
  drops.push(drop);
  return url;
}

async function sql(url: string, text: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(text);
  await client.end();
}

test('four workers migrate one new database at once, each migration runs once', async () => {
  const url = await empty();
  expect(await schemaMarker(url)).toBe('none');
  const versions = await Promise.all([1, 2, 3, 4].map(() => migrate(url)));
  expect(new Set(versions)).toEqual(new Set([codeVersion()]));
  expect(await schemaMarker(url)).toBe(codeVersion());
  const db = connectDatabase(url);
  const rows = await db.query<{ name: string; n: number }>(
    'select name, count(*) as n from actguard.migrations group by name',
  );
  await db.end();
  expect(rows.length).toBe(readdirSync(new URL('../../activities/migrations', import.meta.url)).length);
  expect(rows.every((row) => row.n === 1)).toBe(true);
  await requireMigrated(url);
});

test('a database that belongs to somebody else is foreign, and reading that changes nothing', async () => {
  const url = await empty();
  await sql(url, 'create table invoices (id int)');
  expect(await schemaMarker(url)).toBe('foreign');
  expect(await schemaMarker(url)).toBe('foreign');
  await expect(requireMigrated(url)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});

test('a migration with a lower number that came later is found missing, and runs', async () => {
  const { url, drop } = await freshDatabase();
  drops.push(drop);
  await sql(url, "delete from actguard.migrations where name = '0004_reads'");
  await expect(requireMigrated(url)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  await migrate(url);
  await requireMigrated(url);
});

test('functions whose text changed are replaced, and a worker refuses a database where they were not', async () => {
  const { url, drop } = await freshDatabase();
  drops.push(drop);
  await requireMigrated(url);
  await sql(url, "update actguard.functions set digest = 'other'; drop function actguard.call_state(text, text)");
  await expect(requireMigrated(url)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  await migrate(url);
  await requireMigrated(url);
  await sql(url, "select actguard.call_state('r', 'c')");
});

test('P7 functions of a newer version are left as they are: running workers need them', async () => {
  const { url, drop } = await freshDatabase();
  drops.push(drop);
  await sql(url, "update actguard.functions set digest = 'other', version = '999.0.0'");
  await expect(migrate(url)).rejects.toMatchObject({ code: 'CONFIG_INVALID', details: { database: '999.0.0' } });
  await sql(url, "update actguard.functions set version = '0.0.9'");
  await migrate(url);
});

test('P7 a database newer than the code is refused and left as it is', async () => {
  const { url, drop } = await freshDatabase();
  drops.push(drop);
  await sql(url, `insert into actguard.migrations (name, run_on) values ('9999_from_the_future', now())`);
  await expect(migrate(url)).rejects.toMatchObject({ code: 'CONFIG_INVALID', details: { database: 9999 } });
  await expect(requireMigrated(url)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});

test('P7 P5 an unreachable database is BACKEND_UNAVAILABLE and its password stands nowhere', async () => {
  const db = connectDatabase(`postgres://someone:s3cret-password@127.0.0.1:${await freePort()}/x`);
  const error = await db.query('select 1').catch((e: unknown) => e as Error);
  expect(error).toMatchObject({ code: 'BACKEND_UNAVAILABLE', details: { reason: 'ECONNREFUSED' } });
  expect(JSON.stringify(error) + String(error)).not.toContain('s3cret');
  await db.end();
  expect(() => connectDatabase('http://someone:s3cret-password@db/x')).toThrow(/not a Postgres URL/);
});

test('P7 a connection that breaks in a query is BACKEND_UNAVAILABLE, and the pool goes on', async () => {
  const { db, drop } = await freshDatabase({ max: 1 });
  drops.push(drop);
  await expect(db.query('select pg_terminate_backend(pg_backend_pid())')).rejects.toMatchObject({
    code: 'BACKEND_UNAVAILABLE',
  });
  expect(await db.query('select 1 as one')).toEqual([{ one: 1 }]);
});

test('P7 a network that stalls in a query is BACKEND_UNAVAILABLE after a while, and the pool goes on', async () => {
  const { url, drop } = await freshDatabase();
  drops.push(drop);
  const target = new URL(url);
  const { port, hostname } = target;
  let stalls = false;
  const proxy = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    client.on('data', (part) => stalls || upstream.write(part));
    upstream.on('data', (part) => client.write(part));
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
    client.on('close', () => upstream.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  target.port = String((proxy.address() as AddressInfo).port);
  const db = connectDatabase(target.href, { max: 1, statementTimeoutMs: 1_000 });
  expect(await db.query('select 1 as one')).toEqual([{ one: 1 }]);
  stalls = true;
  await expect(db.query('select 2')).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
  stalls = false;
  expect(await db.query('select 3 as three')).toEqual([{ three: 3 }]);
  await db.end();
  proxy.close();
});

test('an SQL error of our own is not called a connection problem', async () => {
  const { db, drop } = await freshDatabase();
  drops.push(drop);
  await expect(db.query('select nothing_like_it')).rejects.toMatchObject({ code: '42703' });
});

test('BU4 int8 arrives as an exact number or not at all; named statements are prepared', async () => {
  const { db, drop } = await freshDatabase({ max: 1 });
  drops.push(drop);
  expect(await db.query('select $1::bigint as micros', ['9007199254740991'], 'micros')).toEqual([
    { micros: 9007199254740991 },
  ]);
  expect(await db.query('select name from pg_prepared_statements')).toEqual([{ name: 'micros' }]);
  await expect(db.query('select $1::bigint as micros', ['9007199254740993'], 'micros')).rejects.toThrow(/too large/);
});
