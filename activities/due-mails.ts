/** Mails that nobody's run sends: a reminder when a quarter of an ask's time is left, and what came of it (trust.md). */
import { JANITOR_BATCH } from '../governance/limits.ts';
import type { Deps } from './deps.ts';
import type { NotifyInput } from './types.ts';

/** Which are due now; each is named once, and again after a while where the mail server did not take it, for a day. */
export async function dueMails({ db, mailer }: Pick<Deps, 'db' | 'mailer'>): Promise<NotifyInput[]> {
  if (!mailer) return [];
  const rows = await db.query<{ m: { run: string; what: 'reminder' | 'outcome'; approvalId: string } }>(
    'select actguard.due_mails($1) as m',
    [JANITOR_BATCH],
  );
  return rows.map(({ m }) => ({ v: 1, run: m.run, what: m.what, approvalId: m.approvalId, text: '' }));
}
