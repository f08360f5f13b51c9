/**
 * The ledger's Merkle tree (RFC 6962 section 2.1, SHA-256): hashes, growing, proofs and their verification. Which nodes a
 * proof needs is arithmetic on the tree's size; whoever stores the nodes fetches exactly those.
 */
import { concatBytes } from '@noble/hashes/utils.js';
import { sha256 } from './digest.ts';

/** Bytes of every hash. */
export const HASH_BYTES = 32;
/** Root of the tree without leaves: SHA-256 of nothing. */
export const EMPTY_ROOT: Uint8Array = sha256(new Uint8Array());

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/** A perfect subtree: `level` 0 is a leaf, its leaves are `index * 2^level` up to before `(index + 1) * 2^level`. */
export interface NodeId {
  readonly level: number;
  readonly index: number;
}

/** A perfect subtree with its hash. */
export interface MerkleNode extends NodeId {
  readonly hash: Uint8Array;
}

/** All that growing a tree needs: the roots of its largest perfect subtrees, left to right. At most 53 hashes. */
export interface Peaks {
  readonly size: number;
  readonly hashes: readonly Uint8Array[];
}

/** A tree without leaves. */
export const NO_PEAKS: Peaks = { size: 0, hashes: [] };

/** Hash of a leaf: SHA-256(0x00 || data). */
export function leafHash(data: Uint8Array): Uint8Array {
  return sha256(concatBytes(LEAF, data));
}

/** Hash over two subtrees: SHA-256(0x01 || left || right). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(concatBytes(NODE, left, right));
}

/** Grows a tree by leaf hashes; `nodes` are all perfect subtrees that became complete, leaves included. */
export function appendLeaves(
  peaks: Peaks,
  leaves: readonly Uint8Array[],
): { readonly peaks: Peaks; readonly nodes: readonly MerkleNode[] } {
  const hashes = [...peaks.hashes];
  const nodes: MerkleNode[] = [];
  let size = peaks.size;
  for (const leaf of leaves) {
    let node: MerkleNode = { level: 0, index: size, hash: leaf };
    nodes.push(node);
    // as many subtrees close as the size has ones at its end
    for (; node.index % 2 === 1; nodes.push(node)) {
      const left = hashes.pop();
      if (left === undefined) throw new RangeError('the peaks do not fit their size');
      node = { level: node.level + 1, index: (node.index - 1) / 2, hash: nodeHash(left, node.hash) };
    }
    hashes.push(node.hash);
    size += 1;
  }
  return { peaks: { size, hashes }, nodes };
}

/** Root of the whole tree. */
export function rootOf(peaks: Peaks): Uint8Array {
  return peaks.hashes.length === 0 ? EMPTY_ROOT : fold(peaks.hashes);
}

/** The largest perfect subtrees of a tree of this size, left to right: what {@link Peaks} holds. */
export function peakIds(size: number): NodeId[] {
  return perfectNodes(0, size);
}

/** Which nodes prove that a leaf is in a tree, nearest first; each group folds to one hash by {@link proofHashes}. */
export function inclusionPlan(index: number, size: number): NodeId[][] {
  const plan: NodeId[][] = [];
  let [low, high] = [0, size];
  while (high - low > 1) {
    const middle = low + splitOf(high - low);
    if (index < middle) plan.push(perfectNodes(middle, high));
    else plan.push(perfectNodes(low, middle));
    if (index < middle) high = middle;
    else low = middle;
  }
  return plan.reverse();
}

/** Which nodes prove that a tree of `to` leaves begins with the tree of `from` leaves; 0 < from <= to, else none. */
export function consistencyPlan(from: number, to: number): NodeId[][] {
  if (from <= 0 || from >= to) return [];
  const plan: NodeId[][] = [];
  let [low, high] = [0, to];
  // the old tree's end falls into [low, high); it is known where that range is the whole old tree
  while (from < high) {
    const middle = low + splitOf(high - low);
    if (from <= middle) plan.push(perfectNodes(middle, high));
    else plan.push(perfectNodes(low, middle));
    if (from <= middle) high = middle;
    else low = middle;
  }
  if (low > 0) plan.push(perfectNodes(low, high));
  return plan.reverse();
}

/** The hashes of a proof from its plan; `hashOf` knows every node of the plan. */
export function proofHashes(plan: readonly (readonly NodeId[])[], hashOf: (node: NodeId) => Uint8Array): Uint8Array[] {
  return plan.map((group) => fold(group.map(hashOf)));
}

/** Whether a leaf hash is at `index` of the tree (RFC 9162 section 2.1.3.2). */
export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  tree: { readonly size: number; readonly root: Uint8Array },
  proof: readonly Uint8Array[],
): boolean {
  if (!isPosition(index) || !isPosition(tree.size) || index >= tree.size) return false;
  let [position, last] = [index, tree.size - 1];
  let hash = leaf;
  for (const other of proof) {
    if (last === 0 || other.length !== HASH_BYTES) return false;
    if (position % 2 === 1 || position === last) {
      hash = nodeHash(other, hash);
      while (position % 2 === 0 && position !== 0) [position, last] = [half(position), half(last)];
    } else {
      hash = nodeHash(hash, other);
    }
    [position, last] = [half(position), half(last)];
  }
  return last === 0 && sameBytes(hash, tree.root);
}

/** Whether the tree `to` begins with the tree `from` (RFC 9162 section 2.1.4.2; every tree begins with the empty one). */
export function verifyConsistency(
  from: { readonly size: number; readonly root: Uint8Array },
  to: { readonly size: number; readonly root: Uint8Array },
  proof: readonly Uint8Array[],
): boolean {
  if (!isPosition(from.size) || !isPosition(to.size) || from.size > to.size) return false;
  if (from.size === to.size) return proof.length === 0 && sameBytes(from.root, to.root);
  if (from.size === 0) return proof.length === 0 && sameBytes(from.root, EMPTY_ROOT);
  let [position, last] = [from.size - 1, to.size - 1];
  while (position % 2 === 1) [position, last] = [half(position), half(last)];
  // position 0 now: the old tree is one perfect subtree, and its root begins the path
  const path = position === 0 ? [from.root, ...proof] : proof;
  const [first, ...rest] = path;
  if (first?.length !== HASH_BYTES || proof.length === 0) return false;
  let [before, after] = [first, first];
  for (const other of rest) {
    if (last === 0 || other.length !== HASH_BYTES) return false;
    if (position % 2 === 1 || position === last) {
      [before, after] = [nodeHash(other, before), nodeHash(other, after)];
      while (position % 2 === 0 && position !== 0) [position, last] = [half(position), half(last)];
    } else {
      after = nodeHash(after, other);
    }
    [position, last] = [half(position), half(last)];
  }
  return last === 0 && sameBytes(before, from.root) && sameBytes(after, to.root);
}

/** Whether two byte strings are equal; hashes and names are public, so that time tells nothing. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

// From here: sizes go up to 2^53, beyond what bit operators hold.

/** The largest power of two below `count`, which is at least 2. */
function splitOf(count: number): number {
  let power = 1;
  while (power * 2 < count) power *= 2;
  return power;
}

/** The perfect subtrees of a range that starts at a multiple of a power of two not below its length. */
function perfectNodes(low: number, high: number): NodeId[] {
  const nodes: NodeId[] = [];
  let power = 2 ** 52;
  for (let level = 52, at = low; level >= 0; level -= 1, power /= 2) {
    if (at + power > high) continue;
    nodes.push({ level, index: at / power });
    at += power;
  }
  return nodes;
}

function fold(hashes: readonly Uint8Array[]): Uint8Array {
  return hashes.reduceRight((right, left) => nodeHash(left, right));
}

function half(value: number): number {
  return Math.floor(value / 2);
}

function isPosition(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
