import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { WorkflowHandle } from '@temporalio/client';
import { ulid } from 'ulid';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CallToolResult } from '../../activities/types.ts';
import type { CallResult } from '../../governance/call.ts';
import {
  approvalSignal,
  callUpdate,
  closeSignal,
  outcomeQuery,
  stateQuery,
  type AgentRunInput,
  type RunState,
} from '../../workflows/messages.ts';
import { workflowIdOf } from '../../workflows/ids.ts';
import { asks, done, runInput, says, withScript, type Script, type World } from '../support/scripted.ts';
import { keepHistory } from '../support/histories.ts';
import { devEnv } from '../support/temporal.ts';

const DAY = 24 * 60 * 60 * 1000;
let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await devEnv();
});
afterAll(() => env?.teardown());

interface Opened {
  readonly handle: WorkflowHandle;
  readonly world: World;
  readonly call: (callId: string, args?: object, tool?: string) => Promise<CallResult>;
  readonly outcome: (callId: string) => Promise<CallResult | null>;
  readonly state: () => Promise<RunState>;
}

/** Opens a session whose activities follow the script. */
function withSession(script: Partial<Script>, work: (s: Opened) => Promise<void>, more: Partial<AgentRunInput> = {}) {
  return withScript(env, { model: () => says('never asked'), ...script }, async (world, _start, taskQueue) => {
    const run = ulid();
    const handle = await env.client.workflow.start('session', {
      taskQueue,
      workflowId: workflowIdOf(run),
      args: [{ ...runInput(run, more), session: 's' }],
    });
    const call: Opened['call'] = (callId, args = { to: 'bob' }, tool = 'pay') =>
      handle.executeUpdate(callUpdate, { args: [{ v: 1, callId, tool, args: args as never }] });
    await work({
      handle,
      world,
      call,
      outcome: (callId) => handle.query(outcomeQuery, callId),
      state: () => handle.query(stateQuery),
    });
  });
}

/** Looks until it is so. */
async function eventually<T>(look: () => Promise<T>, holds: (seen: T) => boolean): Promise<T> {
  for (let i = 0; i < 1_200; i += 1) {
    const seen = await look().catch(() => undefined);
    if (seen !== undefined && holds(seen)) return seen;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`it never came: ${JSON.stringify(await look().catch((e: unknown) => String(e))).slice(0, 500)}`);
}

/** Grows the history until the run continues as new. */
async function untilContinued(handle: WorkflowHandle): Promise<void> {
  const { runId } = await handle.describe();
  for (let i = 0; i < 4; i += 1) await handle.signal('approval', 'x'.repeat(1_900_000));
  await handle.signal('approval', null); // the server suggests it from the size before the last messages
  await eventually(
    () => handle.describe(),
    (seen) => seen.runId !== runId,
  );
}

/** A tool that answers when it is told to. */
function gate(result: CallToolResult = { ...done(), output: { ok: true } } as CallToolResult) {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { tool: () => opened.then(() => result), open: () => open() };
}

const approve = (handle: WorkflowHandle) =>
  handle.signal(approvalSignal, { approvalId: 'ap-1', nonce: 'n-1', envelope: {} });

test('D3 a call under way is pending to `outcome`, a call nobody made is null, the same callId gets one result', () => {
  const slow = gate();
  return withSession({ tool: slow.tool }, async ({ handle, world, call, outcome }) => {
    const first = call('a');
    expect(
      await eventually(
        () => outcome('a'),
        (r) => r !== null,
      ),
    ).toEqual({ kind: 'pending', callId: 'a' });
    expect(await outcome('b')).toBeNull();
    const second = call('a');
    slow.open();
    expect(await first).toEqual({ kind: 'done', output: { ok: true }, callId: 'a' });
    expect(await second).toEqual(await first);
    expect(await call('a', { to: 'eve' })).toMatchObject({ denial: { code: 'IDEMPOTENCY_CONFLICT' } });
    expect(world.calls).toHaveLength(1);
    await handle.signal(closeSignal);
    await handle.result();
    await keepHistory('session-calls', handle);
  });
});

test('close lets what runs finish, refuses what waits for a person, and closes the run after both', () => {
  const slow = gate();
  const tool: Script['tool'] = (input) => (input.call === 'asks' ? asks(Date.now() + DAY) : slow.tool());
  return withSession({ tool }, async ({ handle, world, call, outcome }) => {
    const running = call('runs');
    expect(await call('asks')).toEqual({ kind: 'pending', callId: 'asks', approvalId: 'ap-1' });
    await eventually(
      () => Promise.resolve(world.calls.length),
      (n) => n === 2,
    );
    await handle.signal(closeSignal);
    await eventually(
      () => Promise.resolve(world.ended.length),
      (n) => n === 1,
    );
    expect(world.records.some((r) => r.closed !== null)).toBe(false);
    expect(await call('late')).toMatchObject({ kind: 'denied', denial: { code: 'CONFLICT' } });
    slow.open();
    expect((await running).kind).toBe('done');
    expect(await handle.result()).toMatchObject({ status: 'stopped', usage: { calls: 1 } });
    expect(await outcome('asks')).toMatchObject({ kind: 'denied', denial: { code: 'CONFLICT' } });
    expect(world.ended).toEqual([{ approvalId: 'ap-1', outcome: 'withdrawn' }]);
    expect(world.records.at(-1)?.closed).toEqual({ status: 'stopped', lastSeq: 2 });
  });
});

test('cancel aborts what runs, settles its reservation, answers its caller and closes the run', () => {
  const slow = gate({ kind: 'unknown', reason: 'stopped', spentMicros: 7 });
  return withSession(
    { tool: slow.tool, tools: [{ cost: { worstMicros: 9, fixed: false } }], limit: { usdMicros: 100 } },
    async ({ handle, world, call }) => {
      const running = call('runs');
      await eventually(
        () => Promise.resolve(world.calls.length),
        (n) => n === 1,
      );
      await handle.cancel();
      slow.open();
      expect(await running).toEqual({ kind: 'unknown', callId: 'runs' });
      expect(await handle.result()).toMatchObject({ status: 'stopped', usage: { usdMicros: 7, calls: 1 } });
      expect(world.records.at(-1)?.closed).toEqual({ status: 'stopped', lastSeq: 1 });
    },
  );
});

test('a session continues as new with its open ask and its results: a yes still counts, nothing runs twice', () => {
  const tool: Script['tool'] = (input) =>
    input.call === 'asks' && input.approvalId === null
      ? asks(Date.now() + DAY)
      : ({ ...done(), output: { by: input.call } } as CallToolResult);
  return withSession({ tool }, async ({ handle, world, call, outcome, state }) => {
    const first = await call('one');
    await call('asks');
    await untilContinued(handle);
    expect((await eventually(state, (s) => s.openAsks.length === 1)).rejectedMessages).toBeGreaterThanOrEqual(3);
    expect(await outcome('asks')).toEqual({ kind: 'pending', callId: 'asks', approvalId: 'ap-1' });
    expect(await call('one')).toEqual(first);
    await approve(handle);
    const answered = await eventually(
      () => outcome('asks'),
      (r) => r?.kind === 'done',
    );
    expect(answered).toEqual({ kind: 'done', output: { by: 'asks' }, callId: 'asks' });
    expect(world.calls.map((c) => [c.call, c.seq, c.approvalId])).toEqual([
      ['one', 1, null],
      ['asks', 2, null],
      ['asks', 2, 'ap-1'],
    ]);
    expect((await call('two')).kind).toBe('done');
    expect(world.calls.at(-1)?.seq).toBe(3);
    expect((await state()).usage.calls).toBe(3);
  });
});

/** Asks for `bob`; an equal call joins, and is looked at again once what it joined is over. */
const joining: Script['tool'] = (input, n) => {
  const own = { ...done(), output: { by: input.call } } as CallToolResult;
  if ((input.args as { to: string }).to !== 'bob' || input.approvalId !== null) return own;
  const asked = asks(Date.now() + DAY) as Extract<CallToolResult, { kind: 'ask' }>;
  if (input.equal !== undefined) return { ...asked, ask: { ...asked.ask, joined: true } };
  return n > 2 ? own : asked;
};

test('P4 equal calls join: people are told once; a yes is used by the call that asked, the other one is looked at after it', () =>
  withSession({ tool: joining }, async ({ handle, world, call, outcome, state }) => {
    for (const callId of ['first', 'second'])
      expect(await call(callId)).toEqual({ kind: 'pending', callId, approvalId: 'ap-1' });
    expect((await call('other', { to: 'eve' })).kind).toBe('done');
    expect(world.calls.map((c) => c.equal)).toEqual([undefined, 'ap-1', undefined]);
    expect((await state()).openAsks.map((a) => a.call)).toEqual(['first']);
    expect(world.notified.filter((what) => what === 'ask')).toHaveLength(1);
    await approve(handle);
    await eventually(
      () => outcome('second'),
      (r) => r?.kind === 'done',
    );
    expect(await outcome('first')).toMatchObject({ kind: 'done', output: { by: 'first' } });
    expect(world.calls.slice(3).map((c) => [c.call, c.approvalId, c.equal])).toEqual([
      ['first', 'ap-1', undefined],
      ['second', null, undefined],
    ]);
    expect((await state()).usage.calls).toBe(3);
    await handle.signal(closeSignal);
    await handle.result();
    await keepHistory('session-equal-asks', handle);
  }));

test('P4 equal calls share the no; of a run that ends, the ask is withdrawn once', () => {
  const recordAnswer: Script['recordAnswer'] = () =>
    Promise.resolve({ kind: 'accepted', decision: 'reject', complete: true, person: 'fin' });
  const two = async ({ call }: Opened): Promise<void> => {
    for (const callId of ['first', 'second']) await call(callId);
  };
  return withSession({ tool: joining, recordAnswer }, async (rejected) => {
    await two(rejected);
    await approve(rejected.handle); // by its looks; the activity says what it is
    for (const callId of ['first', 'second']) {
      const came = await eventually(
        () => rejected.outcome(callId),
        (r) => r?.kind === 'denied',
      );
      expect(came).toMatchObject({ denial: { code: 'APPROVAL_REJECTED', details: { approvalId: 'ap-1' } } });
    }
    expect(rejected.world.calls).toHaveLength(2);
    await withSession({ tool: joining }, async (ended) => {
      await two(ended);
      await ended.handle.signal(closeSignal);
      await ended.handle.result();
      expect(ended.world.ended).toEqual([{ approvalId: 'ap-1', outcome: 'withdrawn' }]);
      expect((await ended.state()).status).toBe('stopped');
    });
  });
});

test('results past what a state may hold are left to the database: read again without a count, a number or money', () => {
  const tool: Script['tool'] = (input) =>
    ({ ...done(5), output: { by: input.call, text: 'x'.repeat(60_000) } }) as CallToolResult;
  return withSession({ tool, limit: { usdMicros: 1_000 } }, async ({ handle, world, call, outcome, state }) => {
    for (let i = 0; i < 10; i += 1) await call(`c-${i}`);
    await untilContinued(handle);
    const before = (await eventually(state, () => true)).usage;
    expect(await outcome('c-0')).toMatchObject({ kind: 'failed', error: { code: 'LIMIT_EXCEEDED' } });
    expect((await outcome('c-9'))?.kind).toBe('done');
    expect(await call('c-0')).toMatchObject({ kind: 'done', output: { by: 'c-0' } });
    expect(world.calls.at(-1)).toMatchObject({
      call: 'c-0',
      seq: 1,
      again: true,
      reserved: { usdMicros: 0, calls: 0 },
    });
    expect((await state()).usage).toEqual(before);
    expect((await state()).calls).toBe(10);
  });
});

test('a call that runs past the deadline makes no timers, finishes, and the session then ends expired', () => {
  const slow = gate();
  return withSession({ tool: slow.tool, deadlineInMs: 3_000 }, async ({ handle, world, call }) => {
    const running = call('runs');
    await eventually(
      () => Promise.resolve(world.calls.length),
      (n) => n === 1,
    );
    const fired = async () => {
      const { events } = await handle.fetchHistory();
      return events?.filter((e) => e.timerFiredEventAttributes).length ?? 0;
    };
    await eventually(fired, (n) => n >= 1);
    await handle.signal('approval', null); // wakes it once more
    slow.open();
    expect((await running).kind).toBe('done');
    expect((await handle.result()).status).toBe('expired');
    expect(await fired()).toBe(1);
  });
});

test('a call costs an Update and an activity, no timer: 11 events', () =>
  withSession({}, async ({ handle, call }) => {
    await call('warm');
    const count = async () => (await handle.fetchHistory()).events?.length ?? 0;
    await eventually(count, () => true);
    const before = await count();
    for (let i = 0; i < 4; i += 1) await call(`n-${i}`, { to: `p${i}` });
    const events = (await handle.fetchHistory()).events ?? [];
    expect(events.length - before).toBeLessThanOrEqual(4 * 11);
    expect(events.filter((e) => e.timerStartedEventAttributes)).toHaveLength(1); // the idle end
  }));
