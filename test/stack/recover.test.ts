/** A run's identity: Temporal resets and restored databases freeze it until somebody signs; questions outlive their runs. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { makeCommand } from '../../client/commands.ts';
import { DEV_APPROVER_KEY_FILE, DEV_ROOT_KEY_FILE } from '../../client/dev-approver.ts';
import { addKey } from '../../client/directory.ts';
import { generateKey, readKeyFile } from '../../client/keys.ts';
import { commandRun } from '../../client/run-commands.ts';
import { listEntries } from '../../client/index.ts';
import { defineTool } from '../../define/index.ts';
import { workflowIdOf } from '../../workflows/ids.ts';
import { platform, type Platform } from '../support/platform.ts';

const effects: number[] = [];
const pay = defineTool({
  name: 'pay',
  description: 'Pay',
  effect: 'write',
  inputSchema: z.strictObject({ n: z.int() }),
  timeout: 200,
  settlesWithin: '1h',
  execute: async ({ n }) => {
    effects.push(n);
    if (n >= 100) await new Promise(() => undefined); // hangs: unknown
    return { n };
  },
});
let p: Platform;
beforeAll(async () => {
  p = await platform({ tools: [pay] });
});
afterAll(() => p?.end());

const open = () => p.actguard.session({ id: randomUUID(), agent: 'desk', user: 'alice', tenant: 'acme' });
const devKey = () => readKeyFile(join(p.directory, DEV_APPROVER_KEY_FILE), null);
const sign = (verb: 'recover' | 'resolve', run: string, data = {}, key = devKey()) =>
  makeCommand(verb, { tenant: 'acme', run, reason: 'I looked', data }, key, Date.now());
const count = (n: number): number => effects.filter((e) => e === n).length;

test('D3 P2 a run that was reset in Temporal is FROZEN until a signed recover; then its calls get their own results', async () => {
  const s = await open();
  const first = await s.call(pay, { n: 1 }, { callId: 'one' });
  const { client } = p.actguard;
  const workflowId = workflowIdOf(s.run);
  await client.workflowService.resetWorkflowExecution({
    namespace: 'default',
    workflowExecution: { workflowId, runId: (await client.workflow.getHandle(workflowId).describe()).runId },
    reason: 'a test',
    workflowTaskFinishEventId: 4 as never, // a Long in its types, a number on the wire
    requestId: randomUUID(),
  });
  const frozen = await s.call(pay, { n: 2 }, { callId: 'two' });
  expect(frozen).toMatchObject({
    kind: 'denied',
    denial: { code: 'FROZEN', hint: expect.stringContaining('actguard recover') },
  });
  expect(effects).toEqual([1]);
  const stranger = generateKey('eve');
  await expect(commandRun(p.actguard, s.run, sign('recover', s.run, {}, stranger))).rejects.toMatchObject({
    code: 'FORBIDDEN',
  });
  const signed = sign('recover', s.run);
  await commandRun(p.actguard, s.run, signed);
  await expect(commandRun(p.actguard, s.run, signed)).rejects.toMatchObject({ code: 'FORBIDDEN' }); // used
  await expect(commandRun(p.actguard, s.run, sign('recover', s.run))).rejects.toMatchObject({
    message: expect.stringContaining('nothing is wrong'),
  });
  expect(await s.call(pay, { n: 1 }, { callId: 'one' })).toEqual(first);
  expect((await s.call(pay, { n: 3 }, { callId: 'three' })).kind).toBe('done');
  expect([count(1), count(2), count(3)]).toEqual([1, 0, 1]);
  expect((await listEntries(p.db, { run: s.run, limit: 100 })).map((e) => e.kind)).toContain('run.recovered');
});

test('P2 a database that was restored without a call that the run has seen: FROZEN until a signed recover', async () => {
  const s = await open();
  await s.call(pay, { n: 11 }, { callId: 'one' });
  await s.call(pay, { n: 12 }, { callId: 'two' });
  await p.db.query(`delete from actguard.calls where run = $1 and call = 'two'`, [s.run]);
  expect(await s.call(pay, { n: 13 })).toMatchObject({
    kind: 'denied',
    denial: { code: 'FROZEN', reason: expect.stringContaining('restored'), details: { reason: 'restored' } },
  });
  await commandRun(p.actguard, s.run, sign('recover', s.run));
  expect((await s.call(pay, { n: 14 })).kind).toBe('done');
  expect([count(11), count(12), count(13), count(14)]).toEqual([1, 1, 0, 1]);
});

test('EX5 a question outlives its run: too early is refused, then a signed resolve counts, once', async () => {
  const s = await open();
  expect(await s.call(pay, { n: 100 }, { callId: 'x' })).toMatchObject({ kind: 'unknown' });
  await p.actguard.client.workflow.getHandle(workflowIdOf(s.run)).terminate('by hand');
  const did = (happened: boolean) =>
    sign('resolve', s.run, happened ? { call: 'x', happened, result: { n: 100 } } : { call: 'x', happened });
  await expect(commandRun(p.actguard, s.run, did(false))).rejects.toMatchObject({
    message: expect.stringContaining('could still land'),
  });
  await expect(
    commandRun(p.actguard, s.run, sign('resolve', s.run, { call: 'nobody', happened: true })),
  ).rejects.toMatchObject({
    message: expect.stringContaining('no such call'),
  });
  await p.db.query(`update actguard.calls set last_send_at = last_send_at - interval '2 h' where run = $1`, [s.run]);
  const clerk = generateKey('clerk');
  const root = readKeyFile(join(p.directory, DEV_ROOT_KEY_FILE), null);
  await addKey(p.db, clerk, root, { tenant: 'acme', roles: ['finance'], nowMs: Date.now() });
  await expect(
    commandRun(p.actguard, s.run, sign('resolve', s.run, { call: 'x', happened: false }, clerk)),
  ).rejects.toMatchObject({
    code: 'FORBIDDEN',
    message: expect.stringContaining('neither operator nor administrator'),
  });
  await commandRun(p.actguard, s.run, did(false));
  await expect(commandRun(p.actguard, s.run, did(true))).rejects.toMatchObject({
    message: expect.stringContaining('known'),
  });
  const kinds = (await listEntries(p.db, { run: s.run, limit: 100 })).map((e) => e.kind);
  expect(kinds).toEqual(
    expect.arrayContaining(['call.unknown', 'call.resolved', 'command.accepted', 'command.invalid']),
  );
});
