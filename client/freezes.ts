/** Freezes beyond a run: asks a worker to set or lift one, lists what holds. */
import { randomBytes } from 'node:crypto';
import type { Database } from '../activities/deps.ts';
import type { FreezeResult } from '../activities/request-types.ts';
import { ActGuardError } from '../governance/errors.ts';
import { type FreezeScope, freezeTarget } from '../governance/freeze.ts';
import type { Json } from '../governance/json.ts';
import { answerOf } from './answer-of.ts';
import type { ActGuard } from './client.ts';

/** A freeze that holds. */
export interface ListedFreeze {
  /** `*`: every tenant. */
  readonly tenant: string;
  readonly scope: string;
  readonly value: string;
  readonly by: string;
  readonly reason: string;
  readonly setAtMs: number;
}

/**
 * Freezes a scope; when this returns, no call of it begins anywhere. With `abort` its calls in flight are stopped when
 * they next renew their claims (3 s); a write that was stopped is unknown. Answers how many.
 * @throws ARGUMENTS_INVALID what a worker refuses, BACKEND_UNAVAILABLE when none has answered: it still holds later
 */
export async function freezeScope(
  actguard: ActGuard,
  scope: FreezeScope,
  about: { readonly by: string; readonly reason: string; readonly abort?: boolean },
): Promise<number> {
  const { tenant } = scope;
  const input = { v: 1, kind: 'freeze', nonce: nonce(), tenant, target: freezeTarget(scope), ...about } as const;
  return aborted(await answerOf(actguard.startCommand(input)));
}

/** The same by a signed command (`makeFreeze`): there is no limit an hour then. */
export async function freezeScopeSigned(actguard: ActGuard, envelope: Json): Promise<number> {
  return aborted(await answerOf(actguard.startCommand({ v: 1, kind: 'signed-freeze', nonce: nonce(), envelope })));
}

/** Stops the calls in flight of a run, which is to be frozen already. Answers how many. @throws ARGUMENTS_INVALID, BACKEND_UNAVAILABLE */
export async function abortCalls(
  actguard: ActGuard,
  about: { readonly tenant: string; readonly run: string; readonly by: string; readonly reason: string },
): Promise<number> {
  return aborted(await answerOf(actguard.startCommand({ v: 1, kind: 'abort', nonce: nonce(), ...about })));
}

function aborted(result: FreezeResult): number {
  if (result.kind === 'set' || result.kind === 'aborted') return result.aborted;
  throw new ActGuardError('ARGUMENTS_INVALID', reasonOf(result));
}

/**
 * Lifts a freeze by a signed command (`makeCommand`).
 * @throws FORBIDDEN when it does not count, NOT_FOUND when nothing is frozen there, BACKEND_UNAVAILABLE
 */
export async function thawScope(actguard: ActGuard, envelope: Json): Promise<void> {
  const result = await answerOf(actguard.startCommand({ v: 1, kind: 'thaw', nonce: nonce(), envelope }));
  if (result.kind === 'lifted') return;
  if (result.kind === 'absent') {
    throw new ActGuardError('NOT_FOUND', 'nothing is frozen there', { hint: 'see what is with `actguard freezes`' });
  }
  throw new ActGuardError('FORBIDDEN', `the command does not count: ${reasonOf(result)}`, {
    hint: 'is the key enrolled as operator in that tenant? what is frozen for every tenant is thawed by a root key',
  });
}

/** What is frozen, oldest first; null: everywhere. @throws BACKEND_UNAVAILABLE */
export async function listFreezes(db: Pick<Database, 'query'>, tenant: string | null): Promise<ListedFreeze[]> {
  const rows = await db.query<{ f: ListedFreeze }>('select actguard.list_freezes($1) as f', [tenant]);
  return rows.map((row) => row.f);
}

function reasonOf(result: FreezeResult): string {
  return result.kind === 'rejected' ? result.reason : 'a worker answered something else';
}

function nonce(): string {
  return randomBytes(16).toString('hex');
}
