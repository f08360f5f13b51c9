/**
 * Ed25519 (RFC 8032). Verifying is node:crypto's; because that accepts keys of small order, which "sign" anything, every
 * key first passes a strict check by @noble/ed25519, and possession is proven to it without the ZIP-215 leniencies.
 */
import { createPublicKey, verify as nodeVerify } from 'node:crypto';
import { Point, hashes, verify as nobleVerify } from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';
import type { SignatureChecks } from '../governance/enrolment.ts';

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

/** Both checks, as governance/enrolment.ts takes them. */
export const signatureChecks: SignatureChecks = { verify: verifySignature, verifyPossession };
