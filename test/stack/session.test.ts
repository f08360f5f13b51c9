import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { atMost, defineTool } from '../../define/index.ts';
import { platform, type Platform } from '../support/platform.ts';

let effects: unknown[] = [];
const pay = defineTool({
  name: 'pay',
  description: 'Pay somebody',
  effect: 'write',
  inputSchema: z.strictObject({ to: z.string(), cents: z.int() }),
  outputSchema: z.object({ receipt: z.int() }),
  rules: { cents: atMost(100) },
  execute: (args) => ({ receipt: effects.push(args) }),
});
const broken = defineTool({
  name: 'broken',
  description: 'Answers what its schema does not have',
  effect: 'write',
  inputSchema: z.strictObject({}),
  outputSchema: z.object({ receipt: z.string() }),
  idempotency: { key: () => 'broken' },
  execute: () => ({ receipt: effects.push('broken') as never }),
});
const count = defineTool({
  name: 'count',
  description: 'Count',
  effect: 'read',
  inputSchema: z.strictObject({}),
  maxCallsPerRun: 2,
  execute: () => ({ n: effects.length }),
});

let p: Platform;
beforeAll(async () => {
  p = await platform({ tools: [pay, count, broken] });
});
afterAll(() => p?.end());
const open = (more: object = {}) =>
  p.actguard.session({ id: randomUUID(), agent: 'desk', user: 'alice', tenant: 'acme', ...more });

test('a session calls a tool under its guards and says what it used (P1, D5)', async () => {
  effects = [];
  const s = await open();
  expect(await s.call(pay, { to: 'bob', cents: 5 }, { callId: 'one' })).toEqual({
    kind: 'done',
    output: { receipt: 1 },
    callId: 'one',
  });
  expect(await s.call('pay', { to: 'bob', cents: 500 })).toMatchObject({
    kind: 'denied',
    denial: { code: 'RULE_FAILED' },
  });
  expect(await s.usage()).toEqual({ calls: 1, tokens: 0, usd: 0 });
  expect(effects).toHaveLength(1);
});

test('D3 the same callId gets the same result; other arguments are IDEMPOTENCY_CONFLICT', async () => {
  effects = [];
  const s = await open();
  const first = await s.call('pay', { to: 'bob', cents: 5 }, { callId: 'x' });
  expect(await s.call('pay', { to: 'bob', cents: 5 }, { callId: 'x' })).toEqual(first);
  expect(await s.outcome('x')).toEqual(first);
  expect(await s.call('pay', { to: 'bob', cents: 6 }, { callId: 'x' })).toMatchObject({
    denial: { code: 'IDEMPOTENCY_CONFLICT' },
  });
  await expect(s.outcome('never')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(effects).toHaveLength(1);
});

test('the same session id and parameters give the same session, others are CONFLICT', async () => {
  const id = randomUUID();
  const one = await open({ id, budget: { calls: 5 } });
  expect((await open({ id, budget: { calls: 5 } })).run).toBe(one.run);
  await expect(open({ id, budget: { calls: 6 } })).rejects.toMatchObject({ code: 'CONFLICT' });
  await expect(open({ id, budget: { calls: 5 }, idle: '1h' })).rejects.toMatchObject({ code: 'CONFLICT' });
  await expect(open({ idle: 'soon', budget: { calls: -1 } })).rejects.toMatchObject({
    code: 'ARGUMENTS_INVALID',
    message: expect.stringMatching(/calls.*soon|soon.*calls/s) as string,
  });
});

test('MC1 call n + 1 is CALLS_EXHAUSTED; a new run starts at zero', async () => {
  const s = await open();
  await s.call('count', {});
  await s.call('count', {});
  expect(await s.call('count', {})).toMatchObject({
    denial: { code: 'CALLS_EXHAUSTED', details: { used: 2, limit: 2 } },
  });
  expect((await (await open()).call('count', {})).kind).toBe('done');
});

test('BU1 BU2 a budget of calls: exactly that many run, in parallel too', async () => {
  effects = [];
  const s = await open({ budget: { calls: 3 } });
  const results = await Promise.all(Array.from({ length: 12 }, (_, i) => s.call('pay', { to: `p${i}`, cents: 1 })));
  expect(results.filter((r) => r.kind === 'done')).toHaveLength(3);
  expect(results.find((r) => r.kind === 'denied')).toMatchObject({
    denial: { code: 'BUDGET_EXCEEDED', details: { scope: 'run' } },
  });
  expect(effects).toHaveLength(3);
});

test('100 calls at once queue in the client; none is lost, none runs twice', async () => {
  effects = [];
  const s = await open();
  const results = await Promise.all(
    Array.from({ length: 100 }, (_, i) => s.call('pay', { to: `q${i}`, cents: 1 }, { callId: `q${i}` })),
  );
  expect(results.every((r) => r.kind === 'done')).toBe(true);
  expect(effects).toHaveLength(100);
});

test('D2 D3 the repeat of an invalid output gets the same answer, is no call of its run, and the run goes on', async () => {
  effects = [];
  const [s, other] = [await open(), await open()];
  const first = await s.call('broken', {}, { callId: 'b' });
  expect(first).toMatchObject({ kind: 'failed', error: { code: 'OUTPUT_INVALID' } });
  expect(await other.call('broken', {}, { callId: 'b' })).toEqual(first);
  expect(await other.usage()).toEqual({ usd: 0, tokens: 0, calls: 0 });
  expect(await other.call('count', {})).toMatchObject({ kind: 'done', output: { n: 1 } });
});

test('governed() has the function’s signature and throws the denial’s code', async () => {
  effects = [];
  const s = await open();
  const send = s.governed(pay);
  expect(await send({ to: 'carl', cents: 7 })).toEqual({ receipt: 1 });
  await expect(send({ to: 'carl', cents: 700 })).rejects.toMatchObject({ code: 'RULE_FAILED', name: 'ActGuardError' });
});

test('a tool the session does not have is TOOL_UNKNOWN; a call after close is CONFLICT', async () => {
  const s = await open();
  expect(await s.call('wire', {})).toMatchObject({ denial: { code: 'TOOL_UNKNOWN' } });
  await s.close();
  expect(await s.call('count', {})).toMatchObject({ denial: { code: 'CONFLICT' } });
});
