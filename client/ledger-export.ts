/** Writing exports and proofs of the sealed ledger. What the database answers is checked by whoever verifies the file. */
import type { ContentDatabase, Database } from '../activities/deps.ts';
import { toBase64 } from '../governance/base64.ts';
import { type CallProof, PROOF_KIND } from '../governance/call-proof.ts';
import { parseCheckpoint } from '../governance/checkpoint.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { JsonObject } from '../governance/json.ts';
import { type ExportLeaf, writeExportHead, writeExportLeaf } from '../governance/ledger-export.ts';
import { type NodeId, consistencyPlan, inclusionPlan, proofHashes } from '../governance/merkle.ts';
import { splitNote } from '../governance/note.ts';
import { type TlogProof, writeTlogProof } from '../governance/tlog-proof.ts';

type Db = Pick<Database, 'query'>;
/** Leaves of one page: bodies have a kilobyte each. */
const PAGE = 1_000;

/** A checkpoint as it is kept. */
export interface KeptCheckpoint {
  readonly origin: string;
  readonly size: number;
  readonly note: string;
  readonly cosigned: boolean;
}

/** The tenant that the database keeps this connection to; null: it reads every tenant. */
export async function keptTenant(db: Db): Promise<string | null> {
  const [row] = await db.query<{ tenant: string | null }>('select actguard.kept_to() as tenant');
  return row?.tenant ?? null;
}

/**
 * The latest checkpoint, the first that holds so many leaves, or the latest that a witness signed.
 * @throws NOT_FOUND where there is none yet
 */
export async function readCheckpoint(
  db: Db,
  which: { readonly atLeast?: number; readonly first?: true; readonly cosigned?: true } = {},
): Promise<KeptCheckpoint> {
  const [row] = await db.query<{ c: { size: number; note: string; cosigned: boolean } | null }>(
    'select actguard.ledger_checkpoint($1::jsonb) as c',
    [JSON.stringify(which)],
  );
  if (!row?.c) {
    throw new ActGuardError('NOT_FOUND', 'there is no such checkpoint yet', {
      hint: 'entries are sealed within a second or two; is a worker with the sealing key running?',
    });
  }
  const split = splitNote(row.c.note);
  const parsed = split.kind === 'ok' ? parseCheckpoint(split.value.text) : split;
  return { ...row.c, origin: parsed.kind === 'ok' ? parsed.value.origin : '' };
}

/** The lines of an export, without line ends. `tenant` null: everybody's entries in full. */
export async function* exportLines(
  db: ContentDatabase,
  options: { readonly tenant: string | null; readonly contents: boolean },
): AsyncGenerator<string> {
  const { origin, size, note } = await readCheckpoint(db);
  yield writeExportHead({ origin, tenant: options.tenant, size, contents: options.contents, checkpoint: note });
  for await (const leaf of leaves(db, size, options)) yield writeExportLeaf(leaf);
}

/** The same as one document for `tlogverify`, in pieces of text. */
export async function* exportForTlogverify(
  db: ContentDatabase,
  options: { readonly tenant: string | null; readonly keys: readonly string[]; readonly witnesses: readonly string[] },
): AsyncGenerator<string> {
  const { origin, size, note, cosigned } = await readCheckpoint(db);
  const witnesses = cosigned ? options.witnesses : [];
  const head = {
    origin,
    vkeys: options.keys,
    witnesses,
    witness_quorum: witnesses.length,
    checkpoints: { main: note },
  };
  const full = options.tenant === null;
  yield `${JSON.stringify(head).slice(0, -1)},"trees":[{"checkpoint":"main","${full ? 'leaves' : 'leaf_hashes'}":[`;
  let first = true;
  for await (const leaf of leaves(db, size, { tenant: options.tenant, contents: false }, !full)) {
    const bytes = 'hash' in leaf ? leaf.hash : Buffer.from(leaf.body, 'utf8');
    yield `${first ? '' : ','}"${toBase64(bytes)}"`;
    first = false;
  }
  yield ']}]}\n';
}

async function* leaves(
  db: ContentDatabase,
  size: number,
  { tenant, contents }: { readonly tenant: string | null; readonly contents: boolean },
  hashes = false,
): AsyncGenerator<ExportLeaf> {
  for (let from = 0; from < size; from += PAGE) {
    const rows = await db.query<LeafRow>(
      'select idx, hash, body, tenant, content from actguard.ledger_page($1, $2, $3)',
      [from, Math.min(from + PAGE, size), tenant],
    );
    for (const { idx, hash, body, tenant: of, content } of rows) {
      if (body === null || hashes) yield { index: idx, hash: new Uint8Array(hash) };
      else
        yield {
          index: idx,
          body: body.toString('utf8'),
          content: contents ? db.content.open('entry', of ?? '', content) : null,
        };
    }
  }
}

interface LeafRow {
  readonly idx: number;
  readonly hash: Buffer;
  readonly body: Buffer | null;
  readonly tenant: string | null;
  readonly content: JsonObject | null;
}

/** A proof that an entry is in the tree of a checkpoint, as text (C2SP tlog-proof@v1). */
export async function proveLeaf(db: Db, index: number, checkpoint: KeptCheckpoint): Promise<string> {
  const hashes = await hashesOf(db, inclusionPlan(index, checkpoint.size));
  return writeTlogProof({ index, hashes, checkpoint: checkpoint.note } satisfies TlogProof);
}

/** A consistency proof between two sizes. */
export function proveGrowth(db: Db, from: number, to: number): Promise<Uint8Array[]> {
  return hashesOf(db, consistencyPlan(from, to));
}

async function hashesOf(db: Db, plan: readonly (readonly NodeId[])[]): Promise<Uint8Array[]> {
  const ids = plan.flat();
  if (ids.length === 0) return [];
  const rows = await db.query<{ hash: Buffer | null }>('select hash from actguard.ledger_node_hashes($1, $2)', [
    ids.map((id) => id.level),
    ids.map((id) => id.index),
  ]);
  const known = new Map(ids.map((id, i) => [`${id.level}/${id.index}`, rows[i]?.hash ?? null]));
  return proofHashes(plan, ({ level, index }) => {
    const hash = known.get(`${level}/${index}`);
    if (hash) return new Uint8Array(hash);
    throw new ActGuardError('NOT_FOUND', `node ${level}/${index} of the tree is missing`, {
      hint: 'the database is damaged: `actguard ledger audit` names what is',
    });
  });
}

/** The proof of one call as a file. @throws NOT_FOUND where it has no entries, CONFLICT where they are not all sealed yet */
export async function proveCall(db: ContentDatabase, run: string, call: string): Promise<CallProof> {
  const rows = await db.query<{ idx: number | null; body: Buffer; content: JsonObject | null }>(
    'select idx, body, content from actguard.ledger_call($1, $2)',
    [run, call],
  );
  const about = rows.some((row) => (JSON.parse(row.body.toString('utf8')) as JsonObject)['call'] === call);
  if (!about)
    throw new ActGuardError('NOT_FOUND', 'the ledger holds nothing about that call', { details: { run, call } });
  const last = Math.max(...rows.map((row) => row.idx ?? Infinity));
  if (last === Infinity) {
    throw new ActGuardError('CONFLICT', 'entries of that call are not sealed yet', {
      hint: 'try again in a second or two',
    });
  }
  const newest = await readCheckpoint(db, { cosigned: true }).catch(() => null);
  const checkpoint = newest && newest.size > last ? newest : await readCheckpoint(db, { atLeast: last + 1 });
  const entries = [];
  for (const { idx, body, content: kept } of rows) {
    const { tenant } = JSON.parse(body.toString('utf8')) as { tenant: string };
    const content = db.content.open('entry', tenant, kept);
    entries.push({ body: body.toString('utf8'), content, proof: await proveLeaf(db, idx ?? 0, checkpoint) });
  }
  return { kind: PROOF_KIND, v: 1, run, call, entries };
}
