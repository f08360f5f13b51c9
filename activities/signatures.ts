/**
 * Ed25519 (RFC 8032), and passkeys' COSE keys at the end. Verifying is node:crypto's; because that accepts keys of small order, which "sign" anything, every
 * key first passes a strict check by @noble/ed25519, and possession is proven to it without the ZIP-215 leniencies.
 */
import { createPublicKey, verify as nodeVerify, type KeyObject } from 'node:crypto';
import { decodeCredentialPublicKey } from '@simplewebauthn/server/helpers';
import { Point, hashes, verify as nobleVerify } from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';
import type { SignatureChecks } from '../governance/signature.ts';

hashes.sha512 = sha512;

/** Whether 32 bytes are a public key: the canonical form of a point in the prime-order group. */
export function isSoundKey(publicKey: Uint8Array): boolean {
  try {
    const point = Point.fromBytes(publicKey, false);
    point.assertValidity();
    return !point.isSmallOrder() && point.isTorsionFree();
  } catch {
    return false;
  }
}

/** Verifies by node:crypto. False for an unsound key, a malformed signature or one that does not fit. */
export function verifySignature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== 32 || signature.length !== 64 || !isSoundKey(publicKey)) return false;
  try {
    const x = Buffer.from(publicKey).toString('base64url');
    return nodeVerify(
      null,
      message,
      createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' }),
      signature,
    );
  } catch {
    return false;
  }
}

/** Verifies strictly (FIPS 186-5, RFC 8032 section 5.1.7) by both implementations. */
export function verifyPossession(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (!verifySignature(publicKey, message, signature)) return false;
  try {
    return nobleVerify(signature, message, publicKey, { zip215: false });
  } catch {
    return false;
  }
}

// COSE (RFC 9053) and WebAuthn section 5.8.5: labels and values that passkeys use.
const COSE = { kty: 1, alg: 3, crv: -1, x: -2, y: -3, n: -1, e: -2 } as const;
const LEAST_RSA_BYTES = 256;
const RSA_EXPONENT = 'AQAB';

/** Verifies by a passkey's COSE key: ES256 on P-256, EdDSA on Ed25519, RS256 from 2048 bits. False for everything else. */
export function verifyPasskey(coseKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    // the decoder wants a buffer of its own: it looks at offset 0
    const fields = decodeCredentialPublicKey(Uint8Array.from(coseKey)) as unknown as Map<number, unknown>;
    const alg = fields.get(COSE.alg);
    const kty = fields.get(COSE.kty);
    if (alg === -7 && kty === 2 && fields.get(COSE.crv) === 1) {
      const jwk = { kty: 'EC', crv: 'P-256', x: urlOf(fields.get(COSE.x), 32), y: urlOf(fields.get(COSE.y), 32) };
      return nodeVerify('sha256', message, keyOf(jwk), signature);
    }
    if (alg === -8 && kty === 1 && fields.get(COSE.crv) === 6) {
      const x = fields.get(COSE.x);
      return x instanceof Uint8Array && verifyPossession(x, message, signature);
    }
    if (alg !== -257 || kty !== 3) return false;
    const n = fields.get(COSE.n);
    if (!(n instanceof Uint8Array) || n.length < LEAST_RSA_BYTES || urlOf(fields.get(COSE.e), 3) !== RSA_EXPONENT)
      return false;
    return nodeVerify('sha256', message, keyOf({ kty: 'RSA', n: urlOf(n, n.length), e: RSA_EXPONENT }), signature);
  } catch {
    return false;
  }
}

function urlOf(value: unknown, bytes: number): string {
  if (!(value instanceof Uint8Array) || value.length !== bytes) throw new TypeError('not a number of this key');
  return Buffer.from(value).toString('base64url');
}

function keyOf(jwk: { [field: string]: string }): KeyObject {
  return createPublicKey({ key: jwk, format: 'jwk' });
}

/** The checks as governance/signature.ts takes them. */
export const signatureChecks: SignatureChecks = { verify: verifySignature, verifyPossession, verifyPasskey };
