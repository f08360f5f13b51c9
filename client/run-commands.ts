/** Signed commands about a run that are carried out without it: it may have ended, or be stopped by a reset. */
import { randomBytes } from 'node:crypto';
import { ActGuardError } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import type { ActGuard } from './client.ts';
import { answerOf } from './answer-of.ts';

/** A `resolve` or `recover` (`makeCommand`). @throws FORBIDDEN when it does not count, BACKEND_UNAVAILABLE */
export async function commandRun(actguard: ActGuard, run: string, envelope: Json): Promise<void> {
  const nonce = randomBytes(16).toString('hex');
  const result = await answerOf(actguard.startCommand({ v: 1, kind: 'run', nonce, run, envelope }));
  if (result.kind === 'done') return;
  throw new ActGuardError('FORBIDDEN', `the command does not count: ${result.reason}`, { details: { run } });
}

/** The tenant of a run, from the database: also of one that has ended. @throws NOT_FOUND, BACKEND_UNAVAILABLE */
export async function tenantOf(actguard: Pick<ActGuard, 'db'>, run: string): Promise<string> {
  const [row] = await actguard.db.query<{ r: { tenant: string } | null }>('select actguard.run_place($1) as r', [run]);
  if (row?.r) return row.r.tenant;
  throw new ActGuardError('NOT_FOUND', `there is no run \`${run}\``, { details: { run } });
}
