/** Governed calls in a workflow of one's own, with scripted activities on another task queue. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { bundleWorkflowCode, Worker, type WorkflowBundle } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CallToolResult } from '../../activities/types.ts';
import { governedWorkflow } from '../../client/index.ts';
import { payloadConverterPath } from '../../workflows/converter-path.ts';
import { approvalSignal, stateQuery } from '../../workflows/messages.ts';
import { asks, done, says, withScript, type Script, type World } from '../support/scripted.ts';
import { devEnv } from '../support/temporal.ts';

const DAY = 24 * 60 * 60 * 1000;
const OWN = `
import { continueAsNew, proxyActivities, sleep, CancellationScope, isCancellation } from '@temporalio/workflow';
import { openGoverned } from '${pathToFileURL(resolve('workflows/index.ts')).href.replace('file://', '')}';
const bare = proxyActivities({ startToCloseTimeout: '10s' });

export async function pays(o, names, carried) {
  const run = await openGoverned(o, carried);
  const kinds = [];
  for (const to of names) kinds.push((await run.call('pay', { to })).kind);
  await run.close();
  return { kinds, usage: run.usage };
}
export async function outputs(o) {
  const run = await openGoverned(o);
  const { output } = await run.call('pay', { to: 'bob' });
  await run.close();
  return output;
}
export async function continues(o, round, carried) {
  const run = await openGoverned(o, carried);
  const { kind } = await run.call('pay', { to: 'r' + round });
  if (round < 3) return continueAsNew(o, round + 1, await run.state());
  await run.close();
  return { kind, usage: run.usage };
}
export async function careless(o) {
  const run = await openGoverned(o);
  const call = run.call('pay', { to: 'bob' });
  const early = await run.state().catch((e) => e.type);
  await call;
  await run.close();
  await run.close();
  return [early, await run.call('pay', {}).catch((e) => e.type)];
}
export async function cancels(o) {
  const run = await openGoverned(o);
  try {
    return (await run.call('pay', { to: 'bob' })).kind;
  } catch (error) {
    await run.close('stopped');
    return isCancellation(error) ? 'cancelled' : 'other';
  }
}
export async function parents(o, budgets) {
  const run = await openGoverned(o);
  const ended = [];
  for (const budget of budgets) {
    const child = await run.child({ agent: 'writer', input: 'write', budget });
    ended.push(child.kind === 'ended' ? child.result.status : child.denial.code);
  }
  const wrong = await run.child({ agent: 'writer', input: 'write', budget: { usd: 'lots' } }).catch((e) => e.type);
  await run.close();
  return { ended, wrong, usage: run.usage };
}
export async function labelled(o, labels, calls) {
  const run = await openGoverned({ ...o, labels });
  const ended = [];
  for (const [to, label] of calls) {
    const result = await run.call('pay', { to }, { label });
    ended.push(result.kind === 'denied' ? result.denial.reason.split('\\x60')[1] : result.kind);
  }
  const { labels: left } = await run.state();
  await run.close();
  return { ended, left, usage: run.usage };
}
export async function compares(o) {
  await bare.bare();
  await bare.bare();
  const run = await openGoverned(o);
  await run.call('pay', { to: 'bob' });
  await run.call('pay', { to: 'carl' });
}
`;

let env: TestWorkflowEnvironment;
let bundle: WorkflowBundle;
const folder = mkdtempSync(join(tmpdir(), 'actguard-own-'));
beforeAll(async () => {
  env = await devEnv();
  const workflowsPath = join(folder, 'own.js');
  writeFileSync(workflowsPath, OWN);
  bundle = await bundleWorkflowCode({
    workflowsPath,
    payloadConverterPath,
    webpackConfigHook: (config) => ({
      ...config,
      resolve: { ...config.resolve, modules: [resolve('node_modules'), 'node_modules'] },
    }),
  });
});
afterAll(async () => {
  await env?.teardown();
  rmSync(folder, { recursive: true, force: true });
});

/** The user's worker runs the workflow; the scripted activities are polled on the other queue. */
function own<T>(
  script: Partial<Script>,
  work: (start: (workflow: string, ...args: unknown[]) => Promise<WorkflowHandle>, world: World) => Promise<T>,
): Promise<T> {
  return withScript(env, { model: () => says('never asked'), ...script }, async (world, _start, activityQueue) => {
    const taskQueue = randomUUID();
    const worker = await Worker.create({
      ...{ connection: env.nativeConnection, taskQueue, workflowBundle: bundle },
      dataConverter: { payloadConverterPath },
      activities: { bare: () => Promise.resolve() },
    });
    const options = { tenant: 'acme', user: 'alice', agent: 'desk', taskQueue: activityQueue };
    const start = (workflow: string, ...args: unknown[]) => {
      const named = governedWorkflow({ tenant: 'acme', agent: 'desk', id: randomUUID() }).start;
      const searchAttributes = { ...named.searchAttributes };
      return env.client.workflow.start(workflow, { ...named, searchAttributes, taskQueue, args: [options, ...args] });
    };
    return worker.runUntil(() => work(start, world));
  });
}

test('the calls of a user’s workflow are governed: refusals are values, the rest is counted, the run is closed', () =>
  own({ limit: { calls: 2 } }, async (start, world) => {
    const handle = await start('pays', ['bob', 'carl', 'dora']);
    expect(await handle.result()).toMatchObject({ kinds: ['done', 'done', 'denied'], usage: { calls: 2 } });
    expect(world.records.at(-1)?.closed).toEqual({ status: 'answered', lastSeq: 3 });
  }));

test('D3 EX5 a call whose outcome was unknown at first answers its own output once it is known', () =>
  own(
    {
      tool: ({ inline }, n): CallToolResult =>
        n === 1
          ? { kind: 'unknown', reason: '', spentMicros: 0, askAgainMs: 1, needsPerson: false }
          : ({ ...done(), ...(inline ? { output: { receipt: 7 } } : {}) } as CallToolResult),
    },
    async (start) => expect(await (await start('outputs')).result()).toEqual({ receipt: 7 }),
  ));

test('its own continue-as-new carries budget, numbers and entries', () =>
  own({ limit: { calls: 2 } }, async (start, world) => {
    const handle = await start('continues', 1);
    expect(await handle.result()).toMatchObject({ kind: 'denied', usage: { calls: 2 } });
    expect(world.calls.map((c) => [c.seq, typeof c.continuedFrom])).toEqual([
      [1, 'undefined'],
      [2, 'string'],
    ]);
  }));

test('a call that a person has to answer is waited for; a cancelled workflow withdraws its ask', () =>
  own({ tool: (input) => (input.approvalId === null ? asks(Date.now() + DAY) : done()) }, async (start, world) => {
    const first = await start('pays', ['bob']);
    const second = await start('cancels');
    for (const handle of [first, second]) await untilAsked(handle);
    await first.signal(approvalSignal, { approvalId: 'ap-1', nonce: 'n-1', envelope: {} });
    expect(await first.result()).toMatchObject({ kinds: ['done'] });
    await second.cancel();
    expect(await second.result()).toBe('cancelled');
    expect(world.ended).toEqual([{ approvalId: 'ap-1', outcome: 'withdrawn' }]);
  }));

test('state() while a call is under way, a call after close: CONFLICT; closing twice is harmless', () =>
  own({}, async (start, world) => {
    expect(await (await start('careless')).result()).toEqual(['CONFLICT', 'CONFLICT']);
    expect(world.records.filter((r) => r.closed !== null)).toHaveLength(1);
  }));

test('a workflow of another id, a foreign state, a budget that is none are refused and do not hang', () =>
  own({}, async (start) => {
    const foreign = start('pays', [], { v: 1, run: 'another' });
    await expect((await foreign).result()).rejects.toMatchObject({ cause: { type: 'ARGUMENTS_INVALID' } });
    await expect(
      env.client.workflow.execute('pays', {
        ...{ workflowId: `order-${randomUUID()}`, taskQueue: (await (await foreign).describe()).taskQueue },
        args: [{ tenant: 'acme', user: 'alice', agent: 'desk' }, []],
      }),
    ).rejects.toMatchObject({ cause: { type: 'ARGUMENTS_INVALID' } });
    expect(() => governedWorkflow({ tenant: '', agent: 'a', id: 'b' })).toThrow(/tenant/);
  }));

test('P8 an allowed call costs the history events of a bare activity', () =>
  own({}, async (start) => {
    const handle = await start('compares');
    await handle.result();
    const events = (await handle.fetchHistory()).events ?? [];
    const at = events.flatMap((e) =>
      e.activityTaskScheduledEventAttributes
        ? [{ name: e.activityTaskScheduledEventAttributes.activityType?.name, id: Number(e.eventId) }]
        : [],
    );
    expect(at.map((e) => e.name)).toEqual(['bare', 'bare', 'openRun', 'callTool', 'callTool']);
    const [bare1, bare2, , call1, call2] = at.map((e) => e.id) as [number, number, number, number, number];
    expect(call2 - call1).toBe(bare2 - bare1);
  }));

async function untilAsked(handle: WorkflowHandle): Promise<void> {
  for (let i = 0; i < 400; i += 1) {
    const state = await handle.query(stateQuery).catch(() => null);
    if (state?.openAsks.length === 1) return;
    await new Promise((passed) => setTimeout(passed, 25));
  }
  throw new Error('nobody was asked');
}

test('BU7 a child run spends its parent’s budget: reserved whole before, settled with what it used, never more than is left', () =>
  own({ limit: { usdMicros: 5_000 }, model: () => says('written') }, async (start, world) => {
    // a model call here can cost about 1,200 micro-dollars, and costs 10
    const handle = await start('parents', [{ usd: 0.003 }, { usd: 0.004 }, { usd: 0.0005 }, { usd: 0.00499 }]);
    expect(await handle.result()).toMatchObject({
      ended: ['answered', 'answered', 'exhausted', 'BUDGET_EXCEEDED'],
      wrong: 'ARGUMENTS_INVALID',
      usage: { usdMicros: 20, calls: 2 },
    });
    const entries = world.records.flatMap((r) => r.entries);
    expect(entries.filter((e) => e.kind === 'child.started').map((e) => e.data['reserved'])).toMatchObject([
      { usdMicros: 3_000 },
      { usdMicros: 4_000 },
      { usdMicros: 500 },
    ]);
    expect(entries.filter((e) => e.kind === 'child.ended').map((e) => e.data['spent'])).toMatchObject([
      { usdMicros: 10 },
      { usdMicros: 10 },
      { usdMicros: 0 },
    ]);
    expect(world.models).toHaveLength(2);
  }));

test('BU2 labels inside a run: each has its part of the budget, an outer one counts its inner ones, the innermost is named', () =>
  own({ tools: [{ cost: { worstMicros: 4, fixed: false } }], tool: () => done(3) }, async (start, world) => {
    const labels = { search: { usd: 0.000007 }, report: { calls: 2 }, 'report/draft': { calls: 1 } };
    const calls = [
      ['a', 'search'],
      ['b', 'search'], // 3 spent and 4 needed: exactly 7
      ['c', 'search'], // 6 spent
      ['d', 'report/draft'],
      ['e', 'report/draft'],
      ['f', 'report'],
      ['g', 'report'],
      ['h', 'searching'],
    ];
    const handle = await start('labelled', labels, calls);
    const result = (await handle.result()) as { left: { [label: string]: { spent: object; reserved: object } } };
    expect(result).toMatchObject({
      ended: ['done', 'done', 'search', 'done', 'report/draft', 'done', 'report', 'done'],
      usage: { usdMicros: 15, calls: 5 },
    });
    expect(result.left['search']).toMatchObject({ spent: { usdMicros: 6, calls: 2 }, reserved: { usdMicros: 0 } });
    expect(result.left['report']).toMatchObject({ spent: { calls: 2 }, reserved: { calls: 0 } });
    expect(world.calls.map((c) => c.label)).toEqual(['search', 'search', 'report/draft', 'report', 'searching']);
  }));
