/** Freezes: asks a worker to set or lift one, lists what holds. */
import { randomBytes } from 'node:crypto';
import type { Database } from '../activities/deps.ts';
import type { FreezeResult } from '../activities/request-types.ts';
import { ActGuardError } from '../governance/errors.ts';
import { type FreezeScope, freezeTarget } from '../governance/freeze.ts';
import type { Json } from '../governance/json.ts';
import { answerOf } from './answer-of.ts';
import { workflowIdOf } from '../workflows/ids.ts';
import { freezeSignal } from '../workflows/messages.ts';
import type { ActGuard } from './client.ts';
import { asActGuardError } from './run.ts';

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
 * they next renew their claims (3 s); a write that was stopped is unknown, a model call is paid for. Answers how many. A run
 * is told, too ({@link tellFrozen}).
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

/** Tells a run that it is frozen, which holds already: it waits, and shows who and why. @throws NOT_FOUND, BACKEND_UNAVAILABLE */
export async function tellFrozen(
  actguard: ActGuard,
  run: string,
  about: { readonly by: string; readonly reason: string },
): Promise<void> {
  await actguard.client.workflow
    .getHandle(workflowIdOf(run))
    .signal(freezeSignal, about)
    .catch((error: unknown) => {
      throw asActGuardError(error, run);
    });
}

function aborted(result: FreezeResult): number {
  if (result.kind === 'set') return result.aborted;
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
