import { afterAll, beforeAll, expect, test } from 'vitest';
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { migrate } from '../../activities/migrate.ts';
import { WORKER_ROLE, connectDatabase } from '../../activities/postgres.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';

let database: FreshDatabase;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(() => database?.drop());

test('P1 a worker reaches tables through functions only: no table can be read, changed or emptied', async () => {
  const worker = connectDatabase(database.url, { role: WORKER_ROLE, max: 1 });
  try {
    const tables = await database.db.query<{ name: string }>(
      `select tablename as name from pg_tables where schemaname = 'actguard' and tablename <> 'migrations'`,
    );
    expect(tables.length).toBeGreaterThan(8);
    for (const { name } of tables) {
      for (const statement of [
        `select * from actguard.${name}`,
        `delete from actguard.${name}`,
        `truncate actguard.${name}`,
      ]) {
        await expect(worker.query(statement), statement).rejects.toMatchObject({ code: '42501' });
      }
    }
    expect(await worker.query('select actguard.list_entries($1::jsonb)', ['{}'])).toEqual([]);
  } finally {
    await worker.end();
  }
});

test('P7 whoever owns a database migrates it, whatever the login is called and without being a superuser', async () => {
  const name = `owner_${randomUUID().slice(0, 8)}`;
  const admin = new pg.Client({ connectionString: database.url });
  await admin.connect();
  const url = Object.assign(new URL(database.url), {
    username: name,
    password: 'only-here',
    pathname: `/${name}`,
  }).href;
  try {
    await admin.query(
      `create role ${name} login password 'only-here' in role actguard_worker, actguard_sealer, actguard_functions`,
    );
    await admin.query(`create database ${name} owner ${name}`);
    await migrate(url);
    await migrate(url);
    const worker = connectDatabase(url, { role: WORKER_ROLE, max: 1 });
    expect(await worker.query('select actguard.list_entries($1::jsonb)', ['{}'])).toEqual([]);
    await worker.end();
  } finally {
    await admin.query(`drop database if exists ${name} with (force)`);
    await admin
      .query(`revoke actguard_functions, actguard_worker, actguard_sealer from ${name}`)
      .catch(() => undefined);
    await admin.query(`drop role if exists ${name}`);
    await admin.end();
  }
});
