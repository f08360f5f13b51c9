/** `ctx.transaction`: an effect in the user's own tables and its outcome are committed together, or not at all. */
import { beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { boundedProgress } from '../../activities/progress.ts';
import { SecretSet } from '../../activities/scrub.ts';
import { defineTool } from '../../define/index.ts';
import type { ToolContext } from '../../define/types.ts';
import { desk, type TestRun } from '../support/calls.ts';

const { db, worker } = desk();
beforeAll(async () => {
  await db().query('create table public.shop (n integer primary key)');
});

const insert = (ctx: ToolContext, n: number) =>
  ctx.transaction(async (sql) => {
    const [row] = await sql('insert into public.shop (n) values ($1) returning n', [n]);
    return { n: Number(row?.['n']) };
  });
const book = (execute: (args: { n: number }, ctx: ToolContext) => unknown, more: object = {}) =>
  defineTool({
    name: 'book',
    description: 'Book',
    effect: 'write',
    transactional: true,
    inputSchema: z.strictObject({ n: z.int() }),
    execute: execute as never,
    ...more,
  });
const plain = book(({ n }, ctx) => insert(ctx, n));
const rows = async (n: number): Promise<number> =>
  (await db().query('select 1 from public.shop where n = $1', [n])).length;
const stateOf = async (run: TestRun): Promise<string> =>
  (await db().query<{ state: string }>('select state from actguard.calls where run = $1', [run.run]))[0]?.state ??
  'none';

test('P1 EX2 the effect is there with its outcome', async () => {
  const run = await worker([plain]).run();
  expect(await run.call('book', { n: 1 })).toMatchObject({ kind: 'done', output: { n: 1 } });
  expect([await rows(1), await stateOf(run)]).toEqual([1, 'succeeded']);
});

test('EX4 D8 a tool that throws, times out or breaks its transaction and hides it: nothing there, failed, never unknown', async () => {
  const broken: ((args: { n: number }, ctx: ToolContext) => unknown)[] = [
    async ({ n }, ctx) => {
      await insert(ctx, n);
      throw new Error('after it');
    },
    async ({ n }, ctx) => {
      await insert(ctx, n);
      await new Promise(() => undefined);
    },
    async ({ n }, ctx) => {
      await insert(ctx, n);
      await ctx.transaction((sql) => sql('select 1 / 0')).catch(() => undefined);
      return { n };
    },
  ];
  for (const [i, execute] of broken.entries()) {
    const run = await worker([book(execute, { timeout: 300 })]).run();
    expect((await run.call('book', { n: 10 + i })).kind).toBe('failed');
    expect([await rows(10 + i), await stateOf(run)]).toEqual([0, 'failed']);
    expect((await run.on(worker([plain])).call('book', { n: 10 + i })).kind).toBe('done');
  }
});

test('P2 EX5 a worker that was taken over commits nothing; the next attempt does it, once', async () => {
  let go: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (go = resolve));
  let begun: () => void = () => undefined;
  const began = new Promise<void>((resolve) => (begun = resolve));
  const slow = book(async ({ n }, ctx) => {
    begun();
    await gate;
    return insert(ctx, n);
  });
  const run = await worker([slow]).run();
  const first = run.call('book', { n: 20 }, { call: 'x' });
  await began;
  await db().query(`update actguard.calls set lease_until = clock_timestamp() - interval '1 ms' where run = $1`, [
    run.run,
  ]);
  const second = run
    .on(worker([book(() => Promise.reject(new Error('not this time')))]))
    .call('book', { n: 20 }, { call: 'x', attempt: 2 });
  expect((await second).kind).toBe('failed');
  go();
  await expect(first).rejects.toMatchObject({ type: 'IN_PROGRESS' });
  expect([await rows(20), await stateOf(run)]).toEqual([0, 'failed']);
});

test('P2 EX2 a late outcome whose transaction was undone is no success, whatever its tool answered', async () => {
  let go: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (go = resolve));
  let begun: () => void = () => undefined;
  const began = new Promise<void>((resolve) => (begun = resolve));
  const slow = async ({ n }: { n: number }, ctx: ToolContext): Promise<unknown> => {
    begun();
    await gate;
    return insert(ctx, n);
  };
  // it might also send something: taken over, nobody knows
  const run = await worker([book(slow, { transactional: false })]).run();
  const first = run.call('book', { n: 30 }, { call: 'x' });
  await began;
  await db().query(`update actguard.calls set lease_until = clock_timestamp() - interval '1 ms' where run = $1`, [
    run.run,
  ]);
  expect((await run.call('book', { n: 30 }, { call: 'x', attempt: 2 })).kind).toBe('unknown');
  go();
  await expect(first).rejects.toMatchObject({ type: 'IN_PROGRESS' });
  expect([await rows(30), await stateOf(run)]).toEqual([0, 'failed']);
  expect(await run.call('book', { n: 30 }, { call: 'x', attempt: 3 })).toMatchObject({
    kind: 'failed',
    error: { code: 'TOOL_FAILED' },
  });
});

test('P2 a transactional tool that sends a request which could change something is refused', async () => {
  const sends = book(async ({ n }, ctx) => {
    await ctx.fetch('https://payments.example/refunds', { method: 'POST', body: String(n) });
    return { n };
  });
  const run = await worker([sends]).run();
  expect(await run.call('book', { n: 40 })).toMatchObject({ kind: 'failed', error: { code: 'FORBIDDEN' } });
});

test('EX2 a transactional call whose worker died between claim and outcome is simply done by the next attempt', async () => {
  const run = await worker([plain]).run();
  await run.call('book', { n: 50 }, { call: 'x' });
  await db().query('delete from public.shop where n = 50');
  await db().query(
    `update actguard.calls set state = 'claimed', result = null, lease_until = clock_timestamp() - interval '1 s' where run = $1`,
    [run.run],
  );
  expect((await run.call('book', { n: 50 }, { call: 'x', attempt: 2 })).kind).toBe('done');
  expect(await rows(50)).toBe(1);
});

test('once the call is over its transaction takes nothing more', async () => {
  let kept: ToolContext | undefined;
  const leaky = book(({ n }, ctx) => {
    kept = ctx;
    return { n };
  });
  await (await worker([leaky]).run()).call('book', { n: 30 });
  await expect(insert(kept as ToolContext, 30)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  expect(await rows(30)).toBe(0);
});

test('P5 what a long tool reports is scrubbed and bounded, and never ends it', () => {
  const secrets = new SecretSet();
  secrets.add('sk-secret-0123456789');
  expect(boundedProgress({ done: 7, note: 'with sk-secret-0123456789' }, secrets)).toMatchObject({ done: 7 });
  expect(JSON.stringify(boundedProgress({ note: 'with sk-secret-0123456789' }, secrets))).not.toContain(
    'sk-secret-0123456789',
  );
  expect(boundedProgress('x'.repeat(5_000), secrets)).toMatchObject({ progress: expect.stringContaining('at most') });
  expect(boundedProgress(10n, secrets)).toMatchObject({ progress: expect.stringContaining('not plain JSON') });
});
