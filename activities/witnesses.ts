/** Asks witnesses for their signatures (C2SP tlog-witness, add-checkpoint). */
import { WITNESS_TIMEOUT_MS } from '../governance/limits.ts';
import { type NewNoteSignature, type NoteKey, openNote, splitNote, writeNote } from '../governance/note.ts';
import { writeAddCheckpoint } from '../governance/witness.ts';
import { type SealDeps, proveExtension } from './seal.ts';
import { verifySignature } from './signatures.ts';

/** A witness and where it is. */
export interface WitnessPlace {
  /** Base URL, `http://127.0.0.1:8401`; `/add-checkpoint` is added. */
  readonly url: string;
  readonly key: NoteKey;
}

/** `ahead`: it saw more entries than there are; `fork`: it saw others; `away`: no usable answer, to be asked again. */
export type Witnessed =
  | { readonly kind: 'cosigned'; readonly note: string }
  | { readonly kind: 'ahead' | 'fork'; readonly reason: string }
  | { readonly kind: 'away'; readonly reason: string };

/**
 * Has a checkpoint cosigned by one witness. `note` may carry cosignatures already: the answer's is added once.
 *
 * @param size of the checkpoint
 */
export async function askWitness(
  deps: Pick<SealDeps, 'db'>,
  witness: WitnessPlace,
  size: number,
  note: string,
): Promise<Witnessed> {
  try {
    // it is asked for this very checkpoint first: a witness that saw it answers at once, another names what it saw
    let oldSize = size;
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const proof = await proveExtension(deps, oldSize, size);
      const answer = await post(witness.url, writeAddCheckpoint({ oldSize, proof, note }));
      if (answer.status === 200) return withCosignature(note, answer.body, witness.key);
      if (answer.status === 422) return { kind: 'fork', reason: `${witness.key.name} saw other entries` };
      const seen = /^(\d{1,16})\n?$/.exec(answer.body)?.[1];
      if (answer.status !== 409 || seen === undefined) {
        return { kind: 'away', reason: `${witness.key.name} answered ${answer.status}` };
      }
      if (Number(seen) > size)
        return { kind: 'ahead', reason: `${witness.key.name} saw ${seen} entries, there are ${size}` };
      if (Number(seen) === size && oldSize === size)
        return { kind: 'fork', reason: `${witness.key.name} saw other entries` };
      oldSize = Number(seen);
    }
    return { kind: 'away', reason: `${witness.key.name} names another size each time` };
  } catch (error) {
    return { kind: 'away', reason: `${witness.key.name}: ${error instanceof Error ? error.message : String(error)}` };
  }
}

/** The note with the witness's line; its answer may hold other lines, which are passed over. */
function withCosignature(note: string, lines: string, key: NoteKey): Witnessed {
  const own = splitNote(note);
  if (own.kind === 'invalid') return { kind: 'away', reason: own.reason };
  const { text, signatures } = own.value;
  const answered = splitNote(`${text}\n${lines}`);
  const line = answered.kind === 'ok' ? answered.value.signatures.find((s) => isBy(text, s, key)) : undefined;
  if (line === undefined) return { kind: 'away', reason: `${key.name} sent no signature of its own` };
  if (signatures.some((s) => isBy(text, s, key))) return { kind: 'cosigned', note };
  return { kind: 'cosigned', note: writeNote(text, [...signatures, line]) };
}

function isBy(text: string, signature: NewNoteSignature, key: NoteKey): boolean {
  const opened = openNote(writeNote(text, [signature]), [key], verifySignature);
  return opened.kind === 'ok' && opened.value.signatures.length === 1;
}

const MAX_ANSWER_CHARS = 16 * 1024;

async function post(url: string, body: string): Promise<{ readonly status: number; readonly body: string }> {
  const response = await fetch(new URL('/add-checkpoint', url), {
    method: 'POST',
    body,
    headers: { 'content-type': 'text/plain; charset=utf-8' },
    redirect: 'error',
    signal: AbortSignal.timeout(WITNESS_TIMEOUT_MS),
  });
  const text = await response.text();
  return { status: response.status, body: text.length > MAX_ANSWER_CHARS ? '' : text };
}
