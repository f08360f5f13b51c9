import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CallModelResult, CallToolResult, Refused } from '../../activities/types.ts';
import { budgetPause } from '../../workflows/budget-wait.ts';
import { budgetChangedSignal, stateQuery, type RunState } from '../../workflows/messages.ts';
import { done, says, wants, withScript } from '../support/scripted.ts';
import { timeSkippingEnv } from '../support/temporal.ts';

let env: TestWorkflowEnvironment;
beforeEach(async () => {
  env = await timeSkippingEnv();
});
afterEach(() => env?.teardown());

const details = { scope: 'user', neededMicros: 5 };
const ACCOUNT = JSON.stringify(['acme', 'user', 'alice']);
const denial = { code: 'BUDGET_EXCEEDED', reason: 'no more', hint: 'wait', details } as const;
/** Others hold what is needed. */
const held: Refused = { kind: 'denied', denial, waitMs: 30_000 };
/** Nothing is left for good. */
const out = (resetAtMs: number | null): Refused => ({ kind: 'denied', denial, account: { id: ACCOUNT, resetAtMs } });

type Handle = Awaited<ReturnType<Parameters<Parameters<typeof withScript>[2]>[1]>>;
async function shows(handle: Handle, holds: (state: RunState) => boolean): Promise<RunState> {
  for (let i = 0; i < 400; i += 1) {
    const state = await handle.query(stateQuery).catch(() => null);
    if (state && holds(state)) return state;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('the run never showed it');
}

test('BU2 a tool call that others keep out waits on a timer, holds nothing, and runs once they are done; a count and a number once', async () => {
  const tool = (_input: unknown, n: number): CallToolResult => (n < 4 ? held : done());
  const model = (_input: unknown, n: number): CallModelResult => (n === 1 ? wants({ to: 'bob' }) : says('paid'));
  await withScript(env, { model, tool, tools: [{ maxCallsPerRun: 1 }] }, async (world, start) => {
    const handle = await start();
    expect(await handle.result()).toMatchObject({ status: 'answered', denials: [], usage: { calls: 3 } });
    expect(world.calls.map((c) => [c.call, c.seq])).toEqual([
      ['c2', 2],
      ['c2', 2],
      ['c2', 2],
      ['c2', 2],
    ]);
    const timers = (await handle.fetchHistory()).events?.filter((e) => e.timerStartedEventAttributes) ?? [];
    expect(timers).toHaveLength(3);
  });
});

test('BU2 a model call that others keep out keeps its number and waits; the run ends at its deadline with a recorded denial', async () => {
  await withScript(env, { model: (_input, n) => (n < 3 ? held : says('at last')) }, async (world, start) => {
    expect(await (await start()).result()).toMatchObject({ status: 'answered', text: 'at last' });
    expect(world.models.map((m) => m.seq)).toEqual([1, 1, 1]);
  });
  const deadlineMs = (await env.currentTimeMs()) + 90_000;
  await withScript(env, { model: () => held, deadlineMs }, async (world, start) => {
    const result = await (await start()).result();
    expect(result).toMatchObject({ status: 'stopped', denials: [{ code: 'BUDGET_EXCEEDED' }] });
    const recorded = world.records.flatMap((r) => r.entries).filter((e) => e.kind === 'call.denied');
    expect(recorded).toMatchObject([{ seq: 1, data: { code: 'BUDGET_EXCEEDED' } }]);
  });
});

test('BU6 an agent whose tenant has nothing left pauses with what it needs, and goes on when the account is changed', async () => {
  await withScript(env, { model: (_input, n) => (n === 1 ? out(null) : says('went on')) }, async (world, start) => {
    const handle = await start();
    expect(await shows(handle, (state) => state.status === 'exhausted')).toMatchObject({ needed: { usdMicros: 5 } });
    expect(world.models).toHaveLength(1);
    await handle.signal(budgetChangedSignal);
    expect(await handle.result()).toMatchObject({ status: 'answered', text: 'went on' });
    expect(world.notified).toEqual(['budget']); // after its state is shown
    const announced = world.records.flatMap((r) => r.entries).filter((e) => e.kind === 'budget.exhausted');
    expect(announced.map((e) => e.data)).toEqual([
      { needed: { usdMicros: 5, tokens: 0, calls: 0 }, account: 'user:alice' },
    ]);
    expect(world.texts.join()).toContain('topup user:alice --tenant acme --usd');
  });
});

test('BU6 tokens that an account lacks are what the pause asks for', async () => {
  const short = { ...denial, details: { scope: 'user', neededMicros: 0, unit: 'tokens', needed: 70 } } as const;
  const refused: Refused = { kind: 'denied', denial: short, account: { id: ACCOUNT, resetAtMs: null } };
  await withScript(env, { model: (_input, n) => (n === 1 ? refused : says('went on')) }, async (world, start) => {
    const handle = await start();
    const paused = await shows(handle, (state) => state.status === 'exhausted');
    expect(paused.needed).toEqual({ usdMicros: 0, tokens: 70, calls: 0 });
    await handle.signal(budgetChangedSignal);
    await handle.result();
    expect(world.texts.join()).toContain('topup user:alice --tenant acme --tokens 70');
  });
});

test('BU6 it goes on by itself when the window ends, and is announced once however often it is refused', async () => {
  const resetAtMs = (await env.currentTimeMs()) + 24 * 60 * 60_000;
  const model = (_input: unknown, n: number): CallModelResult => (n < 3 ? out(resetAtMs) : says('next day'));
  await withScript(env, { model }, async (world, start) => {
    expect(await (await start()).result()).toMatchObject({ status: 'answered', text: 'next day' });
    expect(world.notified).toEqual(['budget']);
  });
});

test('BU6 an agent that stops when exhausted ends with what it has: why, its calls, its last words', () => {
  const first = { ...wants({ to: 'bob' }), text: 'I pay Bob first.' } as CallModelResult;
  const script = { model: (_i: unknown, n: number) => (n === 1 ? first : out(null)), onExhausted: 'stop' } as const;
  return withScript(env, script, async (_world, start) => {
    const result = await (await start()).result();
    expect(result).toMatchObject({
      status: 'exhausted',
      text: expect.stringMatching(/no more.*Done until then: pay\..*I pay Bob first\./) as string,
    });
    expect(result.output).toEqual({
      ...{ partial: true, said: 'I pay Bob first.', calls: [{ call: 'c2', tool: 'pay', result: 'done' }] },
    });
  });
});

test('what a call tells about budgets is mailed by its run', () =>
  withScript(env, { model: () => ({ ...says('hi'), notices: ['80 %'] }) as CallModelResult }, async (world, start) => {
    await (await start()).result();
    expect(world.notified).toEqual(['budget']);
  }));

test('pauses double from a second up to the longest, between half of it and all of it, not alike for all', () => {
  const at = (tries: number, run = 'A') => budgetPause(30_000, { run, seq: 1, tries });
  const most = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
  for (const [tries, longest] of most.entries()) {
    expect(at(tries)).toBeGreaterThanOrEqual(longest / 2);
    expect(at(tries)).toBeLessThanOrEqual(longest);
  }
  expect(at(3)).toBe(at(3));
  expect(new Set(['A', 'B', 'C', 'D'].map((run) => at(3, run))).size).toBe(4);
});
