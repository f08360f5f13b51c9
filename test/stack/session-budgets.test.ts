/** guards.md BU1-BU6 and D10 through the session API, by their text: a real worker, a real database. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { listEntries } from '../../client/ledger.ts';
import type { Session } from '../../client/session.ts';
import { defineTool, nothingHappened } from '../../define/index.ts';
import type { WrittenLimit } from '../../governance/budget.ts';
import { platform, type Platform } from '../support/platform.ts';

const inputSchema = z.strictObject({ n: z.number() });
const common = { description: 'For a test', effect: 'write', repeatable: true, inputSchema } as const;
const tools = [
  defineTool({
    ...{ ...common, name: 'search', outputSchema: z.object({ usd: z.number() }), timeout: '300ms' },
    cost: { maxUsd: 4, actual: ({ usd }) => usd },
    execute: async ({ n }) => (n === 99 ? new Promise<never>(() => undefined) : Promise.resolve({ usd: n })),
  }),
  defineTool({
    ...{ ...common, name: 'fixed', cost: { usd: 4 } },
    execute: async ({ n }) => {
      if (n === 0) throw nothingHappened('closed');
      await new Promise((resolve) => setTimeout(resolve, 300));
      return {};
    },
  }),
  defineTool({ ...common, name: 'look', effect: 'read', repeatable: false, execute: () => ({}) }),
];
const GPT = { model: 'openai/gpt-4o', promptBytes: 10_000, messages: 1, maxOutputTokens: 1_200 };
const NONE = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 };

let p: Platform;
beforeAll(async () => {
  p = await platform({ tools, config: { budgets: { run: { usd: 50 } } } });
});
afterAll(() => p?.end());
const open = (budget?: WrittenLimit) =>
  p.actguard.session({
    ...{ id: randomUUID(), agent: 'desk', user: 'alice', tenant: `t-${randomUUID()}` },
    ...(budget === undefined ? {} : { budget }),
  });
const dataOf = async (s: Session, kind: string) =>
  (await listEntries(p.db, { run: s.run, kind })).map((e) => (JSON.parse(e.body) as { data: object }).data);

test('BU2 five parallel calls of 4 against 10: exactly two run', async () => {
  const s = await open({ usd: 10 });
  const results = await Promise.all([1, 2, 3, 4, 5].map((n) => s.call('fixed', { n })));
  expect(results.map((r) => r.kind).sort()).toEqual(['denied', 'denied', 'denied', 'done', 'done']);
  const refused = results.find((r) => r.kind === 'denied');
  const details = { scope: 'run', limitMicros: 10e6, spentMicros: 0, reservedMicros: 8e6, neededMicros: 4e6 };
  expect(refused).toMatchObject({ denial: { code: 'BUDGET_EXCEEDED', details } });
  expect(await s.usage()).toEqual({ usd: 8, tokens: 0, calls: 2 });
});

test('D10 exactly what is left runs; then nothing priced does; free calls do; at the limit is out (BU1)', async () => {
  const s = await open({ usd: 8 });
  expect((await s.call('search', { n: 4 })).kind).toBe('done');
  expect((await s.call('fixed', { n: 1 })).kind).toBe('done');
  expect(await s.call('search', { n: 0.01 })).toMatchObject({ denial: { code: 'BUDGET_EXCEEDED' } });
  expect(await s.reserve(GPT)).toMatchObject({ denial: { code: 'BUDGET_EXCEEDED' } });
  expect((await s.call('look', { n: 1 })).kind).toBe('done');
  const mixed = await open({ usd: 8, calls: 1 });
  expect((await mixed.call('look', { n: 1 })).kind).toBe('done');
  const last = await mixed.call('look', { n: 2 });
  expect(last).toMatchObject({ denial: { code: 'BUDGET_EXCEEDED', details: { scope: 'run', unit: 'calls' } } });
  const thresholds = await dataOf(s, 'budget.threshold');
  expect(thresholds).toMatchObject([
    { scope: 'run', percent: 50 },
    { scope: 'run', percent: 100 },
  ]);
});

test('D10 a fixed cost is due once the body ran, nothing if nothing left; an unknown call costs its worst case', async () => {
  const s = await open({ usd: 20 });
  expect((await s.call('fixed', { n: 0 })).kind).toBe('failed');
  expect((await s.usage()).usd).toBe(0);
  expect((await s.call('search', { n: 99 })).kind).toBe('unknown');
  expect((await s.usage()).usd).toBe(4);
  expect((await s.call('search', { n: 0.5 })).kind).toBe('done');
  expect((await s.usage()).usd).toBe(4.5);
});

test('a tool’s cost that is none costs its worst case, flagged; one above its maximum is settled and refuses the next', async () => {
  const s = await open({ usd: 40 });
  expect((await s.call('search', { n: -1 })).kind).toBe('done');
  expect((await s.call('search', { n: 9 })).kind).toBe('done');
  expect((await s.usage()).usd).toBe(13);
  expect(await dataOf(s, 'call.succeeded')).toMatchObject([
    { spentMicros: 4e6, flagged: true },
    { spentMicros: 9e6, aboveMaximum: true },
  ]);
  expect(await s.call('search', { n: 1 })).toMatchObject({ denial: { code: 'FROZEN', details: { scope: 'tool' } } });
});

test('BU4 cached input is priced as cached and not twice; rounded once, up; embeddings and unknown models', async () => {
  const s = await open({ usd: 5 });
  const first = await s.reserve(GPT);
  const usage = { ...NONE, inputTokens: 10_000, cachedInputTokens: 8_000, outputTokens: 1_200 };
  expect(await s.settle(first.callId, { kind: 'used', usage })).toMatchObject({ spent: { usdMicros: 27_000 } });
  const tiny = await s.reserve(GPT);
  const used = { ...NONE, inputTokens: 1, outputTokens: 0 };
  expect(await s.settle(tiny.callId, { kind: 'used', usage: used })).toMatchObject({ spent: { usdMicros: 3 } });
  const vectors = { ...GPT, model: 'openai/text-embedding-3-small', maxOutputTokens: 1 };
  expect(await s.reserve(vectors)).toMatchObject({ kind: 'reserved' });
  expect(await s.reserve({ ...vectors, maxOutputTokens: 100 })).toMatchObject({ denial: { code: 'PRICE_UNKNOWN' } });
  expect(await s.reserve({ ...GPT, model: 'openai/nobody-knows' })).toMatchObject({
    denial: { code: 'PRICE_UNKNOWN', details: { model: 'openai/nobody-knows' } },
  });
});

test('BU3 BU5 the cap is lowered to what is left; without usage the reservation is due, flagged; nonsense is refused', async () => {
  const s = await open({ tokens: 10_500 });
  const granted = await s.reserve(GPT);
  if (granted.kind !== 'reserved') throw new Error('refused');
  expect(granted.maxOutputTokens).toBeLessThan(1_200);
  expect(granted.reserved.tokens).toBe(10_500);
  for (const inputTokens of [-1, 0.5, NaN, 1e12, undefined]) {
    const usage = { ...NONE, inputTokens: inputTokens as number };
    expect(await s.settle(granted.callId, { kind: 'used', usage })).toMatchObject({
      denial: { code: 'ARGUMENTS_INVALID' },
    });
  }
  expect(await s.settle(granted.callId, { kind: 'unknown' })).toMatchObject({
    spent: { tokens: 10_500 },
    flagged: true,
  });
  expect(await s.reserve(GPT)).toMatchObject({ denial: { code: 'BUDGET_EXCEEDED', details: { unit: 'tokens' } } });
});

test('usage above the reservation: the truth is settled, flagged, and the model is frozen in its tenant', async () => {
  const s = await open({ usd: 5 });
  const granted = await s.reserve({ ...GPT, promptBytes: 100, maxOutputTokens: 20 });
  const usage = { ...NONE, inputTokens: 5_000, outputTokens: 20 };
  expect(await s.settle(granted.callId, { kind: 'used', usage })).toMatchObject({ spent: { usdMicros: 12_700 } });
  expect(await dataOf(s, 'call.succeeded')).toMatchObject([{ aboveReservation: true }]);
  expect(await s.reserve(GPT)).toMatchObject({
    denial: { code: 'FROZEN', details: { scope: 'model', by: 'actguard' } },
  });
});

test('bad budgets of a session: all that is wrong at once; more than the configuration allows is refused at its door', async () => {
  for (const bad of [
    { usd: 0 },
    { usd: -1 },
    { usd: NaN },
    { usd: 'lots' },
    { eur: 1 },
    { usd: 1, eur: 1 },
    {},
    [],
    null,
  ])
    await expect(open(bad as never), JSON.stringify(bad)).rejects.toMatchObject({ code: 'ARGUMENTS_INVALID' });
  await expect(open({ usd: -1, tokens: 0.5 })).rejects.toThrow(/usd.*tokens/);
  const rich = await open({ usd: 51 });
  expect(await rich.call('look', { n: 1 })).toMatchObject({ denial: { code: 'BUDGET_EXCEEDED' } });
});
