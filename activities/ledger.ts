/** Writing and reading ledger entries. Workers have no rights on the tables: `append_entries()` is the only door. */
import type { EntryRow } from '../governance/entry.ts';
import { sealEntries } from './content.ts';
import type { ContentDatabase } from './deps.ts';
import { pgJson } from './pg-json.ts';

/** Appends entries in one round trip; an entry whose (run, key) stands already is left alone. */
export async function appendEntries(db: ContentDatabase, entries: readonly EntryRow[]): Promise<void> {
  if (entries.length === 0) return;
  await db.query('select actguard.append_entries($1::jsonb)', [pgJson(sealEntries(db.content, entries))]);
}
