/** Proof files (C2SP tlog-proof@v1): an entry's place in the log, its inclusion proof and the signed checkpoint, as text. */
import { fromBase64, toBase64 } from './base64.ts';
import { parseCount } from './checkpoint.ts';
import { MAX_NOTE_BYTES } from './limits.ts';
import { HASH_BYTES } from './merkle.ts';
import { type Parsed, parsing, refuse } from './strict.ts';

const HEADER = 'c2sp.org/tlog-proof@v1';
/** A tree of 2^53 leaves has no longer path. */
const MAX_HASHES = 64;

/** A proof that a leaf is in a log. */
export interface TlogProof {
  /** Place of the leaf, from 0. */
  readonly index: number;
  /** Inclusion proof, nearest first. */
  readonly hashes: readonly Uint8Array[];
  /** The signed note. */
  readonly checkpoint: string;
}

/** A proof as text. */
export function writeTlogProof({ index, hashes, checkpoint }: TlogProof): string {
  return `${HEADER}\nindex ${index}\n${hashes.map((hash) => `${toBase64(hash)}\n`).join('')}\n${checkpoint}`;
}

/** Reads a proof strictly; nothing is verified yet. We write no `extra` line and read none. */
export function parseTlogProof(text: string): Parsed<TlogProof> {
  return parsing(() => {
    if (text.length > 2 * MAX_NOTE_BYTES) return refuse('the proof is too long');
    const end = text.indexOf('\n\n');
    if (end < 0) return refuse('the proof has no checkpoint, or it is cut off');
    const [header, index = '', ...lines] = text.slice(0, end).split('\n');
    if (header !== HEADER) return refuse(`the proof does not begin with \`${HEADER}\``);
    if (!index.startsWith('index ')) return refuse('the proof names no index');
    if (lines.length > MAX_HASHES) return refuse(`the proof has more than ${MAX_HASHES} hashes`);
    return {
      index: parseCount(index.slice('index '.length), 'the index of the proof'),
      hashes: lines.map(readHash),
      checkpoint: text.slice(end + 2),
    };
  });
}

function readHash(line: string): Uint8Array {
  const bytes = fromBase64(line);
  return bytes?.length === HASH_BYTES ? bytes : refuse('a hash of the proof is not 32 bytes in base64');
}
