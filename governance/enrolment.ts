/**
 * Who a key belongs to: a DSSE statement signed by an administrator and by the new key itself (possession), and the
 * chain from there to a root whose fingerprint the configuration pins (trust.md, Keys and commands). Rows in a
 * database prove nothing; this does.
 */
import { canonicalize } from './canonical.ts';
import { ENROLMENT_PAYLOAD_TYPE, base64Of, fingerprintOf, parseEnvelope } from './dsse.ts';
import { utf8Bytes } from './digest.ts';
import type { Json } from './json.ts';
import { toBase64 } from './base64.ts';
import { MAX_CHAIN_LINKS, MAX_CREDENTIAL_ID_BYTES, MAX_PASSKEY_KEY_BYTES, MAX_STATEMENT_TEXT_CHARS } from './limits.ts';
import { checkSignature, type KeyKind, type SignatureChecks } from './signature.ts';
import type { RelyingParty } from './webauthn.ts';
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
  readonly kind: KeyKind;
  /** 32 raw bytes, of a passkey its COSE key; base64. */
  readonly publicKey: string;
  /** A passkey's own fields; absent for other keys. */
  readonly passkey?: PasskeyFields;
  readonly validFrom: string;
  /** null: until it is revoked. */
  readonly validUntil: string | null;
  /** Counts on a dev stack only. */
  readonly dev: boolean;
  /** The public key that signs this, base64: a root's, or one enrolled by the next link of the chain. */
  readonly signer: string;
}

/** How a passkey is found and where it works. */
export interface PasskeyFields {
  /** Bytes, base64. */
  readonly credentialId: string;
  /** The relying party that it was made for. */
  readonly rpId: string;
}

/** A key whose chain was followed to a root. */
export interface EnrolledKey {
  readonly keyId: string;
  readonly kind: KeyKind;
  readonly publicKey: Uint8Array;
  readonly tenant: string;
  readonly person: string;
  readonly roles: readonly string[];
  readonly dev: boolean;
}

/** What is trusted, and when. */
export interface Trust {
  /** Fingerprints of the administrators' keys. */
  readonly roots: readonly string[];
  /** Whether dev keys count. */
  readonly dev: boolean;
  /** The database's clock. */
  readonly nowMs: number;
  /** Where passkeys count; null: nowhere. */
  readonly passkeys: RelyingParty | null;
  readonly checks: SignatureChecks;
}

/** The bytes of an enrolment: sign their PAE with ENROLMENT_PAYLOAD_TYPE, as administrator and as the new key. */
export function enrolmentStatement(enrolment: Enrolment): Uint8Array {
  return utf8Bytes(canonicalize(enrolment as unknown as Json));
}

const FIELDS = [
  'v', 'tenant', 'person', 'roles', 'kind', 'publicKey', 'validFrom', 'validUntil', 'dev', 'signer',
] as const; // prettier-ignore
const PASSKEY_FIELDS = [...FIELDS, 'passkey'] as const;

/** Reads an enrolment strictly. */
export function parseEnrolment(payload: Uint8Array): Parsed<Enrolment> {
  return parsing(() => {
    const value = canonicalJsonOf(payload, 'the enrolment');
    const passkey = typeof value === 'object' && value !== null && 'passkey' in value;
    const e = exactObject(value, passkey ? PASSKEY_FIELDS : FIELDS, 'the enrolment');
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
      ...(passkey
        ? {
            kind: oneOf(e.kind, 'the kind of key', ['webauthn']),
            publicKey: coseOf(e.publicKey),
            passkey: passkeyOf((e as { passkey?: unknown }).passkey),
          }
        : { kind: oneOf(e.kind, 'the kind of key', ['ed25519']), publicKey: keyOf(e.publicKey, 'the public key') }),
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
    const { kind, tenant, person, roles, dev } = key;
    return { keyId: fingerprintOf(publicKey), kind, publicKey, tenant, person, roles, dev };
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
  if (enrolment.passkey && enrolment.passkey.rpId !== trust.passkeys?.id)
    return refuse('the passkey is for another page');
  const own = rawKey(enrolment.publicKey);
  const byOwn = envelope.signatures.find((s) => s.keyid === fingerprintOf(own));
  const possession = { ...trust, checks: { ...trust.checks, verify: trust.checks.verifyPossession } };
  if (!byOwn) return refuse('possession of the key is not proven');
  checkSignature(
    { kind: enrolment.kind, publicKey: own },
    envelope.pae,
    byOwn,
    possession,
    'possession of the key is not proven',
  );
  const signer = rawKey(enrolment.signer);
  const bySigner = envelope.signatures.find((s) => s.keyid === fingerprintOf(signer));
  if (!bySigner) return refuse('the administrator did not sign the enrolment');
  checkSignature(
    { kind: 'ed25519', publicKey: signer },
    envelope.pae,
    bySigner,
    trust,
    'the administrator did not sign the enrolment',
  );
  return enrolment;
}

function rawKey(text: string): Uint8Array {
  return base64Of(text, 'a public key');
}

function keyOf(value: unknown, what: string): string {
  const bytes = base64Of(value, what);
  return bytes.length === 32 ? toBase64(bytes) : refuse(`${what} is not 32 bytes long`);
}

function coseOf(value: unknown): string {
  const bytes = base64Of(value, 'the public key');
  return bytes.length > 0 && bytes.length <= MAX_PASSKEY_KEY_BYTES
    ? toBase64(bytes)
    : refuse(`the public key of a passkey has 1 to ${MAX_PASSKEY_KEY_BYTES} bytes`);
}

function passkeyOf(value: unknown): PasskeyFields {
  const fields = exactObject(value, ['credentialId', 'rpId'], 'the passkey');
  const id = base64Of(fields.credentialId, 'the credential id');
  if (id.length === 0 || id.length > MAX_CREDENTIAL_ID_BYTES)
    return refuse('the credential id has an impossible length');
  return { credentialId: toBase64(id), rpId: textOf(fields.rpId, 'the relying party', MAX_STATEMENT_TEXT_CHARS) };
}
