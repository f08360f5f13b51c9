import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { z } from 'zod';
import { recordAnswer } from '../../activities/approvals.ts';
import { ensureDevApprover } from '../../activities/directory.ts';
import { loadPolicies } from '../../activities/policy-load.ts';
import { makeAnswer, readApproval } from '../../client/approvals.ts';
import { devApprover } from '../../client/dev-approver.ts';
import { defineTool } from '../../define/index.ts';
import type { LiveFact } from '../../governance/call.ts';
import { desk } from '../support/calls.ts';

const { db, worker } = desk();
const folder = mkdtempSync(join(tmpdir(), 'actguard-guards-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

class BankError extends Error {
  override readonly name = 'BankError';
  readonly code: string;
  constructor(message: string, code: string) {
    super(message);
    this.code = code;
  }
}

let tries = 0;
const failing = (name: string, effect: 'read' | 'write', error: () => Error, more: object = {}) =>
  defineTool({
    name,
    description: name,
    effect,
    inputSchema: z.strictObject({ to: z.string() }),
    execute: (_args, ctx) => {
      tries += 1;
      keys.push(ctx.idempotencyKey);
      throw error();
    },
    ...more,
  });
let keys: string[] = [];

test('CB6 the original error’s name and message reach the caller unchanged', async () => {
  const run = await worker([
    failing('look', 'read', () => new BankError('vault 7 is closed', 'X'), { retry: { maximumAttempts: 1 } }),
  ]).run();
  expect(await run.call('look', { to: 'a' })).toMatchObject({
    kind: 'failed',
    error: { code: 'TOOL_FAILED', cause: { name: 'BankError', message: 'vault 7 is closed', kind: 'unknown' } },
  });
});

test('RT1 a read is tried again by Temporal for the listed kinds, as one call with one slot; then it fails', async () => {
  tries = 0;
  const tool = failing('look', 'read', () => new BankError('gone', 'ECONNRESET'), {
    retry: { maximumAttempts: 3, initialInterval: 500, backoffCoefficient: 2 },
    rateLimit: { maxCalls: 1, period: '1h', scope: 'run' },
  });
  const run = await worker([tool]).run();
  const attempt = (n: number) => run.call('look', { to: 'a' }, { call: 'x', attempt: n });
  await expect(attempt(1)).rejects.toMatchObject({ type: 'TOOL_FAILED', nonRetryable: false, nextRetryDelay: 500 });
  await expect(attempt(2)).rejects.toMatchObject({ nextRetryDelay: 1_000 });
  expect(await attempt(3)).toMatchObject({ kind: 'failed', error: { cause: { kind: 'transport' } } });
  expect(tries).toBe(3);
  const kinds = await db().query<{ kind: string }>('select kind from actguard.entries where run = $1 and call = $2', [
    run.run,
    'x',
  ]);
  expect(kinds.map((k) => k.kind).sort()).toEqual(['call.failed', 'call.started']);
});

test('RT1 kinds that are not listed are not tried again; a write that may have landed never, without a receiver’s key', async () => {
  const run = await worker([
    failing('look', 'read', () => new BankError('no', 'X'), {}),
    failing('send', 'write', () => new BankError('gone', 'ECONNRESET'), {}),
  ]).run();
  expect((await run.call('look', { to: 'a' })).kind).toBe('failed');
  expect((await run.call('send', { to: 'a' })).kind).toBe('failed'); // nothing left the machine: ctx.fetch was never called
});

test('RT1 EX5 a write whose receiver honours our key is tried again with the same key', async () => {
  keys = [];
  const tool = failing('send', 'write', () => new BankError('gone', 'ECONNRESET'), {
    idempotency: { key: ({ to }: { to: string }) => `send:${to}`, receiver: { header: 'idempotency-key' } },
    retry: { maximumAttempts: 2 },
  });
  const run = await worker([tool]).run();
  await expect(run.call('send', { to: 'a' }, { call: 'x' })).rejects.toMatchObject({ type: 'TOOL_FAILED' });
  await run.call('send', { to: 'a' }, { call: 'x', attempt: 2 });
  expect(keys).toEqual(['send:a', 'send:a']);
});

test('D1 a denial carries code, reason, hint and details; text of arguments is quoted and escaped', async () => {
  const run = await worker([
    failing('send', 'write', () => new Error('no'), {
      requires: {},
      rateLimit: { maxCalls: 1, period: '1h', scope: { argument: 'to' } },
    }),
  ]).run();
  await run.call('send', { to: 'a‮b' });
  const denied = await run.call('send', { to: 'a‮b' }, { call: 'y' });
  expect(denied.kind).toBe('denied');
  if (denied.kind !== 'denied') return;
  expect(Object.keys(denied.denial).sort()).toEqual(['code', 'details', 'hint', 'reason', 'retryAfterMs']);
  expect(denied.denial.reason).toContain('`a\\u202eb`');
  expect(denied.denial.retryAfterMs).toBeGreaterThan(0);
});

test('FA5 P4 the facts an ask was made with count until it expires, though they have run out meanwhile', async () => {
  const dev = devApprover(folder, 'tester', Date.now());
  const tool = defineTool({
    name: 'send',
    description: 'Send',
    effect: 'write',
    inputSchema: z.strictObject({ to: z.string() }),
    requires: { to: 'person' },
    execute: ({ to }) => ({ to }),
  });
  const find = defineTool({
    name: 'find',
    description: 'Find',
    effect: 'read',
    inputSchema: z.strictObject({}),
    outputSchema: z.object({ id: z.string() }),
    proves: { id: 'person' },
    execute: () => ({ id: 'bob' }),
  });
  const policy = loadPolicies({
    files: [
      {
        name: 'gate.cedar',
        text: '@id("all") permit (principal, action, resource);\n@id("sends") @gate("approval") @roles("finance") @quorum("1") forbid (principal, action == Action::"send", resource) unless { context.approved.contains(Gate::"sends") };',
      },
    ],
    tools: [tool.manifest, find.manifest],
    agents: ['desk', 'other'],
  });
  const w = worker([tool, find], { policy, roots: [dev.rootKeyId] });
  await ensureDevApprover(w.shared.deps, dev);
  const run = await w.run();
  const facts: LiveFact[] = [
    { kind: 'person', value: 'bob', provedAtMs: Date.now(), expiresAtMs: Date.now() + 60_000, call: 'c0' },
  ];
  const asked = await run.call('send', { to: 'bob' }, { call: 'x', facts });
  if (asked.kind !== 'ask') throw new Error(JSON.stringify(asked));
  const { approvalId } = asked.ask;
  const { request } = await readApproval(db(), approvalId);
  const signal = makeAnswer(request, 'approve', dev.approver, Date.now());
  const answer = await recordAnswer(
    w.shared.deps,
    { v: 1, run: run.run, entries: [], approvalId, envelope: signal.envelope },
    'delivery-1',
  );
  expect(answer).toMatchObject({ kind: 'accepted', complete: true });
  // without the approval and without live facts it is refused; with it, it runs, once
  expect(await run.call('send', { to: 'bob' }, { call: 'other', facts: [] })).toMatchObject({
    denial: { code: 'FACT_MISSING' },
  });
  expect(await run.call('send', { to: 'bob' }, { call: 'x', facts: [], approvalId })).toMatchObject({
    kind: 'done',
    output: { to: 'bob' },
  });
  expect(await run.call('send', { to: 'eve' }, { call: 'x2', facts: [], approvalId })).toMatchObject({
    denial: { code: 'APPROVAL_INVALID' },
  });
});
