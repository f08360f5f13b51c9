import { afterAll, beforeAll, expect, test } from 'vitest';
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
