import { readFileSync, readdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import pg from 'pg';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';

let fresh: FreshDatabase;
let client: pg.Client;

beforeAll(async () => {
  fresh = await freshDatabase();
  client = new pg.Client({ connectionString: fresh.url });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await fresh.drop();
});

test('P4 a worker has no rights on people, keys, approvals and answers, only on the functions; others have neither', async () => {
  await client.query('set role actguard_worker');
  for (const table of ['people', 'keys', 'approvals', 'answers', 'command_nonces']) {
    await expect(client.query(`select * from actguard.${table}`)).rejects.toMatchObject({ code: '42501' });
    await expect(client.query(`delete from actguard.${table}`)).rejects.toMatchObject({ code: '42501' });
  }
  const { rows } = await client.query<{ r: string }>(`select actguard.consume_approval('a', 'r', 'c', 'e') as r`);
  expect(rows).toEqual([{ r: 'unknown' }]);
  await client.query('reset role');
  const folder = new URL('../../activities/functions/', import.meta.url);
  const sql = readdirSync(folder).map((name) => readFileSync(new URL(name, folder), 'utf8'));
  const ours = [...sql.join('\n').matchAll(/create or replace function actguard\.(\w+)/g)].map((m) => m[1]);
  expect(ours).toContain('consume_approval');
  const open = await client.query(
    `select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
     where n.nspname = 'actguard' and p.proname = any ($1) and has_function_privilege('public', p.oid, 'execute')`,
    [ours],
  );
  expect(open.rows).toEqual([]);
});
