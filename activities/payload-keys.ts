/**
 * Keys that encrypt payloads, in a file of mode 0600 that client, worker, replay and codec server share. A key has an
 * id, which stands in every payload it encrypted; old keys stay for reading. A tenant may have keys of its own.
 */
import { createSecretKey, randomBytes, type KeyObject } from 'node:crypto';
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { ActGuardError } from '../governance/errors.ts';
import { MAX_SECRET_SOURCE_BYTES } from '../governance/limits.ts';

/** AES-256. */
const KEY_BYTES = 32;
/** How often the file is looked at: a rotated key is used within this, without a restart. */
const LOOK_MS = 1_000;

/** One key. */
export interface PayloadKey {
  readonly id: string;
  /** null: for whatever has no key of its own. */
  readonly tenant: string | null;
  /** Made at, ISO 8601. */
  readonly madeAt: string;
  /** Whether new payloads are encrypted with it: one a tenant, and one for the rest. */
  readonly current: boolean;
  /** Shows nothing of itself in JSON or logs; ciphers take it as it is. */
  readonly secret: KeyObject;
}

/** The keys as they are now. */
export interface PayloadKeys {
  /** undefined: not known, also after looking at the file again. */
  byId(id: string): PayloadKey | undefined;
  /** The key that encrypts for a tenant; the one for the rest where it has none. */
  current(tenant: string | null): PayloadKey;
}

/** Keys in a file; it is read again when it changed. @throws CONFIG_INVALID: not there, wide permissions, not ours */
export function openPayloadKeys(file: string, now: () => number = Date.now): PayloadKeys {
  let keys = indexOf(readPayloadKeys(file));
  let stamp = stampOf(file);
  let lookedAt = now();
  const look = (): void => {
    lookedAt = now();
    try {
      const found = stampOf(file);
      if (found === stamp) return;
      keys = indexOf(readPayloadKeys(file));
      stamp = found;
    } catch {
      // a file that is gone or half written: those that were read stay good
    }
  };
  return {
    byId(id) {
      const known = keys.byId.get(id);
      if (known && now() - lookedAt < LOOK_MS) return known;
      look(); // a key that was destroyed is not used any more
      return keys.byId.get(id);
    },
    current(tenant) {
      if (now() - lookedAt >= LOOK_MS) look();
      const found = keys.current.get(tenant) ?? keys.current.get(null);
      if (!found) throw invalid(file, 'has no current key for what belongs to no tenant');
      return found;
    },
  };
}

/** Keys as they are asked for: with thousands of tenants a search through all of them would stand in every call. */
function indexOf(keys: readonly PayloadKey[]): {
  readonly byId: ReadonlyMap<string, PayloadKey>;
  readonly current: ReadonlyMap<string | null, PayloadKey>;
} {
  const current = keys.filter((key) => key.current).toReversed(); // the first one counts
  return {
    byId: new Map(keys.map((key) => [key.id, key])),
    current: new Map(current.map((key) => [key.tenant, key])),
  };
}

/** Reads a file of keys. @throws CONFIG_INVALID; nothing of a key stands in the error */
export function readPayloadKeys(file: string): readonly PayloadKey[] {
  let text: string;
  try {
    const { mode, size } = statSync(file);
    if ((mode & 0o077) !== 0) throw invalid(file, 'may be read by others', `chmod 600 ${file}`);
    if (size > MAX_SECRET_SOURCE_BYTES) throw invalid(file, 'is too large');
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof ActGuardError) throw error;
    throw invalid(file, 'cannot be read', 'make it with `actguard codec key`');
  }
  const keys = parseKeys(text);
  if (keys === null) throw invalid(file, 'is no file of payload keys');
  if (!keys.some((key) => key.current && key.tenant === null)) throw invalid(file, 'has no current key');
  return keys;
}

/** Adds a key; it encrypts from now on unless `later`: readers have to know it first where they have other files. */
export function addPayloadKey(
  keys: readonly PayloadKey[],
  tenant: string | null,
  later: boolean,
): readonly PayloadKey[] {
  const id = `${tenant === null ? 'k' : 't'}-${randomBytes(6).toString('hex')}`;
  // the very first has to encrypt; a tenant's first may wait, as the one for the rest does meanwhile
  const first = tenant === null && !keys.some((key) => key.tenant === null);
  const current = first || !later;
  const secret = createSecretKey(randomBytes(KEY_BYTES));
  const key = { id, tenant, madeAt: new Date().toISOString(), current, secret };
  return [...keys.map((k) => (current && k.tenant === tenant ? { ...k, current: false } : k)), key];
}

/** Makes a key the one that encrypts. @throws NOT_FOUND */
export function usePayloadKey(keys: readonly PayloadKey[], id: string): readonly PayloadKey[] {
  const chosen = keys.find((key) => key.id === id);
  if (!chosen) throw new ActGuardError('NOT_FOUND', 'the file has no key of that id', { details: { id } });
  return keys.map((key) => (key.tenant === chosen.tenant ? { ...key, current: key.id === id } : key));
}

/** Writes the file in one step, mode 0600. */
export function writePayloadKeys(file: string, keys: readonly PayloadKey[]): void {
  const next = `${file}.${process.pid}.new`;
  const body = { v: 1, keys: keys.map(({ secret, ...key }) => ({ ...key, key: secret.export().toString('base64') })) };
  writeFileSync(next, `${JSON.stringify(body, null, 1)}\n`, { mode: 0o600, flag: 'wx' });
  renameSync(next, file);
}

function parseKeys(text: string): PayloadKey[] | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const file = value as { v?: unknown; keys?: unknown } | null;
  if (file?.v !== 1 || !Array.isArray(file.keys)) return null;
  const keys = (file.keys as unknown[]).map(parseKey);
  const good = keys.filter((key) => key !== null);
  return good.length === keys.length && new Set(good.map((key) => key.id)).size === good.length ? good : null;
}

function parseKey(value: unknown): PayloadKey | null {
  if (typeof value !== 'object' || value === null) return null;
  const { id, tenant, madeAt, current, key } = value as { [field: string]: unknown };
  if (typeof id !== 'string' || !/^[\w-]{1,64}$/.test(id) || typeof madeAt !== 'string') return null;
  if (tenant !== null && (typeof tenant !== 'string' || tenant === '')) return null;
  if (typeof current !== 'boolean' || typeof key !== 'string') return null;
  const bytes = Buffer.from(key, 'base64');
  return bytes.length === KEY_BYTES ? { id, tenant, madeAt, current, secret: createSecretKey(bytes) } : null;
}

function stampOf(file: string): string {
  const { mtimeMs, size, ino } = statSync(file);
  return `${mtimeMs} ${size} ${ino}`;
}

function invalid(file: string, why: string, hint?: string): ActGuardError {
  return new ActGuardError('CONFIG_INVALID', `\`${file}\` ${why}`, hint === undefined ? {} : { hint });
}
