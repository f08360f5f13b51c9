/**
 * People and keys as a client sees them. Storing an enrolment needs no trust: workers follow its chain to a root and
 * check every signature each time the key is used.
 */
import type { Database } from '../activities/deps.ts';
import type { ListedKey } from '../activities/directory.ts';
import { escapeHidden } from '../governance/denial.ts';
import { digestOf } from '../governance/digest.ts';
import { fingerprintOf } from '../governance/dsse.ts';
import { fromBase64 } from '../governance/base64.ts';
import { makeEntry } from '../governance/entry.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import { makeEnrolment, readEnrolment } from './enrolment.ts';
import type { SigningKey } from './keys.ts';
import { localIdentity } from './requests.ts';

/** Characters of a reason that are kept. */
const MAX_REASON_CHARS = 500;

type Rows = Pick<Database, 'query'>;

/** Every key of a tenant (null: of all), newest first. @throws BACKEND_UNAVAILABLE */
export async function listKeys(db: Rows, tenant: string | null): Promise<ListedKey[]> {
  const rows = await db.query<{ k: ListedKey }>('select actguard.list_keys($1) as k', [tenant]);
  return rows.map((row) => row.k);
}

/**
 * Signs and stores the enrolment of a key. A signer that is itself enrolled in the tenant brings its own chain;
 * any other is taken for a root.
 *
 * @throws ActGuardError ARGUMENTS_INVALID (a name or role that cannot be enrolled), CONFLICT (the key is somebody
 * else's or was revoked), BACKEND_UNAVAILABLE
 */
export function addKey(
  db: Rows,
  key: SigningKey,
  signer: SigningKey,
  options: {
    readonly tenant: string;
    readonly roles: readonly string[];
    readonly nowMs: number;
    readonly validUntilMs?: number;
  },
): Promise<'enrolled' | 'again'> {
  return storeEnrolment(db, makeEnrolment(key, signer, { ...options, person: key.person }), options.nowMs);
}

/** Stores an enrolment with the chain of its signer; {@link addKey} says what it throws. */
export async function storeEnrolment(db: Rows, envelope: Json, nowMs: number): Promise<'enrolled' | 'again'> {
  const { tenant, person, roles, validFrom, validUntil, dev, kind, publicKey, passkey, signer } =
    readEnrolment(envelope);
  const [keyId, signerId] = [publicKey, signer].map((key) => fingerprintOf(fromBase64(key) ?? new Uint8Array()));
  const [above] = await db.query<{ k: { envelope: Json; chain: Json[] } | null }>(
    'select actguard.find_key($1, $2) as k',
    [tenant, signerId],
  );
  const chain = above?.k ? [above.k.envelope, ...above.k.chain] : [];
  const entry = makeEntry({
    kind: 'key.enrolled',
    tenant,
    run: null,
    key: `key:${keyId ?? ''}`,
    atMs: nowMs,
    data: {
      person,
      key: keyId ?? '',
      roles: [...roles],
      signer: signerId ?? '',
      envelopeSha256: digestOf(envelope),
      ...(dev ? { dev: true } : {}),
    },
    content: { envelope, chain },
  });
  const credential = passkey?.credentialId ?? null;
  const row = { tenant, person, keyId, kind, credential, roles, envelope, chain, validFrom, validUntil, dev, entries: [entry] }; // prettier-ignore
  const [answer] = await db.query<{ r: 'enrolled' | 'again' | 'taken' }>('select actguard.enrol_key($1::jsonb) as r', [
    JSON.stringify(row),
  ]);
  if (answer?.r === 'enrolled' || answer?.r === 'again') return answer.r;
  throw new ActGuardError('CONFLICT', `the key ${(keyId ?? '').slice(0, 16)} is somebody else's or was revoked`, {
    hint: 'make a new key with `actguard keys generate`',
  });
}

/**
 * Revokes keys of a person (null: all of them); answers how many. It takes away only and is not signed, like a freeze
 * (docs/decisions): who did it and why is recorded. @throws BACKEND_UNAVAILABLE
 */
export async function revokeKeys(
  db: Rows,
  options: {
    readonly tenant: string;
    readonly person: string;
    readonly keyId: string | null;
    readonly nowMs: number;
    readonly reason?: string;
  },
): Promise<number> {
  const { tenant, person, keyId, nowMs, reason = '' } = options;
  const entry = makeEntry({
    kind: 'key.revoked',
    tenant,
    run: null,
    key: `revoked:${person}:${keyId ?? 'all'}:${nowMs}`,
    atMs: nowMs,
    data: { person, key: keyId, by: localIdentity(), reason: escapeHidden(reason).slice(0, MAX_REASON_CHARS) },
  });
  const [row] = await db.query<{ n: number }>('select actguard.revoke_keys($1::jsonb) as n', [
    JSON.stringify({ tenant, person, keyId, entries: [entry] }),
  ]);
  return row?.n ?? 0;
}
