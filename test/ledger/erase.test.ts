/** P6: erasing content: signed, used once, recorded; proofs stay valid; erased without a record is found. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { eraseContent } from '../../activities/erase.ts';
import { record } from '../../activities/record.ts';
import type { EraseInput, EraseResult } from '../../activities/request-types.ts';
import { verifySignature } from '../../activities/signatures.ts';
import { makeCommand } from '../../client/commands.ts';
import { type SigningKey, generateKey } from '../../client/keys.ts';
import { auditLedger } from '../../client/ledger-audit.ts';
import { exportLines, proveCall } from '../../client/ledger-export.ts';
import { verifyExport } from '../../client/ledger-verify.ts';
import { defineTool } from '../../define/index.ts';
import { verifyCallProof } from '../../governance/call-proof.ts';
import { type Erasure, checkErasures, erasureTarget, parseErasure } from '../../governance/erasure.ts';
import { digestOf } from '../../governance/digest.ts';
import type { Json, JsonObject } from '../../governance/json.ts';
import type { Evidence } from '../../governance/ledger-verify.ts';
import { person } from '../approvals/fixture.ts';
import { type TestRun, desk } from '../support/calls.ts';
import { misfits } from '../support/entry-schema.ts';
import { COMMANDS, appendEntries, LOG, sealAll, sealDeps } from '../support/ledger.ts';
import { noteKey } from '../support/note-keys.ts';

const log = noteKey(LOG);
const evidence: Evidence = {
  keys: [log.key],
  witness: null,
  checkpoint: null,
  verify: verifySignature,
  commands: COMMANDS,
};
const SECRET = 'Marigold Lane 7';
const keep = defineTool({
  name: 'notes.keep',
  description: 'Keep a note',
  effect: 'write',
  inputSchema: z.strictObject({ note: z.string() }),
  idempotency: { key: ({ note }) => note },
  execute: ({ note }) => Promise.resolve({ kept: note }),
});
const at = desk();
const root = generateKey('');
const folder = mkdtempSync(join(tmpdir(), 'actguard-erase-'));
let worker: ReturnType<typeof at.worker>;
let sealing: ReturnType<typeof sealDeps>;
let operator: SigningKey;
let n = 0;
beforeAll(async () => {
  worker = at.worker([keep], { roots: [root.keyId] });
  operator = await person(worker.shared.deps, root, 'olga', ['operator'], 'acme');
  sealing = sealDeps(at.url());
});
afterAll(async () => {
  await sealing?.db.end();
  rmSync(folder, { recursive: true, force: true });
});

async function runOf(user: string, ...notes: string[]): Promise<TestRun> {
  const run = await worker.run({ user, input: `keep ${notes.join()}` });
  for (const note of notes) expect(await run.call('notes.keep', { note })).toMatchObject({ kind: 'done' });
  return run;
}
async function close(run: TestRun, calls: number): Promise<void> {
  const where = { workflowId: run.workflowId, temporalRun: run.temporalRun };
  const closed = { status: 'answered', lastSeq: calls } as const;
  await record(worker.shared, { v: 1, run: run.run, entries: [], closed }, where);
}
function envelopeOf(
  erasure: Erasure,
  key: SigningKey = operator,
  tenant = 'acme',
  verb: 'erase' | 'thaw' = 'erase',
): Json {
  return makeCommand(
    verb,
    { tenant, target: erasureTarget(erasure), reason: 'asked to be forgotten' },
    key,
    Date.now(),
  );
}
const nonce = (): string => (++n).toString(16).padStart(32, '0');
function erase(envelope: Json, delivery = `d${++n}`): Promise<EraseResult> {
  return eraseContent(worker.shared.deps, { v: 1, kind: 'erase', nonce: nonce(), envelope }, delivery);
}
async function audit() {
  await sealAll(sealing);
  const { integrity, completeness, problems, missing, erased } = await auditLedger(at.db(), {
    keys: [log.key],
    witness: null,
    tripwire: null,
    commands: COMMANDS,
  });
  return { integrity, completeness, problems, missing, erased };
}
async function verified() {
  const lines: string[] = [];
  for await (const line of exportLines(at.db(), { tenant: null, contents: true })) lines.push(line);
  const file = join(folder, `${++n}.jsonl`);
  writeFileSync(file, lines.join('\n'));
  return { text: lines.join('\n'), ...(await verifyExport(file, evidence)) };
}
/** Places of the whole database, table by table and row by row, that hold a text. */
async function places(text: string): Promise<string[]> {
  const tables = await at
    .db()
    .query<{ t: string }>(`select tablename as t from pg_tables where schemaname = 'actguard'`);
  const texts = [];
  for (const { t } of tables) {
    const rows = await at.db().query<{ r: string }>(`select to_jsonb(x)::text as r from actguard.${t} x`);
    texts.push(...rows.map(({ r }) => `${t} ${r}`));
    if (t === 'entries' || t === 'approvals') {
      const body = t === 'entries' ? 'body' : 'request';
      const bodies = await at.db().query<{ r: string }>(`select convert_from(${body}, 'UTF8') as r from actguard.${t}`);
      texts.push(...bodies.map(({ r }) => r));
    }
  }
  return texts.filter((row) => row.includes(text));
}

test('P6: a run, a call, a user: content is gone everywhere, proofs hold, audit and verify say erased on record', async () => {
  const one = await runOf('alice', `${SECRET} a`, `${SECRET} b`);
  const two = await runOf('alice', `${SECRET} c`);
  const other = await runOf('bob', 'of bob');
  await close(one, 2);
  await close(two, 1);
  await close(other, 1);
  const before = await audit();
  expect(before).toMatchObject({ integrity: 'valid', completeness: 'complete', erased: 0 });
  expect((await verified()).text).toContain(SECRET);

  expect(await erase(envelopeOf({ scope: 'call', run: one.run, call: 'c1' }))).toMatchObject({
    kind: 'erased',
    by: 'olga',
  });
  expect(await places(`{"note": "${SECRET} a"}`)).toEqual([]);
  expect(await places(`{"note": "${SECRET} b"}`)).not.toEqual([]);
  expect(await audit()).toMatchObject({
    integrity: 'valid',
    completeness: 'complete',
    problems: [],
    missing: [],
    erased: 2,
  });

  const proven = verifyCallProof(await proveCall(at.db(), one.run, 'c1'), evidence, null);
  expect(proven).toMatchObject({ integrity: 'valid', authorization: 'autonomous', erased: 2, erasedWithoutRecord: [] });

  expect(await erase(envelopeOf({ scope: 'run', run: one.run }))).toMatchObject({ kind: 'erased' });
  expect(await erase(envelopeOf({ scope: 'user', user: 'alice' }))).toMatchObject({ kind: 'erased' });
  expect(await places(SECRET)).toEqual([]);
  expect(await places('of bob')).not.toEqual([]);
  const after = await audit();
  expect(after).toMatchObject({ integrity: 'valid', completeness: 'complete', problems: [], missing: [] });
  const file = await verified();
  expect(file).toMatchObject({ integrity: 'valid', completeness: 'complete', missing: [], erased: after.erased });
  expect(after.erased).toBeGreaterThanOrEqual(8);
  expect(await misfits(at.db())).toEqual([]);
  expect(verifyCallProof(await proveCall(at.db(), two.run, 'c1'), evidence, null)).toMatchObject({
    integrity: 'valid',
    erasedWithoutRecord: [],
  });
});

test('P2: an effect whose content was erased does not happen again', async () => {
  const run = await runOf('carol', 'once');
  await close(run, 1);
  expect(await erase(envelopeOf({ scope: 'user', user: 'carol' }))).toMatchObject({ kind: 'erased' });
  const again = await (await worker.run({ user: 'carol' })).call('notes.keep', { note: 'once' });
  expect(again).toMatchObject({ kind: 'denied', denial: { code: 'IDEMPOTENCY_CONFLICT' } });
});

test('P4 P7: what does not count erases nothing and says why', async () => {
  const run = await runOf('dora', `${SECRET} of dora`);
  const erasure: Erasure = { scope: 'run', run: run.run };
  const rejected = async (envelope: Json, reason: string): Promise<void> => {
    const result = await erase(envelope);
    expect(result.kind === 'rejected' ? result.reason : result.kind).toContain(reason);
    expect(await places(`${SECRET} of dora`)).not.toEqual([]);
  };
  await rejected(envelopeOf(erasure), 'have not ended');
  await at.db().query(`update actguard.calls set state = 'unknown' where run = $1`, [run.run]);
  await close(run, 1);
  await rejected(envelopeOf(erasure), 'resolve them first');
  await at.db().query(`update actguard.calls set state = 'succeeded' where run = $1`, [run.run]);
  await rejected(envelopeOf(erasure, generateKey('mallory')), 'key');
  await rejected(
    envelopeOf(erasure, await person(worker.shared.deps, root, 'gina', ['operator'], 'globex'), 'globex'),
    'no such run',
  );
  await rejected(
    envelopeOf(erasure, await person(worker.shared.deps, root, 'fred', ['finance'], 'acme')),
    'neither operator',
  );
  await rejected(envelopeOf(erasure, operator, 'acme', 'thaw'), 'no erase');
  await rejected(envelopeOf({ scope: 'call', run: run.run, call: 'c9' }), 'no such run or call');
  await rejected(envelopeOf({ scope: 'user', user: 'nobody' }), 'no such run');
  await rejected(envelopeOf(erasure, operator, '*'), 'in one tenant');
  const bad = [
    null,
    7,
    {},
    { v: 1, kind: 'erase', nonce: 'x', envelope: null },
    { v: 2, kind: 'erase', nonce: nonce(), envelope: {} },
  ];
  for (const input of bad)
    expect((await eraseContent(worker.shared.deps, input as EraseInput, 'd')).kind, JSON.stringify(input)).toBe(
      'rejected',
    );

  const envelope = envelopeOf(erasure);
  expect(await erase(envelope, 'first')).toMatchObject({ kind: 'erased' });
  expect(await erase(envelope, 'first')).toMatchObject({ kind: 'erased' }); // its own retry
  expect(await erase(envelope, 'second')).toMatchObject({
    kind: 'rejected',
    reason: expect.stringContaining('used') as string,
  });
  expect(await places(`${SECRET} of dora`)).toEqual([]);
  expect(await audit()).toMatchObject({ integrity: 'valid', completeness: 'complete' });
});

test('P6: content erased without a record, or after one, is named by audit and by a verifier of the file', async () => {
  const run = await runOf('eve', 'one', 'two');
  await close(run, 2);
  const steal = `delete from actguard.entry_contents c using actguard.entries e where e.id = c.entry_id and e.run = $1 and e.kind = 'call.started' and e.call = $2`;
  await at.db().query(steal, [run.run, 'c2']);
  const named = [expect.stringMatching(new RegExp(`run ${run.run}, call c2.*without a record`)) as string];
  expect(await audit()).toMatchObject({ integrity: 'valid', completeness: 'incomplete', missing: named });
  expect(await verified()).toMatchObject({ integrity: 'valid', completeness: 'incomplete', missing: named });
  // a record of something else does not cover it
  expect(await erase(envelopeOf({ scope: 'call', run: run.run, call: 'c1' }))).toMatchObject({ kind: 'erased' });
  expect(await audit()).toMatchObject({ completeness: 'incomplete', missing: named });
  expect(await erase(envelopeOf({ scope: 'run', run: run.run }))).toMatchObject({ kind: 'erased' });
  expect(await audit()).toMatchObject({ completeness: 'complete', missing: [] });
});

test('P6: a record that somebody with the database wrote excuses nothing; its signed twin does', async () => {
  const run = await runOf('frank', 'of frank');
  await close(run, 1);
  await at
    .db()
    .query(`delete from actguard.entry_contents c using actguard.entries e where e.id = c.entry_id and e.run = $1`, [
      run.run,
    ]);
  const mallory = generateKey('mallory');
  const erasure: Erasure = { scope: 'run', run: run.run };
  const target = erasureTarget(erasure);
  // a true command with its true enrolment, for another run: taken from a record that stands in the ledger
  const other = await runOf('grace', 'of grace');
  await close(other, 1);
  expect(await erase(envelopeOf({ scope: 'run', run: other.run }))).toMatchObject({ kind: 'erased' });
  const [row] = await at
    .db()
    .query<{ body: string }>(
      `select convert_from(body, 'UTF8') as body from actguard.entries where kind = 'ledger.erased' and run = $1`,
      [other.run],
    );
  const { data } = JSON.parse(row?.body ?? '') as { data: JsonObject };
  const signed = (envelope: Json): JsonObject => ({ ...data, target, envelope, envelopeSha256: digestOf(envelope) });
  const forged: JsonObject[] = [
    { target },
    { ...data, target },
    { ...signed(envelopeOf(erasure)), envelopeSha256: 'f'.repeat(64) },
    signed(envelopeOf(erasure, mallory)),
    signed(envelopeOf(erasure, operator, 'globex')),
    signed(envelopeOf(erasure, operator, 'acme', 'thaw')),
    signed(envelopeOf(erasure)), // its nonce is another one than the record names
    { ...signed(envelopeOf(erasure)), enrolment: null },
  ];
  for (const [i, said] of forged.entries())
    await appendEntries(at.db(), 1, 900 + i, { kind: 'ledger.erased', run: run.run, atMs: Date.now(), data: said });
  const says = (of: { readonly missing: readonly string[] }) => of.missing.filter((m) => m.includes('it says that'));
  const found = await audit();
  expect(found).toMatchObject({ integrity: 'valid', completeness: 'incomplete' });
  expect(says(found)).toHaveLength(forged.length);
  expect(found.missing.join()).toContain('without a record');
  expect(says(await verified())).toHaveLength(forged.length);
  expect(verifyCallProof(await proveCall(at.db(), run.run, 'c1'), evidence, null).erasedWithoutRecord).not.toEqual([]);
  // whose root is not the one that is trusted
  const elsewhere = { ...evidence, commands: { ...COMMANDS, roots: ['0'.repeat(64)] } };
  const file = join(folder, 'elsewhere.jsonl');
  writeFileSync(file, (await verified()).text);
  expect(says(await verifyExport(file, elsewhere)).length).toBeGreaterThan(forged.length);
});

test('P6: a ledger that nothing seals is not complete', async () => {
  await appendEntries(at.db(), 1, 990);
  const { completeness, missing, waiting } = await auditLedger(at.db(), {
    keys: [log.key],
    witness: null,
    commands: COMMANDS,
    tripwire: null,
  });
  expect({ completeness, waiting }).toEqual({ completeness: 'incomplete', waiting: 1 });
  expect(missing.join()).toContain('is a sealer running');
});

test('P6: a record covers what stands before it, in its tenant, and nothing else', () => {
  const entry = (tenant: string, run: string, call: string, user: string) => ({
    tenant,
    run,
    call,
    kind: 'call.started',
    data: { user },
  });
  const erased = (tenant: string, target: string) => ({ tenant, kind: 'ledger.erased', data: { target } });
  const unrecorded = (...records: { tenant: string; kind: string; data: { target: string } }[]) => {
    const check = checkErasures(() => null);
    check.entry(entry('acme', 'r1', 'c1', 'alice'), true, 'r1/c1');
    check.entry(entry('acme', 'r1', 'c2', 'alice'), true, 'r1/c2');
    check.entry(entry('acme', 'r2', 'c1', 'bob'), true, 'r2/c1');
    check.entry(entry('acme', 'r3', 'c1', 'carol'), false, 'whole');
    for (const one of records) check.entry(one, false, 'record');
    check.entry(entry('acme', 'r1', 'c1', 'alice'), true, 'late');
    return check.end().unrecorded.map((text) => text.split(': ')[0]);
  };
  expect(unrecorded()).toEqual(['r1/c1', 'r1/c2', 'late', 'r2/c1']);
  expect(unrecorded(erased('acme', 'erase:call:r1/c1'))).toEqual(['r1/c2', 'late', 'r2/c1']);
  expect(unrecorded(erased('acme', 'erase:run:r1'))).toEqual(['r2/c1', 'late']);
  expect(unrecorded(erased('acme', 'erase:user:bob'))).toEqual(['r1/c1', 'r1/c2', 'late']);
  expect(unrecorded(erased('globex', 'erase:run:r1'), erased('acme', 'nonsense'))).toHaveLength(4);
  expect(['run:r', 'call:r/c', 'user:u'].map((t) => parseErasure(t).kind)).toEqual(['ok', 'ok', 'ok']);
  for (const text of ['', 'run:', 'call:r', 'call:/c', 'call:r/', 'tenant:acme', 'user: x', 7, null])
    expect(parseErasure(text).kind, String(text)).toBe('invalid');
});
