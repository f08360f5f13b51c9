/** Keys of the log and of witnesses in files, as `actguard keys generate` writes them: `person` is the key's name. */
import { sign } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import type { KeySigner } from '../activities/key-signer.ts';
import { generateKey, readKeyFile, writeKeyFile } from '../client/keys.ts';
import { ActGuardError } from '../governance/errors.ts';
import { type NoteKeyKind, isKeyName } from '../governance/note.ts';

/** Where the dev stack keeps them, in its state directory. */
export const DEV_LEDGER_KEY_FILE = 'ledger.key';
/** The witness's key on a dev stack. */
export const DEV_WITNESS_KEY_FILE = 'witness.key';

/**
 * A signer from a key file. The file names the log or the witness (`person`), without spaces and `+`.
 * @throws NOT_FOUND, ARGUMENTS_INVALID, UNAUTHENTICATED as `readKeyFile`; CONFIG_INVALID for a name that no note may have
 */
export function fileSigner(file: string, kind: NoteKeyKind, passphrase: string | null = null): KeySigner {
  const key = readKeyFile(file, passphrase);
  if (!isKeyName(key.person)) {
    throw new ActGuardError('CONFIG_INVALID', `the key in \`${file}\` has no name that a checkpoint may carry`, {
      hint: 'make one with a name without spaces and `+`: `actguard keys generate`',
    });
  }
  return {
    key: { name: key.person, kind, publicKey: key.publicKey },
    sign: (message) => Promise.resolve(new Uint8Array(sign(null, message, key.privateKey))),
  };
}

/** The dev stack's key, made on first use; its name tells one stack's log from another's. */
export function devSigner(stateDirectory: string, kind: NoteKeyKind): KeySigner {
  const file = join(stateDirectory, kind === 'log' ? DEV_LEDGER_KEY_FILE : DEV_WITNESS_KEY_FILE);
  const name = kind === 'log' ? `dev.actguard.${randomBytes(6).toString('hex')}` : 'witness.dev.actguard';
  if (!existsSync(file)) writeKeyFile(file, generateKey(name, true), null);
  return fileSigner(file, kind);
}
