/** Reading the ledger. The database is asked through functions only; what they answer is checked against its bytes. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ContentDatabase } from '../activities/deps.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { JsonObject } from '../governance/json.ts';

const NUMBERS = ['after', 'limit', 'sinceMs', 'untilMs', 'minMicros', 'maxMicros'] as const;
const PAGE = 1_000;
const FOLLOW_EVERY_MS = 500;
/** No transaction that writes entries takes longer. */
const SETTLED_MS = 30_000;

/** Which entries; all given filters hold. */
export interface EntryFilter {
  readonly tenant?: string;
  readonly run?: string;
  readonly kind?: string;
  readonly call?: string;
  /** A tool, or a model. */
  readonly tool?: string;
  /** Entries that name the user, and those of the user's runs. */
  readonly user?: string;
  /** An error code, e.g. `POLICY_DENIED`. */
  readonly code?: string;
  /** Written at or after this, and before that: the database's clock, milliseconds. */
  readonly sinceMs?: number;
  readonly untilMs?: number;
  /** What was spent, else what was reserved, in micro-dollars: at least, at most. Entries without money match neither. */
  readonly minMicros?: number;
  readonly maxMicros?: number;
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
  checkFilter(filter);
  const rows = await db.query<{ e: ListedEntry }>('select actguard.list_entries($1::jsonb) as e', [pgText(filter)]);
  return rows.map(({ e }) => opened(db, e));
}

/** The latest entries that match, oldest first. @throws ARGUMENTS_INVALID, BACKEND_UNAVAILABLE */
export async function newestEntries(db: ContentDatabase, filter: EntryFilter = {}): Promise<ListedEntry[]> {
  checkFilter(filter);
  const rows = await db.query<{ e: ListedEntry }>('select actguard.newest_entries($1::jsonb) as e', [pgText(filter)]);
  return rows.map(({ e }) => opened(db, e)).reverse();
}

/** One entry by its id; `leaf`: its place in the sealed ledger, null while it waits. @throws NOT_FOUND, BACKEND_UNAVAILABLE */
export async function readEntry(
  db: ContentDatabase,
  id: number,
): Promise<ListedEntry & { readonly leaf: number | null }> {
  const [row] = await db.query<{ e: (ListedEntry & { leaf: number | null }) | null }>(
    'select actguard.read_entry($1) as e',
    [id],
  );
  if (row?.e) return opened(db, row.e);
  throw new ActGuardError('NOT_FOUND', `there is no entry ${id}`, { hint: '`actguard ledger list` shows their ids' });
}

/** Every entry once, as it is committed; first the latest `last` ones. Ends when `signal` does. */
export async function* followEntries(
  db: ContentDatabase,
  filter: EntryFilter,
  { last, follow, signal }: { readonly last: number; readonly follow: boolean; readonly signal?: AbortSignal },
): AsyncGenerator<ListedEntry, void, void> {
  const seen = new Map<number, number>();
  // what is there at first is looked at once, before anything is shown: an older id may be committed after a newer one
  const there = follow ? await newestEntries(db, { limit: PAGE }) : [];
  for (const entry of there) seen.set(entry.id, entry.insertedAtMs);
  let after = Math.max(0, (there[0]?.id ?? 1) - 1);
  const before = last > 0 ? await newestEntries(db, { ...filter, limit: last }) : [];
  for (const entry of before) seen.set(entry.id, entry.insertedAtMs);
  yield* before;
  if (!follow) return;
  for (; !signal?.aborted; await sleep(FOLLOW_EVERY_MS, undefined, signal ? { signal } : {}).catch(() => undefined)) {
    for (let from = after; ;) {
      const page = await listEntries(db, { ...filter, after: from, limit: PAGE });
      for (const entry of page) {
        if (!seen.has(entry.id)) yield entry;
        seen.set(entry.id, entry.insertedAtMs);
      }
      from = page.at(-1)?.id ?? from;
      if (page.length < PAGE) break;
    }
    // ids are given when an entry is written, seen when it is committed: only older ones are never followed by a lower id
    const settled = Math.max(0, ...seen.values()) - SETTLED_MS;
    for (const [id, atMs] of seen) {
      if (atMs >= settled) continue;
      seen.delete(id);
      after = Math.max(after, id);
    }
  }
}

function opened<E extends ListedEntry>(db: ContentDatabase, entry: E): E {
  return { ...entry, content: db.content.open('entry', entry.tenant, entry.content) };
}

function pgText(filter: EntryFilter): string {
  return JSON.stringify(filter).replaceAll('\\u0000', '\\ufffd');
}

function checkFilter(filter: EntryFilter): void {
  const problems = NUMBERS.filter((field) => {
    const value = filter[field];
    return value !== undefined && !(Number.isSafeInteger(value) && value >= (field === 'limit' ? 1 : 0));
  });
  if (problems.length === 0) return;
  const message = problems.map((field) => `\`${field}\` has to be a whole number`).join('; ');
  throw new ActGuardError('ARGUMENTS_INVALID', message, { details: { fields: problems } });
}

/** How many entries of each kind; of one run, or of all. */
export async function countEntries(
  db: Pick<ContentDatabase, 'query'>,
  run: string | null = null,
): Promise<{ readonly [kind: string]: number }> {
  const [row] = await db.query<{ n: { [kind: string]: number } }>('select actguard.count_entries($1) as n', [run]);
  return row?.n ?? {};
}
