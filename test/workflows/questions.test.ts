/** Unknown outcomes inside a run: asked again on durable timers, answered by people, counted and charged once. */
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { ulid } from 'ulid';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CallModelResult, CallToolInput, CallToolResult } from '../../activities/types.ts';
import type { CallResult } from '../../governance/call.ts';
import {
  callUpdate,
  closeSignal,
  lookSignal,
  outcomeQuery,
  resolveSignal,
  stateQuery,
  type RunState,
} from '../../workflows/messages.ts';
import { workflowIdOf } from '../../workflows/ids.ts';
import { done, runInput, says, wants, withScript } from '../support/scripted.ts';
import { timeSkippingEnv } from '../support/temporal.ts';

const DAY = 24 * 60 * 60 * 1000;
let env: TestWorkflowEnvironment;
beforeEach(async () => {
  env = await timeSkippingEnv();
});
afterEach(() => env?.teardown());

const unknown = (askAgainMs: number | null, more: object = {}): CallToolResult => ({
  kind: 'unknown',
  reason: 'nobody knows',
  spentMicros: 7,
  askAgainMs,
  ...more,
});
const paysOnce = (_input: unknown, n: number): CallModelResult => (n === 1 ? wants({ to: 'bob' }) : says('all done'));
const PRICED = [{ cost: { worstMicros: 9, fixed: false }, maxCallsPerRun: 1 }];

test('EX5 D10 an unknown outcome is asked for again by itself until it is known: one call, its own cost, nobody is told', () =>
  withScript(
    env,
    {
      model: paysOnce,
      tools: PRICED,
      tool: (_i, n) => (n <= 3 ? unknown(n * 60_000, { needsPerson: false }) : done(4)),
    },
    async (world, start) => {
      const handle = await start();
      const result = await handle.result();
      expect(result).toMatchObject({ status: 'answered', usage: { usdMicros: 24, calls: 3 }, denials: [] });
      expect(world.calls.map((c) => [c.call, c.seq, c.again ?? false, c.inline])).toEqual([
        ['c2', 2, false, false],
        ['c2', 2, true, false],
        ['c2', 2, true, false],
        ['c2', 2, true, false],
      ]);
      expect(world.models[1]?.results).toMatchObject([{ kind: 'stored', call: 'c2' }]);
      expect(world.notified).toEqual([]);
      const timers = ((await handle.fetchHistory()).events ?? []).filter((e) => e.timerStartedEventAttributes);
      expect(timers.map((t) => Number(t.timerStartedEventAttributes?.startToFireTimeout?.seconds))).toEqual(
        expect.arrayContaining([60, 120, 180]),
      );
    },
  ));

test('EX5 what only a person can know is told once and not asked again; a verified resolve is looked up at once', () => {
  let resolved = false;
  return withScript(
    env,
    {
      model: paysOnce,
      tool: () => (resolved ? done() : unknown(null)),
      verifyCommand: () => {
        resolved = true;
        return Promise.resolve({ kind: 'accepted', verb: 'resolve', person: 'op', reason: '', data: { call: 'c2' } });
      },
    },
    async (world, start) => {
      const handle = await start();
      for (;;) {
        const state = await handle.query(stateQuery).catch(() => null);
        if (state?.status === 'waiting-resolution') break;
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
      await env.sleep(2 * DAY);
      expect(world.calls).toHaveLength(1);
      expect(world.notified).toEqual(['outcome']);
      await handle.signal(resolveSignal, { envelope: {} });
      expect(await handle.result()).toMatchObject({ status: 'answered' });
      expect(world.calls).toHaveLength(2);
    },
  );
});

/** Waits until a run has taken the answer of the nth activity of this name. */
async function taken(run: string, activity: string, n: number): Promise<void> {
  for (;;) {
    const events = (await env.client.workflow.getHandle(workflowIdOf(run)).fetchHistory()).events ?? [];
    const nth = events.filter((e) => e.activityTaskScheduledEventAttributes?.activityType?.name === activity)[n - 1];
    const isAnswer = (e: (typeof events)[number]): boolean =>
      nth !== undefined && Number(e.activityTaskCompletedEventAttributes?.scheduledEventId) === Number(nth.eventId);
    const answered = events.findIndex(isAnswer);
    if (answered > 0 && events.slice(answered).some((e) => e.workflowTaskCompletedEventAttributes)) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test('EX5 what is said to be known while an answer is under way, or before the run knows of its question, is not lost', () => {
  /** From inside an activity: the run has taken the message before the activity answers. */
  const say = async (input: CallToolInput): Promise<void> => {
    const handle = env.client.workflow.getHandle(workflowIdOf(input.run));
    await handle.signal(lookSignal, { call: input.call });
    await handle.query(stateQuery);
  };
  return withScript(
    env,
    {
      model: paysOnce,
      tool: async (input, n) => {
        if (n === 3) return done();
        await say(input);
        return unknown(null);
      },
    },
    async (world, start) => {
      expect(await (await start()).result()).toMatchObject({ status: 'answered', denials: [] });
      expect(world.calls).toHaveLength(3);
      expect(world.notified).toEqual([]); // nobody had to look
    },
  );
});

test('EX5 a verified resolve that comes while it is being asked is looked up after that answer', () => {
  const accepted = { kind: 'accepted', verb: 'resolve', person: 'op', reason: '', data: { call: 'c2' } } as const;
  return withScript(
    env,
    {
      model: paysOnce,
      verifyCommand: () => Promise.resolve(accepted),
      tool: async ({ run }, n) => {
        if (n !== 2) return n === 1 ? unknown(1, { needsPerson: false }) : done();
        const handle = env.client.workflow.getHandle(workflowIdOf(run));
        await handle.signal(resolveSignal, { envelope: {} });
        await taken(run, 'verifyCommand', 1);
        return unknown(null);
      },
    },
    async (world, start) => {
      expect(await (await start()).result()).toMatchObject({ status: 'answered' });
      expect(world.calls).toHaveLength(3);
    },
  );
});

test('EX5 what is known before whoever asked has begun to wait is theirs all the same', () => {
  return withScript(
    env,
    {
      model: paysOnce,
      limit: { calls: 4 }, // half of it is used: an entry is recorded before the wait
      record: ({ run, closed }) => (closed === null ? taken(run, 'callTool', 2) : Promise.resolve()),
      tool: (_input, n) => (n === 1 ? unknown(1, { needsPerson: false }) : done()),
    },
    async (world, start) => {
      expect(await (await start()).result()).toMatchObject({ status: 'answered' });
      expect(world.records.map((r) => r.closed === null)).toEqual([true, false]);
    },
  );
});

test('EX5 a refusal while it is asked again (a freeze, say) leaves the question open', () =>
  withScript(
    env,
    {
      model: paysOnce,
      tool: (_i, n) =>
        n === 1
          ? unknown(1_000)
          : n === 2
            ? { kind: 'denied', denial: { code: 'FROZEN', reason: 'frozen', hint: '', details: {} } }
            : done(),
    },
    async (world, start) => {
      expect(await (await start()).result()).toMatchObject({ status: 'answered', denials: [] });
      expect(world.calls).toHaveLength(3);
    },
  ));

test('EX5 a run whose deadline comes first ends with the question open', () =>
  withScript(
    env,
    { model: paysOnce, tool: () => unknown(60_000, { needsPerson: false }), deadlineMs: Date.now() + 10 * 60_000 },
    async (world, start) => {
      expect((await (await start()).result()).status).toBe('expired');
      expect(world.calls.length).toBeGreaterThan(5);
      expect(world.calls.length).toBeLessThan(12);
    },
  ));

test('D1 a session answers unknown at once, asks on by itself, and its caller gets what is known then', () =>
  withScript(
    env,
    {
      model: () => says('never asked'),
      tool: (_i, n) => (n <= 2 ? unknown(60_000) : ({ ...done(), output: { receipt: 1 } } as CallToolResult)),
    },
    async (world, _start, taskQueue) => {
      const run = ulid();
      const handle = await env.client.workflow.start('session', {
        taskQueue,
        workflowId: workflowIdOf(run),
        args: [{ ...runInput(run), session: 's' }],
      });
      const call = { v: 1, callId: 'a', tool: 'pay', args: { to: 'bob' } } as const;
      expect(await handle.executeUpdate(callUpdate, { args: [call] })).toEqual({ kind: 'unknown', callId: 'a' });
      expect((await handle.query<RunState>(stateQuery)).unknownCalls).toEqual(['a']);
      await env.sleep(3 * 60_000);
      const known: CallResult = { kind: 'done', output: { receipt: 1 }, callId: 'a' };
      expect(await handle.query<CallResult | null, [string]>(outcomeQuery, 'a')).toEqual(known);
      expect(await handle.executeUpdate(callUpdate, { args: [call] })).toEqual(known);
      expect(world.calls).toHaveLength(3);
      expect(world.calls.at(-1)).toMatchObject({ inline: true, again: true, seq: 1 });
      expect((await handle.query<RunState>(stateQuery)).usage.calls).toBe(1);
      await handle.signal(closeSignal);
      await handle.result();
    },
  ));
