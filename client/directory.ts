/**
 * People and keys as a client sees them. Storing an enrolment needs no trust: workers follow its chain to a root and
 * check every signature each time the key is used.
 */
import type { Database } from '../activities/deps.ts';
import type { ListedKey } from '../activities/directory.ts';
import { digestOf } from '../governance/digest.ts';
import { ENROLMENT_PAYLOAD_TYPE, parseEnvelope } from '../governance/dsse.ts';
import { parseEnrolment } from '../governance/enrolment.ts';
import { makeEntry } from '../governance/entry.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import { makeEnrolment } from './enrolment.ts';
import type { SigningKey } from './keys.ts';

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
export async function addKey(
  db: Rows,
  key: SigningKey,
  signer: SigningKey,
  options: { readonly tenant: string; readonly roles: readonly string[]; readonly nowMs: number },
): Promise<'enrolled' | 'again'> {
  const envelope = makeEnrolment(key, signer, { ...options, person: key.person });
  const opened = parseEnvelope(envelope, ENROLMENT_PAYLOAD_TYPE);
  const statement = opened.kind === 'ok' ? parseEnrolment(opened.value.payload) : opened;
  if (statement.kind === 'invalid')
    throw new ActGuardError('ARGUMENTS_INVALID', `this cannot be enrolled: ${statement.reason}`);
  const { tenant, person, roles, validFrom, validUntil, dev } = statement.value;
  const [above] = await db.query<{ k: { envelope: Json; chain: Json[] } | null }>(
    'select actguard.find_key($1, $2) as k',
    [tenant, signer.keyId],
  );
  const chain = above?.k ? [above.k.envelope, ...above.k.chain] : [];
  const entry = makeEntry({
    kind: 'key.enrolled',
    tenant,
    run: null,
    key: `key:${key.keyId}`,
    atMs: options.nowMs,
    data: {
      person,
      key: key.keyId,
      roles: [...roles],
      signer: signer.keyId,
      envelopeSha256: digestOf(envelope),
      ...(dev ? { dev: true } : {}),
    },
    content: { envelope, chain },
  });
  const row = {
    tenant,
    person,
    keyId: key.keyId,
    roles,
    envelope,
    chain,
    validFrom,
    validUntil,
    dev,
    entries: [entry],
  };
  const [answer] = await db.query<{ r: 'enrolled' | 'again' | 'taken' }>('select actguard.enrol_key($1::jsonb) as r', [
    JSON.stringify(row),
  ]);
  if (answer?.r === 'enrolled' || answer?.r === 'again') return answer.r;
  throw new ActGuardError('CONFLICT', `the key ${key.keyId.slice(0, 16)} is somebody else's or was revoked`, {
    hint: 'make a new key with `actguard keys generate`',
  });
}
