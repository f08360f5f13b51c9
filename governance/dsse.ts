/** DSSE envelopes (Dead Simple Signing Envelope 1.0): a payload, its type, signatures over both. */
import { concatBytes } from '@noble/hashes/utils.js';
import { fromBase64, toBase64 } from './base64.ts';
import { canonicalize } from './canonical.ts';
import { sha256Hex, utf8Bytes } from './digest.ts';
import type { Json } from './json.ts';
import { MAX_ENVELOPE_SIGNATURES, MAX_PASSKEY_SIGNATURE_BYTES, MAX_SIGNAL_BYTES } from './limits.ts';
import type { Assertion } from './webauthn.ts';
import { type Parsed, exactObject, hexOf, listOf, parsing, refuse } from './strict.ts';

/** The payload types that ActGuard signs: the type is part of what is signed, so no kind passes for another. */
export const APPROVAL_PAYLOAD_TYPE = 'application/vnd.actguard.approval+json';
/** Payload type of signed commands (governance/command.ts). */
export const COMMAND_PAYLOAD_TYPE = 'application/vnd.actguard.command+json';
/** Payload type of a sign-in on the approval page (governance/session.ts). */
export const SESSION_PAYLOAD_TYPE = 'application/vnd.actguard.session+json';
/** Payload type of key enrolments (governance/enrolment.ts). */
export const ENROLMENT_PAYLOAD_TYPE = 'application/vnd.actguard.enrolment+json';
/** Opening a run, signed by its caller (governance/opening.ts). */
export const OPENING_PAYLOAD_TYPE = 'application/vnd.actguard.opening+json';

/** A signature with the fingerprint of the key that made it. */
export interface EnvelopeSignature {
  /** {@link fingerprintOf} the key, hex. */
  readonly keyid: string;
  /** 64 bytes; of a passkey as its algorithm writes it. */
  readonly sig: Uint8Array;
  /** A passkey's: what it signed besides the statement. null: the key signed the PAE itself. */
  readonly assertion: Assertion | null;
}

/** An envelope that was taken apart; nothing is verified yet. */
export interface Envelope {
  readonly payload: Uint8Array;
  /** The bytes that every signature covers. */
  readonly pae: Uint8Array;
  readonly signatures: readonly EnvelopeSignature[];
}

/**
 * Pre-authentication encoding (DSSE protocol 1.0.2): `DSSEv1 SP len(type) SP type SP len(payload) SP payload`, lengths
 * in bytes as decimal ASCII.
 */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = utf8Bytes(payloadType);
  return concatBytes(utf8Bytes(`DSSEv1 ${type.length} `), type, utf8Bytes(` ${payload.length} `), payload);
}

/** A key's id: SHA-256 of the raw 32 public bytes (of a passkey: of its COSE key), hex. */
export function fingerprintOf(publicKey: Uint8Array): string {
  return sha256Hex(publicKey);
}

/** A signature as it goes into an envelope; `assertion` of a passkey only. */
export type NewSignature = Pick<EnvelopeSignature, 'keyid' | 'sig'> & { readonly assertion?: Assertion | null };

/** An envelope as JSON. */
export function makeEnvelope(payloadType: string, payload: Uint8Array, signatures: readonly NewSignature[]): Json {
  return {
    payloadType,
    payload: toBase64(payload),
    signatures: signatures.map(({ keyid, sig, assertion }) => ({
      keyid,
      sig: toBase64(sig),
      ...(!assertion
        ? {}
        : {
            authenticatorData: toBase64(assertion.authenticatorData),
            clientDataJSON: toBase64(assertion.clientDataJSON),
          }),
    })),
  };
}

/**
 * Takes an envelope of one type apart: at most MAX_SIGNAL_BYTES, exactly the fields of the standard, canonical base64,
 * 1 to MAX_ENVELOPE_SIGNATURES signatures of different keys.
 */
export function parseEnvelope(value: unknown, payloadType: string): Parsed<Envelope> {
  return parsing(() => {
    if (utf8Bytes(canonicalize(value as Json)).length > MAX_SIGNAL_BYTES) {
      return refuse(`the envelope is larger than ${MAX_SIGNAL_BYTES} bytes`);
    }
    const fields = exactObject(value, ['payloadType', 'payload', 'signatures'], 'the envelope');
    if (fields.payloadType !== payloadType) return refuse(`the envelope's payload type is not ${payloadType}`);
    const payload = base64Of(fields.payload, 'the payload');
    const signatures = listOf(fields.signatures, 'the list of signatures', MAX_ENVELOPE_SIGNATURES, readSignature);
    if (payload.length === 0) return refuse('the payload is empty');
    if (signatures.length === 0) return refuse('the envelope has no signature');
    if (new Set(signatures.map((s) => s.keyid)).size !== signatures.length) return refuse('one key signed twice');
    return { payload, pae: preAuthEncoding(payloadType, payload), signatures };
  });
}

function readSignature(item: unknown): EnvelopeSignature {
  const passkey = typeof item === 'object' && item !== null && 'clientDataJSON' in item;
  if (passkey) return readPasskeySignature(item);
  const fields = exactObject(item, ['keyid', 'sig'], 'a signature');
  const sig = base64Of(fields.sig, 'a signature');
  if (sig.length !== 64) return refuse('a signature is not 64 bytes long');
  return { keyid: hexOf(fields.keyid, 'a key id', 32), sig, assertion: null };
}

function readPasskeySignature(item: unknown): EnvelopeSignature {
  const fields = exactObject(item, ['keyid', 'sig', 'authenticatorData', 'clientDataJSON'], 'a signature');
  const sig = base64Of(fields.sig, 'a signature');
  if (sig.length === 0 || sig.length > MAX_PASSKEY_SIGNATURE_BYTES)
    return refuse('a signature has an impossible length');
  return {
    keyid: hexOf(fields.keyid, 'a key id', 32),
    sig,
    assertion: {
      authenticatorData: base64Of(fields.authenticatorData, 'the authenticator data'),
      clientDataJSON: base64Of(fields.clientDataJSON, 'the client data'),
    },
  };
}

/** Canonical base64 inside {@link parsing}. */
export function base64Of(value: unknown, what: string): Uint8Array {
  const bytes = typeof value === 'string' ? fromBase64(value) : null;
  return bytes ?? refuse(`${what} is not canonical base64`);
}
