/**
 * Who a key belongs to: a DSSE statement signed by an administrator and by the new key itself (possession), and the
 * chain from there to a root whose fingerprint the configuration pins (trust.md, Keys and commands). Rows in a
 * database prove nothing; this does.
 */
import { canonicalize } from './canonical.ts';
import { ENROLMENT_PAYLOAD_TYPE, base64Of, fingerprintOf, parseEnvelope, type Envelope } from './dsse.ts';
import { utf8Bytes } from './digest.ts';
import { toBase64 } from './base64.ts';
import { MAX_CHAIN_LINKS, MAX_STATEMENT_TEXT_CHARS } from './limits.ts';
import {
  type Parsed,
  canonicalJsonOf,
  exactObject,
  listOf,
  nameOf,
  oneOf,
  parsing,
  refuse,
  textOf,
  timeOf,
  valueOf,
} from './strict.ts';

/** What an enrolment says. Tenant `*` and role `*` (every role but administrator) are for dev keys only. */
export interface Enrolment {
  readonly v: 1;
  readonly tenant: string;
  readonly person: string;
  readonly roles: readonly string[];
  readonly kind: 'ed25519';
  /** 32 raw bytes, base64. */
  readonly publicKey: string;
  readonly validFrom: string;
  /** null: until it is revoked. */
  readonly validUntil: string | null;
  /** Counts on a dev stack only. */
  readonly dev: boolean;
  /** The public key that signs this, base64: a root's, or one enrolled by the next link of the chain. */
  readonly signer: string;
}

/** A key whose chain was followed to a root. */
export interface EnrolledKey {
  readonly keyId: string;
  readonly publicKey: Uint8Array;
  readonly tenant: string;
  readonly person: string;
  readonly roles: readonly string[];
  readonly dev: boolean;
}

/** Signature checks, injected: governance has no Node. Each answers false for whatever is wrong, it never throws. */
export interface SignatureChecks {
  /** Ed25519 by a key that is canonical and not of small order. */
  readonly verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;
  /** The same without the ZIP-215 leniencies: proof of possession. */
  readonly verifyPossession: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;
}

/** What is trusted, and when. */
export interface Trust {
  /** Fingerprints of the administrators' keys. */
  readonly roots: readonly string[];
  /** Whether dev keys count. */
  readonly dev: boolean;
  /** The database's clock. */
  readonly nowMs: number;
  readonly checks: SignatureChecks;
}

/** The bytes of an enrolment: sign their PAE with ENROLMENT_PAYLOAD_TYPE, as administrator and as the new key. */
export function enrolmentStatement(enrolment: Enrolment): Uint8Array {
  return utf8Bytes(canonicalize({ ...enrolment, roles: [...enrolment.roles] }));
}

/** Reads an enrolment strictly. */
export function parseEnrolment(payload: Uint8Array): Parsed<Enrolment> {
  return parsing(() => {
    const value = canonicalJsonOf(payload, 'the enrolment');
    const fields = [
      'v',
      'tenant',
      'person',
      'roles',
      'kind',
      'publicKey',
      'validFrom',
      'validUntil',
      'dev',
      'signer',
    ] as const;
    const e = exactObject(value, fields, 'the enrolment');
    if (e.v !== 1) return refuse('the enrolment is of an unknown version');
    if (typeof e.dev !== 'boolean') return refuse('the dev mark of the enrolment is missing');
    const dev = e.dev;
    const tenant = textOf(e.tenant, 'the tenant', MAX_STATEMENT_TEXT_CHARS);
    if (tenant === '*' && !dev) return refuse('only dev keys are enrolled for every tenant');
    return {
      v: 1,
      tenant,
      person: nameOf(e.person, 'the person'),
      roles: listOf(e.roles, 'the roles', 32, (role) => nameOf(role, 'a role', dev)),
      kind: oneOf(e.kind, 'the kind of key', ['ed25519']),
      publicKey: keyOf(e.publicKey, 'the public key'),
      validFrom: timeOf(e.validFrom, 'the start of validity'),
      validUntil: e.validUntil === null ? null : timeOf(e.validUntil, 'the end of validity'),
      dev,
      signer: keyOf(e.signer, 'the signer'),
    };
  });
}

/**
 * Follows a key's enrolment to a root: `chain` holds the signers' own enrolments, nearest first, and is empty when a
 * root signed. Every link is valid now, of one tenant (or `*`), an administrator's, and signed by itself too.
 */
export function verifyEnrolment(envelope: unknown, chain: unknown, trust: Trust): Parsed<EnrolledKey> {
  return parsing(() => {
    const links = listOf(chain, 'the chain', MAX_CHAIN_LINKS - 1, (item) => item);
    const key = readLink(envelope, trust);
    let below = key;
    for (const link of links) {
      const above = readLink(link, trust);
      if (above.publicKey !== below.signer) return refuse('the chain is broken');
      if (!above.roles.includes('admin')) return refuse('the chain passes through a key that is no administrator');
      if (above.tenant !== '*' && above.tenant !== below.tenant)
        return refuse('the chain passes through another tenant');
      if (above.dev && !below.dev) return refuse('a dev key enrols dev keys only');
      below = above;
    }
    if (!trust.roots.includes(fingerprintOf(rawKey(below.signer)))) return refuse('the chain does not end in a root');
    const publicKey = rawKey(key.publicKey);
    const { tenant, person, roles, dev } = key;
    return { keyId: fingerprintOf(publicKey), publicKey, tenant, person, roles, dev };
  });
}

/** Whether somebody with these roles has one of those asked for. `*` stands for every role, for dev keys only. */
export function hasRole(
  key: { readonly roles: readonly string[]; readonly dev: boolean },
  asked: readonly string[],
): boolean {
  return (key.dev && key.roles.includes('*')) || asked.some((role) => role !== '*' && key.roles.includes(role));
}

/** Whether an enrolment counts in a tenant. */
export function coversTenant(key: { readonly tenant: string; readonly dev: boolean }, tenant: string): boolean {
  return key.tenant === tenant || (key.dev && key.tenant === '*');
}

function readLink(value: unknown, trust: Trust): Enrolment {
  const envelope = valueOf(parseEnvelope(value, ENROLMENT_PAYLOAD_TYPE));
  const enrolment = valueOf(parseEnrolment(envelope.payload));
  if (enrolment.dev && !trust.dev) return refuse('dev keys do not count outside a dev stack');
  if (Date.parse(enrolment.validFrom) > trust.nowMs) return refuse('an enrolment of the chain is not valid yet');
  if (enrolment.validUntil !== null && Date.parse(enrolment.validUntil) <= trust.nowMs) {
    return refuse('an enrolment of the chain is no longer valid');
  }
  if (enrolment.publicKey === enrolment.signer) return refuse('a key cannot enrol itself');
  if (envelope.signatures.length !== 2)
    return refuse('an enrolment has two signatures: the administrator and the new key');
  check(envelope, rawKey(enrolment.publicKey), trust.checks.verifyPossession, 'possession of the key is not proven');
  check(envelope, rawKey(enrolment.signer), trust.checks.verify, 'the administrator did not sign the enrolment');
  return enrolment;
}

function check(envelope: Envelope, key: Uint8Array, verify: SignatureChecks['verify'], otherwise: string): void {
  const signature = envelope.signatures.find((s) => s.keyid === fingerprintOf(key));
  if (!signature || !verify(key, envelope.pae, signature.sig)) refuse(otherwise);
}

function rawKey(text: string): Uint8Array {
  return base64Of(text, 'a public key');
}

function keyOf(value: unknown, what: string): string {
  const bytes = base64Of(value, what);
  return bytes.length === 32 ? toBase64(bytes) : refuse(`${what} is not 32 bytes long`);
}
