import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CallModelResult } from '../../activities/types.ts';
import {
  approvalSignal,
  freezeSignal,
  stateQuery,
  thawSignal,
  topUpSignal,
  type RunState,
} from '../../workflows/messages.ts';
import { asks, done, says, wants, withScript } from '../support/scripted.ts';
import { timeSkippingEnv } from '../support/temporal.ts';

const DAY = 24 * 60 * 60 * 1000;
let env: TestWorkflowEnvironment;
beforeEach(async () => {
  env = await timeSkippingEnv();
});
afterEach(() => env?.teardown());

type Handle = Awaited<ReturnType<Parameters<Parameters<typeof withScript>[2]>[1]>>;
/** Looks (without skipping time) until the run shows it. */
async function shows(handle: Handle, holds: (state: RunState) => boolean): Promise<RunState> {
  for (let i = 0; i < 400; i += 1) {
    const state = await handle.query(stateQuery).catch(() => null);
    if (state && holds(state)) return state;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('the run never showed it');
}
const asking = (state: RunState): boolean => state.openAsks.length > 0;
const firstThen = (first: CallModelResult) => (_input: unknown, n: number) => (n === 1 ? first : says('all done'));
const approve = (handle: Handle, more: object = {}) =>
  handle.signal(approvalSignal, { approvalId: 'ap-1', nonce: 'n-1', envelope: {}, ...more });

test('a run calls its tool, answers, and closes with its last call’s number', () =>
  withScript(env, { model: firstThen(wants({ to: 'bob' })) }, async (world, start) => {
    const handle = await start();
    const result = await handle.result();
    expect(result).toMatchObject({
      status: 'answered',
      text: 'all done',
      denials: [],
      usage: { usdMicros: 20, tokens: 10, calls: 3 },
    });
    expect(world.calls).toMatchObject([{ call: 'c2', seq: 2, tool: 'pay', args: { to: 'bob' }, inline: false }]);
    expect(world.models[1]?.results).toEqual([{ kind: 'stored', modelCallId: 't0', toolName: 'pay', call: 'c2' }]);
    expect(world.records.at(-1)?.closed).toEqual({ status: 'answered', lastSeq: 3 });
  }));

test('P8 an allowed call costs the events of a bare activity, and its summary names tool and object', () =>
  withScript(env, { model: firstThen(wants({ to: 'bob', cents: 5 })) }, async (_world, start) => {
    const handle = await start();
    await handle.result();
    const { events = [] } = await handle.fetchHistory();
    const types = events?.map((e) => String(e.eventType)) ?? [];
    const scheduled = events?.filter((e) => e.activityTaskScheduledEventAttributes) ?? [];
    // openRun, model, tool, model, record: five activities of three events and their workflow tasks, two upserts at the end at most
    expect(scheduled).toHaveLength(5);
    expect(events?.filter((e) => e.timerStartedEventAttributes || e.markerRecordedEventAttributes)).toHaveLength(0);
    expect(types.length).toBe(1 + 5 * 6 + 3 + 2);
    const tool = scheduled[2];
    expect(JSON.stringify(tool?.userMetadata?.summary?.data?.toString())).toContain('pay to bob');
  }));

test('O3 P4 an ask waits 29 days holding nothing, then runs with its approval', () =>
  withScript(
    env,
    {
      model: firstThen(wants({ to: 'bob' })),
      tool: (_i, n) => (n === 1 ? asks(Date.now() + 400 * DAY) : done()),
      limit: { usdMicros: 1_000_000 },
    },
    async (world, start) => {
      const handle = await start();
      const waiting = await shows(handle, asking);
      expect(waiting.reserved).toEqual({ usdMicros: 0, tokens: 0, calls: 0 });
      expect(waiting.status).toBe('waiting-approval');
      await env.sleep(29 * DAY);
      await approve(handle);
      expect((await handle.result()).status).toBe('answered');
      expect(world.calls.map((c) => c.approvalId)).toEqual([null, 'ap-1']);
      expect(world.calls[1]).toMatchObject({ call: 'c2', seq: 2 });
      expect(world.notified).toContain('ask');
    },
  ));

test('an ask that nobody answers is APPROVAL_EXPIRED, and the model is told', async () => {
  await withScript(
    env,
    { model: firstThen(wants({ to: 'bob' })), tool: () => asks(Date.now() + 30 * DAY) },
    async (world, start) => {
      const handle = await start();
      const result = await handle.result();
      expect(result.denials.map((d) => d.code)).toEqual(['APPROVAL_EXPIRED']);
      expect(world.ended).toEqual([{ approvalId: 'ap-1', outcome: 'expired' }]);
      expect(world.models[1]?.results).toMatchObject([
        { kind: 'inline', value: { error: { code: 'APPROVAL_EXPIRED' } } },
      ]);
    },
  );
});

test('a rejected ask is APPROVAL_REJECTED, and nothing runs', async () => {
  await withScript(
    env,
    {
      model: firstThen(wants({ to: 'bob' })),
      tool: () => asks(Date.now() + 400 * DAY),
      recordAnswer: () => Promise.resolve({ kind: 'accepted', decision: 'reject', complete: true, person: 'fin' }),
    },
    async (world, start) => {
      const handle = await start();
      await shows(handle, asking);
      await approve(handle);
      expect((await handle.result()).denials.map((d) => d.code)).toEqual(['APPROVAL_REJECTED']);
      expect(world.calls).toHaveLength(1);
    },
  );
});

test('P4 answers with a wrong nonce, for another ask, too large or not JSON start no activity and are counted', () => {
  let verified = 0;
  return withScript(
    env,
    {
      model: firstThen(wants({ to: 'bob' })),
      tool: (_i, n) => (n === 1 ? asks(Date.now() + 400 * DAY) : done()),
      recordAnswer: (input) => {
        verified += 1;
        return Promise.resolve(
          input.envelope === 'good'
            ? { kind: 'accepted', decision: 'approve', complete: true, person: 'fin' }
            : { kind: 'rejected', reason: 'forged' },
        );
      },
    },
    async (_world, start) => {
      const handle = await start();
      await shows(handle, asking);
      await approve(handle, { nonce: 'other' });
      await approve(handle, { approvalId: 'ap-2' });
      await approve(handle, { envelope: 'x'.repeat(17_000) });
      await handle.signal('approval', 'x'.repeat(1_900_000));
      await handle.signal('approval', null);
      await handle.signal('nonsense', 1);
      await env.connection.workflowService.signalWorkflowExecution({
        namespace: 'default',
        workflowExecution: { workflowId: handle.workflowId },
        signalName: 'approval',
        input: { payloads: [{ metadata: { encoding: Buffer.from('json/plain') }, data: Buffer.from('{not json') }] },
      });
      await env.connection.workflowService.signalWorkflowExecution({
        namespace: 'default',
        workflowExecution: { workflowId: handle.workflowId },
        signalName: 'approval',
        input: {
          payloads: [{ metadata: { encoding: Buffer.from('binary/unheard-of') }, data: Buffer.from([1, 2, 3]) }],
        },
      });
      const counted = await shows(handle, (s) => s.rejectedMessages >= 7);
      expect(verified).toBe(0);
      expect(counted.openAsks).toHaveLength(1);
      for (let i = 0; i < 22; i += 1) await approve(handle, { envelope: `forged ${i}` });
      await shows(handle, (s) => s.rejectedMessages >= 29);
      expect(verified).toBe(20);
      await handle.cancel();
      expect((await handle.result()).status).toBe('stopped');
    },
  );
});

test('RL5 a rate limit with onLimit wait sleeps durably and passes', () =>
  withScript(
    env,
    {
      model: firstThen(wants({ to: 'bob' })),
      tools: [{ onLimit: 'wait' }],
      tool: (_i, n) =>
        n === 1
          ? { kind: 'denied', denial: { code: 'RATE_LIMITED', reason: '', hint: '', details: {}, retryAfterMs: DAY } }
          : done(),
    },
    async (world, start) => {
      const result = await (await start()).result();
      expect(result).toMatchObject({ status: 'answered', denials: [] });
      expect(world.calls.map((c) => c.call)).toEqual(['c2', 'c2']);
    },
  ));

test('MC1 O2 calls that ran and failed count, refused ones do not', () =>
  withScript(
    env,
    {
      model: firstThen(wants({ to: 'a' }, { to: 'b' }, { to: 'c' }, { to: 'd' })),
      tools: [{ maxCallsPerRun: 2 }],
      tool: (input) =>
        JSON.stringify(input.args).includes('a')
          ? { kind: 'denied', denial: { code: 'POLICY_DENIED', reason: '', hint: '', details: {} } }
          : { kind: 'failed', error: { code: 'TOOL_FAILED', message: 'no', details: {} }, spentMicros: 0 },
    },
    async (world, start) => {
      const result = await (await start()).result();
      expect(result.denials.map((d) => d.code)).toEqual(['POLICY_DENIED', 'CALLS_EXHAUSTED']);
      expect(world.calls).toHaveLength(3);
      const entries = world.records.flatMap((r) => r.entries).concat(world.models.flatMap((m) => m.entries));
      expect(entries).toMatchObject([{ number: 1, kind: 'call.denied', seq: 5, data: { code: 'CALLS_EXHAUSTED' } }]);
    },
  ));

test('BU6 P3 an exhausted run with onExhausted stop ends before the model is called beyond its budget', () =>
  withScript(
    env,
    { model: firstThen(wants({ to: 'bob' })), limit: { usdMicros: 1_500 }, onExhausted: 'stop' },
    async (world, start) => {
      // one call reserves 1,000 bytes + framing + at least 16 tokens of output at 1 micro-dollar each
      const result = await (await start({ budget: { usdMicros: 1_080 } })).result();
      expect(result.status).toBe('exhausted');
      expect(world.models).toHaveLength(0);
      expect(result.denials[0]).toMatchObject({
        code: 'BUDGET_EXCEEDED',
        details: { scope: 'run', limitMicros: 1_080, spentMicros: 0 },
      });
    },
  ));

test('BU6 an exhausted run pauses for days and goes on after a signed top-up; an unsigned one changes nothing', () =>
  withScript(
    env,
    {
      model: firstThen(wants({ to: 'bob' })),
      verifyCommand: (input) =>
        Promise.resolve(
          input.envelope === 'signed'
            ? { kind: 'accepted', verb: 'topUp', person: 'op', reason: 'more', data: { usdMicros: 1_000_000 } }
            : { kind: 'rejected', reason: 'forged' },
        ),
    },
    async (world, start) => {
      const handle = await start({ budget: { usdMicros: 500 } });
      const paused = await shows(handle, (s) => s.status === 'exhausted');
      expect(paused.needed?.usdMicros).toBeGreaterThan(0);
      await handle.signal(topUpSignal, { envelope: 'forged' });
      await shows(handle, (s) => s.rejectedMessages === 1);
      await env.sleep(3 * DAY);
      expect(world.models).toHaveLength(0);
      await handle.signal(topUpSignal, { envelope: 'signed' });
      expect((await handle.result()).status).toBe('answered');
      expect(world.notified).toContain('budget');
    },
  ));

const topUpOf = (usdMicros: number) => ({
  verifyCommand: () =>
    Promise.resolve({ kind: 'accepted', verb: 'topUp', person: 'op', reason: 'more', data: { usdMicros } } as const),
});
const DEAR = [{ cost: { worstMicros: 5_000 } }] as never;

test('BU6 a priced call that the budget cannot pay pauses the run; after a top-up the same call is made, and no turn is lost', () =>
  withScript(
    env,
    { tools: DEAR, model: firstThen(wants({ to: 'bob' })), tool: () => done(5_000), ...topUpOf(10_000) },
    async (world, start) => {
      const handle = await start({ budget: { usdMicros: 4_000 } });
      const paused = await shows(handle, (s) => s.status === 'exhausted');
      expect(paused.needed).toEqual({ usdMicros: 5_000, tokens: 0, calls: 0 });
      expect(world.calls).toHaveLength(0);
      await env.sleep(3 * DAY);
      expect(world.models).toHaveLength(1); // the model is not asked what to do without it
      await handle.signal(topUpSignal, { envelope: 'signed' });
      expect(await handle.result()).toMatchObject({ status: 'answered', denials: [{ code: 'BUDGET_EXCEEDED' }] });
      expect(world.calls).toMatchObject([{ args: { to: 'bob' } }]);
      expect(world.models[1]?.results).toMatchObject([{ kind: 'stored', toolName: 'pay' }]);
      expect(world.texts.filter((text) => text.includes('used up'))).toHaveLength(1);
    },
  ));

test('BU6 with onExhausted stop the model reads that the call is too dear, free calls still run, and it answers', () =>
  withScript(
    env,
    { tools: DEAR, model: firstThen(wants({ to: 'bob' })), onExhausted: 'stop' },
    async (world, start) => {
      const result = await (await start({ budget: { usdMicros: 4_000 } })).result();
      expect(result).toMatchObject({ status: 'answered', denials: [{ code: 'BUDGET_EXCEEDED' }] });
      expect(world.calls).toHaveLength(0);
      expect(world.models[1]?.results).toMatchObject([
        { kind: 'inline', value: { error: { code: 'BUDGET_EXCEEDED' } } },
      ]);
    },
  ));

test('BU6 a priced call that an account cannot pay pauses the run until somebody changes the account', () =>
  withScript(
    env,
    {
      tools: DEAR,
      model: firstThen(wants({ to: 'bob' })),
      tool: (_input, n) =>
        n === 1
          ? {
              kind: 'denied',
              denial: {
                code: 'BUDGET_EXCEEDED',
                reason: 'too little',
                hint: 'wait',
                details: { scope: 'tenant', limitMicros: 1, spentMicros: 0, reservedMicros: 0, neededMicros: 5_000 },
              },
              account: { id: JSON.stringify(['acme', 'tenant', 'acme']), resetAtMs: null },
            }
          : done(),
    },
    async (world, start) => {
      const handle = await start();
      await shows(handle, (s) => s.status === 'exhausted');
      expect(world.models).toHaveLength(1);
      await env.sleep(DAY); // it asks again by itself, rarely: a change's word may be lost
      expect((await handle.result()).status).toBe('answered');
      expect(world.calls).toHaveLength(2);
    },
  ));

test('BU5 a lost model attempt is paid in full and tried again under a new reservation', () =>
  withScript(
    env,
    { model: (input, n) => (n === 1 ? { kind: 'lost', spent: input.reserved } : says('there')) },
    async (world, start) => {
      const result = await (await start()).result();
      expect(result.status).toBe('answered');
      expect(world.models.map((m) => m.call)).toEqual(['c1', 'c2']);
      expect(result.usage.usdMicros).toBe((world.models[0]?.reserved.usdMicros ?? 0) + 10);
    },
  ));

test('freeze holds before the next call, only a verified thaw lifts it', () =>
  withScript(
    env,
    {
      model: async (_i, n) => (n === 1 ? wants({ to: 'bob' }) : says('all done')),
      verifyCommand: (input) =>
        Promise.resolve(
          input.envelope === 'signed'
            ? { kind: 'accepted', verb: 'thaw', person: 'op', reason: '', data: {} }
            : { kind: 'rejected', reason: '' },
        ),
      tool: (_i, n) => (n === 1 ? asks(Date.now() + 400 * DAY) : done()),
    },
    async (world, start) => {
      const handle = await start();
      await shows(handle, asking);
      await handle.signal(freezeSignal, { by: 'op', reason: 'strange' });
      expect((await shows(handle, (s) => s.frozen !== null)).status).toBe('frozen');
      await approve(handle);
      await shows(handle, (s) => !asking(s));
      expect(world.calls).toHaveLength(1); // O3: after the yes everything is looked at again
      await handle.signal(thawSignal, { envelope: 'forged' });
      await shows(handle, (s) => s.rejectedMessages === 1);
      expect((await shows(handle, () => true)).frozen).not.toBeNull();
      await handle.signal(thawSignal, { envelope: 'signed' });
      const result = await handle.result();
      expect(result).toMatchObject({ status: 'answered' });
      expect(result.denials.map((d) => d.code)).toEqual(['FROZEN']);
    },
  ));

test('P7 a freeze beyond the run stops its model calls; the run waits and goes on after the thaw', () =>
  withScript(
    env,
    {
      model: async (_i, n) =>
        n <= 3
          ? { kind: 'denied', denial: { code: 'FROZEN', reason: 'the tenant is frozen', hint: 'wait', details: {} } }
          : says('all done'),
    },
    async (world, start) => {
      const handle = await start();
      const result = await handle.result();
      expect(result).toMatchObject({ status: 'answered', text: 'all done' });
      expect(world.models).toHaveLength(4);
      expect(result.denials.map((d) => d.code)).toEqual(['FROZEN', 'FROZEN', 'FROZEN']);
    },
  ));

test('cancel while an ask waits withdraws it, records and settles', () =>
  withScript(
    env,
    { model: firstThen(wants({ to: 'bob' })), tool: () => asks(Date.now() + 400 * DAY) },
    async (world, start) => {
      const handle = await start();
      await shows(handle, asking);
      await handle.cancel();
      expect((await handle.result()).status).toBe('stopped');
      expect(world.ended).toEqual([{ approvalId: 'ap-1', outcome: 'withdrawn' }]);
      expect(world.records.at(-1)?.closed?.status).toBe('stopped');
    },
  ));

test('a deadline ends a run that waits', () =>
  withScript(
    env,
    {
      model: firstThen(wants({ to: 'bob' })),
      tool: () => asks(Date.now() + 900 * DAY),
      deadlineMs: Date.now() + 800 * DAY,
    },
    async (_world, start) => {
      const handle = await start();
      const result = await handle.result();
      expect(result.status).toBe('expired');
    },
  ));

test('a tool the model invented is TOOL_UNKNOWN, arguments that are not JSON are ARGUMENTS_INVALID: numbered, told, nothing scheduled', () =>
  withScript(
    env,
    {
      model: firstThen({
        ...(wants() as Extract<CallModelResult, { kind: 'done' }>),
        toolCalls: [
          { id: 'a', toolName: 'wire', args: {} },
          { id: 'b', toolName: 'pay', args: {}, invalid: '{"to":' },
        ],
      }),
    },
    async (world, start) => {
      const result = await (await start()).result();
      expect(result.denials.map((d) => d.code)).toEqual(['TOOL_UNKNOWN', 'ARGUMENTS_INVALID']);
      expect(world.calls).toHaveLength(0);
      expect(world.records.at(-1)?.closed?.lastSeq).toBe(4);
    },
  ));
