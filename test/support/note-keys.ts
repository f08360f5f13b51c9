/** Keys of logs and witnesses from fixed seeds: what they sign is the same in every run. */
import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import type { NoteKey, NoteKeyKind, SignBytes } from '../../governance/note.ts';

export interface TestNoteKey {
  readonly key: NoteKey;
  readonly sign: SignBytes;
}

// RFC 8410: an Ed25519 private key in PKCS#8 is this and 32 bytes
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

export function noteKey(name: string, kind: NoteKeyKind = 'log', seed = name): TestNoteKey {
  const secret = createHash('sha256').update(seed).digest();
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8, secret]), format: 'der', type: 'pkcs8' });
  const publicKey = Buffer.from(String(createPublicKey(privateKey).export({ format: 'jwk' }).x), 'base64url');
  return {
    key: { name, kind, publicKey: new Uint8Array(publicKey) },
    sign: (message) => new Uint8Array(sign(null, message, privateKey)),
  };
}
