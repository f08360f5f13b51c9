/**
 * The live audit: integrity (what is there is what was signed) and completeness (nothing that happened is missing), two
 * verdicts that name what is wrong by run and call. Reads as a worker does, through functions; changes nothing.
 */
import type { SeenHistory } from '../activities/history.ts';
import type { SealedHead } from '../activities/seal-types.ts';
import type { ContentDatabase } from '../activities/deps.ts';
import { verifySignature } from '../activities/signatures.ts';
import { openCheckpoint } from '../governance/checkpoint.ts';
import { checkCompleteness } from '../governance/completeness.ts';
import { rootOfKey } from '../governance/bundle.ts';
import { ActGuardError } from '../governance/errors.ts';
import { checkErasures } from '../governance/erasure.ts';
import { type CommandTrust, erasureRecordProblem } from '../governance/erasure-record.ts';
import type { JsonObject } from '../governance/json.ts';
import { checkContent } from '../governance/ledger-export.ts';
import { checkBudgets } from '../governance/ledger-budget.ts';
import { placeOf } from '../governance/ledger-verify.ts';
import { NO_PEAKS, type Peaks, appendLeaves, leafHash, rootOf, sameBytes } from '../governance/merkle.ts';
import type { NoteKey } from '../governance/note.ts';
import { quote } from '../governance/denial.ts';
import { type Since, compareApprovals, compareCalls, compareRuns } from './ledger-compare.ts';
import { keptTenant } from './ledger-export.ts';

type Db = ContentDatabase;
const PAGE = 1_000;
const MAX_NAMED = 50;
const LOOK_EVERY_MS = 200;

/** What the audit compares with. */
export interface AuditEvidence {
  readonly keys: readonly NoteKey[];
  readonly witness: NoteKey | null;
  /** Whose commands to erase count. */
  readonly commands: CommandTrust;
  /** What the sealer's workflow remembers; null: it was not asked or never sealed. */
  readonly tripwire: SealedHead | null;
  /** Reads a run's workflow history; null: it is gone. Absent: histories are not compared. */
  readonly history?: (workflowId: string, run: string) => Promise<SeenHistory | null>;
  /** How long entries that wait may take to be sealed; default: not at all. */
  readonly waitMs?: number;
  /** Compare also runs whose `run.reconciled` is sealed. */
  readonly allHistories?: boolean;
}

/** Two verdicts. */
export interface AuditVerdict {
  readonly integrity: 'valid' | 'invalid';
  readonly problems: readonly string[];
  readonly completeness: 'complete' | 'incomplete';
  readonly missing: readonly string[];
  readonly size: number;
  readonly checkpoints: number;
  /** Entries that wait to be sealed. */
  readonly waiting: number;
  /** Entries whose content was erased by a signed command. */
  readonly erased: number;
  /** Entries whose content is sealed by a key that is not here: whether it is what was recorded cannot be said. */
  readonly unreadable: number;
}

/** Reads everything once. @throws BACKEND_UNAVAILABLE */
export async function auditLedger(db: Db, evidence: AuditEvidence): Promise<AuditVerdict> {
  const kept = await keptTenant(db);
  if (kept !== null) {
    throw new ActGuardError(
      'FORBIDDEN',
      `an audit reads the whole ledger, and this connection is kept to tenant ${quote(kept)}`,
      {
        hint: 'audit as somebody who reads every tenant, or verify an export of this tenant',
      },
    );
  }
  const [problems, missing]: [string[], string[]] = [[], []];
  const say = (list: string[]) => (problem: string) => void (list.length < MAX_NAMED && list.push(problem));
  const [wrong, absent] = [say(problems), say(missing)];
  const since = await settled(db, evidence.waitMs ?? 0);
  const { waiting } = since;
  const checkpoints = await readCheckpoints(db, evidence, wrong);
  const head = checkpoints.at(-1);
  const roots = new Map(checkpoints.map((c) => [c.size, c.root]));
  const { tripwire } = evidence;
  const completeness = checkCompleteness({ keepCalls: true });
  const erasures = checkErasures((entry) => erasureRecordProblem(entry, evidence.commands, rootOfKey));
  const budgets = checkBudgets();
  let peaks: Peaks = NO_PEAKS;
  let unreadable = 0;
  const compare = (): void => {
    const root = roots.get(peaks.size);
    if (root && !sameBytes(root, rootOf(peaks)))
      wrong(`the first ${peaks.size} entries are not those of their checkpoint`);
    if (tripwire?.size === peaks.size && Buffer.from(rootOf(peaks)).toString('hex') !== tripwire.root) {
      wrong(`the first ${peaks.size} entries are not those that the sealer remembers: history was rewritten`);
    }
  };
  // what is sealed while this reads belongs to the next audit
  for await (const leaf of leaves(db, head?.size ?? Infinity)) {
    if (leaf.idx !== peaks.size) {
      wrong(`leaf ${peaks.size} is missing`);
      break;
    }
    const entry = leaf.body === null ? null : (JSON.parse(leaf.body.toString('utf8')) as JsonObject);
    const place = entry === null ? `entry ${leaf.idx}` : placeOf(entry, leaf.idx);
    const hash = leaf.body === null ? leaf.hash : leafHash(leaf.body);
    if (leaf.body === null || entry === null) wrong(`entry ${leaf.idx} is gone`);
    else if (!sameBytes(hash, leaf.hash)) wrong(`${place} was changed after it was sealed`);
    if (entry !== null) {
      const kept = db.content.open('entry', String(entry['tenant']), leaf.content);
      const content = checkContent(entry, kept);
      if (typeof content === 'object' && 'unreadable' in content) unreadable += 1;
      else if (typeof content === 'object') wrong(`${place}: \`${content.changed}\` is not what was recorded`);
      erasures.entry(entry, content === 'erased', place);
      completeness.entry(entry);
      budgets.entry(entry);
    }
    peaks = appendLeaves(peaks, [hash]).peaks;
    compare();
  }
  if (head && head.size !== peaks.size)
    wrong(`the last checkpoint is over ${head.size} entries, ${peaks.size} are there`);
  if (head && (await sealedBeyond(db, head.size)))
    wrong(`the last checkpoint is over ${head.size} entries, more are there`);
  if (!head && peaks.size > 0) wrong('there is no checkpoint that the key signed');
  if (tripwire && tripwire.size > peaks.size) {
    wrong(
      `the sealer remembers ${tripwire.size} entries, the database holds ${peaks.size}: a backup was restored or the end cut off`,
    );
  }
  const erased = erasures.end();
  erased.unrecorded.forEach(absent);
  if (waiting)
    absent(`${since.count} entries wait to be sealed, and nothing has sealed the oldest: is a sealer running?`);
  for (const hidden of await hiddenEntries(db)) absent(`${hidden} is kept and was never sealed`);
  const told = completeness.end({ waiting });
  told.missing.forEach(absent);
  budgets.end().forEach(absent);
  await compareApprovals(db, told.calls, since, absent);
  await compareRuns(db, told, evidence, since, absent);
  await compareCalls(db, told.calls, since, absent);
  return {
    integrity: problems.length === 0 ? 'valid' : 'invalid',
    problems,
    completeness: missing.length === 0 ? 'complete' : 'incomplete',
    missing,
    size: peaks.size,
    checkpoints: checkpoints.length,
    waiting: since.count,
    erased: erased.recorded,
    unreadable,
  };
}

interface Leaf {
  readonly idx: number;
  readonly hash: Buffer;
  readonly body: Buffer | null;
  readonly content: JsonObject | null;
}

async function* leaves(db: Db, size: number): AsyncGenerator<Leaf> {
  for (let from = 0; from < size; from += PAGE) {
    const rows = await db.query<Leaf>('select idx, hash, body, content from actguard.ledger_page($1, $2)', [
      from,
      Math.min(from + PAGE, size),
    ]);
    yield* rows;
    if (rows.length === 0) return;
  }
}

/** Whether leaves stand after so many that no later checkpoint covers: a sealer writes both at once. */
async function sealedBeyond(db: Db, size: number): Promise<boolean> {
  const leaf = await db.query('select idx from actguard.ledger_page($1, $2)', [size, size + 1]);
  if (leaf.length === 0) return false;
  const later = await db.query('select size from actguard.ledger_checkpoints_page($1, $2)', [size, 1]);
  return later.length === 0;
}

async function readCheckpoints(
  db: Db,
  { keys, witness }: AuditEvidence,
  wrong: (problem: string) => void,
): Promise<{ readonly size: number; readonly root: Uint8Array }[]> {
  const kept: { readonly size: number; readonly root: Uint8Array }[] = [];
  const all = witness === null ? keys : [...keys, witness];
  let witnessed = 0;
  for (let after = 0; ;) {
    const rows = await db.query<{ size: number; note: string }>(
      'select size, note from actguard.ledger_checkpoints_page($1, $2)',
      [after, PAGE],
    );
    for (const { size, note } of rows) {
      after = size;
      const opened = openCheckpoint(note, keys[0]?.name ?? '', all, verifySignature);
      if (opened.kind === 'invalid') wrong(`the checkpoint over ${size} entries: ${opened.reason}`);
      else if (opened.value.checkpoint.size !== size) wrong(`the checkpoint over ${size} entries names another size`);
      else {
        kept.push(opened.value.checkpoint);
        if (opened.value.signatures.some(({ key }) => key === witness)) witnessed += 1;
      }
    }
    if (rows.length < PAGE) break;
  }
  if (witness !== null && kept.length > 0 && witnessed === 0) wrong(`the witness ${witness.name} signed no checkpoint`);
  return kept;
}

/** Waits for what was written before now to be sealed. */
async function settled(db: Db, waitMs: number): Promise<Since & { readonly count: number }> {
  const until = performance.now() + waitMs;
  let cutMs: number | null = null;
  for (;;) {
    const [row] = await db.query<{ w: { count: number; oldestMs: number | null; nowMs: number } }>(
      'select actguard.ledger_waiting() as w',
    );
    const { count, oldestMs, nowMs } = row?.w ?? { count: 0, oldestMs: null, nowMs: 0 };
    cutMs ??= nowMs;
    const waiting = oldestMs !== null && oldestMs <= cutMs;
    if (!waiting || performance.now() >= until) return { cutMs, waiting, count };
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

async function hiddenEntries(db: Db): Promise<string[]> {
  const rows = await db.query<{ h: { run: string; call: string | null; kind: string } }>(
    'select actguard.ledger_hidden($1) as h',
    [MAX_NAMED],
  );
  return rows.map(
    ({ h }) => `an entry (${h.kind}${h.run ? ` of run ${h.run}` : ''}${h.call ? `, call ${h.call}` : ''})`,
  );
}
