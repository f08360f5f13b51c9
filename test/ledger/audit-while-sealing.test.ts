/** P6: an audit of a ledger that goes on growing judges what was sealed when it began. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Database } from '../../activities/deps.ts';
import { auditLedger } from '../../client/ledger-audit.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { COMMANDS, LOG, appendEntries, sealAll, sealDeps } from '../support/ledger.ts';
import { noteKey } from '../support/note-keys.ts';

let fresh: FreshDatabase;
let sealing: ReturnType<typeof sealDeps>;
beforeAll(async () => {
  fresh = await freshDatabase();
  sealing = sealDeps(fresh.url);
  await appendEntries(fresh.db, 5);
  await sealAll(sealing);
});
afterAll(async () => {
  await sealing?.db.end();
  await fresh?.drop();
});

const audit = (db: Database) =>
  auditLedger(db, { keys: [noteKey(LOG).key], witness: null, tripwire: null, commands: COMMANDS });

test('P6: entries that are sealed while an audit reads are the next audit’s, and nothing is wrong', async () => {
  let sealed = false;
  const busy: Database = {
    ...fresh.db,
    async query<R>(text: string, values?: readonly unknown[], name?: string): Promise<R[]> {
      const rows = await fresh.db.query<R>(text, values, name);
      if (text.includes('ledger_checkpoints_page') && !sealed) {
        sealed = true;
        await appendEntries(fresh.db, 3, 5);
        await sealAll(sealing);
      }
      return rows;
    },
  };
  expect(await audit(busy)).toMatchObject({ integrity: 'valid', problems: [], completeness: 'complete', size: 5 });
  expect(await audit(fresh.db)).toMatchObject({ integrity: 'valid', problems: [], size: 8 });
});

test('P6: leaves that no checkpoint covers are named', async () => {
  await appendEntries(fresh.db, 1, 8);
  await fresh.db.query(
    `with e as (delete from actguard.ledger_pending returning entry_id)
     insert into actguard.ledger_leaves (idx, entry_id, hash) select 8, entry_id, decode(repeat('00', 32), 'hex') from e`,
  );
  const { integrity, problems } = await audit(fresh.db);
  expect(integrity).toBe('invalid');
  expect(problems).toEqual(['the last checkpoint is over 8 entries, more are there']);
});
