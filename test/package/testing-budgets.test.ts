/** Budgets in `actguard/testing` hold as they do at work: guards.md BU1, BU2, D10, by its text. */
import { expect, test } from 'vitest';
import { z } from 'zod';
import { defineAgent, defineConfig, defineTool, nothingHappened } from '../../define/index.ts';
import { guardsOf, matchers } from '../../worker/testing.ts';

expect.extend(matchers);

const inputSchema = z.strictObject({ n: z.int() });
const outputSchema = z.object({ usd: z.number() });

/** A tool that costs $4 at most and says what it did cost, one of $2, and one that is free. */
function guards(act: (n: number) => number | Promise<number> = () => 4, budgets: object = {}) {
  const common = { description: 'For a test', effect: 'write', repeatable: true, inputSchema } as const;
  const tools = [
    defineTool({
      ...{ ...common, name: 'search', outputSchema, timeout: '50ms' },
      cost: { maxUsd: 4, actual: ({ usd }) => usd },
      execute: async ({ n }) => ({ usd: await act(n) }),
    }),
    defineTool({
      ...{ ...common, name: 'fixed', cost: { usd: 2 } },
      execute: ({ n }) => {
        if (n === 0) throw nothingHappened('closed');
        return {};
      },
    }),
    defineTool({ ...common, name: 'look', effect: 'read', repeatable: false, execute: () => ({}) }),
  ];
  const config = defineConfig({
    tools,
    agents: [defineAgent({ name: 'desk', tools })],
    policies: './policies',
    budgets,
  });
  return guardsOf({ config, policies: '@id("all") permit (principal, action, resource);' });
}

test('BU2 five parallel calls of 4 against 10: exactly two run; refusals give back all', async () => {
  const run = guards().run({ budget: { usd: 10 } });
  const results = await Promise.all([1, 2, 3, 4, 5].map((n) => run.call('search', { n })));
  expect(results.map((r) => r.kind).sort()).toEqual(['denied', 'denied', 'denied', 'done', 'done']);
  for (const refused of results.filter((r) => r.kind === 'denied')) {
    const details = { scope: 'run', limitMicros: 10e6, spentMicros: 0, reservedMicros: 8e6, neededMicros: 4e6 };
    expect(refused).toMatchObject({ denial: { code: 'BUDGET_EXCEEDED', details } });
  }
  expect(run.usage).toEqual({ usd: 8, tokens: 0, calls: 2 });
  expect(await run.call('fixed', { n: 1 })).toBeDone();
  expect(await run.call('fixed', { n: 2 })).toBeDenied('BUDGET_EXCEEDED');
});

test('D10 exactly what is left runs; then nothing priced does; free calls do', async () => {
  const run = guards().run({ budget: { usd: 4 } });
  expect(await run.call('search', { n: 1 })).toBeDone();
  expect(await run.call('search', { n: 2 })).toBeDenied('BUDGET_EXCEEDED');
  expect(await run.call('look', { n: 3 })).toBeDone();
});

test('D10 a fixed cost is due once the body ran, nothing if nothing left; an unknown call costs its worst case', async () => {
  const run = guards(() => new Promise<number>(() => undefined)).run({ budget: { usd: 10 } });
  expect((await run.call('fixed', { n: 0 })).kind).toBe('failed');
  expect(run.usage).toMatchObject({ usd: 0, calls: 1 });
  expect(await run.call('fixed', { n: 1 })).toBeDone();
  expect((await run.call('search', { n: 1 })).kind).toBe('unknown');
  expect(run.usage).toMatchObject({ usd: 6, calls: 3 });
});

test('BU1 any mix, the first to run out stops; at the limit is out; a cheaper call gives back the rest', async () => {
  const run = guards(() => 0.5).run({ budget: { usd: 100, calls: 2 } });
  expect(await run.call('search', { n: 1 })).toBeDone();
  expect(await run.call('look', { n: 1 })).toBeDone();
  const refused = await run.call('look', { n: 2 });
  expect(refused).toMatchObject({
    denial: { code: 'BUDGET_EXCEEDED', details: { unit: 'calls', limit: 2, spent: 2 } },
  });
  expect(run.usage.usd).toBe(0.5);
});

test('a cost above the declared maximum is settled as it is, and the next call is refused', async () => {
  const all = guards((n) => n);
  const run = all.run({ budget: { usd: 100 } });
  expect(await run.call('search', { n: 4 })).toBeDone();
  expect(await run.call('search', { n: 9 })).toBeDone();
  expect(run.usage.usd).toBe(13);
  expect(await run.call('search', { n: 1 })).toBeDenied('FROZEN');
  expect(await all.run({ tenant: 'other', budget: { usd: 100 } }).call('search', { n: 1 })).toBeDone();
});

test('a cost that is none costs the worst case', async () => {
  const run = guards(() => -1).run({ budget: { usd: 10 } });
  expect(await run.call('search', { n: 1 })).toBeDone();
  expect(run.usage.usd).toBe(4);
});

test('a run has at most what the configuration allows; a budget that is none is refused, all of it at once', () => {
  const all = guards(() => 4, { run: { usd: 5 } });
  expect(() => all.run({ budget: { usd: 6 } })).toThrow(expect.objectContaining({ code: 'BUDGET_EXCEEDED' }));
  expect(all.run({ budget: { usd: 5 } }).usage.usd).toBe(0);
  const bad = [{ usd: 0 }, { usd: -1 }, { usd: NaN }, { usd: 'lots' }, { eur: 5 }, { usd: 1, eur: 5 }, {}, [], null, 5];
  for (const budget of bad) {
    const refused = expect.objectContaining({ code: 'ARGUMENTS_INVALID' }) as Error;
    expect(() => all.run({ budget: budget as never }), JSON.stringify(budget)).toThrow(refused);
  }
  expect(() => all.run({ budget: { usd: -1, tokens: 0.5, eur: 1 } as never })).toThrow(/`eur`.*usd: .*tokens `0.5`/);
});
