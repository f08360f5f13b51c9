/** Reading the ledger. The database is asked through functions only; what they answer is checked against its bytes. */
import type { ContentDatabase, Database } from '../activities/deps.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { JsonObject } from '../governance/json.ts';

/** Which entries; all given filters hold. */
export interface EntryFilter {
  readonly tenant?: string;
  readonly run?: string;
  readonly kind?: string;
  readonly call?: string;
  readonly tool?: string;
  /** Entries after this id (the last one of the page before). */
  readonly after?: number;
  /** 1 to 1,000; default 100. */
  readonly limit?: number;
}

/** An entry as it is listed. */
export interface ListedEntry {
  readonly id: number;
  readonly kind: string;
  readonly tenant: string;
  readonly run: string | null;
  readonly seq: number | null;
  readonly call: string | null;
  /** Database time, milliseconds since the epoch. */
  readonly insertedAtMs: number;
  /** Canonical JSON: the bytes that count. */
  readonly body: string;
  /** What lies erasable beside the entry; null when it has none or was erased; `unreadable`: the id of its lost key. */
  readonly content: JsonObject | null;
}

/**
 * A page of entries, oldest first.
 * @throws ARGUMENTS_INVALID for a limit or position that is none; BACKEND_UNAVAILABLE
 */
export async function listEntries(db: ContentDatabase, filter: EntryFilter = {}): Promise<ListedEntry[]> {
  for (const [field, value] of [
    ['after', filter.after],
    ['limit', filter.limit],
  ] as const) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= (field === 'limit' ? 1 : 0))) {
      throw new ActGuardError('ARGUMENTS_INVALID', `\`${field}\` has to be a whole number`, { details: { field } });
    }
  }
  const rows = await db.query<{ e: ListedEntry }>('select actguard.list_entries($1::jsonb) as e', [
    JSON.stringify(filter),
  ]);
  return rows.map(({ e }) => ({ ...e, content: db.content.open('entry', e.tenant, e.content) }));
}

/** How many entries of each kind; of one run, or of all. */
export async function countEntries(
  db: Database,
  run: string | null = null,
): Promise<{ readonly [kind: string]: number }> {
  const [row] = await db.query<{ n: { [kind: string]: number } }>('select actguard.count_entries($1) as n', [run]);
  return row?.n ?? {};
}
