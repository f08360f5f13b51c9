/** P6: signed notes, checkpoints and proof files: what an independent reader takes, ours takes, and nothing else. */
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { verifySignature } from '../../activities/signatures.ts';
import { checkpointText, openCheckpoint, parseCheckpoint } from '../../governance/checkpoint.ts';
import {
  EMPTY_ROOT,
  NO_PEAKS,
  appendLeaves,
  inclusionPlan,
  leafHash,
  proofHashes,
  rootOf,
} from '../../governance/merkle.ts';
import {
  cosignNote,
  noteKeyText,
  openNote,
  parseNoteKey,
  signNote,
  splitNote,
  writeNote,
} from '../../governance/note.ts';
import { parseTlogProof, writeTlogProof } from '../../governance/tlog-proof.ts';
import { noteKey } from '../support/note-keys.ts';
import { tlogverify } from '../support/tlogverify.ts';

const ORIGIN = 'ledger.example/1';
const log = noteKey(ORIGIN);
const witness = noteKey('witness.example', 'witness');
const stranger = noteKey('stranger.example');
const keys = [log.key, witness.key];

const leaves = Array.from({ length: 5 }, (_, i) => Buffer.from(`entry ${i}`));
const grown = appendLeaves(NO_PEAKS, leaves.map(leafHash));
const text = checkpointText({ origin: ORIGIN, size: 5, root: rootOf(grown.peaks) });
const signed = writeNote(text, [signNote(text, log.key, log.sign)]);
const cosigned = writeNote(text, [
  signNote(text, log.key, log.sign),
  cosignNote(text, witness.key, 1_790_000_000, witness.sign),
]);

const vectors = JSON.parse(readFileSync(new URL('../vectors/notes.json', import.meta.url), 'utf8')) as {
  readonly vkeys: readonly string[];
  readonly note: string;
  readonly bad: readonly { readonly why: string; readonly note: string }[];
  readonly good: readonly { readonly why: string; readonly note: string }[];
};

test('P6: vectors: the keys and the note that these seeds make', () => {
  expect([noteKeyText(log.key), noteKeyText(witness.key)]).toEqual(vectors.vkeys);
  expect(cosigned).toBe(vectors.note);
});

test.each(vectors.bad)('P6: refused: $why', ({ note }) => {
  expect(openCheckpoint(note, ORIGIN, keys, verifySignature).kind).toBe('invalid');
  const [result] = tlogverify([document({ checkpoints: { main: note } })]);
  expect(result?.checks.map((check) => check.ok)).toEqual([false]);
});

test.each(vectors.good)('P6: accepted: $why', ({ note }) => {
  expect(openCheckpoint(note, ORIGIN, keys, verifySignature).kind).toBe('ok');
  const [result] = tlogverify([document({ checkpoints: { main: note } })]);
  expect(result?.checks.map((check) => check.ok)).toEqual([true]);
});

test('P6: an independent verifier takes our note, cosignature and proof file', () => {
  const hashOf = (id: { level: number; index: number }): Uint8Array =>
    grown.nodes.find((n) => n.level === id.level && n.index === id.index)?.hash ?? EMPTY_ROOT;
  const proofs = leaves.map((leaf, index) => ({
    leaf_data: leaf.toString('base64'),
    proof: writeTlogProof({ index, hashes: proofHashes(inclusionPlan(index, 5), hashOf), checkpoint: cosigned }),
  }));
  const [result] = tlogverify([document({ checkpoints: { main: cosigned }, tlog_proofs: proofs, witness_quorum: 1 })]);
  expect(result?.checks.filter((check) => !check.ok)).toEqual([]);
  expect(result?.checks).toHaveLength(6);
  for (const { proof } of proofs) expect(parseTlogProof(proof).kind).toBe('ok');
});

test('P6: who signed, and when the witness saw it', () => {
  const opened = openCheckpoint(cosigned, ORIGIN, keys, verifySignature);
  expect(opened).toMatchObject({ kind: 'ok', value: { checkpoint: { origin: ORIGIN, size: 5 } } });
  const signatures = opened.kind === 'ok' ? opened.value.signatures : [];
  expect(signatures.map(({ key, atSeconds }) => [key.name, atSeconds])).toEqual([
    [ORIGIN, null],
    ['witness.example', 1_790_000_000],
  ]);
  expect(openNote(signed, [stranger.key], verifySignature)).toEqual({ kind: 'ok', value: { text, signatures: [] } });
});

test('P6: a witness alone makes no checkpoint, a key of another log neither', () => {
  const only = writeNote(text, [cosignNote(text, witness.key, 1, witness.sign)]);
  expect(openCheckpoint(only, ORIGIN, keys, verifySignature)).toMatchObject({ kind: 'invalid' });
  const foreign = writeNote(text, [signNote(text, stranger.key, stranger.sign)]);
  expect(openCheckpoint(foreign, ORIGIN, keys, verifySignature)).toMatchObject({ kind: 'invalid' });
  expect(openCheckpoint(signed, 'other.example/1', keys, verifySignature)).toMatchObject({ kind: 'invalid' });
});

test("P6: a log's signature does not pass for a witness's of the same key", () => {
  const both = noteKey('both.example', 'witness', 'one seed');
  const asLog = noteKey('both.example', 'log', 'one seed');
  const note = writeNote(text, [signNote(text, asLog.key, asLog.sign)]);
  expect(openNote(note, [both.key], verifySignature)).toEqual({ kind: 'ok', value: { text, signatures: [] } });
});

test('P6: any text that is changed by one character is refused', () => {
  fc.assert(
    fc.property(fc.nat(cosigned.length - 1), fc.constantFrom('0', 'A', 'z', '\n', ' '), (at, char) => {
      const changed = `${cosigned.slice(0, at)}${char}${cosigned.slice(at + 1)}`;
      const opened = openCheckpoint(changed, ORIGIN, keys, verifySignature);
      if (changed === cosigned) return;
      // a changed signature line may become a stranger's, which is passed over: the other signature still holds
      if (opened.kind === 'ok')
        expect(opened.value).toMatchObject({ checkpoint: { size: 5, root: rootOf(grown.peaks) } });
      else expect(opened.reason).not.toBe('');
      const [size] = /^\d+$/m.exec(changed) ?? [];
      if (size !== '5') expect(opened.kind).toBe('invalid');
    }),
    { numRuns: 300 },
  );
});

test('P6: keys as text come back as they were, and no other text is a key', () => {
  for (const { key } of [log, witness]) expect(parseNoteKey(noteKeyText(key))).toEqual({ kind: 'ok', value: key });
  const good = noteKeyText(log.key);
  for (const bad of [
    '',
    'a+b',
    good.replace('ledger', 'ledge'),
    good.slice(0, -4),
    `${good} `,
    good.replace('+', ' +'),
    good.toUpperCase(),
    `x+00000000+${Buffer.from([2, ...log.key.publicKey]).toString('base64')}`,
  ]) {
    expect(parseNoteKey(bad).kind, bad).toBe('invalid');
  }
});

test('P6: checkpoints in any other form are refused', () => {
  expect(parseCheckpoint(text).kind).toBe('ok');
  const root = text.split('\n')[2] ?? '';
  for (const bad of [
    '',
    `${ORIGIN}\n05\n${root}\n`,
    `${ORIGIN}\n-1\n${root}\n`,
    `${ORIGIN}\n9007199254740993\n${root}\n`,
    `${ORIGIN}\n5\n${root.slice(0, -1)}\n`,
    `${ORIGIN}\n5\nAAAA\n`,
    `${ORIGIN}\n5\n${root}`,
    `${ORIGIN}\n5\n${root}\nmore\n`,
    `\n5\n${root}\n`,
  ]) {
    expect(parseCheckpoint(bad).kind, JSON.stringify(bad)).toBe('invalid');
  }
});

test('P6: proof files in any other form are refused', () => {
  const proof = writeTlogProof({ index: 3, hashes: [EMPTY_ROOT], checkpoint: signed });
  expect(parseTlogProof(proof)).toEqual({ kind: 'ok', value: { index: 3, hashes: [EMPTY_ROOT], checkpoint: signed } });
  for (const bad of [
    '',
    proof.replace('@v1', '@v2'),
    proof.replace('index 3', 'index 03'),
    proof.replace('index 3\n', ''),
    proof.replace('index 3', 'extra AAAA\nindex 3'),
    proof.replace('index 3\n', 'index 3\nAAAA\n'),
    proof.replace('index 3\n', `index 3\n${'47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n'.repeat(70)}`),
    proof.slice(0, 60),
    `${proof}${'x'.repeat(200_000)}`,
  ]) {
    expect(parseTlogProof(bad).kind, bad.slice(0, 80)).toBe('invalid');
  }
});

test('P6: a note is bounded: signatures, length, control characters', () => {
  const line = signed.slice(signed.lastIndexOf('\u2014'));
  expect(splitNote(`${text}\n${line.repeat(100)}`).kind).toBe('ok');
  expect(splitNote(`${text}\n${line.repeat(101)}`).kind).toBe('invalid');
  expect(splitNote(`${'x'.repeat(70_000)}\n\n${line}`).kind).toBe('invalid');
  expect(splitNote(signed.replace('ledger', 'led\u0000er')).kind).toBe('invalid');
  expect(splitNote(signed.replace('ledger', 'led\ud800er')).kind).toBe('invalid');
  expect(splitNote(signed.trimEnd()).kind).toBe('invalid');
});

function document(more: object): object {
  return { origin: ORIGIN, vkeys: [noteKeyText(log.key)], witnesses: [noteKeyText(witness.key)], ...more };
}
