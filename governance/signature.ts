/**
 * The one place where a signature of any kind is checked: approvals, commands, enrolments and sign-ins come through
 * here. Which kind it must be is the enrolled key's to say, never the message's.
 */
import type { EnvelopeSignature } from './dsse.ts';
import { refuse } from './strict.ts';
import { type RelyingParty, assertedBytes } from './webauthn.ts';

/** Kinds of keys: a key file, or a passkey in an authenticator. */
export const KEY_KINDS = ['ed25519', 'webauthn'] as const;
/** One of {@link KEY_KINDS}. */
export type KeyKind = (typeof KEY_KINDS)[number];

/** Signature checks, injected: governance has no Node. Each answers false for whatever is wrong, it never throws. */
export interface SignatureChecks {
  /** Ed25519 by a key that is canonical and not of small order. */
  readonly verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;
  /** The same without the ZIP-215 leniencies: proof of possession. */
  readonly verifyPossession: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;
  /** By a COSE key of ES256, EdDSA or RS256. */
  readonly verifyPasskey: (coseKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;
}

/**
 * Checks a signature over a PAE by a key of a known kind; ends the enclosing `parsing` with the reason when it does not
 * hold. A passkey's assertion proves presence and verification of its user at a pinned origin.
 */
export function checkSignature(
  key: { readonly kind: KeyKind; readonly publicKey: Uint8Array },
  pae: Uint8Array,
  signature: EnvelopeSignature,
  trust: { readonly passkeys: RelyingParty | null; readonly checks: SignatureChecks },
  otherwise = 'the signature does not verify',
): void {
  if (key.kind === 'ed25519') {
    if (signature.assertion !== null) refuse('the key is no passkey');
    if (!trust.checks.verify(key.publicKey, pae, signature.sig)) refuse(otherwise);
    return;
  }
  if (signature.assertion === null) return refuse('the key is a passkey, and its assertion is missing');
  if (trust.passkeys === null) return refuse('passkeys do not count here: no approval page is configured');
  const bytes = assertedBytes(signature.assertion, pae, trust.passkeys);
  if (!trust.checks.verifyPasskey(key.publicKey, bytes, signature.sig)) refuse(otherwise);
}
