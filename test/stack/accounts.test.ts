import { randomUUID } from 'node:crypto';
import { userInfo } from 'node:os';
import { Command } from 'commander';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { accountOf, changeAccount, listAccounts, spendBy, type AccountVerb } from '../../client/accounts.ts';
import { register as registerBudget } from '../../client/cli/budget.ts';
import { register as registerSpend } from '../../client/cli/spend.ts';
import { register as registerTopUp } from '../../client/cli/topup.ts';
import type { Doors } from '../../client/cli/doors.ts';
import { connect, topUpRun } from '../../client/index.ts';
import { devApprover } from '../../client/dev-approver.ts';
import { generateKey, type SigningKey } from '../../client/keys.ts';
import { listEntries } from '../../client/ledger.ts';
import { defineTool } from '../../define/index.ts';
import type { Json, JsonObject } from '../../governance/json.ts';
import { platform, type Platform } from '../support/platform.ts';

let open = (): void => undefined;
let opened = Promise.resolve();
function shut(): void {
  opened = new Promise((resolve) => (open = resolve));
}
const search = defineTool({
  name: 'search',
  description: 'Searches',
  effect: 'write',
  repeatable: true,
  inputSchema: z.strictObject({ n: z.int() }),
  cost: { usd: 4 },
  execute: () => opened.then(() => ({})),
});

let p: Platform;
let key: SigningKey;
beforeAll(async () => {
  p = await platform({
    tools: [search],
    config: { budgets: { tenant: { usd: 10, window: 'month' } }, budgetWait: '1s' },
  });
  key = devApprover(p.directory, userInfo().username, Date.now()).approver;
});
afterAll(() => p?.end());

const session = (tenant: string) => p.actguard.session({ id: randomUUID(), agent: 'desk', user: 'alice', tenant });
const change = (tenant: string, verb: AccountVerb, data: JsonObject, by = key) =>
  changeAccount(p.actguard, accountOf(`tenant:${tenant}`, undefined), verb, data, `because ${verb}`, by);

test('BU2 BU6 five sessions of one tenant: two calls run, the others wait for them, are refused, and go on after a signed top-up', async () => {
  const tenant = `t-${randomUUID()}`;
  shut();
  const sessions = await Promise.all([1, 2, 3, 4, 5].map(() => session(tenant)));
  const answers = sessions.map((s, n) => s.call('search', { n }));
  await expect
    .poll(async () => (await listAccounts(p.db, tenant))[0]?.reserved.usdMicros, { timeout: 10_000 })
    .toBe(8e6);
  const [held] = await listAccounts(p.db, tenant);
  expect(held).toMatchObject({ limit: { usdMicros: 10e6 }, spent: { usdMicros: 0 }, window: 'month', zone: 'UTC' });
  expect(held?.reservedBy.map((by) => by.usdMicros)).toEqual([4e6, 4e6]);
  open();
  const ended = await Promise.all(answers);
  expect(ended.filter((a) => a.kind === 'done')).toHaveLength(2);
  for (const answer of ended.filter((a) => a.kind !== 'done')) {
    expect(answer).toMatchObject({
      kind: 'denied',
      denial: {
        code: 'BUDGET_EXCEEDED',
        details: { scope: 'tenant', limitMicros: 10e6, spentMicros: 8e6, reservedMicros: 0, neededMicros: 4e6 },
      },
    });
  }
  await change(tenant, 'topUp', { usdMicros: 2_000_000 });
  expect((await sessions[0]?.call('search', { n: 9 }))?.kind).toBe('done');
  expect((await listAccounts(p.db, tenant))[0]).toMatchObject({
    limit: { usdMicros: 12e6 },
    extra: { usdMicros: 2e6 },
    spent: { usdMicros: 12e6, calls: 3 },
    reserved: { usdMicros: 0 },
    reservedBy: [],
    lastHourMicros: 12e6,
  });
  expect(await spendBy(p.db, 'user', { tenant })).toEqual([
    { name: 'alice', usdMicros: 12e6, tokens: 0, calls: 3, reservedMicros: 0 },
  ]);
});

test('who changed an account and why stands in the ledger; nobody else can, and nothing can twice', async () => {
  const tenant = `t-${randomUUID()}`;
  const s = await session(tenant);
  await s.call('search', { n: 1 });
  await change(tenant, 'limit', { usdMicros: 50_000_000, window: 'day', zone: 'Europe/Berlin' });
  await expect(change(tenant, 'topUp', { usdMicros: 1 }, generateKey('olga'))).rejects.toMatchObject({
    code: 'FORBIDDEN',
  });
  const entries = await listEntries(p.db, { tenant, kind: 'account.changed' });
  expect(entries.map((e) => (JSON.parse(e.body) as { data: Json }).data)).toMatchObject([
    { verb: 'limit', scope: 'tenant', reason: 'because limit', person: key.person, version: 1, zone: 'Europe/Berlin' },
  ]);
  // the new window starts with what was spent in it
  expect((await listAccounts(p.db, tenant))[0]).toMatchObject({ version: 1, spent: { usdMicros: 4e6 }, window: 'day' });
  await change(tenant, 'freeze', {});
  expect(await s.call('search', { n: 2 })).toMatchObject({
    denial: { code: 'FROZEN', details: { scope: 'tenant', value: tenant, by: key.person, reason: 'because freeze' } },
  });
  await change(tenant, 'thaw', {});
  expect((await s.call('search', { n: 3 })).kind).toBe('done');
  // a deploy that drops the default leaves what was commanded
  expect((await listAccounts(p.db, tenant))[0]).toMatchObject({ version: 3 });
});

const bad: readonly (readonly [string, AccountVerb, JsonObject, string])[] = [
  ['zero', 'limit', { usdMicros: 0 }, 'ARGUMENTS_INVALID'],
  ['negative', 'limit', { usdMicros: -1 }, 'ARGUMENTS_INVALID'],
  ['text', 'limit', { usdMicros: 'lots' }, 'ARGUMENTS_INVALID'],
  ['NaN, which is null in JSON', 'limit', { usdMicros: null }, 'ARGUMENTS_INVALID'],
  ['another currency', 'limit', { eurMicros: 5 }, 'ARGUMENTS_INVALID'],
  ['nothing', 'limit', {}, 'ARGUMENTS_INVALID'],
  ['a window without a zone', 'limit', { usdMicros: 5, window: 'day' }, 'ARGUMENTS_INVALID'],
  [
    'a zone that does not exist',
    'limit',
    { usdMicros: 5, window: 'day', zone: 'Europe/Atlantis' },
    'ARGUMENTS_INVALID',
  ],
  ['lowering below what is spent', 'limit', { usdMicros: 3_999_999 }, 'CONFLICT'],
  ['a top-up of a unit without limit', 'topUp', { tokens: 5 }, 'CONFLICT'],
  ['a top-up of zero', 'topUp', { usdMicros: 0 }, 'ARGUMENTS_INVALID'],
];

test('bad input to an account has a clear code, is recorded, and changes nothing', async () => {
  const tenant = `t-${randomUUID()}`;
  await (await session(tenant)).call('search', { n: 1 });
  const before = (await listAccounts(p.db, tenant))[0];
  for (const [what, verb, data, code] of bad)
    await expect(change(tenant, verb, data), what).rejects.toMatchObject({ code });
  const after = (await listAccounts(p.db, tenant))[0];
  expect(after).toEqual(before);
  expect(await listEntries(p.db, { tenant, kind: 'command.invalid' })).toHaveLength(bad.length);
  // the twin: exactly what is spent
  await change(tenant, 'limit', { usdMicros: 4_000_000, window: 'week', zone: 'UTC' });
  await expect(change(`t-${randomUUID()}`, 'topUp', { usdMicros: 1 })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(() => accountOf('user:alice', undefined)).toThrow('tenant');
});

test('the commands as people type them', async () => {
  const tenant = `t-${randomUUID()}`;
  const s = await session(tenant);
  await s.call('search', { n: 1 });
  const { target } = p.actguard;
  const run = async (...words: string[]): Promise<{ lines: string[]; json: Json }> => {
    const seen = { lines: [] as string[], json: null as Json };
    const doors = {
      actguard: () =>
        connect({
          address: target.connection.address ?? '',
          databaseUrl: target.databaseUrl ?? '',
          taskQueue: p.actguard.taskQueue,
        }),
      connect: () => Promise.resolve({ db: p.db, close: () => Promise.resolve() }),
      line: (text: string) => void seen.lines.push(text),
      json: (value: Json) => void (seen.json = value),
    } as unknown as Doors;
    const program = new Command('actguard').exitOverride();
    for (const register of [registerBudget, registerSpend, registerTopUp]) register(program, doors);
    await program.parseAsync(words, { from: 'user' });
    return seen;
  };
  const account = `tenant:${tenant}`;
  const file = ['--key', `${p.directory}/dev-approver.key`];
  expect((await run('budget', 'show', account)).lines[1]).toBe(
    '  money      ████████░░░░░░░░░░░░ $4.00 spent, $0.00 reserved of $10.00 (40 %)',
  );
  const topped = await run('topup', account, '--usd', '2', ...file);
  expect(topped.json).toMatchObject({ scope: 'tenant', limit: { usdMicros: 12e6 } });
  const words = ['budget', 'limit', 'user:alice', '--tenant', tenant, '--usd', '5', '--reason', 'r', ...file];
  await expect(run(...words, '--window', 'day')).rejects.toMatchObject({ code: 'ARGUMENTS_INVALID' });
  const limited = await run(...words, '--window', 'day', '--zone', 'Asia/Tokyo');
  expect(limited.json).toMatchObject({ scope: 'user', value: 'alice', zone: 'Asia/Tokyo', spent: { usdMicros: 4e6 } });
  expect((await run('budget', 'list', '--tenant', tenant)).json).toMatchObject({ accounts: [{}, {}] });
  expect((await run('spend', '--by', 'tool', '--tenant', tenant)).lines).toEqual([
    'search  ████████████████████  $4.00    1 calls',
  ]);
  expect((await run('budget', 'show', s.run)).json).toMatchObject({ scope: 'run', spent: { usdMicros: 4e6 } });
  for (const amount of ['0', '-1', 'NaN', 'lots', '5 EUR', '€5'])
    await expect(run('topup', account, '--usd', amount, ...file), amount).rejects.toMatchObject({
      code: 'ARGUMENTS_INVALID',
    });
  await s.close();
  await p.actguard.client.workflow.getHandle(`actguard-run-${s.run}`).result();
  await expect(run('topup', s.run, '--usd', '1', ...file)).rejects.toMatchObject({ code: 'CONFLICT' });
  const refused = await listEntries(p.db, { run: s.run, kind: 'command.invalid' });
  expect(refused.map((e) => (JSON.parse(e.body) as { data: Json }).data)).toMatchObject([
    { reason: 'the run has ended: it cannot be topped up' },
  ]);
});

test('BU6 a run is topped up by a client, too: who and why is recorded; what it has no limit of is refused and recorded', async () => {
  const tenant = `t-${randomUUID()}`;
  const s = await p.actguard.session({ id: randomUUID(), agent: 'desk', user: 'alice', tenant, budget: { usd: 4 } });
  expect((await s.call('search', { n: 1 })).kind).toBe('done');
  expect(await s.call('search', { n: 2 })).toMatchObject({
    denial: { code: 'BUDGET_EXCEEDED', details: { scope: 'run' } },
  });
  const topUp = (more: object, by = key) => topUpRun(p.actguard, s.run, more, 'a long day', by);
  await expect(topUp({ tokens: 5 })).rejects.toMatchObject({ code: 'CONFLICT' });
  await expect(topUp({ usd: 1 }, generateKey('olga'))).rejects.toMatchObject({ code: 'FORBIDDEN' });
  for (const bad of [{}, { usd: 0 }, { usd: 'lots' }, { eur: 1 }])
    await expect(topUp(bad), JSON.stringify(bad)).rejects.toMatchObject({ code: 'ARGUMENTS_INVALID' });
  expect((await topUp({ usd: 4 })).limit).toEqual({ usdMicros: 8e6 });
  expect((await s.call('search', { n: 3 })).kind).toBe('done');
  const kinds = (await listEntries(p.db, { run: s.run })).map((e) => [
    e.kind,
    (JSON.parse(e.body) as { data: JsonObject }).data,
  ]);
  expect(kinds).toContainEqual(['budget.topped-up', expect.objectContaining({ by: key.person, reason: 'a long day' })]);
  expect(kinds.filter(([kind]) => kind === 'command.invalid')).toHaveLength(2);
});
