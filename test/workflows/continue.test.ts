import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { ulid } from 'ulid';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CallModelResult } from '../../activities/types.ts';
import type { RunResult } from '../../governance/call.ts';
import { workflowIdOf } from '../../workflows/ids.ts';
import { approvalSignal, freezeSignal, stateQuery, topUpSignal, type RunState } from '../../workflows/messages.ts';
import { asks, done, runInput, says, wants, withScript } from '../support/scripted.ts';
import { devEnv } from '../support/temporal.ts';

const DAY = 24 * 60 * 60 * 1000;
let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await devEnv();
});
afterAll(() => env?.teardown());

const firstThen = (first: CallModelResult) => (_input: unknown, n: number) => (n === 1 ? first : says('all done'));

async function eventually<T>(look: () => Promise<T>, holds: (seen: T) => boolean): Promise<T> {
  for (let i = 0; i < 1_200; i += 1) {
    const seen = await look().catch(() => undefined);
    if (seen !== undefined && holds(seen)) return seen;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('it never came');
}
const shows = (handle: WorkflowHandle, holds: (state: RunState) => boolean) =>
  eventually(() => handle.query<RunState>(stateQuery), holds);

/**
 * Signals of 1.9 MB, four at a time; the run gets to see each four. (Who sends 28 within one workflow task ends the run
 * by the server's limit, as they could by terminating it.)
 */
async function flood(handle: WorkflowHandle, count: number): Promise<void> {
  for (let sent = 4; sent <= count; sent += 4) {
    await Promise.all(Array.from({ length: 4 }, () => handle.signal('approval', 'x'.repeat(1_900_000))));
    await shows(handle, (s) => s.rejectedMessages >= sent);
  }
}

test(
  '32 signals of 1.9 MB while an ask waits: the run continues as new with its ask, and a yes still counts',
  () =>
    withScript(
      env,
      {
        model: firstThen(wants({ to: 'bob' }, { to: 'carl' })),
        tool: (_i, n) => (n === 1 ? asks(Date.now() + DAY) : done()),
      },
      async (world, start) => {
        const started = await start();
        const handle: WorkflowHandle = env.client.workflow.getHandle(started.workflowId);
        const first = (await handle.describe()).runId;
        await shows(handle, (s) => s.openAsks.length === 1);
        await flood(handle, 32);
        const state = await shows(handle, (s) => s.rejectedMessages >= 32);
        expect(state).toMatchObject({ status: 'waiting-approval', calls: 2 });
        expect((await handle.describe()).runId).not.toBe(first);
        await handle.signal(approvalSignal, { approvalId: 'ap-1', nonce: 'n-1', envelope: {} });
        expect(await handle.result()).toMatchObject({ status: 'answered', denials: [] });
        expect(world.calls.map((c) => [c.call, c.approvalId, (c.args as { to: string }).to])).toEqual([
          ['c2', null, 'bob'],
          ['c2', 'ap-1', 'bob'],
          ['c3', null, 'carl'],
        ]);
        expect(world.calls[1]?.continuedFrom).toBeTypeOf('string');
        expect(world.models[1]?.results).toMatchObject([{ call: 'c2' }, { call: 'c3' }]);
        expect(world.models.map((m) => m.turn)).toEqual([1, 2]);
        expect(world.ended).toEqual([]);
      },
    ),
  120_000,
);

test('BU6 a paused run continues as new and is told once: one entry, one mail, then the top-up counts', () =>
  withScript(
    env,
    {
      model: () => says('there'),
      verifyCommand: () =>
        Promise.resolve({ kind: 'accepted', verb: 'topUp', person: 'op', reason: '', data: { usdMicros: 1_000_000 } }),
    },
    async (world, start) => {
      const started = await start({ budget: { usdMicros: 500 } });
      const handle: WorkflowHandle = env.client.workflow.getHandle(started.workflowId);
      const first = (await handle.describe()).runId;
      await shows(handle, (s) => s.status === 'exhausted');
      await flood(handle, 8);
      await eventually(
        () => handle.describe(),
        (d) => d.runId !== first,
      );
      await shows(handle, (s) => s.status === 'exhausted' && s.needed !== null);
      await handle.signal(topUpSignal, { envelope: 'signed' });
      expect(((await handle.result()) as RunResult).status).toBe('answered');
      const kinds = world.records
        .concat(world.models as never)
        .flatMap((r) => r.entries.map((e) => [e.number, e.kind]));
      expect(kinds.filter(([, kind]) => kind === 'budget.exhausted')).toHaveLength(1);
      expect(world.notified).toEqual(['budget']);
    },
  ));

test('a freeze that came before the run was opened holds', () =>
  withScript(env, { model: () => says('never') }, async (world, _start, taskQueue) => {
    const run = ulid();
    const handle = await env.client.workflow.signalWithStart('agentRun', {
      taskQueue,
      workflowId: workflowIdOf(run),
      args: [runInput(run)],
      signal: freezeSignal,
      signalArgs: [{ by: 'op', reason: 'strange' }],
    });
    expect((await shows(handle, (s) => s.frozen !== null)).status).toBe('frozen');
    expect(world.models).toHaveLength(0);
    await handle.cancel();
    expect(((await handle.result()) as RunResult).status).toBe('stopped');
    expect(world.records.at(-1)?.closed).toEqual({ status: 'stopped', lastSeq: 0 });
  }));

test('an activity that no retry can mend ends the run as failed, closed in the ledger', () =>
  withScript(
    env,
    {
      model: firstThen(wants({ to: 'bob' })),
      tool: () =>
        Promise.reject(
          ApplicationFailure.create({ type: 'NOT_FOUND', message: 'there is no such run', nonRetryable: true }),
        ),
    },
    async (world, start) => {
      const result = await (await start()).result();
      expect(result).toMatchObject({ status: 'failed' });
      expect(result.text).toContain('there is no such run');
      expect(world.records.at(-1)?.closed?.status).toBe('failed');
    },
  ));

test('an input nobody can read fails the workflow, it does not wedge it', () =>
  withScript(env, { model: () => says('never') }, async (_world, _start, taskQueue) => {
    const workflowId = workflowIdOf(ulid());
    await env.connection.workflowService.startWorkflowExecution({
      namespace: 'default',
      workflowId,
      requestId: workflowId,
      workflowType: { name: 'agentRun' },
      taskQueue: { name: taskQueue },
      input: { payloads: [{ metadata: { encoding: Buffer.from('json/plain') }, data: Buffer.from('{not json') }] },
    });
    const handle = env.client.workflow.getHandle(workflowId);
    await expect(handle.result()).rejects.toMatchObject({ cause: { type: 'ARGUMENTS_INVALID' } });
  }));

test('P8 history grows by a constant per turn: the transcript travels by reference', () =>
  withScript(
    env,
    { model: (_i, n) => (n <= 12 ? wants({ to: `bob${n % 10}` }) : says('all done')), maxTurns: 20 },
    async (_world, start) => {
      const handle = await start();
      expect((await handle.result()).status).toBe('answered');
      const { events } = await handle.fetchHistory();
      const sizes = (events ?? [])
        .filter((e) => e.activityTaskScheduledEventAttributes?.activityType?.name === 'callModel')
        .map((e) => JSON.stringify(e.activityTaskScheduledEventAttributes?.input).length);
      expect(sizes).toHaveLength(13);
      expect(Math.max(...sizes.slice(1)) / Math.min(...sizes.slice(1))).toBeLessThan(1.05);
    },
  ));
