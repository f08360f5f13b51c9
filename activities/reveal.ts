/** `ctx.reveal`: a secret given to the tool's own code. Written down first; what the code does with it is not seen. */
import { ActGuardError } from '../governance/errors.ts';
import type { EntryRow } from '../governance/entry.ts';
import { callEntry, type CallFrame } from './call-entries.ts';
import type { Credential } from './credentials.ts';
import type { Deps } from './deps.ts';
import type { SecretUse } from './inject.ts';
import { appendEntries } from './ledger.ts';
import type { Watched } from './watch-sockets.ts';

/** Makes `ctx.reveal` for one attempt: any use of it counts like sockets of the tool's own (EX4). */
export function revealer(
  credentials: readonly Credential[],
  own: Watched,
  record: (name: string) => Promise<void>,
): (localName: string) => Promise<string> {
  return async (localName) => {
    const credential = credentials.find((c) => c.localName === localName);
    if (!credential) {
      throw new ActGuardError('CREDENTIAL_MISSING', `the tool has no credential \`${localName}\``, {
        hint: `it has: ${credentials.map((c) => c.localName).join(', ') || 'none'}`,
        details: { names: [localName] },
      });
    }
    if (!credential.ref.reveal) {
      throw new ActGuardError('FORBIDDEN', `credential \`${localName}\` is sent by ctx.fetch only`, {
        hint: 'write `reveal: true` in its secret(...) where an SDK needs the value',
        details: { name: credential.ref.name },
      });
    }
    own.ownTraffic = true;
    await record(credential.ref.name);
    return credential.value;
  };
}

/** Writes `credential.revealed`, once an attempt and secret. @throws BACKEND_UNAVAILABLE: the secret is not given then */
export async function recordReveal(deps: Deps, frame: CallFrame, name: string, attempt: number): Promise<void> {
  await appendEntries(deps.db, [callEntry(frame, 'credential.revealed', `revealed:${attempt}:${name}`, { name })]);
}

/** Uses of an attempt that is tried again; the last attempt's stand in the outcome's entry. */
export function usedEntries(frame: CallFrame, uses: readonly SecretUse[], attempt: number): EntryRow[] {
  if (uses.length === 0) return [];
  return [callEntry(frame, 'credential.used', `used:${attempt}`, { uses: uses.map((use) => ({ ...use })) })];
}
