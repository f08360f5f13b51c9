import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
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
import { listMails, startMail, type MailServer } from '../../worker/mail-server.ts';
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
let inbox: MailServer;
const mails = mkdtempSync(join(tmpdir(), 'actguard-mails-'));
beforeAll(async () => {
  inbox = await startMail({ directory: mails, port: 0 });
  p = await platform({
    tools: [search],
    smtpUrl: inbox.url,
    config: {
      budgets: { tenant: { usd: 10, window: 'month' } },
      budgetWait: '1s',
      approvals: { notify: ['ops@acme.example'] },
    },
  });
  key = devApprover(p.directory, userInfo().username, Date.now()).approver;
});
afterAll(async () => {
  await p?.end();
  await inbox?.stop();
  rmSync(mails, { recursive: true, force: true });
});

const session = (tenant: string) => p.actguard.session({ id: randomUUID(), agent: 'desk', user: 'alice', tenant });
const change = (tenant: string, verb: AccountVerb, data: JsonObject, by = key) =>
  changeAccount(p.actguard, accountOf(`tenant:${tenant}`, undefined), verb, data, `because ${verb}`, by);

test('BU2 BU6 five sessions of one tenant: two calls run, the others wait for them, are refused, and go on after a signed top-up', async () => {
  const tenant = `t-${randomUUID()}`;
  shut();
  const sessions = await Promise.all([1, 2, 3, 4, 5].map(() => session(tenant)));
  const answers = sessions.map((s, n) => s.call('search', { n }));
  await expect
    .poll(async () => (await listAccounts(p.db, tenant))[0]?.reserved.usdMicros, { timeout: 60_000 })
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

test('a limit is not lowered below what is reserved; exactly that is allowed', async () => {
  const tenant = `t-${randomUUID()}`;
  shut();
  const s = await session(tenant);
  const calls = [s.call('search', { n: 1 }), s.call('search', { n: 2 })];
  await expect
    .poll(async () => (await listAccounts(p.db, tenant))[0]?.reserved.usdMicros, { timeout: 60_000 })
    .toBe(8e6);
  await expect(change(tenant, 'limit', { usdMicros: 7_999_999 })).rejects.toMatchObject({ code: 'CONFLICT' });
  await change(tenant, 'limit', { usdMicros: 8_000_000 });
  open();
  expect((await Promise.all(calls)).map((c) => c.kind)).toEqual(['done', 'done']);
});

test('50, 80 and 100 % of a run and of an account: an entry and a mail, once each', async () => {
  const tenant = `t-${randomUUID()}`;
  const s = await p.actguard.session({ id: randomUUID(), agent: 'desk', user: 'alice', tenant, budget: { usd: 8 } });
  const about = async (): Promise<string[]> =>
    (await listMails(mails)).flatMap(({ text }) => {
      const [, percent] = /has spent (\d+) % of its budget/.exec(text) ?? [];
      if (percent === undefined) return [];
      if (text.includes(tenant)) return [`tenant ${percent}`];
      return text.includes(s.run) ? [`run ${percent}`] : [];
    });
  const percents = async (of: object): Promise<unknown[]> =>
    (await listEntries(p.db, { ...of, kind: 'budget.threshold' })).map(
      (e) => (JSON.parse(e.body) as { data: { percent: number } }).data.percent,
    );
  await s.call('search', { n: 1 });
  await expect.poll(about, { timeout: 60_000 }).toEqual(['run 50']);
  await s.call('search', { n: 2 });
  await expect
    .poll(async () => (await about()).sort(), { timeout: 60_000 })
    .toEqual(['run 100', 'run 50', 'tenant 80']);
  await change(tenant, 'topUp', { usdMicros: 2_000_000 });
  const other = await session(tenant);
  expect((await other.call('search', { n: 3 })).kind).toBe('done');
  await expect.poll(async () => (await about()).at(-1), { timeout: 60_000 }).toBe('tenant 100');
  expect(await other.call('search', { n: 4 })).toMatchObject({ denial: { code: 'BUDGET_EXCEEDED' } });
  await s.close();
  await expect.poll(() => percents({ run: s.run }), { timeout: 60_000 }).toEqual([50, 100]);
  expect(await percents({ tenant })).toEqual(expect.arrayContaining([80, 100]));
  expect((await about()).sort()).toEqual(['run 100', 'run 50', 'tenant 100', 'tenant 80']);
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
  const { lines } = await run('budget', 'show', account);
  expect(lines[0]).toMatch(
    new RegExp(`^${account} in ${tenant}: a month \\(UTC\\), whole again \\d{4}-\\d\\d-01T00:00:00.000Z$`),
  );
  expect(lines.slice(1).join('\n')).toMatch(/rate +\$4\.00 in the last hour; at that rate the rest lasts 2 h/);
  expect(lines.at(-1)).toContain(`topUp by ${key.person}`);
  for (const by of ['user', 'tenant', 'agent', 'day'])
    expect((await run('spend', '--by', by, '--tenant', tenant)).lines, by).toHaveLength(1);
  expect((await run('spend', '--by', 'model', '--tenant', tenant)).lines).toEqual(['nothing was spent']);
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

test('budget show --watch looks again every two seconds until it is interrupted', async () => {
  const tenant = `t-${randomUUID()}`;
  const s = await session(tenant);
  await s.call('search', { n: 1 });
  const real = setTimeout;
  const waits: unknown[] = [];
  const spy = vi.spyOn(globalThis, 'setTimeout').mockImplementation(((work: () => void, ms?: number) => {
    if (ms === 2_000) waits.push(ms);
    return real(work, ms === 2_000 ? 0 : ms);
  }) as never);
  try {
    const shown: string[] = [];
    const doors = {
      actguard: () => Promise.resolve({ ...p.actguard, db: p.db, close: () => Promise.resolve() }),
      json: () => undefined,
      line: (text: string) => {
        if (!text.includes('money')) return;
        shown.push(text);
        if (shown.length === 3) throw new Error('interrupted');
      },
    } as unknown as Doors;
    const program = new Command('actguard').exitOverride();
    registerBudget(program, doors);
    const words = ['budget', 'show', `tenant:${tenant}`, '--watch'];
    await expect(program.parseAsync(words, { from: 'user' })).rejects.toThrow('interrupted');
    expect(shown).toHaveLength(3);
    expect(waits).toHaveLength(2);
  } finally {
    spy.mockRestore();
  }
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
