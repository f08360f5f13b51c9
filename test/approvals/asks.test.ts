/** How often people are asked: so many times within an hour and no more, and once for equal calls, whatever agents want. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openAsk, recordAnswer } from '../../activities/approvals.ts';
import type { Deps } from '../../activities/deps.ts';
import { makeAnswer } from '../../client/approvals.ts';
import { revokeKeys } from '../../client/directory.ts';
import { generateKey } from '../../client/keys.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import { ask, askInput, entries, gate, makeDeps, openRun, person, storedRequest } from './fixture.ts';

const MAX = 20;
let fresh: FreshDatabase;
let deps: Deps;
const root = generateKey('');

beforeAll(async () => {
  fresh = await freshDatabase();
  const made = makeDeps(fresh.db, [root.keyId]);
  deps = { ...made, config: { ...made.config, approvals: { ...made.config.approvals, maxPerHour: MAX } } };
  for (const tenant of ['acme', 'globex']) await person(deps, root, 'fay', ['finance'], tenant);
  await person(deps, root, 'both', ['finance', 'legal']);
});
afterAll(() => fresh.drop());

const opens = async (role: string, tenant: string, run?: string) =>
  openAsk(deps, askInput(run ?? (await openRun(fresh.db, tenant)), 'c1', [gate(`of-${role}`, [role])], tenant));

test('P4 nobody is asked more than 20 times within an hour: denied, with when to try again; answers make no room, time does', async () => {
  const run = await openRun(fresh.db);
  for (let i = 1; i < MAX; i += 1) expect((await opens('finance', 'acme')).kind).toBe('ask');
  const last = await ask(deps, askInput(run, 'c1', [gate('of-finance', ['finance'])]));
  const key = await person(deps, root, 'fred', ['finance']);
  const envelope = makeAnswer(last, 'approve', key, Date.now()).envelope;
  const answer = { v: 1 as const, run, entries: [], approvalId: last.approvalId, envelope };
  expect(await recordAnswer(deps, answer)).toMatchObject({ kind: 'accepted' });

  const denied = await opens('finance', 'acme');
  expect(denied).toMatchObject({ kind: 'denied', denial: { code: 'LIMIT_EXCEEDED', details: { limit: MAX } } });
  const { retryAfterMs, reason, hint } = (denied as Extract<typeof denied, { kind: 'denied' }>).denial;
  expect(reason).toContain('20 times within the hour');
  expect(hint).toContain('try again in');
  expect(retryAfterMs).toBeGreaterThan(3_500_000);
  expect(retryAfterMs).toBeLessThanOrEqual(3_600_000);

  // a retry of an ask that is open is no new one
  const open = await fresh.db.query<{ run: string }>(
    `select run from actguard.approvals where state = 'open' and gates->0->>'id' = 'of-finance' limit 1`,
  );
  expect((await opens('finance', 'acme', open[0]?.run)).kind).toBe('ask');
  // whoever is in legal and in finance has had enough, and nobody else is asked instead
  expect((await opens('legal', 'acme')).kind).toBe('denied');
  // twins: other people, another tenant
  expect((await opens('support', 'acme')).kind).toBe('ask');
  expect((await opens('finance', 'globex')).kind).toBe('ask');

  await fresh.db.query(
    `update actguard.approvals set opened_at = opened_at - interval '1 hour' where run = $1 or approval = (
       select approval from actguard.approvals where tenant = 'acme' and run <> $1 order by opened_at limit 1)`,
    [run],
  );
  expect((await opens('finance', 'acme')).kind).toBe('ask');
  expect((await opens('legal', 'acme')).kind).toBe('ask');
  expect((await opens('finance', 'acme')).kind).toBe('denied');
  // somebody whose keys are gone is nobody who is asked
  await revokeKeys(fresh.db, { tenant: 'acme', person: 'both', keyId: null, nowMs: Date.now() });
  expect((await opens('legal', 'acme')).kind).toBe('ask');
});

test('P4 of many that are opened at once, 20 are; a role that nobody has yet counts like somebody', async () => {
  const opened = await Promise.all(Array.from({ length: 30 }, () => opens('nobody-yet', 'globex')));
  expect(opened.filter((o) => o.kind === 'ask')).toHaveLength(MAX);
  expect(opened.filter((o) => o.kind === 'denied')).toHaveLength(10);
});

test('P4 an equal call joins the ask that is open: one request, one nonce, both calls on record; a yes is for the first call only', async () => {
  const run = await openRun(fresh.db, 'globex');
  const lawful = [gate('of-joiners', ['joiners'])];
  const first = await openAsk(deps, askInput(run, 'c1', lawful, 'globex'));
  if (first.kind !== 'ask') throw new Error('denied');
  const { approvalId: equal, nonce } = first.ask;
  const join = (call: string, gates = lawful, where = run) => {
    const input = askInput(where, call, gates, 'globex');
    const frame = { ...input.frame, input: { ...input.frame.input, seq: Number(call.slice(1)) } };
    return openAsk(deps, { ...input, frame, equal });
  };
  const joined = await join('c2');
  expect(joined).toEqual({ kind: 'ask', ask: { ...first.ask, joined: true } });
  expect(first.ask).not.toHaveProperty('joined');
  const kinds = (await entries(fresh.db, run)).filter((e) => e.body.data['approvalId'] === equal).map((e) => e.kind);
  expect(kinds).toEqual(['call.asked', 'approval.requested', 'call.asked']);
  // a retry of the one that joined is recorded once
  await join('c2');
  expect((await entries(fresh.db, run)).filter((e) => e.kind === 'call.asked')).toHaveLength(2);

  // other gates, another run, an ask that has ended: an ask of its own
  const others = [
    await join('c3', [gate('of-others', ['joiners'])]),
    await join('c1', lawful, await openRun(fresh.db, 'globex')),
  ];
  const dee = await person(deps, root, 'dee', ['joiners'], 'globex');
  const request = await storedRequest(fresh.db, equal);
  const envelope = makeAnswer(request, 'approve', dee, Date.now()).envelope;
  await recordAnswer(deps, { v: 1, run, entries: [], approvalId: equal, envelope });
  others.push(await join('c4'));
  for (const own of others) expect(own).not.toMatchObject({ ask: { nonce } });
  for (const own of others) expect(own).not.toMatchObject({ ask: { joined: true } });
  // the yes cannot be used by the call that joined
  const consume = (call: string) =>
    fresh.db.query<{ r: string }>('select actguard.consume_approval($1, $2, $3, $4) as r', [
      equal,
      run,
      call,
      `e:${call}`,
    ]);
  expect(await consume('c2')).toEqual([{ r: 'unknown' }]);
  expect(await consume('c1')).toEqual([{ r: 'ok' }]);
});
