/** P6: ten tamperings by somebody with full rights on the database, against four kinds of evidence. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import type { Database } from '../../activities/deps.ts';
import { record } from '../../activities/record.ts';
import { type SealState, headOf } from '../../activities/seal.ts';
import type { SealedHead } from '../../activities/seal-types.ts';
import { verifySignature } from '../../activities/signatures.ts';
import { askWitness } from '../../activities/witnesses.ts';
import { auditLedger } from '../../client/ledger-audit.ts';
import { exportForTlogverify, exportLines } from '../../client/ledger-export.ts';
import { verifyExport } from '../../client/ledger-verify.ts';
import { defineTool } from '../../define/index.ts';
import type { Evidence } from '../../governance/ledger-verify.ts';
import { noteKeyText } from '../../governance/note.ts';
import { openWitnessMemory } from '../../worker/witness-memory.ts';
import { type Witness, startWitness } from '../../worker/witness-server.ts';
import { desk } from '../support/calls.ts';
import { COMMANDS, LOG, sealAll, sealDeps, signerOf } from '../support/ledger.ts';
import { noteKey } from '../support/note-keys.ts';
import { tlogverifyText } from '../support/tlogverify.ts';

const log = noteKey(LOG);
const thief = noteKey(LOG, 'log', 'a key of the thief');
const watcher = noteKey('witness.test', 'witness');
const YESTERDAY = 1_790_000_000;
const TODAY = YESTERDAY + 86_400;
const keep = defineTool({
  name: 'notes.keep',
  description: 'Keep a note',
  effect: 'write',
  inputSchema: z.strictObject({ note: z.string() }),
  execute: ({ note }) => Promise.resolve({ note }),
});

const at = desk();
const folder = mkdtempSync(join(tmpdir(), 'actguard-tamper-'));
const witnesses: Witness[] = [];
let deps: ReturnType<typeof sealDeps> | undefined;
let clock = YESTERDAY;
let round = 0;
/** What auditors kept: yesterday's size, today's note, what the sealer remembers. */
let kept: { yesterday: number; note: string; tripwire: SealedHead; firstRun: string };

afterAll(async () => {
  await deps?.db.end();
  for (const witness of witnesses) await witness.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Empties the database, then: yesterday a run, today another; both sealed, witnessed. */
beforeEach(async () => {
  deps ??= sealDeps(at.url());
  const db = at.db();
  await db.query(`truncate actguard.entries, actguard.entry_contents, actguard.ledger_pending, actguard.ledger_leaves,
    actguard.ledger_nodes, actguard.ledger_checkpoints, actguard.calls, actguard.runs cascade`);
  round += 1;
  const memory = openWitnessMemory(join(folder, `memory-${round}.json`));
  const witness = await startWitness({
    signer: signerOf(watcher),
    memory,
    logs: [log.key],
    port: 0,
    nowMs: () => clock * 1000,
  });
  witnesses.push(witness);
  const worker = at.worker([keep]);
  const runs: string[] = [];
  let state: SealState | undefined;
  let yesterday = 0;
  for (const day of [YESTERDAY, TODAY]) {
    clock = day;
    const run = await worker.run();
    runs.push(run.run);
    for (const note of ['first', 'second']) await run.call('notes.keep', { note: `${note} of ${day}` });
    await record(
      worker.shared,
      { v: 1, run: run.run, entries: [], closed: { status: 'answered', lastSeq: 2 } },
      { workflowId: run.workflowId, temporalRun: run.temporalRun },
    );
    state = await sealAll(deps);
    if (day === YESTERDAY) yesterday = state.peaks.size;
    const { size } = state.peaks;
    const seen = await askWitness(deps, { url: witness.url, key: watcher.key }, size, state.note ?? '');
    if (seen.kind !== 'cosigned') throw new Error(seen.reason);
    await deps.db.query('select actguard.seal_cosigned($1, $2, $3)', [size, state.note, seen.note]);
    state = { ...state, note: seen.note };
  }
  if (!state) throw new Error('nothing was sealed');
  kept = { yesterday, note: state.note ?? '', tripwire: headOf(state.peaks), firstRun: runs[0] ?? '' };
});

/** Integrity and completeness, by evidence in hand: the export alone, and a kept checkpoint, and a witness; the live audit. */
type Verdicts = readonly [exportOnly: string, withCheckpoint: string, withWitness: string, audit: string];

/** The verdicts about the database as it is now. */
async function verdicts(): Promise<Verdicts> {
  const db = at.db();
  const file = join(folder, `export-${round}-${Math.random()}.jsonl`);
  const lines: string[] = [];
  for await (const line of exportLines(db, { tenant: null, contents: true })) lines.push(line);
  writeFileSync(file, `${lines.join('\n')}\n`);
  const base: Evidence = {
    keys: [log.key],
    witness: null,
    checkpoint: null,
    verify: verifySignature,
    commands: COMMANDS,
  };
  const check = async (more: Partial<Evidence>): Promise<string> => {
    const { integrity, completeness } = await verifyExport(file, { ...base, ...more });
    return `${integrity} ${completeness}`;
  };
  const audit = await auditLedger(db, {
    keys: [log.key],
    witness: watcher.key,
    tripwire: kept.tripwire,
    commands: COMMANDS,
  });
  return [
    await check({}),
    await check({ checkpoint: kept.note }),
    await check({ witness: watcher.key, notBeforeSeconds: TODAY }),
    `${audit.integrity} ${audit.completeness}`,
  ];
}

/** Whether an independent verifier takes the export alone, and with the checkpoint that was kept. */
async function strangers(): Promise<readonly [exportOnly: boolean, withCheckpoint: boolean]> {
  let text = '';
  for await (const piece of exportForTlogverify(at.db(), { tenant: null, keys: [noteKeyText(log.key)], witnesses: [] }))
    text += piece;
  const alone = JSON.parse(text) as { checkpoints: object; trees: { leaves: string[] }[] };
  const size = Number(kept.note.split('\n')[1]);
  const leaves = alone.trees[0]?.leaves.slice(0, size) ?? [];
  const both = { ...alone, checkpoints: { ...alone.checkpoints, kept: kept.note }, trees: [...alone.trees, { checkpoint: 'kept', leaves }] }; // prettier-ignore
  return [alone, both].map((document) => tlogverifyText(JSON.stringify(document))[0]?.ok ?? false) as [
    boolean,
    boolean,
  ];
}

/** The database owner gives leaves their places anew, without holes. */
const renumber = `with n as (select entry_id, row_number() over (order by idx) - 1 as place from actguard.ledger_leaves)
  update actguard.ledger_leaves l set idx = -1000 - n.place from n where n.entry_id = l.entry_id`;
const settle = `update actguard.ledger_leaves set idx = -1000 - idx where idx < 0`;
const loosen = 'alter table actguard.ledger_leaves drop constraint if exists ledger_leaves_idx_check';

async function forge(db: Pick<Database, 'query'>, place: number): Promise<void> {
  await db.query(loosen);
  await db.query('update actguard.ledger_leaves set idx = -2000 - idx where idx >= $1', [place]);
  await db.query('update actguard.ledger_leaves set idx = -2000 - idx + 1 where idx < -1999');
  await db.query(`with e as (insert into actguard.entries (tenant, run, key, kind, body)
    select tenant, run, 'forged', kind, body from actguard.entries where kind = 'call.succeeded' limit 1 returning id, body)
    insert into actguard.ledger_leaves (idx, entry_id, hash) select ${place}, id, sha256('\\x00'::bytea || body) from e`);
}

async function rewrite(db: Pick<Database, 'query'>, key: typeof log): Promise<void> {
  await db.query(
    'delete from actguard.entry_contents c using actguard.entries e where e.id = c.entry_id and e.run = $1',
    [kept.firstRun],
  );
  await db.query('delete from actguard.entries where run = $1', [kept.firstRun]);
  await db.query('truncate actguard.ledger_leaves, actguard.ledger_nodes, actguard.ledger_checkpoints');
  await db.query('insert into actguard.ledger_pending (entry_id) select id from actguard.entries');
  if (deps) await sealAll({ ...deps, signers: [signerOf(key)] });
}

async function cutTo(db: Pick<Database, 'query'>, size: number): Promise<void> {
  await db.query('delete from actguard.ledger_checkpoints where size > $1', [size]);
  await db.query(
    'delete from actguard.entry_contents c using actguard.ledger_leaves l where l.entry_id = c.entry_id and l.idx >= $1',
    [size],
  );
  await db.query(
    'delete from actguard.entries e using actguard.ledger_leaves l where l.entry_id = e.id and l.idx >= $1',
    [size],
  );
  await db.query('delete from actguard.ledger_leaves where idx >= $1', [size]);
  await db.query('delete from actguard.ledger_nodes where (idx + 1) * (2 ^ level) > $1', [size]);
}

const TAMPERINGS: readonly (readonly [
  name: string,
  tamper: (db: Pick<Database, 'query'>) => Promise<unknown>,
  Verdicts,
])[] = [
  [
    'nothing, the control',
    () => Promise.resolve(),
    ['valid complete', 'valid complete', 'valid complete', 'valid complete'],
  ],
  [
    'an entry changed, its leaf hash with it',
    async (db) => {
      await db.query(
        `update actguard.entries set body = convert_to(replace(convert_from(body, 'UTF8'), 'notes.keep', 'notes.burn'), 'UTF8')
        where kind = 'call.started' and run = $1 and seq = 1`,
        [kept.firstRun],
      );
      await db.query(
        `update actguard.ledger_leaves l set hash = sha256('\\x00'::bytea || e.body) from actguard.entries e where e.id = l.entry_id`,
      );
    },
    ['invalid complete', 'invalid complete', 'invalid complete', 'invalid complete'],
  ],
  [
    'the tail cut off',
    (db) => cutTo(db, kept.yesterday),
    ['valid complete', 'invalid complete', 'invalid complete', 'invalid incomplete'],
  ],
  [
    'the middle cut out',
    async (db) => {
      await db.query(loosen);
      await db.query(
        `delete from actguard.ledger_leaves l using actguard.entries e where e.id = l.entry_id and e.kind = 'call.started' and e.run = $1 and e.seq = 2`,
        [kept.firstRun],
      );
      await db.query(renumber);
      await db.query(settle);
    },
    ['invalid incomplete', 'invalid incomplete', 'invalid incomplete', 'invalid incomplete'],
  ],
  [
    'two entries swapped',
    async (db) => {
      await db.query(loosen);
      await db.query('update actguard.ledger_leaves set idx = -1 - idx where idx in (1, 2)');
      await db.query('update actguard.ledger_leaves set idx = case idx when -2 then 2 else 1 end where idx < 0');
    },
    ['invalid complete', 'invalid complete', 'invalid complete', 'invalid complete'],
  ],
  [
    'an entry inserted',
    (db) => forge(db, 2),
    ['invalid incomplete', 'invalid incomplete', 'invalid incomplete', 'invalid incomplete'],
  ],
  [
    'everything rewritten and signed by another key',
    (db) => rewrite(db, thief),
    ['invalid complete', 'invalid complete', 'invalid complete', 'invalid incomplete'],
  ],
  [
    'an old backup restored',
    async (db) => {
      await cutTo(db, kept.yesterday);
      for (const table of ['calls', 'provenance', 'runs'])
        await db.query(`delete from actguard.${table} where run <> $1`, [kept.firstRun]);
    },
    ['valid complete', 'invalid complete', 'invalid complete', 'invalid complete'],
  ],
  [
    'a run dropped',
    async (db) => {
      await db.query(loosen);
      for (const table of ['calls', 'provenance', 'runs'])
        await db.query(`delete from actguard.${table} where run = $1`, [kept.firstRun]);
      await db.query(
        'delete from actguard.ledger_leaves l using actguard.entries e where e.id = l.entry_id and e.run = $1',
        [kept.firstRun],
      );
      await db.query(
        'delete from actguard.entry_contents c using actguard.entries e where e.id = c.entry_id and e.run = $1',
        [kept.firstRun],
      );
      await db.query('delete from actguard.entries where run = $1', [kept.firstRun]);
      await db.query(renumber);
      await db.query(settle);
    },
    ['invalid complete', 'invalid complete', 'invalid complete', 'invalid complete'],
  ],
  [
    'everything rewritten with the stolen sealing key',
    (db) => rewrite(db, log),
    ['valid complete', 'invalid complete', 'invalid complete', 'invalid incomplete'],
  ],
  [
    'content erased without a record',
    (db) =>
      db.query(
        `delete from actguard.entry_contents c using actguard.entries e where e.id = c.entry_id and e.kind = 'call.started' and e.seq = 1 and e.run = $1`,
        [kept.firstRun],
      ),
    ['valid incomplete', 'valid incomplete', 'valid incomplete', 'valid incomplete'],
  ],
];

test.each(TAMPERINGS)('P6: %s', async (_name, tamper, expected) => {
  await tamper(at.db());
  expect(await verdicts()).toEqual(expected);
  expect(await strangers()).toEqual([expected[0].startsWith('valid'), expected[1].startsWith('valid')]);
});

test('P6: an independent verifier takes the export, and refuses it with a byte of an entry changed', async () => {
  for (const tenant of [null, 'acme', 'nobody']) {
    let text = '';
    const keys = [noteKeyText(log.key)];
    for await (const piece of exportForTlogverify(at.db(), { tenant, keys, witnesses: [noteKeyText(watcher.key)] }))
      text += piece;
    const [good] = tlogverifyText(text);
    expect(good?.checks.map((c) => [c.kind, c.ok])).toEqual([
      ['checkpoint', true],
      ['tree', true],
    ]);
    const changed = text.replace(/("leaf_hashes"|"leaves"):\["../, (found) => `${found.slice(0, -2)}zz`);
    expect(tlogverifyText(changed)[0]?.checks.map((c) => c.ok)).toEqual([true, false]);
  }
});

test('P6: exports cut short, altered, doubled, of a foreign log, with a wrong key, of another version', async () => {
  const lines: string[] = [];
  for await (const line of exportLines(at.db(), { tenant: 'acme', contents: false })) lines.push(line);
  const file = join(folder, 'bad.jsonl');
  const base: Evidence = {
    keys: [log.key],
    witness: null,
    checkpoint: null,
    verify: verifySignature,
    commands: COMMANDS,
  };
  const verify = async (text: string, more: Partial<Evidence> = {}): Promise<string> => {
    writeFileSync(file, text);
    const verdict = await verifyExport(file, { ...base, ...more }).catch((error: unknown) => error as { code: string });
    return 'integrity' in verdict ? `${verdict.integrity}: ${verdict.problems.join('; ')}` : verdict.code;
  };
  const whole = `${lines.join('\n')}\n`;
  expect(await verify(whole)).toBe('valid: ');
  expect(await verify(whole.trimEnd())).toBe('valid: ');
  expect(await verify(`${lines.slice(0, -1).join('\n')}\n`)).toContain('cut short');
  expect(await verify(whole.slice(0, -30))).toContain('not JSON');
  expect(await verify([...lines, lines.at(-1)].join('\n'))).toContain('stands there again');
  expect(await verify([...lines.slice(0, 2), ...lines.slice(3)].join('\n'))).toContain('is missing');
  expect(await verify(whole.replace('notes.keep', 'notes.burn'))).toContain('not the one that was signed');
  expect(await verify(whole.replace('notes.keep', 'notes.\\ud800'))).toContain('surrogate');
  expect(await verify(whole, { keys: [noteKey('other.test').key] })).toMatch(/^invalid: .*no given key/);
  expect(await verify(whole, { keys: [thief.key] })).toMatch(/^invalid/);
  expect(await verify(whole.replace('"v":1', '"v":2'))).toBe('ARGUMENTS_INVALID');
  expect(await verify('{"some":"thing"}\n')).toBe('ARGUMENTS_INVALID');
  expect(await verify('')).toBe('ARGUMENTS_INVALID');
  rmSync(file);
  await expect(verifyExport(file, base)).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test("P6: a tenant's export holds nothing of others, and proves the same", async () => {
  const other = await at.worker([keep]).run({ tenant: 'globex' });
  await other.call('notes.keep', { note: 'of globex' });
  if (deps) await sealAll(deps, kept.tripwire);
  const lines: string[] = [];
  for await (const line of exportLines(at.db(), { tenant: 'globex', contents: true })) lines.push(line);
  const file = join(folder, 'globex.jsonl');
  writeFileSync(file, lines.join('\n'));
  const verdict = await verifyExport(file, {
    keys: [log.key],
    witness: null,
    checkpoint: kept.note,
    verify: verifySignature,
    commands: COMMANDS,
  });
  expect(verdict).toMatchObject({ integrity: 'valid', entries: 3, freshness: { kind: 'checkpoint' } });
  expect(verdict.size).toBe(kept.tripwire.size + 3);
  expect(readFileSync(file, 'utf8')).not.toContain('acme');
  expect(readFileSync(file, 'utf8')).not.toContain('first of');
});
