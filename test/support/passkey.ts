/** An authenticator in software: passkeys that sign as browsers make them sign, with everything about it changeable. */
import { createHash, createSign, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { toBase64 } from '../../governance/base64.ts';
import { ENROLMENT_PAYLOAD_TYPE, fingerprintOf, makeEnvelope, preAuthEncoding } from '../../governance/dsse.ts';
import { enrolmentStatement } from '../../governance/enrolment.ts';
import type { Json } from '../../governance/json.ts';
import { challengeOf } from '../../governance/webauthn.ts';
import { countersign } from '../../client/enrolment.ts';
import type { SigningKey } from '../../client/keys.ts';

export const PAGE = 'http://localhost:8400';
export const RP = { id: 'localhost', origins: [PAGE] };

/** A key in the authenticator. */
export interface Passkey {
  readonly person: string;
  readonly keyId: string;
  /** COSE bytes. */
  readonly publicKey: Uint8Array;
  readonly credentialId: Uint8Array;
  readonly privateKey: KeyObject;
  readonly alg: 'ES256' | 'EdDSA' | 'RS256';
  /** Grows with each signature; 0 stays. */
  count: number;
}

/** What a test changes about an assertion. */
export interface Bent {
  readonly flags?: number;
  readonly origin?: string;
  readonly type?: string;
  readonly rpId?: string;
  readonly challenge?: string;
  readonly client?: { readonly [field: string]: unknown };
  readonly count?: number;
  /** Bytes after the authenticator data. */
  readonly extra?: Uint8Array;
  readonly signer?: Passkey;
}

export function newPasskey(person: string, alg: Passkey['alg'] = 'ES256', count = 0): Passkey {
  const { privateKey, publicKey } =
    alg === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : alg === 'EdDSA'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('rsa', { modulusLength: 2048 });
  const cose = coseOf(publicKey.export({ format: 'jwk' }) as { [field: string]: string }, alg);
  return { person, keyId: fingerprintOf(cose), publicKey: cose, credentialId: randomBytes(32), privateKey, alg, count };
}

/** Signs a payload with a passkey: the envelope, as the page makes it. */
export function passkeyEnvelope(payloadType: string, payload: Uint8Array, key: Passkey, bent: Bent = {}): Json {
  const { assertion, sig } = assertionOf(preAuthEncoding(payloadType, payload), key, bent);
  return makeEnvelope(payloadType, payload, [{ keyid: key.keyId, sig, assertion }]);
}

/** An assertion over a PAE. */
export function assertionOf(pae: Uint8Array, key: Passkey, bent: Bent = {}) {
  if (key.count > 0) key.count += 1;
  const client = {
    type: bent.type ?? 'webauthn.get',
    challenge: bent.challenge ?? challengeOf(pae),
    origin: bent.origin ?? PAGE,
    crossOrigin: false,
    ...bent.client,
  };
  const clientDataJSON = new TextEncoder().encode(JSON.stringify(client));
  const count = Buffer.alloc(4);
  count.writeUInt32BE(bent.count ?? key.count);
  const authenticatorData = new Uint8Array(
    Buffer.concat([
      createHash('sha256')
        .update(bent.rpId ?? RP.id)
        .digest(),
      Buffer.from([bent.flags ?? 0x05]),
      count,
      bent.extra ?? new Uint8Array(),
    ]),
  );
  const signed = Buffer.concat([authenticatorData, createHash('sha256').update(clientDataJSON).digest()]);
  const { privateKey, alg } = bent.signer ?? key;
  const sig = alg === 'EdDSA' ? sign(null, signed, privateKey) : createSign('sha256').update(signed).sign(privateKey);
  return { assertion: { authenticatorData, clientDataJSON }, sig: new Uint8Array(sig) };
}

/** An enrolment that the passkey signed and no administrator yet. */
export function pendingEnrolment(
  key: Passkey,
  signer: SigningKey,
  options: { readonly tenant: string; readonly roles: readonly string[]; readonly rpId?: string },
  bent: Bent = {},
): Json {
  const payload = enrolmentStatement({
    v: 1,
    tenant: options.tenant,
    person: key.person,
    roles: options.roles,
    kind: 'webauthn',
    publicKey: toBase64(key.publicKey),
    passkey: { credentialId: toBase64(key.credentialId), rpId: options.rpId ?? RP.id },
    validFrom: new Date(Date.now() - 60_000).toISOString(),
    validUntil: null,
    dev: signer.dev,
    signer: toBase64(signer.publicKey),
  });
  return passkeyEnvelope(ENROLMENT_PAYLOAD_TYPE, payload, key, bent);
}

/** An enrolment signed by the passkey and by an administrator. */
export function passkeyEnrolment(...given: Parameters<typeof pendingEnrolment>): Json {
  return countersign(pendingEnrolment(...given), given[1]);
}

function coseOf(jwk: { [field: string]: string }, alg: Passkey['alg']): Uint8Array {
  const bytes = (field: string): Buffer => Buffer.from(jwk[field] ?? '', 'base64url');
  const text = (value: Buffer): Buffer =>
    Buffer.concat([
      value.length < 24
        ? Buffer.from([0x40 + value.length])
        : value.length < 256
          ? Buffer.from([0x58, value.length])
          : Buffer.from([0x59, value.length >> 8, value.length & 255]),
      value,
    ]);
  const parts =
    alg === 'ES256'
      ? [
          Buffer.from('a5010203262001', 'hex'),
          Buffer.from('21', 'hex'),
          text(bytes('x')),
          Buffer.from('22', 'hex'),
          text(bytes('y')),
        ]
      : alg === 'EdDSA'
        ? [Buffer.from('a4010103272006', 'hex'), Buffer.from('21', 'hex'), text(bytes('x'))]
        : [Buffer.from('a401030339010020', 'hex'), text(bytes('n')), Buffer.from('21', 'hex'), text(bytes('e'))];
  return new Uint8Array(Buffer.concat(parts));
}
