/** Erasing what lies beside entries: asks a worker, by a signed command. */
import { randomBytes } from 'node:crypto';
import { type Erasure, erasureTarget } from '../governance/erasure.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { ActGuard } from './client.ts';
import { answerOf } from './answer-of.ts';
import { makeCommand } from './commands.ts';
import type { SigningKey } from './keys.ts';

/**
 * Erases arguments, outputs, shown texts, policy requests and transcripts of a run, a call or all runs of a user. Entries
 * stay and stay provable; what proves who allowed what stays, too. Answers how many entries lost their content.
 * @throws FORBIDDEN when the command does not count or something has not ended yet, BACKEND_UNAVAILABLE
 */
export async function eraseContent(
  actguard: ActGuard,
  about: { readonly tenant: string; readonly erasure: Erasure; readonly reason: string },
  key: SigningKey,
): Promise<number> {
  const { tenant, erasure, reason } = about;
  const envelope = makeCommand('erase', { tenant, target: erasureTarget(erasure), reason }, key, Date.now());
  const nonce = randomBytes(16).toString('hex');
  const result = await answerOf(actguard.startCommand({ v: 1, kind: 'erase', nonce, envelope }));
  if (result.kind === 'erased') return result.entries;
  throw new ActGuardError('FORBIDDEN', `nothing was erased: ${result.reason}`, {
    details: { target: erasureTarget(erasure) },
  });
}
