/** The directory: people and keys, kept with the evidence that makes them count (trust.md, Keys and commands). */
import { fingerprintOf } from '../governance/dsse.ts';
import { ENROLMENT_PAYLOAD_TYPE, parseEnvelope } from '../governance/dsse.ts';
import { type EnrolledKey, parseEnrolment, verifyEnrolment } from '../governance/enrolment.ts';
import { digestOf } from '../governance/digest.ts';
import { makeEntry } from '../governance/entry.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import type { KeyKind } from '../governance/signature.ts';
import type { Deps } from './deps.ts';
import { trustOf } from './trust.ts';

/** A key as lists show it. */
export interface ListedKey {
  readonly tenant: string;
  readonly person: string;
  readonly roles: readonly string[];
  readonly keyId: string;
  readonly kind: KeyKind;
  readonly dev: boolean;
  readonly enrolledAtMs: number;
  readonly revoked: boolean;
}

type TrustDeps = Pick<Deps, 'db' | 'roots' | 'dev' | 'passkeys'>;

/**
 * Enrols a key: its statement is signed by a chain that ends in a root, and by itself. Enrolling it again changes nothing.
 *
 * @param chain the signers' own enrolments, nearest first; empty when a root signed
 * @throws FORBIDDEN (the chain does not hold), CONFLICT (the key is another person's, or revoked), BACKEND_UNAVAILABLE
 */
export async function enrol(deps: TrustDeps, envelope: Json, chain: readonly Json[]): Promise<EnrolledKey> {
  const [clock] = await deps.db.query<{ now: number }>('select actguard.ms(clock_timestamp()) as now');
  const nowMs = clock?.now ?? 0;
  const verified = verifyEnrolment(envelope, chain, trustOf(deps, nowMs));
  if (verified.kind === 'invalid') {
    throw new ActGuardError('FORBIDDEN', `the enrolment does not count: ${verified.reason}`, {
      hint: 'have it signed by an administrator whose key leads to a root in `approvals.roots`',
    });
  }
  const key = verified.value;
  const parsed = parseEnvelope(envelope, ENROLMENT_PAYLOAD_TYPE);
  const statement = parsed.kind === 'ok' ? parseEnrolment(parsed.value.payload) : parsed;
  if (statement.kind === 'invalid') throw new ActGuardError('FORBIDDEN', statement.reason);
  const entry = makeEntry({
    kind: 'key.enrolled',
    tenant: key.tenant,
    run: null,
    key: `key:${key.keyId}`,
    atMs: nowMs,
    data: {
      person: key.person,
      key: key.keyId,
      roles: [...key.roles],
      signer: fingerprintOf(Buffer.from(statement.value.signer, 'base64')),
      envelopeSha256: digestOf(envelope),
      ...(key.dev ? { dev: true } : {}),
    },
    content: { envelope, chain: [...chain] },
  });
  const [row] = await deps.db.query<{ r: string }>('select actguard.enrol_key($1::jsonb) as r', [
    JSON.stringify({
      tenant: key.tenant,
      person: key.person,
      keyId: key.keyId,
      roles: key.roles,
      envelope,
      chain,
      validFrom: statement.value.validFrom,
      validUntil: statement.value.validUntil,
      kind: key.kind,
      credential: statement.value.passkey?.credentialId ?? null,
      dev: key.dev,
      entries: [entry],
    }),
  ]);
  if (row?.r === 'taken') {
    throw new ActGuardError('CONFLICT', `the key ${key.keyId.slice(0, 16)} is somebody else's or was revoked`, {
      hint: 'make a new key with `actguard keys generate`',
    });
  }
  return key;
}

/** Every key of a tenant (null: of all), newest first. @throws BACKEND_UNAVAILABLE */
export async function listKeys(deps: Pick<Deps, 'db'>, tenant: string | null = null): Promise<ListedKey[]> {
  const rows = await deps.db.query<{ k: ListedKey }>('select actguard.list_keys($1) as k', [tenant]);
  return rows.map((row) => row.k);
}

/**
 * Enrols the dev stack's own approver (client/dev-approver.ts makes keys and statement): every tenant and, but for
 * administrator, every role by `*`, which only a dev enrolment may hold.
 *
 * @throws FORBIDDEN outside a dev stack
 */
export async function ensureDevApprover(deps: TrustDeps, approver: { readonly envelope: Json }): Promise<EnrolledKey> {
  if (!deps.dev) {
    throw new ActGuardError('FORBIDDEN', 'the dev approver exists on a dev stack only', {
      hint: 'enrol approvers with `actguard approver add`',
    });
  }
  return enrol(deps, approver.envelope, []);
}
