/**
 * Passkey assertions over a statement (W3C Web Authentication Level 3, sections 6.1 and 7.2): the challenge is SHA-256
 * of the statement's PAE, so that an assertion is a signature over exactly that statement. Every rule here takes away;
 * the key's own signature check is injected, governance has no Node.
 */
import { bytesToHex, concatBytes } from '@noble/hashes/utils.js';
import { toBase64 } from './base64.ts';
import { constantTimeEqual, sha256, sha256Hex } from './digest.ts';
import { MAX_CLIENT_DATA_BYTES } from './limits.ts';
import { refuse } from './strict.ts';

/** Where passkeys are made and used: pinned in the configuration, never taken from a message. */
export interface RelyingParty {
  /** A host name, `approve.example`: every passkey is bound to it. */
  readonly id: string;
  /** Origins of the approval page, `https://approve.example`; at least one. */
  readonly origins: readonly string[];
}

/** What an authenticator and a browser said, as bytes. */
export interface Assertion {
  readonly authenticatorData: Uint8Array;
  readonly clientDataJSON: Uint8Array;
}

/** rpIdHash, flags, sign count. Extensions and attested keys do not belong into an assertion that nobody asked them of. */
const AUTHENTICATOR_DATA_BYTES = 37;
const USER_PRESENT = 0x01;
const USER_VERIFIED = 0x04;
const BACKUP_ELIGIBLE = 0x08;
const BACKED_UP = 0x10;
const MORE_DATA = 0xc0;

/** The relying party of a page at one origin. */
export function passkeysAt(origin: string): RelyingParty {
  const host = /^https?:\/\/([^/:]+)/.exec(origin)?.[1] ?? '';
  return { id: host, origins: [origin] };
}

/** The challenge that signs a statement, as browsers write it into client data: base64url of SHA-256(PAE). */
export function challengeOf(pae: Uint8Array): string {
  return toBase64Url(sha256(pae));
}

/** Base64url without padding (RFC 4648 section 5), as WebAuthn's JSON uses it. */
export function toBase64Url(bytes: Uint8Array): string {
  return toBase64(bytes).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

/**
 * The bytes that the key has to have signed, once everything else about the assertion holds: type, challenge, origin,
 * relying party, presence AND verification of the user. Ends the enclosing `parsing` with the reason otherwise.
 */
export function assertedBytes(assertion: Assertion, pae: Uint8Array, rp: RelyingParty): Uint8Array {
  const { authenticatorData, clientDataJSON } = assertion;
  const client = readClientData(clientDataJSON);
  if (client['type'] !== 'webauthn.get') return refuse('the assertion is not a signature');
  if (client['challenge'] !== challengeOf(pae)) return refuse('the passkey signed something else');
  const origin = client['origin'];
  if (typeof origin !== 'string' || !rp.origins.includes(origin)) return refuse('the passkey was used on another page');
  if (client['crossOrigin'] !== undefined && client['crossOrigin'] !== false)
    return refuse('the passkey was used inside another page');
  if (client['topOrigin'] !== undefined) return refuse('the passkey was used inside another page');
  if (authenticatorData.length !== AUTHENTICATOR_DATA_BYTES) return refuse('the authenticator data has another length');
  const flags = authenticatorData[32] ?? 0;
  const rpIdHash = bytesToHex(authenticatorData.subarray(0, 32));
  if (!constantTimeEqual(rpIdHash, sha256Hex(rp.id))) return refuse('the passkey is for another page');
  if ((flags & MORE_DATA) !== 0) return refuse('the authenticator data holds more than an assertion');
  if ((flags & USER_PRESENT) === 0) return refuse('nobody was present at the authenticator');
  if ((flags & USER_VERIFIED) === 0) return refuse('the authenticator did not verify its user');
  if ((flags & BACKED_UP) !== 0 && (flags & BACKUP_ELIGIBLE) === 0) return refuse('the backup flags contradict');
  return concatBytes(authenticatorData, sha256(clientDataJSON));
}

/** The authenticator's count of signatures; 0 where it keeps none (synced passkeys). */
export function signCountOf(authenticatorData: Uint8Array): number {
  const view = new DataView(authenticatorData.buffer, authenticatorData.byteOffset, authenticatorData.byteLength);
  return view.byteLength < AUTHENTICATOR_DATA_BYTES ? 0 : view.getUint32(33, false);
}

function readClientData(bytes: Uint8Array): { readonly [field: string]: unknown } {
  if (bytes.length > MAX_CLIENT_DATA_BYTES)
    return refuse(`the client data has more than ${MAX_CLIENT_DATA_BYTES} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return refuse('the client data is not JSON in UTF-8');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return refuse('the client data is not an object');
  return value as { readonly [field: string]: unknown };
}
