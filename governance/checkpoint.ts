/** Checkpoints (C2SP tlog-checkpoint 1.0.0): what a log says about all its entries, as the text of a signed note. */
import { fromBase64, toBase64 } from './base64.ts';
import { HASH_BYTES } from './merkle.ts';
import { type NoteKey, type NoteSignature, type VerifyBytes, isKeyName, openNote } from './note.ts';
import { type Parsed, parsing, refuse, valueOf } from './strict.ts';

/** A tree's size and root. */
export interface TreeHead {
  /** Leaves. */
  readonly size: number;
  /** 32 bytes. */
  readonly root: Uint8Array;
}

/** A checkpoint: a tree head of a named log. */
export interface Checkpoint extends TreeHead {
  /** Which log: `acme.example/actguard`. */
  readonly origin: string;
}

/** The text of a checkpoint: three lines, to be signed as a note. */
export function checkpointText({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${toBase64(root)}\n`;
}

/** Reads the text of a checkpoint: exactly the three lines in canonical form; extension lines are refused. */
export function parseCheckpoint(text: string): Parsed<Checkpoint> {
  return parsing(() => {
    const [origin = '', size = '', root = '', end, ...more] = text.split('\n');
    if (end !== '' || more.length > 0) return refuse('the checkpoint does not have exactly three lines');
    if (!isKeyName(origin)) return refuse('the origin of the checkpoint is no name');
    const bytes = fromBase64(root);
    if (bytes?.length !== HASH_BYTES) return refuse('the root of the checkpoint is not 32 bytes in base64');
    return { origin, size: parseCount(size, 'the size of the checkpoint'), root: bytes };
  });
}

/** A whole number from 0 to 2^53 - 1 as ASCII decimals without leading zeros; inside `parsing`. */
export function parseCount(text: string, what: string): number {
  const value = Number(text);
  if (!/^(?:0|[1-9][0-9]*)$/.test(text) || !Number.isSafeInteger(value)) return refuse(`${what} is not a whole number`);
  return value;
}

/** A checkpoint whose signatures were checked. */
export interface OpenedCheckpoint {
  readonly checkpoint: Checkpoint;
  /** Of the given keys, those that signed. */
  readonly signatures: readonly NoteSignature[];
}

/**
 * Opens a signed checkpoint: signed by at least one of the log's keys, its origin the log's. Keys of witnesses may be
 * among the keys; which of them signed is in `signatures`.
 */
export function openCheckpoint(
  note: string,
  origin: string,
  keys: readonly NoteKey[],
  verify: VerifyBytes,
): Parsed<OpenedCheckpoint> {
  return parsing(() => {
    const { text, signatures } = valueOf(openNote(note, keys, verify));
    if (!signatures.some(({ key }) => key.kind === 'log'))
      return refuse('no given key of the log signed the checkpoint');
    const checkpoint = valueOf(parseCheckpoint(text));
    if (checkpoint.origin !== origin) return refuse('the checkpoint is of another log');
    return { checkpoint, signatures };
  });
}
