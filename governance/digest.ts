/** Digests and commitments over canonical JSON. SHA-256 by @noble/hashes: it also runs in the workflow sandbox. */
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { canonicalize } from './canonical.ts';
import { ActGuardError } from './errors.ts';
import type { Json } from './json.ts';
import { MIN_SALT_BYTES } from './limits.ts';

/** SHA-256 of bytes: 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array {
  return nobleSha256(bytes);
}

/**
 * SHA-256 of bytes, or of a text's UTF-8 bytes, as 64 lower-case hex characters.
 *
 * @throws ActGuardError ARGUMENTS_INVALID for text with half of a surrogate pair: two such texts would have one digest.
 */
export function sha256Hex(data: string | Uint8Array): string {
  return bytesToHex(sha256(typeof data === 'string' ? utf8Bytes(data) : data));
}

/** SHA-256 of a value's canonical form, hex. @throws ActGuardError ARGUMENTS_INVALID when it is not plain JSON. */
export function digestOf(value: Json): string {
  return sha256Hex(canonicalize(value));
}

/**
 * SHA-256(salt || canonical value), hex: binds to the value without showing it (trust.md, "Erasable by design").
 *
 * @param salt hex, at least MIN_SALT_BYTES bytes: a short salt lets a reader guess small values
 * @throws ActGuardError ARGUMENTS_INVALID for a bad salt or a value that is not plain JSON
 */
export function commitment(salt: string, value: Json): string {
  if (!/^(?:[0-9a-f]{2})*$/.test(salt) || salt.length < 2 * MIN_SALT_BYTES) {
    throw new ActGuardError('ARGUMENTS_INVALID', `a salt is lower-case hex of at least ${MIN_SALT_BYTES} bytes`);
  }
  return bytesToHex(sha256(concatBytes(hexToBytes(salt), utf8Bytes(canonicalize(value)))));
}

/** UTF-8 bytes of a text. @throws ActGuardError ARGUMENTS_INVALID for half of a surrogate pair. */
export function utf8Bytes(text: string): Uint8Array {
  if (!text.isWellFormed()) throw new ActGuardError('ARGUMENTS_INVALID', 'the text holds half of a surrogate pair');
  return utf8ToBytes(text);
}

/**
 * Whether two hex texts are the same, in a time that does not tell where they differ. Texts that are empty or not hex
 * equal nothing: an absent secret opens no door.
 */
export function constantTimeEqual(a: string, b: string): boolean {
  if (a.length !== b.length || a.length === 0 || !isHex(a) || !isHex(b)) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i += 1) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}

function isHex(text: string): boolean {
  return /^[0-9a-f]+$/i.test(text);
}
