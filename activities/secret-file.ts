/**
 * Secrets in a file encrypted with age (C2SP age v1): made and read here, or by the age tool with the same identity.
 * Inside stands JSON: `{ "v": 1, "secrets": [{ "name", "tenant", "user", "value", "setAt" }] }`.
 */
import { readFile, rename, stat, writeFile, mkdir, rm, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { armor, Decrypter, Encrypter, generateX25519Identity, identityToRecipient } from 'age-encryption';
import type { SecretOwner } from '../define/secret-types.ts';
import { ActGuardError } from '../governance/errors.ts';
import { MAX_SECRET_SOURCE_BYTES } from '../governance/limits.ts';
import type { SecretOrigin } from './secret-cache.ts';

/** One secret of a file; tenant and user null: the worker's own. */
export interface FileSecret {
  readonly name: string;
  readonly tenant: string | null;
  readonly user: string | null;
  readonly value: string;
  /** ISO 8601. */
  readonly setAt: string;
}

/** Where a file lies and what opens it: the identity itself, or the file it is in. */
export interface SecretFilePlace {
  readonly path: string;
  readonly identityFile: string;
  /** From the environment; goes before the file. */
  readonly identity: string | undefined;
}

/** The file as a source: read again when it changed, so that a set or rotated secret needs no restart. */
export function fileSecrets(place: SecretFilePlace): SecretOrigin {
  let read: { readonly stamp: string; readonly secrets: Promise<readonly FileSecret[]> } | undefined;
  return {
    async find(name, _env, owner) {
      const { mtimeMs, size, ino } = await stat(place.path).catch((error: unknown) => {
        throw unreadable(place.path, error);
      });
      const stamp = `${mtimeMs} ${size} ${ino}`;
      if (read?.stamp !== stamp) {
        const secrets = readSecretFile(place);
        read = { stamp, secrets };
        secrets.catch(() => (read = undefined));
      }
      const found = (await read.secrets).find((secret) => secret.name === name && isOf(secret, owner));
      return found && { value: found.value };
    },
  };
}

/** Whether a secret is this owner's: a tenant's is not the worker's, a user's not the tenant's. */
export function isOf(secret: FileSecret, owner: SecretOwner): boolean {
  return secret.tenant === (owner.tenant ?? null) && secret.user === (owner.user ?? null);
}

/**
 * Opens a file. @throws CONFIG_INVALID for a wrong identity, wide permissions, or content that is not ours;
 * nothing of the content stands in the error
 */
export async function readSecretFile(place: SecretFilePlace): Promise<readonly FileSecret[]> {
  const identity = await readIdentity(place);
  const [found, bytes] = await Promise.all([stat(place.path), readFile(place.path)]).catch((error: unknown) => {
    throw unreadable(place.path, error);
  });
  // who may write it can put values of their own into it: the recipient is no secret. Others may read ciphertext
  if ((found.mode & 0o002) !== 0) throw invalid(place.path, `may be written by others (mode ${modeOf(found.mode)})`, `chmod 600 ${place.path}`); // prettier-ignore
  if (bytes.byteLength > MAX_SECRET_SOURCE_BYTES) throw invalid(place.path, 'is too large');
  let text: string;
  try {
    const decrypter = new Decrypter();
    decrypter.addIdentity(identity);
    const head = bytes.subarray(0, 40).toString('latin1');
    const raw = head.startsWith('-----BEGIN AGE') ? armor.decode(bytes.toString('latin1')) : new Uint8Array(bytes);
    text = await decrypter.decrypt(raw, 'text');
  } catch {
    throw invalid(place.path, 'cannot be opened with this identity', 'use the identity that it was encrypted for');
  }
  const secrets = parseSecrets(text);
  if (secrets === null) throw invalid(place.path, 'does not hold what `actguard secrets` writes');
  return secrets;
}

/** Encrypts the secrets for the identities of all these places and replaces the first one's file, mode 0600. */
export async function writeSecretFile(
  place: SecretFilePlace,
  secrets: readonly FileSecret[],
  alsoFor: readonly SecretFilePlace[] = [],
): Promise<void> {
  const encrypter = new Encrypter();
  for (const reader of [place, ...alsoFor]) {
    encrypter.addRecipient(await identityToRecipient(await readIdentity(reader)));
  }
  const bytes = await encrypter.encrypt(`${JSON.stringify({ v: 1, secrets }, null, 1)}\n`);
  await replaceFile(place.path, bytes);
}

/**
 * Makes an identity in a new file, mode 0600, as age-keygen writes it; answers its recipient.
 * @throws CONFLICT when the file exists
 */
export async function makeIdentity(file: string): Promise<string> {
  const identity = await generateX25519Identity();
  const recipient = await identityToRecipient(identity);
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  try {
    const handle = await open(file, 'wx', 0o600);
    await handle.writeFile(`# public key: ${recipient}\n${identity}\n`);
    await handle.close();
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'EEXIST') throw unreadable(file, error);
    throw new ActGuardError('CONFLICT', `\`${file}\` exists`, { hint: 'it may open a secrets file: keep it' });
  }
  return recipient;
}

/** The identity, from the environment or its file. @throws CONFIG_INVALID: none, wide permissions, no age identity */
async function readIdentity({ identity, identityFile }: SecretFilePlace): Promise<string> {
  if (identity !== undefined && identity !== '') return identityIn(identity, 'the identity in the environment');
  const found = await stat(identityFile).catch((error: unknown) => {
    throw unreadable(identityFile, error);
  });
  if ((found.mode & 0o077) !== 0) {
    throw invalid(identityFile, `may be read by others (mode ${modeOf(found.mode)})`, `chmod 600 ${identityFile}`);
  }
  return identityIn(await readFile(identityFile, 'utf8'), `\`${identityFile}\``);
}

function modeOf(mode: number): string {
  return (mode & 0o777).toString(8).padStart(4, '0');
}

function identityIn(text: string, what: string): string {
  const lines = text.split('\n').map((line) => line.trim());
  const [only, ...more] = lines.filter((line) => line !== '' && !line.startsWith('#'));
  if (only !== undefined && more.length === 0 && /^AGE-SECRET-KEY-(PQ-)?1[0-9A-Z]+$/.test(only)) return only;
  throw new ActGuardError('CONFIG_INVALID', `${what} is not one age identity`, {
    hint: 'make one with `actguard secrets set`, or with age-keygen',
  });
}

function parseSecrets(text: string): readonly FileSecret[] | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const file = value as { v?: unknown; secrets?: unknown } | null;
  if (file?.v !== 1 || !Array.isArray(file.secrets)) return null;
  return (file.secrets as unknown[]).every(isFileSecret) ? (file.secrets as FileSecret[]) : null;
}

function isFileSecret(value: unknown): value is FileSecret {
  if (typeof value !== 'object' || value === null) return false;
  const { name, tenant, user, value: text, setAt } = value as { [key: string]: unknown };
  const owner = (id: unknown): boolean => id === null || (typeof id === 'string' && id !== '');
  return [name, text, setAt].every((field) => typeof field === 'string') && owner(tenant) && owner(user);
}

async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
  const next = `${path}.${process.pid}.new`;
  try {
    await writeFile(next, bytes, { mode: 0o600, flag: 'wx' });
    await rename(next, path);
  } catch (error) {
    await rm(next, { force: true });
    throw unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): ActGuardError {
  const code = (error as { code?: unknown }).code;
  const why = code === 'ENOENT' ? 'is not there' : `cannot be used (${typeof code === 'string' ? code : 'error'})`;
  return invalid(path, why, '`actguard secrets set NAME` makes it');
}

function invalid(path: string, why: string, hint?: string): ActGuardError {
  return new ActGuardError('CONFIG_INVALID', `\`${path}\` ${why}`, hint === undefined ? {} : { hint });
}
