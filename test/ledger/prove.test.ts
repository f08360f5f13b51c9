/** P6: proofs of calls that really ran: autonomous, approved, denied, repeated; and the audit of all of them. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { z } from 'zod';
import { readHistory } from '../../activities/history.ts';
import { reconcileRuns } from '../../activities/reconcile-run.ts';
import { signatureChecks, verifySignature } from '../../activities/signatures.ts';
import { makeAnswer, readApproval, sendAnswer } from '../../client/approvals.ts';
import { devApprover } from '../../client/dev-approver.ts';
import { auditLedger } from '../../client/ledger-audit.ts';
import { proveCall, proveGrowth, proveLeaf } from '../../client/ledger-export.ts';
import { readCallProof } from '../../client/ledger-verify.ts';
import { atMost, defineTool } from '../../define/index.ts';
import { canonicalize } from '../../governance/canonical.ts';
import { type CallProof, verifyCallProof } from '../../governance/call-proof.ts';
import type { Json } from '../../governance/json.ts';
import type { Evidence } from '../../governance/ledger-verify.ts';
import { noteKeyText } from '../../governance/note.ts';
import { workflowIdOf } from '../../workflows/ids.ts';
import { misfits } from '../support/entry-schema.ts';
import { COMMANDS, sealedBodies, signerOf } from '../support/ledger.ts';
import { noteKey } from '../support/note-keys.ts';
import { type Platform, platform } from '../support/platform.ts';
import { tlogverify } from '../support/tlogverify.ts';

const log = noteKey('log.test');
const WAIT = { timeout: 30_000, interval: 200 };
const POLICY = `@id("all") permit (principal, action, resource);
@id("big") @gate("approval") @roles("owner") @quorum("1")
forbid (principal, action == Action::"gifts.send", resource)
when { context.args.cents > 1000 } unless { context.approved.contains(Gate::"big") };\n`;
const send = defineTool({
  name: 'gifts.send',
  description: 'Send a gift',
  effect: 'write',
  inputSchema: z.strictObject({ name: z.string(), cents: z.int() }),
  rules: { cents: atMost(5_000) },
  execute: ({ cents }) => Promise.resolve({ sent: cents }),
});

let at: Platform;
let folder: string;
let run: string;
let approver: ReturnType<typeof devApprover>;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'actguard-prove-'));
  at = await platform({ tools: [send], policy: POLICY, sealing: { signers: [signerOf(log)], witnesses: [] } });
  approver = devApprover(at.directory, userInfo().username, Date.now());
  const session = await at.actguard.session({ id: 'gifts', agent: 'desk', user: 'alice', tenant: 'acme' });
  run = session.run;
  const call = (callId: string, name: string, cents: number) => session.call('gifts.send', { name, cents }, { callId });
  expect(await call('small', 'bob', 100)).toMatchObject({ kind: 'done' });
  expect(await call('huge', 'bob', 9_000)).toMatchObject({ kind: 'denied' });
  expect(await call('again', 'bob', 100)).toMatchObject({ kind: 'denied', denial: { code: 'DUPLICATE_EFFECT' } });
  const asked = call('big', 'carol', 2_000);
  await vi.waitFor(
    async () => expect(await (async () => (await at.actguard.run(run).state()).openAsks.length)()).toBe(1),
    WAIT,
  );
  const [ask] = (await at.actguard.run(run).state()).openAsks;
  const { request } = await readApproval(at.db, ask?.approvalId ?? '');
  const answer = makeAnswer(request, 'approve', approver.approver, Date.now());
  await sendAnswer(at.actguard.client, request, answer);
  const first = await asked;
  if (first.kind === 'pending')
    await vi.waitFor(async () => expect(await (async () => (await session.outcome('big'))?.kind)()).toBe('done'), WAIT);
  await session.close();
  const waiting = async (): Promise<number> => {
    const [row] = await at.db.query<{ w: { count: number } }>('select actguard.ledger_waiting() as w');
    return row?.w.count ?? -1;
  };
  const closed = async (): Promise<number> =>
    (await at.db.query(`select 1 from actguard.entries where run = $1 and kind = 'run.closed'`, [run])).length;
  await vi.waitFor(async () => expect(await closed()).toBe(1), WAIT);
  await vi.waitFor(async () => expect(await waiting()).toBe(0), WAIT);
});
afterAll(async () => {
  await at?.end();
  rmSync(folder, { recursive: true, force: true });
});

const evidence: Evidence = {
  keys: [log.key],
  witness: null,
  checkpoint: null,
  verify: verifySignature,
  commands: COMMANDS,
};
const trust = () => ({ roots: [approver.rootKeyId], dev: true, passkeys: null, checks: signatureChecks });

test('P6: a call that a policy allowed is proven autonomous, one that a person allowed proven approved, by whom', async () => {
  const small = await proveCall(at.db, run, 'small');
  expect(verifyCallProof(small, evidence, trust())).toMatchObject({
    integrity: 'valid',
    authorization: 'autonomous',
    tool: 'gifts.send',
    approvedBy: [],
    outcome: ['call.succeeded'],
  });
  const file = join(folder, 'big.json');
  writeFileSync(file, `${JSON.stringify(await proveCall(at.db, run, 'big'))}\n`);
  const big = (await readCallProof(file)) as CallProof;
  expect(verifyCallProof(big, evidence, trust())).toMatchObject({
    integrity: 'valid',
    problems: [],
    authorization: 'approved',
    approvedBy: [approver.approver.person],
    outcome: ['call.succeeded'],
  });
  expect(readFileSync(file, 'utf8').trim().split('\n')).toHaveLength(1);
  const huge = await proveCall(at.db, run, 'huge');
  expect(verifyCallProof(huge, evidence, trust())).toMatchObject({ integrity: 'valid', authorization: 'refused' });
});

test('P6: an independent verifier takes every inclusion proof of the run', async () => {
  const proofs = [];
  for (const call of ['small', 'huge', 'big']) {
    for (const { body, proof } of (await proveCall(at.db, run, call)).entries) {
      proofs.push({ proof, leaf_data: Buffer.from(body).toString('base64') });
    }
  }
  const [result] = tlogverify([{ origin: 'log.test', vkeys: [noteKeyText(log.key)], tlog_proofs: proofs }]);
  expect(proofs.length).toBeGreaterThan(8);
  expect(result?.checks.filter((check) => !check.ok)).toEqual([]);
});

test('P6: an independent verifier takes every checkpoint, growth between any two, every leaf and the whole tree', async () => {
  const notes = await at.db.query<{ size: number; note: string }>(
    'select size, note from actguard.ledger_checkpoints_page(0, 1000)',
  );
  const last = notes.at(-1) ?? { size: 0, note: '' };
  const bodies = await sealedBodies(at.db);
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  const checkpoints = Object.fromEntries(notes.map(({ size, note }) => [`at ${size}`, note]));
  const pairs = notes.flatMap((from, i) => notes.slice(i).map((to) => [from.size, to.size] as const));
  const consistency = await Promise.all(
    pairs.map(async ([from, to]) => ({
      ...{ from: `at ${from}`, to: `at ${to}` },
      proof: (await proveGrowth(at.db, from, to)).map(base64),
    })),
  );
  const kept = { origin: log.key.name, cosigned: false, ...last };
  const proofs = await Promise.all(
    bodies
      .slice(0, last.size)
      .map(async (body, i) => ({ leaf_data: base64(body), proof: await proveLeaf(at.db, i, kept) })),
  );
  const whole = {
    ...{ origin: log.key.name, vkeys: [noteKeyText(log.key)], checkpoints, consistency, tlog_proofs: proofs },
    trees: notes.map(({ size }) => ({ checkpoint: `at ${size}`, leaves: bodies.slice(0, size).map(base64) })),
  };
  expect(notes.length).toBeGreaterThan(1);
  const [good] = tlogverify([whole]);
  expect(good?.checks.filter((check) => !check.ok)).toEqual([]);
  expect(good?.checks.length).toBe(2 * notes.length + pairs.length + last.size);
  const [first] = bodies;
  const bent = whole.tlog_proofs.map((p, i) => (i === 1 ? { ...p, leaf_data: base64(first ?? new Uint8Array()) } : p));
  expect(tlogverify([{ ...whole, tlog_proofs: bent }])[0]?.checks.filter((check) => !check.ok)).toHaveLength(1);
});

test('P6: a proof that is changed, of other roots, without its yes or without the key is refused', async () => {
  const big = await proveCall(at.db, run, 'big');
  const entries = (
    change: (kind: string, e: CallProof['entries'][number]) => CallProof['entries'][number] | null,
  ): CallProof => ({
    ...big,
    entries: big.entries.flatMap((e) => change((JSON.parse(e.body) as { kind: string }).kind, e) ?? []),
  });
  const verdict = (proof: CallProof, roots = [approver.rootKeyId], more: Partial<Evidence> = {}) =>
    verifyCallProof(proof, { ...evidence, ...more }, { ...trust(), roots }).integrity;
  expect(verdict(entries((_kind, e) => e))).toBe('valid');
  expect(verdict(big, [])).toBe('invalid');
  expect(verdict(big, ['00'.repeat(32)])).toBe('invalid');
  expect(verdict(big, [approver.rootKeyId], { keys: [noteKey('log.test', 'log', 'another').key] })).toBe('invalid');
  expect(verdict({ ...big, call: 'small' })).toBe('invalid');
  expect(verdict(entries((kind, e) => (kind === 'approval.answered' ? null : e)))).toBe('invalid');
  expect(verdict(entries((kind, e) => (kind === 'key.enrolled' ? null : e)))).toBe('invalid');
  expect(
    verdict(
      entries((kind, e) =>
        kind === 'call.started' ? { ...e, body: e.body.replace('2000', '2001').replace('approved', 'autonomous') } : e,
      ),
    ),
  ).toBe('invalid');
  expect(verdict(entries((kind, e) => (kind === 'approval.answered' ? { ...e, content: { envelope: 'x' } } : e)))).toBe(
    'invalid',
  );
});

const history = (workflowId: string, of: string) => readHistory(at.actguard.client, workflowId, of);

test('P1 P6: a run that has ended is compared with its history once; what the history has is sealed', async () => {
  const deps = { db: at.db, dev: true, log: () => undefined };
  const eyes = { tell: () => Promise.resolve(), describe: () => Promise.reject(new Error('not asked')), history };
  await at.db.query(`update actguard.runs set closed_at = closed_at - interval '1 min', checked_at = null`);
  // the janitor of the platform may have been quicker
  const rounds = [await reconcileRuns(deps, eyes), await reconcileRuns(deps, eyes)];
  const [kept] = await at.db.query<{ body: string }>(
    `select convert_from(body, 'UTF8') as body from actguard.entries where kind = 'run.reconciled' and run = $1`,
    [run],
  );
  const { data } = JSON.parse(kept?.body ?? '{}') as { data: { historyLength: number; digest: string } };
  const seen = await history(workflowIdOf(run), run);
  expect(rounds[1]).toBe(0);
  expect(data).toMatchObject({ agrees: true, notInLedger: [], notInHistory: [], workflow: 'completed' });
  expect(data).toMatchObject({ historyLength: seen?.length, digest: seen?.digest });
  expect(seen?.calls.filter((c) => c.recorded).map((c) => c.call)).toContain('small');
  expect(await history('actguard-run-of-nobody', run)).toBeNull();
  expect(await misfits(at.db)).toEqual([]);
  // anybody computes the digest from what Temporal shows
  const { events } = JSON.parse(
    historyToJSON(await at.actguard.client.workflow.getHandle(workflowIdOf(run)).fetchHistory()),
  ) as { events: Json[] };
  const text = events.map((event) => `${canonicalize(event)}\n`).join('');
  expect(createHash('sha256').update(text).digest('hex')).toBe(data.digest);
});

test('P6 P1: the audit of real runs is valid and complete, and names the call whose entry is missing', async () => {
  const evidence = {
    keys: [log.key],
    witness: null,
    tripwire: null,
    commands: COMMANDS,
    history,
    allHistories: true,
    waitMs: 10_000,
  };
  const look = () => auditLedger(at.db, evidence);
  expect(await look()).toMatchObject({
    integrity: 'valid',
    problems: [],
    completeness: 'complete',
    missing: [],
    waiting: 0,
  });
  await at.db.query(
    `insert into actguard.calls select (jsonb_populate_record(c, '{"call":"smuggled","key_hash":null}')).* from actguard.calls c where call = 'small'`,
  );
  const after = await look();
  expect(after).toMatchObject({ integrity: 'valid', completeness: 'incomplete' });
  expect(after.missing).toEqual([`run ${run}: call smuggled was made, the ledger has no start of it`]);
  // with entries of its own, too, the workflow's history still does not know it; nor the ledger an approval, a run, a call
  await at.db.query(
    `with e as (select * from actguard.entries where run = $1 and call = 'small')
    select actguard.append_entries(jsonb_agg(jsonb_build_object('tenant', tenant, 'run', run, 'key', key || ':again', 'kind', kind,
      'call', 'smuggled', 'body', replace(convert_from(body, 'UTF8'), '"call":"small"', '"call":"smuggled"')))) from e`,
    [run],
  );
  await at.db.query(
    `insert into actguard.approvals select (jsonb_populate_record(a, '{"approval":"forged","nonce":"other","ask":7}')).* from actguard.approvals a where call = 'big'`,
  );
  await at.db.query(
    `insert into actguard.runs select (jsonb_populate_record(r, '{"run":"hidden"}')).* from actguard.runs r where run = $1`,
    [run],
  );
  const { missing } = await look();
  expect(missing.filter((problem) => !problem.includes('content'))).toEqual([
    `run ${run}: call big used approval forged, the ledger has no such call`,
    `run ${run}: call smuggled is in the ledger and not in the workflow's history`,
    `run hidden was opened, the ledger has nothing of it`,
  ]);
});
