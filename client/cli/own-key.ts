/** The key a command signs with: `--key FILE`, else the dev stack's. */
import { join } from 'node:path';
import { ActGuardError } from '../../governance/errors.ts';
import { DEV_APPROVER_KEY_FILE } from '../dev-approver.ts';
import { readKeyFile, readKeyHead, type SigningKey } from '../keys.ts';
import type { Doors } from './doors.ts';

/** @throws UNAUTHENTICATED without a key */
export async function ownKey(
  doors: Pick<Doors, 'passphrase'>,
  stateDirectory: string | null,
  file: string | undefined,
): Promise<SigningKey> {
  const path = file ?? (stateDirectory === null ? undefined : join(stateDirectory, DEV_APPROVER_KEY_FILE));
  if (path === undefined) {
    throw new ActGuardError('UNAUTHENTICATED', 'no key to sign with', { hint: 'give yours with `--key FILE`' });
  }
  const head = readKeyHead(path);
  return readKeyFile(path, head.encrypted ? await doors.passphrase(`passphrase of ${path}: `) : null);
}
