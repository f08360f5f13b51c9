/**
 * Keys of people and administrators: Ed25519, kept in a file that only its owner may read, encrypted by a passphrase
 * (scrypt and AES-256-GCM) unless that was refused out loud.
 */
import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  scryptSync,
  sign,
  type KeyObject,
} from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fromBase64, toBase64 } from '../governance/base64.ts';
import { fingerprintOf, makeEnvelope, preAuthEncoding } from '../governance/dsse.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';

/** A key that can sign. */
export interface SigningKey {
  /** SHA-256 of the raw public key, hex. */
  readonly keyId: string;
  /** 32 raw bytes. */
  readonly publicKey: Uint8Array;
  /** Whose it is; empty for an administrator's root. */
  readonly person: string;
  /** Made by the dev stack: everything it signs is marked dev. */
  readonly dev: boolean;
  readonly privateKey: KeyObject;
}

/** scrypt N: about 0.1 s and 64 MB (RFC 7914; OWASP asks for 2^16 to 2^17 with r = 8). */
const SCRYPT_N = 2 ** 16;
const SCRYPT = { N: SCRYPT_N, r: 8, p: 1, maxmem: 256 * SCRYPT_N * 8 };
const FILE_KIND = 'actguard-key';

/** A new key. */
export function generateKey(person: string, dev = false): SigningKey {
  return withPublic(generateKeyPairSync('ed25519').privateKey, person, dev);
}

/** PKCS #8 of an Ed25519 key up to its 32 bytes of seed (RFC 8410). */
const ED25519_PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** The key that a seed of 32 bytes stands for. */
export function keyOfSeed(seed: Uint8Array, person: string): SigningKey {
  const der = Buffer.concat([ED25519_PKCS8, seed]);
  return withPublic(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }), person, false);
}

/** Signs a payload: the envelope that goes into a signal. Several keys sign the same bytes. */
export function signEnvelope(payloadType: string, payload: Uint8Array, keys: readonly SigningKey[]): Json {
  const pae = preAuthEncoding(payloadType, payload);
  return makeEnvelope(payloadType, payload, keys.map((key) => ({ keyid: key.keyId, sig: sign(null, pae, key.privateKey) }))); // prettier-ignore
}

/**
 * Writes a key to a new file, mode 0600.
 *
 * @param passphrase null: not encrypted
 * @throws ActGuardError CONFLICT when the file exists
 */
export function writeKeyFile(file: string, key: SigningKey, passphrase: string | null): void {
  const secret = key.privateKey.export({ format: 'der', type: 'pkcs8' });
  const head = { kind: FILE_KIND, v: 1, person: key.person, dev: key.dev, publicKey: toBase64(key.publicKey) };
  const body =
    passphrase === null ? { privateKey: toBase64(secret) } : { encrypted: encrypt(secret, passphrase, aadOf(head)) };
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  try {
    writeFileSync(file, `${JSON.stringify({ ...head, ...body }, null, 2)}\n`, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new ActGuardError('CONFLICT', `the file \`${file}\` exists already`, {
      hint: 'name another file; keys are never overwritten',
    });
  }
}

/** What a key file says without its passphrase. @throws ActGuardError NOT_FOUND, ARGUMENTS_INVALID */
export function readKeyHead(file: string): {
  person: string;
  dev: boolean;
  keyId: string;
  publicKey: Uint8Array;
  encrypted: boolean;
} {
  const fields = readFields(file);
  const publicKey = bytesOf(fields['publicKey'], file);
  return {
    person: String(fields['person']),
    dev: fields['dev'] === true,
    keyId: fingerprintOf(publicKey),
    publicKey,
    encrypted: 'encrypted' in fields,
  };
}

/** The public half of a key file: no passphrase is needed. @throws ActGuardError NOT_FOUND, ARGUMENTS_INVALID */
export function readKeyPublic(file: string): { person: string; publicKey: Uint8Array } {
  const fields = readFields(file);
  return { person: String(fields['person']), publicKey: bytesOf(fields['publicKey'], file) };
}

/**
 * Reads a key file.
 *
 * @throws ActGuardError NOT_FOUND, ARGUMENTS_INVALID (no key file), UNAUTHENTICATED (wrong or missing passphrase)
 */
export function readKeyFile(file: string, passphrase: string | null): SigningKey {
  const fields = readFields(file);
  const { person, dev, publicKey } = fields;
  const head = { kind: FILE_KIND, v: 1, person, dev, publicKey };
  let secret: Uint8Array;
  if ('encrypted' in fields) {
    if (passphrase === null) {
      throw new ActGuardError('UNAUTHENTICATED', `the key in \`${file}\` is encrypted`, {
        hint: 'give its passphrase',
      });
    }
    secret = decrypt(fields['encrypted'], passphrase, aadOf(head), file);
  } else {
    secret = bytesOf(fields['privateKey'], file);
  }
  let key: SigningKey;
  try {
    key = withPublic(
      createPrivateKey({ key: Buffer.from(secret), format: 'der', type: 'pkcs8' }),
      String(person),
      dev === true,
    );
  } catch {
    throw noKeyFile(file);
  }
  if (toBase64(key.publicKey) !== publicKey) throw noKeyFile(file);
  return key;
}

function withPublic(privateKey: KeyObject, person: string, dev: boolean): SigningKey {
  const jwk = createPublicKey(privateKey).export({ format: 'jwk' });
  const publicKey = new Uint8Array(Buffer.from(String(jwk.x), 'base64url'));
  return { keyId: fingerprintOf(publicKey), publicKey, person, dev, privateKey };
}

function encrypt(secret: Uint8Array, passphrase: string, aad: Buffer): { [field: string]: string } {
  const salt = randomBytes(16);
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', scryptSync(passphrase.normalize('NFKC'), salt, 32, SCRYPT), iv);
  cipher.setAAD(aad);
  const data = Buffer.concat([cipher.update(secret), cipher.final(), cipher.getAuthTag()]);
  return { kdf: `scrypt N=${SCRYPT_N} r=8 p=1`, salt: toBase64(salt), iv: toBase64(iv), data: toBase64(data) };
}

function decrypt(value: unknown, passphrase: string, aad: Buffer, file: string): Uint8Array {
  const { salt, iv, data } = (typeof value === 'object' && value !== null ? value : {}) as { [field: string]: unknown };
  const sealed = bytesOf(data, file);
  const nonce = bytesOf(iv, file);
  const key = scryptSync(passphrase.normalize('NFKC'), bytesOf(salt, file), 32, SCRYPT);
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 });
    decipher.setAAD(aad);
    decipher.setAuthTag(sealed.subarray(-16));
    return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
  } catch {
    throw new ActGuardError('UNAUTHENTICATED', `the passphrase does not open \`${file}\``, { hint: 'try again' });
  }
}

/** Person and dev mark are bound to the ciphertext: they cannot be edited beside it. */
function aadOf(head: { [field: string]: unknown }): Buffer {
  return Buffer.from(JSON.stringify([head['kind'], head['v'], head['person'], head['dev'], head['publicKey']]));
}

function readFields(file: string): { [field: string]: unknown } {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    throw new ActGuardError('NOT_FOUND', `there is no readable key file \`${file}\``, {
      hint: 'make one with `actguard keys generate`',
    });
  }
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch {
    throw noKeyFile(file);
  }
  if (typeof fields !== 'object' || fields === null || !('kind' in fields) || fields.kind !== FILE_KIND)
    throw noKeyFile(file);
  return fields as { [field: string]: unknown };
}

function bytesOf(value: unknown, file: string): Uint8Array {
  const bytes = typeof value === 'string' ? fromBase64(value) : null;
  if (!bytes) throw noKeyFile(file);
  return bytes;
}

function noKeyFile(file: string): ActGuardError {
  return new ActGuardError('ARGUMENTS_INVALID', `\`${file}\` is not a key file`, {
    hint: 'make one with `actguard keys generate`',
  });
}
