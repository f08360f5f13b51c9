/** P6: the tree, its proofs and their verification, against an independent verifier and against tampering. */
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  EMPTY_ROOT,
  type MerkleNode,
  type NodeId,
  NO_PEAKS,
  appendLeaves,
  consistencyPlan,
  inclusionPlan,
  leafHash,
  nodeHash,
  peakIds,
  proofHashes,
  rootOf,
  verifyConsistency,
  verifyInclusion,
} from '../../governance/merkle.ts';
import { tlogverify } from '../support/tlogverify.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const b64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

interface Vectors {
  readonly leaves: readonly string[];
  readonly roots: readonly string[];
  readonly inclusion: readonly { readonly index: number; readonly size: number; readonly proof: readonly string[] }[];
  readonly consistency: readonly { readonly from: number; readonly to: number; readonly proof: readonly string[] }[];
}
const vectors = JSON.parse(readFileSync(new URL('../vectors/merkle.json', import.meta.url), 'utf8')) as Vectors;

/** A tree with all its nodes. */
function tree(leaves: readonly Uint8Array[]) {
  const nodes = new Map<string, Uint8Array>();
  const roots = [EMPTY_ROOT];
  let peaks = NO_PEAKS;
  for (const leaf of leaves) {
    const grown = appendLeaves(peaks, [leafHash(leaf)]);
    peaks = grown.peaks;
    for (const node of grown.nodes) nodes.set(`${node.level}/${node.index}`, node.hash);
    roots.push(rootOf(peaks));
  }
  const hashOf = ({ level, index }: NodeId): Uint8Array => {
    const hash = nodes.get(`${level}/${index}`);
    if (!hash) throw new Error(`no node ${level}/${index}`);
    return hash;
  };
  return {
    peaks,
    hashOf,
    head: (size: number) => ({ size, root: roots[size] ?? EMPTY_ROOT }),
    inclusion: (index: number, size: number) => proofHashes(inclusionPlan(index, size), hashOf),
    consistency: (from: number, to: number) => proofHashes(consistencyPlan(from, to), hashOf),
  };
}

const numbered = (count: number): Uint8Array[] => Array.from({ length: count }, (_, i) => Buffer.from(`entry ${i}`));

/** The definition of RFC 6962 section 2.1, word for word: slow, and nothing of ours in it. */
function defined(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return EMPTY_ROOT;
  if (leaves.length === 1) return leafHash(leaves[0] ?? new Uint8Array());
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return nodeHash(defined(leaves.slice(0, k)), defined(leaves.slice(k)));
}

test('P6: vectors of roots and proofs', () => {
  const leaves = vectors.leaves.map((leaf) => Buffer.from(leaf, 'hex'));
  const own = tree(leaves);
  expect(vectors.roots).toEqual(leaves.map((_, i) => hex(own.head(i + 1).root)));
  for (const { index, size, proof } of vectors.inclusion) expect(own.inclusion(index, size).map(hex)).toEqual(proof);
  for (const { from, to, proof } of vectors.consistency) expect(own.consistency(from, to).map(hex)).toEqual(proof);
});

test('P6: the empty root is SHA-256 of nothing', () => {
  expect(hex(rootOf(NO_PEAKS))).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
});

test('P6: an independent verifier accepts every proof of every tree up to 24 leaves', () => {
  const leaves = numbered(24);
  const own = tree(leaves);
  const inclusion = [];
  const consistency = [];
  const trees = [];
  for (let size = 1; size <= leaves.length; size += 1) {
    const root = b64(own.head(size).root);
    trees.push({ size, root, leaves: leaves.slice(0, size).map(b64) });
    for (let index = 0; index < size; index += 1) {
      const leaf = leaves[index] ?? new Uint8Array();
      inclusion.push({ size, root, index, leaf_data: b64(leaf), proof: own.inclusion(index, size).map(b64) });
      const from = own.head(index + 1);
      const proof = own.consistency(index + 1, size).map(b64);
      consistency.push({ from_size: index + 1, from_root: b64(from.root), to_size: size, to_root: root, proof });
    }
  }
  const [result] = tlogverify([{ inclusion, consistency, trees }]);
  expect(result?.checks.filter((check) => !check.ok)).toEqual([]);
  expect(result?.checks).toHaveLength(inclusion.length + consistency.length + trees.length);
});

test('P6: an independent verifier and ours refuse the same proofs with one bit changed', () => {
  const own = tree(numbered(11));
  const inclusion = [];
  for (let index = 0; index < 11; index += 1) {
    const proof = own.inclusion(index, 11);
    for (let i = 0; i < proof.length; i += 1) {
      const changed = proof.map((hash, j) => (i === j ? flip(hash) : hash));
      expect(verifyInclusion(leafHash(Buffer.from(`entry ${index}`)), index, own.head(11), changed)).toBe(false);
      const root = b64(own.head(11).root);
      inclusion.push({ size: 11, root, index, leaf_data: b64(Buffer.from(`entry ${index}`)), proof: changed.map(b64) });
    }
  }
  const [result] = tlogverify([{ inclusion }]);
  expect(result?.checks.filter((check) => check.ok)).toEqual([]);
});

test('P6: any tree has the root that the standard defines, and its proofs verify', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 70 }),
      fc.nat(),
      fc.nat(),
      (leaves, a, b) => {
        const own = tree(leaves);
        const size = (a % leaves.length) + 1;
        const index = b % size;
        expect(hex(own.head(size).root)).toBe(hex(defined(leaves.slice(0, size))));
        expect(peakIds(leaves.length).map((id) => hex(own.hashOf(id)))).toEqual(own.peaks.hashes.map(hex));
        const leaf = leafHash(leaves[index] ?? new Uint8Array());
        expect(verifyInclusion(leaf, index, own.head(size), own.inclusion(index, size))).toBe(true);
        const proof = own.consistency(index, size);
        expect(verifyConsistency(own.head(index), own.head(size), proof)).toBe(true);
      },
    ),
  );
});

test('P6: one batch grows a tree as single leaves do', () => {
  fc.assert(
    fc.property(fc.nat(40), fc.nat(40), (first, second) => {
      const hashes = numbered(first + second).map(leafHash);
      const [a, b] = [hashes.slice(0, first), hashes.slice(first)];
      const before = appendLeaves(NO_PEAKS, a);
      const after = appendLeaves(before.peaks, b);
      const whole = appendLeaves(NO_PEAKS, hashes);
      expect(after.peaks).toEqual(whole.peaks);
      const key = (n: MerkleNode): string => `${n.level}/${n.index}/${hex(n.hash)}`;
      expect([...before.nodes, ...after.nodes].map(key)).toEqual(whole.nodes.map(key));
    }),
  );
});

test('P6: a proof is refused for another place, leaf, size, root, with a hash more or less', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 60 }), fc.nat(), (size, at) => {
      const index = at % size;
      const own = tree(numbered(size));
      const leaf = leafHash(Buffer.from(`entry ${index}`));
      const proof = own.inclusion(index, size);
      const head = own.head(size);
      expect(verifyInclusion(leaf, index, head, proof)).toBe(true);
      expect(verifyInclusion(leaf, (index + 1) % size, head, proof)).toBe(false);
      expect(verifyInclusion(leaf, size, head, proof)).toBe(false);
      expect(verifyInclusion(leaf, -1, head, proof)).toBe(false);
      expect(verifyInclusion(leaf, index + 0.5, head, proof)).toBe(false);
      expect(verifyInclusion(flip(leaf), index, head, proof)).toBe(false);
      expect(verifyInclusion(leaf, index, { ...head, root: flip(head.root) }, proof)).toBe(false);
      expect(verifyInclusion(leaf, index, head, proof.slice(1))).toBe(false);
      expect(verifyInclusion(leaf, index, head, [...proof, leaf])).toBe(false);
      expect(verifyInclusion(leaf, index, head, [...proof.slice(0, -1), Uint8Array.of(1)])).toBe(false);
    }),
  );
});

test('P6: a shorter, longer or changed tree is not consistent', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 60 }), fc.nat(), (to, at) => {
      const from = (at % (to - 1)) + 1;
      const own = tree(numbered(to));
      const rewritten = tree([Buffer.from('rewritten'), ...numbered(to).slice(1)]);
      const proof = own.consistency(from, to);
      expect(verifyConsistency(own.head(from), own.head(to), proof)).toBe(true);
      expect(verifyConsistency(own.head(to), own.head(from), proof)).toBe(false);
      expect(verifyConsistency(own.head(from), rewritten.head(to), rewritten.consistency(from, to))).toBe(false);
      expect(verifyConsistency(own.head(from), own.head(to), proof.slice(1))).toBe(false);
      expect(verifyConsistency(own.head(from), own.head(to), [...proof, own.head(1).root])).toBe(false);
      expect(verifyConsistency(own.head(from), own.head(to), [flip(proof[0] ?? EMPTY_ROOT), ...proof.slice(1)])).toBe(
        false,
      );
      expect(verifyConsistency({ size: 0, root: own.head(1).root }, own.head(to), [])).toBe(false);
    }),
  );
});

test('P6: sizes beyond what 32 bits hold', () => {
  const size = 2 ** 40 + 3;
  expect(peakIds(size)).toEqual([
    { level: 40, index: 0 },
    { level: 1, index: 2 ** 39 },
    { level: 0, index: 2 ** 40 + 2 },
  ]);
  expect(inclusionPlan(0, size)).toHaveLength(41);
  expect(consistencyPlan(2 ** 40, size)).toHaveLength(1);
});

function flip(bytes: Uint8Array): Uint8Array {
  const changed = Uint8Array.from(bytes);
  changed[0] = (changed[0] ?? 0) ^ 1;
  return changed;
}
