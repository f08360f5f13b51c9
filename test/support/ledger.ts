/** Entries and a sealer over a test's database. */
import type { Database } from '../../activities/deps.ts';
import type { KeySigner } from '../../activities/key-signer.ts';
import { SEALER_ROLE, connectDatabase } from '../../activities/postgres.ts';
import { type SealDeps, type SealState, lookAtTree, sealOnce } from '../../activities/seal.ts';
import type { SealedHead } from '../../activities/seal-types.ts';
import { signatureChecks } from '../../activities/signatures.ts';
import type { CommandTrust } from '../../governance/erasure-record.ts';
import { type EntryInput, makeEntry } from '../../governance/entry.ts';
import { NO_PEAKS, appendLeaves, leafHash, rootOf } from '../../governance/merkle.ts';
import { type TestNoteKey, noteKey } from './note-keys.ts';

export const LOG = 'log.test';

/** Whose commands to erase count where a test names no root: any chain that holds. */
export const COMMANDS: CommandTrust = { roots: null, checks: signatureChecks };

export function signerOf(test: TestNoteKey): KeySigner {
  return { key: test.key, sign: (message) => Promise.resolve(test.sign(message)) };
}

/** A sealer with the key of {@link LOG}. */
export function sealDeps(url: string, ...more: TestNoteKey[]): SealDeps & { readonly db: Database } {
  const db = connectDatabase(url, { role: SEALER_ROLE, max: 2 });
  return { db, origin: LOG, signers: [noteKey(LOG), ...more].map(signerOf) };
}

/** Writes entries; `count` of them in one transaction. */
export async function appendEntries(
  db: Pick<Database, 'query'>,
  count: number,
  from = 0,
  more: Partial<EntryInput> = {},
): Promise<void> {
  const entries = Array.from({ length: count }, (_, i) =>
    makeEntry({
      kind: 'credential.used',
      tenant: 'acme',
      run: null,
      key: `t:${from + i}`,
      atMs: 1_790_000_000_000 + from + i,
      data: { uses: [], number: from + i },
      ...more,
    }),
  );
  await db.query('select actguard.append_entries($1::jsonb)', [JSON.stringify(entries)]);
}

/** Seals whatever waits; the state after it. */
export async function sealAll(deps: SealDeps, last: SealedHead | null = null, limit?: number): Promise<SealState> {
  const looked = await lookAtTree(deps, last);
  if (looked.kind === 'broken') throw new Error(looked.trouble.reason);
  let { state } = looked;
  for (;;) {
    const sealed = await sealOnce(deps, state, limit);
    if (sealed === null) throw new Error('somebody else sealed');
    state = sealed.state;
    if (sealed.taken === 0) return state;
  }
}

/** The sealed bytes in the tree's order, read as the owner of the database. */
export async function sealedBodies(db: Pick<Database, 'query'>): Promise<Buffer[]> {
  const rows = await db.query<{ idx: number; body: Buffer }>(
    `select l.idx, e.body from actguard.ledger_leaves l join actguard.entries e on e.id = l.entry_id order by l.idx`,
  );
  rows.forEach((row, i) => {
    if (row.idx !== i) throw new Error(`leaf ${row.idx} stands at ${i}`);
  });
  return rows.map((row) => row.body);
}

/** The root over bytes, computed from nothing but them. */
export function rootOver(bodies: readonly Uint8Array[]): string {
  return Buffer.from(rootOf(appendLeaves(NO_PEAKS, bodies.map(leafHash)).peaks)).toString('base64');
}
