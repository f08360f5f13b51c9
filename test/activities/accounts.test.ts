import { expect, test } from 'vitest';
import { ulid } from 'ulid';
import { z } from 'zod';
import { settleDeadCalls } from '../../activities/accounts.ts';
import { resolveCall } from '../support/resolve.ts';
import { defineTool, nothingHappened } from '../../define/index.ts';
import { accountId, type AccountScope } from '../../governance/account.ts';
import { desk } from '../support/calls.ts';

const { db, worker } = desk();
const input = z.strictObject({ n: z.int() });

/** Costs $4 at most; what it really costs is said by the test, when the test says so. */
function priced(act: (n: number) => number | Promise<number> = () => 4, more: { timeout?: number } = {}) {
  return defineTool({
    name: 'search',
    description: 'Searches',
    effect: 'write',
    repeatable: true,
    inputSchema: input,
    outputSchema: z.object({ usd: z.number() }),
    cost: { maxUsd: 4, actual: ({ usd }) => usd },
    execute: async ({ n }) => ({ usd: await act(n) }),
    ...more,
  });
}
const free = defineTool({
  name: 'look',
  description: 'Looks',
  effect: 'read',
  inputSchema: input,
  execute: () => ({}),
});

interface Counters {
  readonly spent: readonly number[];
  readonly reserved: readonly number[];
}
async function counters(scope: AccountScope, value: string, tenant = value): Promise<Counters> {
  const [row] = await db().query<{ a: Counters }>('select actguard.read_account($1) as a', [
    accountId({ tenant, scope, value }),
  ]);
  if (!row) throw new Error('no account');
  return { spent: row.a.spent, reserved: row.a.reserved };
}

/** A gate that calls wait at. */
function gate() {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { open, opened };
}

test('BU2 P3 five parallel calls of 4 against a tenant with 10: two run, the others wait, and are refused once these are settled', async () => {
  const tenant = ulid();
  const { open, opened } = gate();
  const desk = worker([priced(() => opened.then(() => 4))], { budgets: { tenant: { usd: 10 } } });
  const runs = await Promise.all([1, 2, 3, 4, 5].map(() => desk.run({ tenant })));
  const answers = runs.map((run, n) => run.call('search', { n }));
  const asked: unknown[] = [];
  for (const answer of answers) void answer.then((a) => asked.push(a));
  await expect.poll(() => asked.length).toBe(3);
  for (const a of [...asked]) {
    expect(a).toMatchObject({
      kind: 'denied',
      waitMs: 30_000,
      denial: {
        code: 'BUDGET_EXCEEDED',
        details: { scope: 'tenant', limitMicros: 10e6, spentMicros: 0, reservedMicros: 8e6, neededMicros: 4e6 },
      },
    });
  }
  expect(await counters('tenant', tenant)).toEqual({ spent: [0, 0, 0], reserved: [8e6, 0, 2] });
  open();
  const done = (await Promise.all(answers)).filter((a) => a.kind === 'done');
  expect(done).toHaveLength(2);
  const last = await runs[0]?.call('search', { n: 9 });
  expect(last).toMatchObject({
    kind: 'denied',
    denial: {
      code: 'BUDGET_EXCEEDED',
      details: { scope: 'tenant', spentMicros: 8e6, reservedMicros: 0, neededMicros: 4e6 },
    },
  });
  expect(last).not.toHaveProperty('waitMs');
  expect(last).toHaveProperty('account');
  expect(await counters('tenant', tenant)).toEqual({ spent: [8e6, 0, 2], reserved: [0, 0, 0] });
});

test('BU2 the innermost scope is named, and a refusal leaves nothing reserved anywhere', async () => {
  const tenant = ulid();
  const budgets = { tenant: { usd: 3 }, agent: { usd: 3 }, user: { usd: 3 }, label: { report: { usd: 3 } } };
  const run = await worker([priced()], { budgets }).run({ tenant });
  const scopeOf = async (more: object) => {
    const answer = await run.call('search', { n: 1 }, more);
    return answer.kind === 'denied' ? answer.denial.details['scope'] : answer.kind;
  };
  expect(await scopeOf({ label: 'report/search' })).toBe('label');
  expect(await scopeOf({ label: 'reporting' })).toBe('user');
  for (const [scope, value] of [
    ['tenant', tenant],
    ['user', 'alice'],
    ['agent', 'desk'],
    ['label', 'report'],
  ] as const)
    expect(await counters(scope, value, tenant)).toEqual({ spent: [0, 0, 0], reserved: [0, 0, 0] });
});

test('BU2 a refusal for good comes before a wait, also where the wait is further in', async () => {
  const tenant = ulid();
  const { open, opened } = gate();
  const desk = worker([priced(() => opened.then(() => 1))], { budgets: { tenant: { usd: 3 }, user: { usd: 4 } } });
  // the tenant's account comes from a default that a later configuration loosens: alice's first call holds all of hers
  const loose = worker([priced(() => opened.then(() => 1))], { budgets: { tenant: { usd: 9 }, user: { usd: 4 } } });
  const first = await loose.run({ tenant });
  const running = first.call('search', { n: 1 });
  await expect.poll(async () => (await counters('user', 'alice', tenant)).reserved[0]).toBe(4e6);
  expect(await first.call('search', { n: 2 })).toMatchObject({
    waitMs: 30_000,
    denial: { details: { scope: 'user' } },
  });
  const second = await desk.run({ tenant });
  const refused = await second.call('search', { n: 3 });
  expect(refused).toMatchObject({ denial: { details: { scope: 'tenant', limitMicros: 3e6 } } });
  expect(refused).not.toHaveProperty('waitMs');
  open();
  expect(await running).toMatchObject({ kind: 'done' });
});

test('D10 exactly what is left runs; then nothing priced does; free calls do', async () => {
  const tenant = ulid();
  const run = await worker([priced(), free], { budgets: { tenant: { usd: 8 } } }).run({ tenant });
  expect(await run.call('search', { n: 1 })).toMatchObject({ kind: 'done' });
  expect(await run.call('search', { n: 2 })).toMatchObject({ kind: 'done' });
  expect(await run.call('search', { n: 3 })).toMatchObject({ kind: 'denied', denial: { code: 'BUDGET_EXCEEDED' } });
  expect(await run.call('look', { n: 4 })).toMatchObject({ kind: 'done' });
});

test('BU1 a limit of calls counts free calls, too', async () => {
  const tenant = ulid();
  const run = await worker([free], { budgets: { user: { calls: 1 } } }).run({ tenant });
  expect(await run.call('look', { n: 1 })).toMatchObject({ kind: 'done' });
  expect(await run.call('look', { n: 2 })).toMatchObject({
    denial: { code: 'BUDGET_EXCEEDED', details: { scope: 'user', unit: 'calls', limit: 1, spent: 1, needed: 1 } },
  });
});

test('BU2 a cheaper call gives back what it did not use; one that never left gives back all', async () => {
  const tenant = ulid();
  const tool = priced((n) => {
    if (n === 0) throw nothingHappened('closed');
    return 1.5;
  });
  const run = await worker([tool], { budgets: { tenant: { usd: 10 } } }).run({ tenant });
  await run.call('search', { n: 1 });
  expect(await counters('tenant', tenant)).toEqual({ spent: [1.5e6, 0, 1], reserved: [0, 0, 0] });
  await run.call('search', { n: 0 });
  expect(await counters('tenant', tenant)).toEqual({ spent: [1.5e6, 0, 2], reserved: [0, 0, 0] });
});

test('D10 an unknown call costs its worst case until it is known', async () => {
  const tenant = ulid();
  const tool = priced(() => new Promise<number>(() => undefined), { timeout: 50 });
  const run = await worker([tool], { budgets: { tenant: { usd: 10 } } }).run({ tenant });
  expect(await run.call('search', { n: 1 }, { call: 'a' })).toMatchObject({ kind: 'unknown' });
  expect(await counters('tenant', tenant)).toEqual({ spent: [4e6, 0, 1], reserved: [0, 0, 0] });
  await resolveCall(db(), run.run, 'a', 1e6);
  expect(await counters('tenant', tenant)).toEqual({ spent: [1e6, 0, 1], reserved: [0, 0, 0] });
});

test('P3 a dead call counts as reserved, then at its worst case, until its outcome is known; nothing leaks', async () => {
  const tenant = ulid();
  const { open, opened } = gate();
  const desk = worker([priced(() => opened.then(() => 1))], { budgets: { tenant: { usd: 10 } } });
  const run = await desk.run({ tenant });
  const running = run.call('search', { n: 1 });
  await expect.poll(async () => (await counters('tenant', tenant)).reserved[0]).toBe(4e6);
  const { deps } = desk.shared;
  expect((await settleDeadCalls(deps, { graceMs: 0 })).settled).toBe(0); // it lives
  await db().query(`update actguard.calls set lease_until = now() - interval '1 minute' where run = $1`, [run.run]);
  expect((await settleDeadCalls(deps)).settled).toBe(1);
  expect((await settleDeadCalls(deps)).settled).toBe(0);
  expect(await counters('tenant', tenant)).toEqual({ spent: [4e6, 0, 1], reserved: [0, 0, 0] });
  open(); // it was only slow
  await running;
  expect(await counters('tenant', tenant)).toEqual({ spent: [1e6, 0, 1], reserved: [0, 0, 0] });
});

test('BU2 a cost above the declared maximum: the truth is settled, flagged, and the next call is refused', async () => {
  const tenant = ulid();
  const run = await worker([priced((n) => n)], { budgets: { tenant: { usd: 100 } } }).run({ tenant });
  expect(await run.call('search', { n: 4 })).not.toHaveProperty('notices');
  expect(await run.call('search', { n: 9 })).toMatchObject({
    kind: 'done',
    spentMicros: 9e6,
    notices: [expect.stringMatching(/^tool search is frozen in .*above its declared maximum of \$4\.00/)],
  });
  expect(await counters('tenant', tenant)).toEqual({ spent: [13e6, 0, 2], reserved: [0, 0, 0] });
  expect(await run.call('search', { n: 1 })).toMatchObject({
    kind: 'denied',
    denial: { code: 'FROZEN', details: { scope: 'tool', value: 'search', by: 'actguard' } },
  });
});

test('thresholds of an account are recorded and told once each', async () => {
  const tenant = ulid();
  const desk = worker([priced((n) => n)], { budgets: { tenant: { usd: 10 } } });
  const run = await desk.run({ tenant });
  const told = async (n: number): Promise<readonly string[]> => {
    const answer = await run.call('search', { n });
    return 'notices' in answer ? (answer.notices ?? []) : [];
  };
  expect(await told(4)).toEqual([]);
  expect(await told(1)).toEqual([expect.stringContaining('50 % of its budget: $5.00 of $10.00')]);
  expect(await told(1)).toEqual([]);
  expect(await told(4)).toEqual([expect.stringContaining('100 % of its budget')]);
  const entries = await db().query<{ e: { body: string } }>('select actguard.list_entries($1::jsonb) as e', [
    JSON.stringify({ tenant, kind: 'budget.threshold' }),
  ]);
  expect(entries.map(({ e }) => (JSON.parse(e.body) as { data: { percent: number } }).data.percent)).toEqual([50, 100]);
});

test('a run without accounts holds none; an account that comes later finds it, with what was spent and is under way', async () => {
  const tenant = ulid();
  const { open, opened } = gate();
  const tool = priced((n) => (n === 1 ? 3 : opened.then(() => 2)));
  const early = await worker([tool]).run({ tenant });
  await early.call('search', { n: 1 });
  const [row] = await db().query<{ accounts: unknown }>('select accounts from actguard.runs where run = $1', [
    early.run,
  ]);
  expect(row?.accounts).toBeNull();
  const running = early.call('search', { n: 2 });
  await expect
    .poll(
      async () =>
        (await db().query('select 1 from actguard.calls where run = $1 and state = $2', [early.run, 'claimed'])).length,
    )
    .toBe(1);
  await worker([tool], { budgets: { tenant: { usd: 8 } } }).run({ tenant });
  expect(await counters('tenant', tenant)).toEqual({ spent: [3e6, 0, 1], reserved: [4e6, 0, 1] });
  expect(await early.call('search', { n: 3 })).toMatchObject({ waitMs: 30_000 });
  open();
  await running;
  expect(await counters('tenant', tenant)).toEqual({ spent: [5e6, 0, 2], reserved: [0, 0, 0] });
});

test('BU2 a window that turns over while a reservation is held: it is settled where it was reserved, the new one is whole', async () => {
  const tenant = ulid();
  const { open, opened } = gate();
  const tool = priced((n) => (n === 1 ? opened.then(() => 3) : 1));
  const budgets = { tenant: { usd: 5, window: 'day', zone: 'Pacific/Kiritimati' } } as const;
  const run = await worker([tool], { budgets }).run({ tenant });
  const running = run.call('search', { n: 1 });
  await expect.poll(async () => (await counters('tenant', tenant)).reserved[0]).toBe(4e6);
  expect(await run.call('search', { n: 2 })).toMatchObject({ waitMs: 30_000 });
  // the next day comes: 25 hours lie between these zones, so that it is another date there at any time
  await db().query(`update actguard.accounts set zone = 'Pacific/Pago_Pago' where tenant = $1`, [tenant]);
  expect(await run.call('search', { n: 3 })).toMatchObject({ kind: 'done' });
  open();
  await running;
  expect(await counters('tenant', tenant)).toEqual({ spent: [1e6, 0, 1], reserved: [0, 0, 0] });
  const all = await db().query<{ spent: string[]; reserved: string[] }>(
    'select spent, reserved from actguard.account_windows where account = $1 order by spent',
    [accountId({ tenant, scope: 'tenant', value: tenant })],
  );
  expect(all.map(({ spent, reserved }) => [Number(spent[0]), Number(reserved[0])])).toEqual([
    [1e6, 0],
    [3e6, 0],
  ]);
});

test('BU1 units mixed in every scope: the innermost whose unit runs out refuses, and says which', async () => {
  const tenant = ulid();
  const budgets = {
    tenant: { usd: 9, calls: 4 },
    agent: { calls: 3 },
    user: { usd: 100 },
    label: { l: { calls: 1, usd: 50 } },
  };
  const run = await worker([priced(() => 2), free], { budgets }).run({ tenant });
  const units = async (tool: string, n: number, more: object = {}) => {
    const answer = await run.call(tool, { n }, more);
    if (answer.kind !== 'denied') return answer.kind;
    const { scope, unit } = answer.denial.details;
    return `${String(scope)} ${String(unit)}`;
  };
  expect(await units('look', 1, { label: 'l' })).toBe('done');
  expect(await units('look', 2, { label: 'l/deep' })).toBe('label calls');
  expect(await units('search', 3)).toBe('done');
  expect(await units('search', 4)).toBe('done');
  expect(await units('search', 5)).toBe('agent calls');
  expect(await counters('tenant', tenant)).toEqual({ spent: [4e6, 0, 3], reserved: [0, 0, 0] });
});
