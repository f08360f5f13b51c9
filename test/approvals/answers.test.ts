import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { endAsk, loadGrantedApproval, openAsk, recordAnswer } from '../../activities/approvals.ts';
import type { Deps } from '../../activities/deps.ts';
import { makeAnswer } from '../../client/approvals.ts';
import { makeEnrolment } from '../../client/enrolment.ts';
import { generateKey, signEnvelope, type SigningKey } from '../../client/keys.ts';
import type { ApprovalRequest } from '../../governance/approval.ts';
import { canonicalize } from '../../governance/canonical.ts';
import { APPROVAL_PAYLOAD_TYPE, COMMAND_PAYLOAD_TYPE, makeEnvelope } from '../../governance/dsse.ts';
import type { Json, JsonObject } from '../../governance/json.ts';
import { MAX_OPEN_ASKS, MAX_REJECTED_ANSWERS } from '../../governance/limits.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import { TENANT, ask, askInput, entries, gate, impostor, makeDeps, openRun, person, stateOf } from './fixture.ts';

let fresh: FreshDatabase;
let deps: Deps;
let bob: SigningKey;
let carol: SigningKey;
let alice: SigningKey;
let clerk: SigningKey;
let stranger: SigningKey;
const root = generateKey('');

beforeAll(async () => {
  fresh = await freshDatabase();
  deps = makeDeps(fresh.db, [root.keyId]);
  bob = await person(deps, root, 'bob', ['finance']);
  carol = await person(deps, root, 'carol', ['finance', 'legal']);
  alice = await person(deps, root, 'alice', ['finance']);
  clerk = await person(deps, root, 'clerk', ['support']);
  stranger = await person(deps, root, 'mallory', ['finance'], 'globex');
});
afterAll(() => fresh.drop());

const answerTo = (request: ApprovalRequest, key: SigningKey, decision: 'approve' | 'reject' = 'approve'): Json =>
  makeAnswer(request, decision, key, Date.now()).envelope;
const give = (request: ApprovalRequest, envelope: Json, delivery?: string, run = request.run) =>
  recordAnswer(deps, { v: 1, run, entries: [], approvalId: request.approvalId, envelope }, delivery);
const consume = async (request: ApprovalRequest, effect = 'e1', call = request.call): Promise<string | undefined> =>
  (
    await fresh.db.query<{ r: string }>('select actguard.consume_approval($1, $2, $3, $4) as r', [
      request.approvalId,
      request.run,
      call,
      effect,
    ])
  )[0]?.r;
const signed = (value: Json, key: SigningKey): Json =>
  signEnvelope(APPROVAL_PAYLOAD_TYPE, new TextEncoder().encode(canonicalize(value)), [key]);
const statement = (request: ApprovalRequest, key: SigningKey, more: JsonObject = {}): JsonObject => ({
  v: 1, request: request as unknown as Json, decision: 'approve', person: key.person, key: key.keyId, at: new Date().toISOString(), ...more,
}); // prettier-ignore

describe('P4 an approval is a signature over the exact call, used once', () => {
  test('P4 a valid answer grants, is used once, and only for its own call and effect', async () => {
    const request = await ask(deps, askInput(await openRun(fresh.db)));
    expect(await loadGrantedApproval(deps, request.approvalId, request.run, request.call)).toBeNull();
    expect(await consume(request)).toBe('open');
    expect(await give(request, answerTo(request, bob))).toEqual({
      kind: 'accepted',
      decision: 'approve',
      complete: true,
      person: 'bob',
    });
    const granted = await loadGrantedApproval(deps, request.approvalId, request.run, request.call);
    expect(granted).toMatchObject({
      args: { orderId: '1042', amountCents: 41_200 },
      gates: [{ id: 'over-100' }],
      people: ['bob'],
    });
    expect(granted?.facts).toMatchObject([{ kind: 'order', value: '1042' }]);
    expect(await loadGrantedApproval(deps, request.approvalId, request.run, 'another')).toBeNull();
    expect(await consume(request, 'e1', 'another')).toBe('unknown');
    expect(await consume(request, 'e1')).toBe('ok');
    expect(await consume(request, 'e1')).toBe('ok'); // a takeover of the same claim
    expect(await consume(request, 'e2')).toBe('consumed');
    expect((await entries(fresh.db, request.run)).map((e) => e.kind)).toEqual([
      'call.asked', 'approval.requested', 'approval.answered', 'approval.granted',
    ]); // prettier-ignore
  });

  test('P4 a rejection is signed as well and ends the ask for everybody', async () => {
    const request = await ask(deps, askInput(await openRun(fresh.db), 'c1', [gate('g', ['finance'], 2)]));
    expect(await give(request, answerTo(request, bob, 'reject'))).toMatchObject({
      kind: 'accepted',
      decision: 'reject',
      complete: true,
    });
    expect(await give(request, answerTo(request, carol))).toMatchObject({
      kind: 'rejected',
      reason: 'the ask was rejected already',
    });
    expect(await consume(request)).toBe('rejected');
  });

  test('P4 a quorum counts people, and every gate has its own', async () => {
    const gates = [gate('money', ['finance'], 2), gate('law', ['legal'])];
    const request = await ask(deps, askInput(await openRun(fresh.db), 'c1', gates));
    expect(await give(request, answerTo(request, carol))).toMatchObject({ kind: 'accepted', complete: false });
    const second = generateKey('carol');
    await fresh.db.query('select actguard.enrol_key($1::jsonb)', [JSON.stringify(rowOf(second, 'carol', ['finance']))]);
    expect(await give(request, answerTo(request, second))).toMatchObject({
      kind: 'rejected',
      reason: 'this person has answered already',
    });
    expect(await stateOf(fresh.db, request.approvalId)).toBe('open');
    expect(await give(request, answerTo(request, bob))).toMatchObject({ kind: 'accepted', complete: true });
    expect(await consume(request)).toBe('ok');
  });

  test('P4 two answers at the same moment: one completes, the other comes too late', async () => {
    const request = await ask(deps, askInput(await openRun(fresh.db)));
    const results = await Promise.all([
      give(request, answerTo(request, bob)),
      give(request, answerTo(request, carol, 'reject')),
    ]);
    expect(results.filter((r) => r.kind === 'accepted')).toHaveLength(1);
    const winner = results.find((r) => r.kind === 'accepted');
    expect(await stateOf(fresh.db, request.approvalId)).toBe(
      winner?.kind === 'accepted' && winner.decision === 'approve' ? 'granted' : 'rejected',
    );
  });

  test('P4 two of two at the same moment complete once', async () => {
    const request = await ask(deps, askInput(await openRun(fresh.db), 'c1', [gate('g', ['finance'], 2)]));
    const results = await Promise.all([give(request, answerTo(request, bob)), give(request, answerTo(request, carol))]);
    expect(results.map((r) => r.kind === 'accepted' && r.complete).sort()).toEqual([false, true]);
  });

  test('P4 a retry of the same delivery is the same answer, a replay is not', async () => {
    const request = await ask(deps, askInput(await openRun(fresh.db)));
    const envelope = answerTo(request, bob);
    const first = await give(request, envelope, 'run/1');
    expect(await give(request, envelope, 'run/1')).toEqual(first);
    expect(await give(request, envelope, 'run/2')).toMatchObject({ kind: 'rejected' });
    expect((await entries(fresh.db, request.run)).filter((e) => e.kind === 'approval.granted')).toHaveLength(1);
  });
});

describe('P4 P7 what does not count is recorded, counted and changes nothing', () => {
  interface Bad {
    readonly name: string;
    readonly reason: RegExp;
    readonly make: (request: ApprovalRequest, other: ApprovalRequest) => Json;
  }
  const flip = (text: string): string => (text.startsWith('A') ? `B${text.slice(1)}` : `A${text.slice(1)}`);
  const edit = (
    envelope: Json,
    change: (
      e: { payloadType: string; payload: string; signatures: { keyid: string; sig: string }[] } & Record<
        string,
        unknown
      >,
    ) => void,
  ): Json => {
    const copy = structuredClone(envelope) as never;
    change(copy);
    return copy;
  };
  const small = new Uint8Array(32);
  small[0] = 1; // the identity: of small order
  const bad: Bad[] = [
    { name: 'forged: signed by another key than it names', reason: /signature does not verify/, make: (r) => answerTo(r, impostor(bob.publicKey, bob.keyId, 'bob')) },
    { name: 'unknown key', reason: /key is unknown/, make: (r) => answerTo(r, generateKey('bob')) },
    { name: 'mutated signature', reason: /signature does not verify/, make: (r) => edit(answerTo(r, bob), (e) => (e.signatures[0]!.sig = flip(e.signatures[0]!.sig))) },
    { name: 'mutated arguments', reason: /another request/, make: (r) => signed(statement(r, bob, { request: { ...r, argsCommitment: '00'.repeat(32) } as unknown as Json }), bob) },
    { name: 'longer expiry', reason: /another request/, make: (r) => signed(statement(r, bob, { request: { ...r, expiresAt: '2099-01-01T00:00:00.000Z' } as unknown as Json }), bob) },
    { name: 'fewer gates', reason: /no gate/, make: (r) => signed(statement(r, bob, { request: { ...r, gates: [] } as unknown as Json }), bob) },
    { name: 'foreign: an answer to another ask', reason: /another request/, make: (_r, other) => answerTo(other, bob) },
    { name: 'stale: another nonce', reason: /another request/, make: (r) => signed(statement(r, bob, { request: { ...r, nonce: '00'.repeat(16) } as unknown as Json }), bob) },
    { name: 'wrong role', reason: /no role/, make: (r) => answerTo(r, clerk) },
    { name: 'self-approval', reason: /nobody approves what they asked for/, make: (r) => answerTo(r, alice) },
    { name: 'another tenant', reason: /unknown/, make: (r) => answerTo(r, stranger) },
    { name: 'another person', reason: /belongs to another person/, make: (r) => signed(statement(r, bob, { person: 'carol' }), bob) },
    { name: 'another key named inside', reason: /another key/, make: (r) => signed(statement(r, bob, { key: carol.keyId }), bob) },
    { name: 'a field more', reason: /may not have/, make: (r) => signed(statement(r, bob, { note: 'x' }), bob) },
    { name: 'a field less', reason: /has no `at`/, make: (r) => { const { at: _at, ...rest } = statement(r, bob); return signed(rest, bob); } },
    { name: 'a decision that is none', reason: /decision/, make: (r) => signed(statement(r, bob, { decision: 'approved' }), bob) },
    { name: 'another payload type', reason: /payload type/, make: (r) => edit(answerTo(r, bob), (e) => (e.payloadType = COMMAND_PAYLOAD_TYPE)) },
    { name: 'signed under another payload type', reason: /signature does not verify/, make: (r) => edit(signEnvelope(COMMAND_PAYLOAD_TYPE, new TextEncoder().encode(canonicalize(statement(r, bob))), [bob]), (e) => (e.payloadType = APPROVAL_PAYLOAD_TYPE)) },
    { name: 'not canonical', reason: /canonical form/, make: (r) => signEnvelope(APPROVAL_PAYLOAD_TYPE, new TextEncoder().encode(JSON.stringify(statement(r, bob), null, 1)), [bob]) },
    { name: 'duplicate keys', reason: /canonical form/, make: (r) => signEnvelope(APPROVAL_PAYLOAD_TYPE, new TextEncoder().encode(canonicalize(statement(r, bob)).replace('"v":1}', '"v":1,"v":1}')), [bob]) },
    { name: 'not JSON', reason: /not JSON/, make: () => signEnvelope(APPROVAL_PAYLOAD_TYPE, new Uint8Array([255, 0]), [bob]) },
    { name: 'base64 with a space', reason: /base64/, make: (r) => edit(answerTo(r, bob), (e) => (e.payload = ` ${e.payload.slice(1)}`)) },
    { name: 'no signature', reason: /no signature/, make: (r) => edit(answerTo(r, bob), (e) => (e.signatures = [])) },
    { name: 'two signatures', reason: /more than one/, make: (r) => signEnvelope(APPROVAL_PAYLOAD_TYPE, new TextEncoder().encode(canonicalize(statement(r, bob))), [bob, carol]) },
    { name: 'a field in the envelope', reason: /may not have/, make: (r) => edit(answerTo(r, bob), (e) => (e['alg'] = 'none')) },
    { name: 'too large', reason: /larger than/, make: (r) => edit(answerTo(r, bob), (e) => (e.payload = 'A'.repeat(20_000))) },
    { name: 'text', reason: /not an object/, make: () => 'approve' },
    { name: 'null', reason: /not an object/, make: () => null },
    { name: 'deep', reason: /nested/, make: () => JSON.parse('['.repeat(500) + ']'.repeat(500)) as Json },
    { name: 'small-order key that signs anything', reason: /unknown/, make: (r) => makeEnvelope(APPROVAL_PAYLOAD_TYPE, new TextEncoder().encode(canonicalize(statement(r, bob))), [{ keyid: '11'.repeat(32), sig: Uint8Array.from([...small, ...new Uint8Array(32)]) }]) },
  ]; // prettier-ignore

  test.each(bad)('P4 $name', async ({ make, reason }) => {
    const other = await ask(deps, askInput(await openRun(fresh.db)));
    const request = await ask(deps, askInput(await openRun(fresh.db)));
    const result = await give(request, make(request, other));
    expect(result).toMatchObject({ kind: 'rejected', reason: expect.stringMatching(reason) as string });
    expect(await stateOf(fresh.db, request.approvalId)).toBe('open');
    expect(await consume(request)).toBe('open');
    const last = (await entries(fresh.db, request.run)).at(-1);
    expect(last?.kind).toBe('approval.invalid');
    // the valid twin still passes
    expect(await give(request, answerTo(request, bob))).toMatchObject({ kind: 'accepted', complete: true });
  });

  test('P4 an answer delivered to another run', async () => {
    const request = await ask(deps, askInput(await openRun(fresh.db)));
    const elsewhere = await openRun(fresh.db);
    expect(await give(request, answerTo(request, bob), 'd', elsewhere)).toMatchObject({ kind: 'rejected' });
    expect((await entries(fresh.db, elsewhere)).map((e) => e.kind)).toEqual(['approval.invalid']);
    expect(await stateOf(fresh.db, request.approvalId)).toBe('open');
  });

  test('P4 invalid answers are recorded up to a bound and counted beyond it', async () => {
    const request = await ask(deps, askInput(await openRun(fresh.db)));
    for (let i = 0; i < MAX_REJECTED_ANSWERS + 5; i += 1) await give(request, { nonsense: i });
    const kinds = (await entries(fresh.db, request.run)).filter((e) => e.kind === 'approval.invalid');
    expect(kinds).toHaveLength(MAX_REJECTED_ANSWERS);
    const [row] = await fresh.db.query<{ n: number }>(
      'select invalid_answers as n from actguard.approvals where approval = $1',
      [request.approvalId],
    );
    expect(row?.n).toBe(MAX_REJECTED_ANSWERS + 5);
  });

  test('P4 an expired ask takes no answer and no yes of it is used; its twin in time is', async () => {
    const late = await ask(deps, askInput(await openRun(fresh.db)));
    const granted = await ask(deps, askInput(await openRun(fresh.db)));
    await give(granted, answerTo(granted, bob));
    await fresh.db.query(`update actguard.approvals set expires_at = clock_timestamp() where approval = any ($1)`, [
      [late.approvalId, granted.approvalId],
    ]);
    expect(await give(late, answerTo(late, bob))).toMatchObject({ kind: 'rejected', reason: 'the ask has expired' });
    expect(await consume(granted)).toBe('expired');
  });

  test('P4 a withdrawn ask takes no answer, a withdrawn yes is not used, ending twice is harmless', async () => {
    const request = await ask(deps, askInput(await openRun(fresh.db)));
    const end = {
      v: 1 as const,
      run: request.run,
      entries: [],
      approvalId: request.approvalId,
      outcome: 'withdrawn' as const,
    };
    await endAsk(deps, end);
    await endAsk(deps, end);
    expect(await give(request, answerTo(request, bob))).toMatchObject({
      kind: 'rejected',
      reason: 'the ask was withdrawn',
    });
    expect((await entries(fresh.db, request.run)).filter((e) => e.kind === 'approval.withdrawn')).toHaveLength(1);
    const yes = await ask(deps, askInput(await openRun(fresh.db)));
    await give(yes, answerTo(yes, bob));
    await endAsk(deps, { ...end, run: yes.run, approvalId: yes.approvalId });
    expect(await consume(yes)).toBe('withdrawn');
  });
});

describe('P4 rows in the database approve nothing', () => {
  test('P4 a key put in by SQL', async () => {
    const key = generateKey('eve');
    const row = rowOf(key, 'eve', ['finance'], generateKey(''));
    await fresh.db.query('select actguard.enrol_key($1::jsonb)', [JSON.stringify(row)]);
    const request = await ask(deps, askInput(await openRun(fresh.db)));
    expect(await give(request, answerTo(request, key))).toMatchObject({
      kind: 'rejected',
      reason: expect.stringMatching(/root/) as string,
    });
  });

  test('P4 a role put into the row of a real person', async () => {
    await fresh.db.query(`update actguard.keys set roles = '{finance}' where person = 'clerk'`);
    await fresh.db.query(`update actguard.people set roles = '{finance}' where person = 'clerk'`);
    const request = await ask(deps, askInput(await openRun(fresh.db)));
    expect(await give(request, answerTo(request, clerk))).toMatchObject({
      kind: 'rejected',
      reason: expect.stringMatching(/no role/) as string,
    });
  });

  test('P4 an approval set to granted without answers, and one whose arguments were exchanged', async () => {
    const request = await ask(deps, askInput(await openRun(fresh.db)));
    await fresh.db.query(`update actguard.approvals set state = 'granted' where approval = $1`, [request.approvalId]);
    expect(await loadGrantedApproval(deps, request.approvalId, request.run, request.call)).toBeNull();
    expect(await consume(request)).toBe('lapsed');
    const exchanged = await ask(deps, askInput(await openRun(fresh.db)));
    await give(exchanged, answerTo(exchanged, bob));
    expect(await loadGrantedApproval(deps, exchanged.approvalId, exchanged.run, 'c1')).not.toBeNull();
    await fresh.db.query(
      `update actguard.approvals set content = jsonb_set(content, '{args,amountCents}', '99999') where approval = $1`,
      [exchanged.approvalId],
    );
    expect(await loadGrantedApproval(deps, exchanged.approvalId, exchanged.run, 'c1')).toBeNull();
  });

  test('P4 a key revoked or a role lost between yes and claim', async () => {
    const dave = await person(deps, root, 'dave', ['finance']);
    const erin = await person(deps, root, 'erin', ['finance']);
    for (const [key, sql] of [
      [dave, `update actguard.keys set revoked_at = clock_timestamp() where person = 'dave'`],
      [erin, `update actguard.people set roles = '{}' where person = 'erin'`],
    ] as const) {
      const request = await ask(deps, askInput(await openRun(fresh.db)));
      expect(await give(request, answerTo(request, key))).toMatchObject({ kind: 'accepted' });
      await fresh.db.query(sql);
      expect(await consume(request)).toBe('lapsed');
    }
  });
});

describe('P7 limits on asks', () => {
  test('P7 a run has at most MAX_OPEN_ASKS open asks; the same call joins its own', async () => {
    const run = await openRun(fresh.db);
    for (let i = 0; i < MAX_OPEN_ASKS; i += 1) await ask(deps, askInput(run, `c${i}`));
    expect(await openAsk(deps, askInput(run, 'more'))).toMatchObject({
      kind: 'denied',
      denial: { code: 'LIMIT_EXCEEDED' },
    });
    expect(await openAsk(deps, askInput(run, 'c0'))).toMatchObject({ kind: 'ask' });
    const [row] = await fresh.db.query<{ n: number }>('select count(*) as n from actguard.approvals where run = $1', [
      run,
    ]);
    expect(row?.n).toBe(MAX_OPEN_ASKS);
  });

  test('P7 what an approver could not read or sign is not asked; a gate that is gone is an error', async () => {
    const run = await openRun(fresh.db);
    const input = askInput(run);
    const big = { ...input, args: { note: 'x'.repeat(70_000) } as never };
    expect(await openAsk(deps, big)).toMatchObject({ kind: 'denied', denial: { code: 'LIMIT_EXCEEDED' } });
    expect(await openAsk(deps, { ...input, gates: ['gone'] })).toMatchObject({
      kind: 'denied',
      denial: { code: 'POLICY_ERROR' },
    });
    expect(
      await openAsk(deps, { ...input, frame: { ...input.frame, input: { ...input.frame.input, run: 'nobody' } } }),
    ).toMatchObject({
      kind: 'denied',
      denial: { code: 'FORBIDDEN' },
    });
    expect(await openAsk(deps, input)).toMatchObject({ kind: 'ask' });
  });

  test('P4 a gate that fires newly after a yes asks once more, for both gates', async () => {
    const run = await openRun(fresh.db);
    const first = await ask(deps, askInput(run));
    await give(first, answerTo(first, bob));
    const both = [gate('over-100'), gate('night')];
    const second = await ask(deps, { ...askInput(run, 'c1', both), gates: ['night'] });
    expect(second.gates.map((g) => g.id).sort()).toEqual(['night', 'over-100']);
    await give(second, answerTo(second, bob));
    expect(await openAsk(deps, askInput(run))).toMatchObject({ kind: 'denied', denial: { code: 'APPROVAL_INVALID' } });
  });
});

/** A row as somebody with SQL would put it in. */
function rowOf(key: SigningKey, name: string, roles: string[], signer = root): JsonObject {
  const envelope = makeEnrolment(key, signer, { tenant: TENANT, person: name, roles, nowMs: Date.now() });
  return {
    tenant: TENANT,
    person: name,
    keyId: key.keyId,
    roles,
    envelope,
    chain: [],
    validFrom: new Date(0).toISOString(),
    validUntil: null,
    dev: false,
    entries: [],
  };
}
