/** How often people are asked: so many times within an hour and no more, whatever agents want. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openAsk, recordAnswer } from '../../activities/approvals.ts';
import type { Deps } from '../../activities/deps.ts';
import { makeAnswer } from '../../client/approvals.ts';
import { revokeKeys } from '../../client/directory.ts';
import { generateKey } from '../../client/keys.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import { ask, askInput, gate, makeDeps, openRun, person } from './fixture.ts';

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
