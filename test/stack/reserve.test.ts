import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { reserveModel, settleModel } from '../../activities/reserve-model.ts';
import type { ReserveModelInput } from '../../activities/reservation-types.ts';
import { connect } from '../../client/index.ts';
import { listEntries } from '../../client/ledger.ts';
import { defineTool } from '../../define/index.ts';
import { priceOf } from '../../activities/prices.ts';
import { worstCaseModelCall, type ModelPrice } from '../../governance/price.ts';
import { desk } from '../support/calls.ts';
import { platform, type Platform } from '../support/platform.ts';
import { temporalAddress } from '../support/temporal.ts';

const count = defineTool({
  name: 'count',
  description: 'Count',
  effect: 'read',
  inputSchema: z.strictObject({}),
  execute: () => ({ n: 1 }),
});
const MODEL = 'openai/gpt-4o';
const CALL = { model: MODEL, promptBytes: 900, messages: 1, maxOutputTokens: 500 };
const USAGE = { inputTokens: 100, outputTokens: 20, cachedInputTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 };

let p: Platform;
beforeAll(async () => {
  p = await platform({ tools: [count] });
});
afterAll(() => p?.end());
const open = (more: object = {}) =>
  p.actguard.session({ id: randomUUID(), agent: 'desk', user: 'alice', tenant: 'acme', ...more });
const entriesOf = async (run: string) =>
  (await listEntries(p.db, { run })).map(({ kind, body }) => ({
    kind,
    data: (JSON.parse(body) as { data: unknown }).data,
  }));

test('P1 a model call made elsewhere is in the ledger before it is sent, and with its truth after', async () => {
  const s = await open({ budget: { usd: 0.05 } });
  const granted = await s.reserve(CALL);
  // 980 in at $2.50, 500 out at $10 per million tokens
  expect(granted).toMatchObject({ kind: 'reserved', reserved: { usdMicros: 7_450, calls: 1 }, maxOutputTokens: 500 });
  const settled = await s.settle(granted.callId, { kind: 'used', usage: USAGE });
  expect(settled).toMatchObject({ kind: 'settled', spent: { usdMicros: 450 }, usage: { usd: 0.00045, tokens: 120 } });
  const [, started, succeeded] = await entriesOf(s.run);
  expect(started).toMatchObject({
    kind: 'call.started',
    data: { model: MODEL, elsewhere: true, reserved: { usdMicros: 7_450 }, authorization: 'autonomous' },
  });
  expect(succeeded).toMatchObject({ kind: 'call.succeeded', data: { spent: { usdMicros: 450 }, flagged: false } });
  expect(await s.usage()).toEqual({ usd: 0.00045, tokens: 120, calls: 1 });
});

test('BU1 D10 at the end of its budget a session refuses model calls; an unknown model is PRICE_UNKNOWN', async () => {
  const s = await open({ budget: { tokens: 1_000 } });
  const granted = await s.reserve(CALL);
  expect(granted).toMatchObject({ kind: 'reserved', maxOutputTokens: 20 });
  await s.settle(granted.callId, { kind: 'unknown' });
  expect(await s.reserve(CALL)).toMatchObject({ kind: 'denied', denial: { code: 'BUDGET_EXCEEDED' } });
  expect(await s.reserve({ ...CALL, model: 'openai/none' })).toMatchObject({ denial: { code: 'PRICE_UNKNOWN' } });
  expect((await s.call('count', {})).kind).toBe('done');
});

test('a session of an agent that is not there says so, at every door', async () => {
  const s = await open({ agent: 'nobody' });
  expect(await s.call('count', {})).toMatchObject({ denial: { code: 'NOT_FOUND' } });
  // its workflow has ended by now
  expect(await s.call('count', {})).toMatchObject({ denial: { code: 'NOT_FOUND' } });
  expect(await s.reserve(CALL)).toMatchObject({ denial: { code: 'NOT_FOUND' } });
});

test('a stateless server finds its session again: the call that another process made, its result, its usage', async () => {
  const id = randomUUID();
  const one = await open({ id, budget: { calls: 5 } });
  await one.call('count', {}, { callId: 'a' });
  const elsewhere = await connect({ address: temporalAddress(), namespace: 'default', taskQueue: p.taskQueue });
  try {
    const params = { id, agent: 'desk', user: 'alice', tenant: 'acme', budget: { calls: 5 } };
    const two = await elsewhere.session(params);
    expect(await two.outcome('a')).toEqual({ kind: 'done', output: { n: 1 }, callId: 'a' });
    expect((await two.usage()).calls).toBe(1);
    await expect(elsewhere.session({ ...params, user: 'eve' })).rejects.toMatchObject({ code: 'CONFLICT' });
  } finally {
    await elsewhere.close();
  }
});

const database = desk();

test('a worker that dies while it reserves loses nothing: asked again it answers the same; a settlement counts once', async () => {
  const worker = database.worker([count]);
  const run = await worker.run();
  const price = priceOf(MODEL, {}, Date.now()) as ModelPrice;
  const worst = worstCaseModelCall({ ...CALL, price, left: {} });
  if (worst.kind !== 'ok') throw new Error(worst.kind);
  const input: ReserveModelInput = {
    ...{ v: 1, run: run.run, entries: [], call: 'model a', seq: 1, model: MODEL, price, reserved: worst.reserved },
    ...{ promptBytes: CALL.promptBytes, maxOutputTokens: CALL.maxOutputTokens },
    expiresAtMs: Date.now() + 60_000,
    deadlineMs: Date.now() + 60_000,
  };
  const info = { workflowId: run.workflowId, temporalRun: run.temporalRun };
  expect(await reserveModel(worker.shared, input, info)).toEqual({ kind: 'reserved' });
  expect(await reserveModel(worker.shared, input, info)).toEqual({ kind: 'reserved' });
  expect(await reserveModel(worker.shared, { ...input, seq: 2 }, info)).toMatchObject({ denial: { code: 'CONFLICT' } });
  const outcome = { kind: 'used', usage: USAGE } as const;
  const settle = () => settleModel(worker.shared, { ...input, outcome }, info);
  expect(await settle()).toMatchObject({ kind: 'settled', spent: { usdMicros: 450 } });
  expect(await settle()).toMatchObject({ kind: 'settled', spent: { usdMicros: 450 } });
  const entries = await listEntries(database.db(), { run: run.run });
  expect(entries.map((e) => e.kind)).toEqual(['run.opened', 'call.started', 'call.denied', 'call.succeeded']);
  const less = { ...input, seq: 3, call: 'model b', reserved: { ...worst.reserved, usdMicros: 10 } };
  expect(await reserveModel(worker.shared, less, info)).toMatchObject({ denial: { code: 'BUDGET_EXCEEDED' } });
});
