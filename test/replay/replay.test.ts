import { randomUUID } from 'node:crypto';
import { WithStartWorkflowOperation } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ChangeAccountResult } from '../../activities/account-types.ts';
import { newAccount } from '../../governance/account.ts';
import { makeBundle } from '../../worker/bundle.ts';
import type { budgetAccount } from '../../workflows/index.ts';
import { accountWorkflowIdOf } from '../../workflows/ids.ts';
import { payloadConverterPath } from '../../workflows/converter-path.ts';
import {
  accountQuery,
  accountUpdate,
  approvalSignal,
  freezeSignal,
  stateQuery,
  thawSignal,
  type AccountCommand,
  type RunState,
} from '../../workflows/messages.ts';
import { keepHistory, recordedHistories } from '../support/histories.ts';
import { asks, done, says, wants, withScript } from '../support/scripted.ts';
import { devEnv } from '../support/temporal.ts';

const DAY = 24 * 60 * 60 * 1000;
let env: TestWorkflowEnvironment;
let bundle: Awaited<ReturnType<typeof makeBundle>>;
beforeAll(async () => {
  [env, bundle] = await Promise.all([devEnv(), makeBundle()]);
});
afterAll(() => env?.teardown());

const replay = (history: unknown) =>
  Worker.runReplayHistory({ workflowBundle: bundle, dataConverter: { payloadConverterPath } }, history as object);

// Recorded with ACTGUARD_RECORD_HISTORIES=1: one a shape and release. A change that breaks one breaks runs under way.
for (const { name, json } of recordedHistories()) {
  test(`the recorded history ${name} replays`, () => replay(json));
}

test('there is a history of every shape', () => {
  expect(
    recordedHistories()
      .map((h) => h.name)
      .sort(),
  ).toEqual(
    [
      'agent-run-ask-frozen',
      'agent-run',
      'budget-account',
      'session-calls',
      'session-equal-asks',
      'session-reservations',
    ].sort(),
  );
});

test('a history of another order of things does not replay', async () => {
  const [first] = recordedHistories();
  const json = structuredClone(first?.json) as {
    events: { activityTaskScheduledEventAttributes?: { activityType: { name: string } } }[];
  };
  const scheduled = json.events.filter((e) => e.activityTaskScheduledEventAttributes)[1];
  if (scheduled?.activityTaskScheduledEventAttributes) {
    scheduled.activityTaskScheduledEventAttributes.activityType.name = 'callTool';
  }
  await expect(replay(json)).rejects.toThrow(/nondeterminism/i);
});

test('a run of today replays: model, tool, refusal, answer', () =>
  withScript(
    env,
    {
      model: (_i, n) => (n === 1 ? wants({ to: 'bob' }, { to: 'eve' }) : says('all done')),
      tool: (input) =>
        JSON.stringify(input.args).includes('eve')
          ? { kind: 'denied', denial: { code: 'POLICY_DENIED', reason: 'no', hint: 'ask', details: {} } }
          : done(),
    },
    async (_world, start) => {
      const handle = await start();
      await handle.result();
      await replay(await handle.fetchHistory());
      await keepHistory('agent-run', handle);
    },
  ));

test('a run of today replays: ask, freeze, thaw, yes', () =>
  withScript(
    env,
    {
      model: (_i, n) => (n === 1 ? wants({ to: 'bob' }) : says('all done')),
      tool: (_i, n) => (n === 1 ? asks(Date.now() + DAY) : done()),
      verifyCommand: () => Promise.resolve({ kind: 'accepted', verb: 'thaw', person: 'op', reason: '', data: {} }),
    },
    async (_world, start) => {
      const handle = await start();
      const shows = async (holds: (state: RunState) => boolean): Promise<void> => {
        for (let i = 0; i < 1_200; i += 1) {
          const state = await handle.query(stateQuery).catch(() => null);
          if (state && holds(state)) return;
          await new Promise((resolve) => setTimeout(resolve, 25));
        }
        throw new Error('the run never showed it');
      };
      await shows((s) => s.openAsks.length === 1);
      await handle.signal(freezeSignal, { by: 'op', reason: 'strange' });
      await shows((s) => s.frozen !== null);
      await handle.signal(thawSignal, { envelope: 'signed' });
      await shows((s) => s.frozen === null);
      await handle.signal(approvalSignal, { approvalId: 'ap-1', nonce: 'n-1', envelope: {} });
      expect((await handle.result()).status).toBe('answered');
      await replay(await handle.fetchHistory());
      await keepHistory('agent-run-ask-frozen', handle);
    },
  ));

test('an account of today replays: a limit, a refusal, a top-up that a run is told of', async () => {
  const taskQueue = randomUUID();
  const account = { tenant: 'acme', scope: 'tenant', value: 'acme' } as const;
  const first = newAccount(account, { limit: { calls: 1 }, window: 'total', zone: 'UTC' });
  let n = 0;
  const worker = await Worker.create({
    ...{ connection: env.nativeConnection, taskQueue, workflowBundle: bundle, dataConverter: { payloadConverterPath } },
    activities: {
      changeAccount: (): Promise<ChangeAccountResult> => {
        n += 1;
        if (n === 2) return Promise.resolve({ kind: 'rejected', code: 'CONFLICT', reason: 'below' });
        const state = { ...first, version: n };
        return Promise.resolve({ kind: 'changed', state, by: 'op', waiting: n === 3 ? ['actguard-run-gone'] : [] });
      },
    },
  });
  await worker.runUntil(async () => {
    const workflowId = accountWorkflowIdOf(randomUUID());
    const answers: string[] = [];
    for (let i = 0; i < 3; i += 1) {
      const startWorkflowOperation = new WithStartWorkflowOperation<typeof budgetAccount>('budgetAccount', {
        ...{ taskQueue, workflowId, workflowIdConflictPolicy: 'USE_EXISTING' },
        args: [{ v: 1, account }],
      });
      const args: [AccountCommand] = [{ v: 1, envelope: {} }];
      const update = { args, startWorkflowOperation };
      answers.push((await env.client.workflow.executeUpdateWithStart(accountUpdate, update)).kind);
    }
    expect(answers).toEqual(['changed', 'rejected', 'changed']);
    const handle = env.client.workflow.getHandle(workflowId);
    expect(await handle.query(accountQuery)).toMatchObject({ version: 3 });
    await handle.terminate('done');
    await replay(await handle.fetchHistory());
    await keepHistory('budget-account', handle);
  });
});
