/** Mails that the mail server did not take, for `actguard doctor`. */
import { WORKER_ROLE, connectDatabase } from '../activities/postgres.ts';

/** In words; null: none, or it cannot be told. */
export async function undelivered(databaseUrl: string | undefined): Promise<string | null> {
  if (!databaseUrl) return null;
  const db = connectDatabase(databaseUrl, { role: WORKER_ROLE, max: 1 });
  try {
    const [row] = await db.query<{ m: { count: number; sinceMs: number | null; error: string | null } }>(
      'select actguard.undelivered_mails() as m',
    );
    if (!row || row.m.count === 0) return null;
    const since = new Date(row.m.sinceMs ?? 0).toISOString();
    return `${row.m.count} mails were not taken since ${since}: ${row.m.error ?? ''}`;
  } catch {
    return null; // its own check says what is wrong with the database
  } finally {
    await db.end();
  }
}
