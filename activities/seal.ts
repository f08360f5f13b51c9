/**
 * Sealing: moves waiting entries to leaves of the tree and signs the new head. It signs nothing that does not extend what
 * was signed before: neither what the database says it was, nor what is remembered outside of it.
 */
import { checkpointText, openCheckpoint } from '../governance/checkpoint.ts';
import { utf8Bytes } from '../governance/digest.ts';
import {
  NO_PEAKS,
  type NodeId,
  type Peaks,
  appendLeaves,
  consistencyPlan,
  peakIds,
  proofHashes,
  rootOf,
  sameBytes,
  verifyConsistency,
} from '../governance/merkle.ts';
import { MAX_SEAL_BATCH } from '../governance/limits.ts';
import { signNote, writeNote } from '../governance/note.ts';
import type { Database } from './deps.ts';
import type { KeySigner } from './key-signer.ts';
import type { SealTrouble, SealedHead } from './seal-types.ts';
import { verifySignature } from './signatures.ts';

/** What sealing needs. */
export interface SealDeps {
  /** As the role actguard_sealer. */
  readonly db: Pick<Database, 'query'>;
  /** The log's name, first line of every checkpoint. */
  readonly origin: string;
  /** All sign: during a rotation the old key and the new one. The first is never empty. */
  readonly signers: readonly KeySigner[];
}

/** The tree as the sealer holds it in memory. */
export interface SealState {
  readonly peaks: Peaks;
  /** Note of the latest checkpoint; null before the first. */
  readonly note: string | null;
  readonly cosigned: boolean;
}

/** The answer to a look at the database: its tree, or why it is not ours any more. */
export type Looked =
  { readonly kind: 'ok'; readonly state: SealState } | { readonly kind: 'broken'; readonly trouble: SealTrouble };

interface HeadRow {
  readonly size: number;
  readonly leaves: number;
  readonly note: string | null;
  readonly cosigned: boolean | null;
}

/** A tree's head as it is remembered. */
export function headOf(peaks: Peaks): SealedHead {
  return { size: peaks.size, root: Buffer.from(rootOf(peaks)).toString('hex') };
}

/** Reads the tree's head, checks its signature and that it extends `last`. @throws BACKEND_UNAVAILABLE */
export async function lookAtTree(deps: SealDeps, last: SealedHead | null): Promise<Looked> {
  const [row] = await deps.db.query<{ h: HeadRow }>('select actguard.seal_head() as h');
  const head = row?.h ?? { size: 0, leaves: 0, note: null, cosigned: null };
  const broken = (kind: SealTrouble['kind'], reason: string, seen: SealedHead | null): Looked => ({
    kind: 'broken',
    trouble: { kind, reason, head: seen, last },
  });
  if (last !== null && head.size < last.size) {
    const seen = head.size === 0 ? headOf(NO_PEAKS) : await readHead(deps, head);
    return broken('behind', `${last.size} entries were sealed, the database holds ${head.size}`, seen);
  }
  if (head.size !== head.leaves) {
    const reason = `the last checkpoint is over ${head.size} entries, the tree has ${head.leaves} leaves`;
    return broken(head.leaves < head.size ? 'behind' : 'fork', reason, null);
  }
  const peaks = await readPeaks(deps, head.size);
  if (peaks === null) return broken('fork', 'nodes of the tree are missing', null);
  if (head.note !== null) {
    const keys = deps.signers.map((s) => s.key);
    const opened = openCheckpoint(head.note, deps.origin, keys, verifySignature);
    if (opened.kind === 'invalid') return broken('fork', `the last checkpoint is not ours: ${opened.reason}`, null);
    const { checkpoint } = opened.value;
    if (checkpoint.size !== head.size || !sameBytes(checkpoint.root, rootOf(peaks))) {
      return broken('fork', 'the tree is not the one that the last checkpoint signs', null);
    }
  }
  if (last !== null && !(await extendsHead(deps, last, peaks))) {
    return broken('fork', `the tree does not begin with the ${last.size} entries that were sealed`, headOf(peaks));
  }
  return { kind: 'ok', state: { peaks, note: head.note, cosigned: head.cosigned ?? false } };
}

/** Seals once. `taken`: how many entries; null: somebody else sealed meanwhile, look again. @throws BACKEND_UNAVAILABLE */
export async function sealOnce(
  deps: SealDeps,
  state: SealState,
  limit: number = MAX_SEAL_BATCH,
): Promise<{ readonly taken: number; readonly state: SealState } | null> {
  const pending = await deps.db.query<{ entry_id: number; hash: Buffer }>('select * from actguard.seal_pending($1)', [
    limit,
  ]);
  if (pending.length === 0) return { taken: 0, state };
  const grown = appendLeaves(
    state.peaks,
    pending.map(({ hash }) => hash),
  );
  const nodes = grown.nodes.filter(({ level }) => level > 0);
  const note = await signHead(deps, grown.peaks);
  const [row] = await deps.db.query<{ r: string }>('select actguard.seal_append($1, $2, $3, $4, $5, $6, $7) as r', [
    state.peaks.size,
    pending.map((p) => p.entry_id),
    pending.map((p) => p.hash),
    nodes.map((n) => n.level),
    nodes.map((n) => n.index),
    nodes.map((n) => Buffer.from(n.hash)),
    note,
  ]);
  if (row?.r !== 'ok') return null;
  return { taken: pending.length, state: { peaks: grown.peaks, note, cosigned: false } };
}

/** A consistency proof from a smaller tree to this one. @throws Error where nodes are missing */
export async function proveExtension(deps: Pick<SealDeps, 'db'>, from: number, to: number): Promise<Uint8Array[]> {
  const plan = consistencyPlan(from, to);
  const hashOf = await readNodes(deps, plan.flat());
  return proofHashes(plan, (node) => {
    const hash = hashOf(node);
    if (hash === null) throw new Error(`node ${node.level}/${node.index} of the tree is missing`);
    return hash;
  });
}

async function signHead({ origin, signers }: SealDeps, peaks: Peaks): Promise<string> {
  const text = checkpointText({ origin, size: peaks.size, root: rootOf(peaks) });
  const signed = await Promise.all(
    signers.map(async ({ key, sign }) => {
      const signature = await sign(utf8Bytes(text));
      return signNote(text, key, () => signature);
    }),
  );
  return writeNote(text, signed);
}

async function extendsHead(deps: SealDeps, last: SealedHead, peaks: Peaks): Promise<boolean> {
  const from = { size: last.size, root: new Uint8Array(Buffer.from(last.root, 'hex')) };
  try {
    const proof = await proveExtension(deps, last.size, peaks.size);
    return verifyConsistency(from, { size: peaks.size, root: rootOf(peaks) }, proof);
  } catch (error) {
    if (error instanceof Error && error.message.endsWith('is missing')) return false;
    throw error;
  }
}

async function readHead(deps: SealDeps, head: HeadRow): Promise<SealedHead | null> {
  const peaks = await readPeaks(deps, head.size);
  return peaks === null ? null : headOf(peaks);
}

async function readPeaks(deps: SealDeps, size: number): Promise<Peaks | null> {
  const ids = peakIds(size);
  const hashOf = await readNodes(deps, ids);
  const hashes = ids.map(hashOf);
  return hashes.some((hash) => hash === null) ? null : { size, hashes: hashes as Uint8Array[] };
}

/** Hashes of nodes by id. @throws BACKEND_UNAVAILABLE */
async function readNodes(
  { db }: Pick<SealDeps, 'db'>,
  ids: readonly NodeId[],
): Promise<(id: NodeId) => Uint8Array | null> {
  if (ids.length === 0) return () => null;
  const rows = await db.query<{ hash: Buffer | null }>('select hash from actguard.seal_nodes($1, $2)', [
    ids.map((id) => id.level),
    ids.map((id) => id.index),
  ]);
  const known = new Map(ids.map((id, i) => [`${id.level}/${id.index}`, rows[i]?.hash ?? null]));
  return (id) => {
    const hash = known.get(`${id.level}/${id.index}`) ?? null;
    return hash === null ? null : new Uint8Array(hash);
  };
}
