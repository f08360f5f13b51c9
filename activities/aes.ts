/** AES-256-GCM as payloads and content use it: IV, ciphertext and tag in one piece (NIST SP 800-38D). */
import { createCipheriv, createDecipheriv, randomFillSync, type KeyObject } from 'node:crypto';

const CIPHER = 'aes-256-gcm';
const IV_BYTES = 12;
const TAG_BYTES = 16;
/** Random bytes are asked for in pieces: each asking costs more than the bytes. */
const POOL_BYTES = IV_BYTES * 1024;
let pool = Buffer.alloc(0);

/**
 * Encrypts, bound to `associated`.
 * @param key a KeyObject: Node takes far longer to make a cipher of plain bytes
 */
export function seal(key: KeyObject, associated: Uint8Array, plain: Uint8Array | string): Buffer {
  const iv = nextIv();
  const cipher = createCipheriv(CIPHER, key, iv);
  cipher.setAAD(associated);
  const first = typeof plain === 'string' ? cipher.update(plain, 'utf8') : cipher.update(plain);
  return Buffer.concat([iv, first, cipher.final(), cipher.getAuthTag()]);
}

/** What was sealed. @throws Error when it was changed, or sealed by another key or for something else */
export function open(key: KeyObject, associated: Uint8Array, sealed: Uint8Array): Buffer {
  if (sealed.length < IV_BYTES + TAG_BYTES) throw new RangeError('too short');
  const decipher = createDecipheriv(CIPHER, key, sealed.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES });
  decipher.setAAD(associated);
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  const first = decipher.update(sealed.subarray(IV_BYTES, -TAG_BYTES));
  const rest = decipher.final();
  return rest.length === 0 ? first : Buffer.concat([first, rest]);
}

/** Random, never twice: a key is good for 2^32 of them (NIST SP 800-38D, 8.3); rotate long before. */
function nextIv(): Buffer {
  if (pool.length === 0) pool = randomFillSync(Buffer.alloc(POOL_BYTES));
  const iv = pool.subarray(0, IV_BYTES);
  pool = pool.subarray(IV_BYTES);
  return iv;
}
