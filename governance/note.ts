/**
 * Signed notes (C2SP signed-note 1.0.0): a text, a blank line, a line for each signature. Log keys sign the text
 * (Ed25519, type 0x01), witnesses sign it with the time they saw it (tlog-cosignature 1.0.1, type 0x04). Signing and
 * verifying are passed in: there is no Node here.
 */
import { concatBytes } from '@noble/hashes/utils.js';
import { fromBase64, toBase64 } from './base64.ts';
import { sha256, utf8Bytes } from './digest.ts';
import { MAX_NOTE_BYTES, MAX_NOTE_SIGNATURES } from './limits.ts';
import { sameBytes } from './merkle.ts';
import { type Parsed, parsing, refuse } from './strict.ts';

/** Kinds of keys: `log` signs checkpoints (0x01), `witness` cosigns them (0x04). */
export const NOTE_KEY_TYPES = { log: 0x01, witness: 0x04 } as const;
/** One of {@link NOTE_KEY_TYPES}. */
export type NoteKeyKind = keyof typeof NOTE_KEY_TYPES;

/** A key that notes are checked with. */
export interface NoteKey {
  /** No spaces, no `+`; of a log usually its origin. */
  readonly name: string;
  readonly kind: NoteKeyKind;
  /** 32 bytes (Ed25519). */
  readonly publicKey: Uint8Array;
}

/** A signature that verified. */
export interface NoteSignature {
  readonly key: NoteKey;
  /** When a witness says it saw the note, seconds since the epoch; null for a log's signature. */
  readonly atSeconds: number | null;
}

/** A signature line, made by {@link signNote} or {@link cosignNote}. */
export interface NewNoteSignature {
  readonly name: string;
  /** Key id and signature as they stand in the line. */
  readonly bytes: Uint8Array;
}

/** Ed25519 over bytes: 64 bytes. */
export type SignBytes = (message: Uint8Array) => Uint8Array;
/** Checks Ed25519; false for whatever is wrong. */
export type VerifyBytes = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;

const KEY_ID_BYTES = 4;
const KEY_NAME = /^[^\s+\p{Z}\p{C}]{1,200}$/u;
const SIGNATURE_LINE = /^\u2014 (\S+) ([A-Za-z0-9+/=]+)$/;

/** Whether a text may name a key or a log: 1 to 200 characters, no spaces, no `+`, nothing invisible. */
export function isKeyName(name: string): boolean {
  return KEY_NAME.test(name);
}

/** A key's id: the first 4 bytes of SHA-256(name || 0x0A || type || public key). */
export function noteKeyId(key: NoteKey): Uint8Array {
  return sha256(concatBytes(utf8Bytes(`${key.name}\n`), typedKey(key))).subarray(0, KEY_ID_BYTES);
}

/**
 * A key as text, `name+id+base64(type || public key)`: what an auditor gets.
 *
 * @example noteKeyText({ name: 'log.example', kind: 'log', publicKey }) // 'log.example+1a2b3c4d+AY…'
 */
export function noteKeyText(key: NoteKey): string {
  return `${key.name}+${hexOfId(noteKeyId(key))}+${toBase64(typedKey(key))}`;
}

/** Reads a key's text; its id has to fit. */
export function parseNoteKey(text: string): Parsed<NoteKey> {
  return parsing(() => {
    const [name = '', id = '', ...rest] = text.split('+');
    const bytes = fromBase64(rest.join('+'));
    if (!isKeyName(name) || !/^[0-9a-f]{8}$/.test(id) || bytes === null) return refuse('it is no key of a signed note');
    const kind = (['log', 'witness'] as const).find((k) => NOTE_KEY_TYPES[k] === bytes[0]);
    if (kind === undefined) return refuse(`the key's type ${bytes[0] ?? 'is missing'} is not known`);
    if (bytes.length !== 33) return refuse('the key is not 32 bytes long');
    const key: NoteKey = { name, kind, publicKey: bytes.slice(1) };
    if (hexOfId(noteKeyId(key)) !== id) return refuse("the key's id does not fit the key");
    return key;
  });
}

/** A log's signature of a text. */
export function signNote(text: string, key: NoteKey, sign: SignBytes): NewNoteSignature {
  return { name: key.name, bytes: concatBytes(noteKeyId(key), sign(noteText(text))) };
}

/** What a witness signs (cosignature/v1): the time, then the text. */
export function cosignedBytes(text: string, atSeconds: number): Uint8Array {
  return concatBytes(utf8Bytes(`cosignature/v1\ntime ${atSeconds}\n`), noteText(text));
}

/** A witness's signature of a text (cosignature/v1); `atSeconds` since the epoch. */
export function cosignNote(text: string, key: NoteKey, atSeconds: number, sign: SignBytes): NewNoteSignature {
  const signature = sign(cosignedBytes(text, atSeconds));
  return { name: key.name, bytes: concatBytes(noteKeyId(key), timeBytes(atSeconds), signature) };
}

/** A note as text: what is published. */
export function writeNote(text: string, signatures: readonly NewNoteSignature[]): string {
  return `${text}\n${signatures.map(signatureLine).join('')}`;
}

/** A signature as its line, with its line end: what a witness answers. */
export function signatureLine({ name, bytes }: NewNoteSignature): string {
  return `\u2014 ${name} ${toBase64(bytes)}\n`;
}

/** Takes a note apart; nothing is verified yet. At most MAX_NOTE_BYTES and MAX_NOTE_SIGNATURES. */
export function splitNote(note: string): Parsed<{ readonly text: string; readonly signatures: NewNoteSignature[] }> {
  return parsing(() => {
    if (!note.isWellFormed() || utf8Bytes(note).length > MAX_NOTE_BYTES)
      return refuse('the note is too long or no text');
    if (/[\u0000-\u0009\u000b-\u001f]/.test(note)) return refuse('the note holds control characters');
    const at = note.lastIndexOf('\n\n');
    if (at < 0 || !note.endsWith('\n')) return refuse('the note has no signatures, or it is cut off');
    const lines = note.slice(at + 2, -1).split('\n');
    if (lines.length > MAX_NOTE_SIGNATURES) return refuse(`the note has more than ${MAX_NOTE_SIGNATURES} signatures`);
    return { text: note.slice(0, at + 1), signatures: lines.map(readLine) };
  });
}

/**
 * Opens a note: the text, and which of the given keys signed it. A given key whose signature does not verify spoils the
 * note; signatures of other keys are passed over. `signatures` is empty where none of the keys signed.
 */
export function openNote(
  note: string,
  keys: readonly NoteKey[],
  verify: VerifyBytes,
): Parsed<{ readonly text: string; readonly signatures: readonly NoteSignature[] }> {
  return parsing(() => {
    const split = splitNote(note);
    if (split.kind === 'invalid') return refuse(split.reason);
    const { text, signatures } = split.value;
    const good = new Map<NoteKey, NoteSignature>();
    for (const { name, bytes } of signatures) {
      const key = keys.find((k) => k.name === name && sameBytes(noteKeyId(k), bytes.subarray(0, KEY_ID_BYTES)));
      if (key === undefined || good.has(key)) continue;
      good.set(key, checkLine(text, key, bytes.subarray(KEY_ID_BYTES), verify));
    }
    return { text, signatures: [...good.values()] };
  });
}

function checkLine(text: string, key: NoteKey, bytes: Uint8Array, verify: VerifyBytes): NoteSignature {
  const timed = key.kind === 'witness';
  if (bytes.length !== (timed ? 72 : 64)) return refuse(`the signature of ${key.name} has an impossible length`);
  const atSeconds = timed ? readTime(bytes) : null;
  const message = atSeconds === null ? noteText(text) : cosignedBytes(text, atSeconds);
  if (!verify(key.publicKey, message, timed ? bytes.subarray(8) : bytes)) {
    return refuse(`the signature of ${key.name} does not verify`);
  }
  return { key, atSeconds };
}

function readLine(line: string): NewNoteSignature {
  const [, name = '', encoded = ''] = SIGNATURE_LINE.exec(line) ?? refuse('a signature line is malformed');
  const bytes = fromBase64(encoded);
  if (!isKeyName(name) || bytes === null || bytes.length <= KEY_ID_BYTES)
    return refuse('a signature line is malformed');
  return { name, bytes };
}

function noteText(text: string): Uint8Array {
  if (!text.endsWith('\n')) throw new RangeError("a note's text ends with a line end");
  return utf8Bytes(text);
}

function typedKey(key: NoteKey): Uint8Array {
  return concatBytes(Uint8Array.of(NOTE_KEY_TYPES[key.kind]), key.publicKey);
}

function hexOfId(id: Uint8Array): string {
  return [...id].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Big-endian, 8 bytes; beyond what bit operators hold. */
function timeBytes(seconds: number): Uint8Array {
  const bytes = new Uint8Array(8);
  for (let i = 7, left = seconds; i >= 0; i -= 1, left = Math.floor(left / 256)) bytes[i] = left % 256;
  return bytes;
}

function readTime(bytes: Uint8Array): number {
  const seconds = bytes.subarray(0, 8).reduce((value, byte) => value * 256 + byte, 0);
  return Number.isSafeInteger(seconds) ? seconds : refuse('a cosignature has an impossible time');
}
