/** Reading from a time on does not read what is older. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { appendEntries } from '../support/ledger.ts';

let fresh: FreshDatabase;
beforeAll(async () => {
  fresh = await freshDatabase();
  await appendEntries(fresh.db, 300);
  // a day an entry, with holes between the ids, and two that came in the other order
  await fresh.db.query(
    `update actguard.entries set inserted_at = '2026-01-01T00:00:00Z'::timestamptz + id * interval '1 day'`,
  );
  await fresh.db.query(`delete from actguard.ledger_pending where entry_id % 7 = 0`);
  await fresh.db.query(`delete from actguard.entries where id % 7 = 0`);
  await fresh.db.query(
    `update actguard.entries set inserted_at = inserted_at - interval '1 day 5 minutes' where id = 100`,
  );
});
afterAll(() => fresh.drop());

const day = (n: number): number => Date.UTC(2026, 0, 1) + n * 86_400_000;
const before = async (ms: number | null): Promise<number> => {
  const [row] = await fresh.db.query<{ id: number }>('select actguard.id_before($1) as id', [ms]);
  return row?.id ?? NaN;
};
const listed = async (sinceMs: number): Promise<number[]> => {
  const rows = await fresh.db.query<{ e: { id: number } }>('select actguard.list_entries($1::jsonb) as e', [
    JSON.stringify({ sinceMs, limit: 1_000 }),
  ]);
  return rows.map(({ e }) => e.id);
};

test('the place of a time is found wherever it lies, and nothing after it is left out', async () => {
  const rows = await fresh.db.query<{ id: number; ms: number }>(
    'select id, actguard.ms(inserted_at) as ms from actguard.entries order by id',
  );
  for (const since of [
    0,
    day(0),
    day(1),
    day(50),
    day(98),
    day(99),
    day(99) - 300_000,
    day(100),
    day(200),
    day(299),
    day(300),
    day(301),
    day(9_999),
  ]) {
    const wanted = rows.filter(({ ms }) => ms >= since).map(({ id }) => id);
    expect(await listed(since), String(since)).toEqual(wanted);
    const place = await before(since);
    expect(place, String(since)).toBeLessThan(wanted[0] ?? Infinity);
    const older = rows.filter(({ id, ms }) => id > place && ms < since - 700_000).length;
    expect(older, String(since)).toBeLessThanOrEqual(1);
  }
  expect(await before(null)).toBe(0);
});

test('an empty ledger has a place, too', async () => {
  const empty = await freshDatabase();
  const [row] = await empty.db.query<{ id: number }>('select actguard.id_before($1) as id', [day(1)]);
  expect(row?.id).toBe(0);
  await empty.drop();
});
