/**
 * What a witness does (C2SP tlog-witness 1.0.0, add-checkpoint): it remembers the last checkpoint of each log, and signs
 * a new one only if that begins with the old one. Pure: memory in, decision out.
 */
import { fromBase64, toBase64 } from './base64.ts';
import { type Checkpoint, openCheckpoint, parseCheckpoint, parseCount } from './checkpoint.ts';
import { MAX_NOTE_BYTES } from './limits.ts';
import { HASH_BYTES, sameBytes, verifyConsistency } from './merkle.ts';
import { type NoteKey, type VerifyBytes, splitNote } from './note.ts';
import { type Parsed, parsing, refuse } from './strict.ts';

const MAX_PROOF_HASHES = 63;

/** A request to cosign: what the log believes the witness saw last, the proof from there, the new checkpoint. */
export interface AddCheckpoint {
  readonly oldSize: number;
  readonly proof: readonly Uint8Array[];
  /** The signed note. */
  readonly note: string;
}

/** What a witness remembers of a log. */
export type Seen = Pick<Checkpoint, 'size' | 'root'>;

/**
 * The answer. `conflict`: the witness saw another size last, named in `size` (HTTP 409). `fork`: the proof does not hold
 * (422). `stale`: the checkpoint is older than `oldSize` says (400).
 */
export type WitnessDecision =
  | { readonly kind: 'cosign'; readonly checkpoint: Checkpoint; readonly text: string }
  | { readonly kind: 'unknown-log' | 'unsigned' | 'stale' | 'fork'; readonly reason: string }
  | { readonly kind: 'conflict'; readonly size: number };

/** The body of a request. */
export function writeAddCheckpoint({ oldSize, proof, note }: AddCheckpoint): string {
  return `old ${oldSize}\n${proof.map((hash) => `${toBase64(hash)}\n`).join('')}\n${note}`;
}

/** Reads a request's body strictly. */
export function parseAddCheckpoint(body: string): Parsed<AddCheckpoint> {
  return parsing(() => {
    if (body.length > 2 * MAX_NOTE_BYTES) return refuse('the request is too long');
    const end = body.indexOf('\n\n');
    const [old = '', ...lines] = body.slice(0, Math.max(end, 0)).split('\n');
    if (!old.startsWith('old ')) return refuse('the request does not begin with `old` and a size');
    if (lines.length > MAX_PROOF_HASHES) return refuse(`the proof has more than ${MAX_PROOF_HASHES} hashes`);
    const proof = lines.map((line) => {
      const hash = fromBase64(line);
      return hash?.length === HASH_BYTES ? hash : refuse('a hash of the proof is not 32 bytes in base64');
    });
    return { oldSize: parseCount(old.slice(4), 'the old size'), proof, note: body.slice(end + 2) };
  });
}

/** Decides about a request; `seen` is null where the witness never saw this log. */
export function decideWitness(
  request: AddCheckpoint,
  logs: readonly NoteKey[],
  seenOf: (origin: string) => Seen | null,
  verify: VerifyBytes,
): WitnessDecision {
  const split = splitNote(request.note);
  if (split.kind === 'invalid') return { kind: 'stale', reason: split.reason };
  const named = parseCheckpoint(split.value.text);
  if (named.kind === 'invalid') return { kind: 'stale', reason: named.reason };
  const { origin } = named.value;
  const keys = logs.filter((key) => key.name === origin);
  if (keys.length === 0) return { kind: 'unknown-log', reason: 'this witness does not know the log' };
  const opened = openCheckpoint(request.note, origin, keys, verify);
  if (opened.kind === 'invalid') return { kind: 'unsigned', reason: opened.reason };
  const { checkpoint } = opened.value;
  const seen = seenOf(origin);
  if (request.oldSize > checkpoint.size) return { kind: 'stale', reason: 'the checkpoint is older than the old size' };
  if (request.oldSize !== (seen?.size ?? 0)) return { kind: 'conflict', size: seen?.size ?? 0 };
  if (seen?.size === checkpoint.size && !sameBytes(seen.root, checkpoint.root))
    return { kind: 'conflict', size: seen.size };
  // what was never seen begins with nothing: every tree extends the empty one
  const extended = seen === null ? request.proof.length === 0 : verifyConsistency(seen, checkpoint, request.proof);
  if (!extended) return { kind: 'fork', reason: 'the checkpoint does not extend the one that was seen' };
  return { kind: 'cosign', checkpoint, text: split.value.text };
}
