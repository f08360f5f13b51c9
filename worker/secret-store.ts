/** What `actguard secrets` does with the secrets file of a project. */
import { existsSync } from 'node:fs';
import { copyFile, rename, rm } from 'node:fs/promises';
import {
  isOf,
  makeIdentity,
  readSecretFile,
  writeSecretFile,
  type FileSecret,
  type SecretFilePlace,
} from '../activities/secret-file.ts';
import { secretProblem } from '../activities/secret-problem.ts';
import { checkSecrets } from '../define/secret-sources.ts';
import { Checks } from '../define/check.ts';
import type { SecretFrom, SecretOwner } from '../define/secret-types.ts';
import { ActGuardError } from '../governance/errors.ts';
import { findConfig, loadConfig } from './load-config.ts';
import { secretFilePlace } from './secrets.ts';

/** A project's secrets file, and whether its configuration reads it. */
export interface SecretStore {
  readonly place: SecretFilePlace;
  /** Milliseconds until workers use a changed value; null: no configuration names this file. */
  readonly cacheMs: number | null;
}

type FileFrom = Extract<SecretFrom, { kind: 'file' }>;

/** The file that the configuration names, else `secrets.age` beside it or here. */
export async function findStore(configPath: string | undefined, environment = process.env): Promise<SecretStore> {
  const found = findConfig(configPath);
  if (found === undefined && configPath === undefined) {
    return { place: secretFilePlace(defaultFile(), process.cwd(), environment), cacheMs: null };
  }
  const { config, directory } = await loadConfig(configPath);
  const named = config.secrets.from.find((s): s is FileFrom => typeof s !== 'function' && s.kind === 'file');
  const place = secretFilePlace(named ?? defaultFile(), directory, environment);
  return { place, cacheMs: named === undefined ? null : config.secrets.cacheMs };
}

/** Sets a value; makes file and identity where there are none. @throws CONFIG_INVALID, NOT_FOUND with `mustExist` */
export async function setSecret(
  { place }: SecretStore,
  name: string,
  owner: SecretOwner,
  value: string,
  mustExist = false,
): Promise<{ made: boolean }> {
  if (!/^[a-z0-9][a-z0-9_.-]*(\/[a-z0-9_.-]+)*$/.test(name)) {
    throw new ActGuardError('ARGUMENTS_INVALID', 'that is not the name of a secret', {
      hint: 'small letters, digits, _ . - and /, e.g. payments/api-key',
    });
  }
  if (owner.user !== undefined && owner.tenant === undefined) {
    throw new ActGuardError('ARGUMENTS_INVALID', 'a user belongs to a tenant', { hint: 'add --tenant' });
  }
  const problem = secretProblem(value);
  if (problem !== null) {
    throw new ActGuardError('CONFIG_INVALID', `the value ${problem}`, { hint: 'use a long random one' });
  }
  const made = !existsSync(place.path);
  if (made && mustExist) throw notThere(name);
  if (made && place.identity === undefined && !existsSync(place.identityFile)) await makeIdentity(place.identityFile);
  const before = made ? [] : await readSecretFile(place);
  const others = before.filter((secret) => !(secret.name === name && isOf(secret, owner)));
  if (mustExist && others.length === before.length) throw notThere(name);
  const entry: FileSecret = {
    name,
    tenant: owner.tenant ?? null,
    user: owner.user ?? null,
    value,
    setAt: new Date().toISOString(),
  };
  await writeSecretFile(
    place,
    [...others, entry].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)),
  );
  return { made };
}

/** A value. @throws NOT_FOUND */
export async function getSecret({ place }: SecretStore, name: string, owner: SecretOwner): Promise<string> {
  const found = (await readSecretFile(place)).find((secret) => secret.name === name && isOf(secret, owner));
  if (!found) throw notThere(name);
  return found.value;
}

/** Everything but the values. */
export async function listSecrets({ place }: SecretStore): Promise<readonly Omit<FileSecret, 'value'>[]> {
  return (await readSecretFile(place)).map(({ name, tenant, user, setAt }) => ({ name, tenant, user, setAt }));
}

/**
 * Encrypts the file for a new identity; the old one opens it no more and is kept beside as `.old`.
 * @throws CONFLICT where the identity comes from the environment
 */
export async function rotateIdentity({ place }: SecretStore): Promise<{ recipient: string; old: string }> {
  if (place.identity !== undefined) {
    throw new ActGuardError('CONFLICT', 'the identity comes from the environment', {
      hint: 'unset it here: a new identity is written to its file',
    });
  }
  const secrets = await readSecretFile(place);
  const next = `${place.identityFile}.new`;
  const old = `${place.identityFile}.old`;
  await rm(next, { force: true });
  const recipient = await makeIdentity(next);
  // at every step the identity file that is there opens the secrets file: workers read them while we write
  await writeSecretFile(place, secrets, [{ ...place, identityFile: next }]);
  await copyFile(place.identityFile, old);
  await rename(next, place.identityFile);
  await writeSecretFile(place, secrets);
  return { recipient, old };
}

function defaultFile(): FileFrom {
  const [from] = checkSecrets(new Checks('secrets'), { from: [{ kind: 'file' }] }).from;
  return from as FileFrom;
}

function keyOf(secret: FileSecret): string {
  return JSON.stringify([secret.name, secret.tenant ?? '', secret.user ?? '']);
}

function notThere(name: string): ActGuardError {
  return new ActGuardError('NOT_FOUND', `the file has no secret \`${name}\` of this owner`, {
    hint: '`actguard secrets list` shows what it has',
  });
}
