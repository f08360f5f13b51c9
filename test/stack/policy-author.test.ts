import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { z } from 'zod';
import * as approve from '../../client/cli/approve.ts';
import * as policy from '../../client/cli/policy.ts';
import { listApprovals } from '../../client/approvals.ts';
import type { Session } from '../../client/index.ts';
import { defineTool } from '../../define/index.ts';
import type { JsonObject } from '../../governance/json.ts';
import { gate } from '../policy/world.ts';
import { commandLine, writeConfig, type Printed } from '../support/cli.ts';
import { platform, type Platform } from '../support/platform.ts';

const CONFIG = `
import { z } from 'zod';
import { defineAgent, defineConfig, defineTool } from 'actguard';
const refund = defineTool({ name: 'payments.refund', description: 'Refund', effect: 'write', rateLimit: { maxCalls: 3, period: '1h' }, inputSchema: z.strictObject({ id: z.string(), amountCents: z.int() }), execute: () => ({ ok: true }) });
export default defineConfig({ tools: [refund], agents: [defineAgent({ name: 'desk', tools: [refund] })], policies: './policies' });
`;
const POLICIES = `@id("all") permit (principal, action, resource);
${gate('big', 10_000, '@roles("finance")')}
@id("never") @hint("not that much") forbid (principal, action, resource) when { context.args.amountCents > 50000 };
`;
const refund = defineTool({
  name: 'payments.refund',
  description: 'Refund',
  effect: 'write',
  rateLimit: { maxCalls: 3, period: '1h' },
  inputSchema: z.strictObject({ id: z.string(), amountCents: z.int() }),
  execute: () => ({ ok: true }),
});
let p: Platform;
let actguard: (...args: string[]) => Promise<Printed>;
let config: string;
let session: Session;
beforeAll(async () => {
  p = await platform({ tools: [refund], policy: POLICIES });
  actguard = commandLine(p, [policy, approve]);
  config = writeConfig(p.directory, CONFIG);
  session = await p.actguard.session({ id: randomUUID(), agent: 'desk', user: 'alice', tenant: 'acme' });
  const call = (name: string, amountCents: number) => session.call('payments.refund', { id: name, amountCents }, { callId: name }); // prettier-ignore
  expect(await call('small', 500)).toMatchObject({ kind: 'done' });
  expect(await call('asked', 20_000)).toMatchObject({ kind: 'pending' });
  await vi.waitFor(async () => actguard('approve', (await listApprovals(p.db, {}))[0]?.approvalId ?? ''), 60_000);
  await vi.waitFor(async () => expect(await session.outcome('asked')).toMatchObject({ kind: 'done' }), 60_000);
  expect(await call('denied', 60_000)).toMatchObject({ kind: 'denied' });
  expect(await call('second', 700)).toMatchObject({ kind: 'done' });
  expect(await call('limited', 800)).toMatchObject({ kind: 'denied', denial: { code: 'RATE_LIMITED' } });
});
afterAll(() => p?.end());

function folder(name: string, text: string): string {
  const path = join(p.directory, name);
  mkdirSync(path);
  writeFileSync(join(path, 'main.cedar'), text);
  return path;
}
const explain = async (call: string): Promise<{ text: string; decisions: readonly JsonObject[] }> => {
  const { lines, json } = await actguard('policy', 'explain', `${session.run}/${call}`, '--config', config);
  return { text: lines.join('\n'), decisions: (json as { decisions: JsonObject[] }).decisions };
};

test('P1 explain shows what was asked, who answered and with which text; Cedar alone decides the same', async () => {
  const small = await explain('small');
  expect(small.text).toContain('payments.refund in acme: allowed by `all`');
  expect(small.text).toContain('// test.cedar:1\n@id("all") permit (principal, action, resource);');
  expect(small.text).toContain('"amountCents": 500');
  const denied = await explain('denied');
  expect(denied.text).toContain('denied by `big`, `never`');
  const asked = await explain('asked');
  expect(asked.text).toMatch(/asked by `big`[^]*allowed after a yes by `all`/);
  expect((await explain('limited')).decisions).toMatchObject([{ was: 'allow', reasons: ['all'] }]);
  for (const { decisions } of [small, denied, asked]) {
    expect(decisions.length).toBeGreaterThan(0);
    for (const decision of decisions) expect(decision).toMatchObject({ repeats: true, holds: true });
  }
  await expect(explain('nothing')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(actguard('policy', 'explain', 'x')).rejects.toMatchObject({ code: 'ARGUMENTS_INVALID' });
});

test('replay decides every recorded call under another set: allowed, asked, denied instead, with examples', async () => {
  const replay = async (name: string, text: string, ...more: string[]) =>
    await actguard('policy', 'replay', '--since', '1d', '--policies', folder(name, text), '--config', config, ...more);
  const same = await replay('same', POLICIES);
  expect(same.json).toMatchObject({ decisions: 6, changed: {}, unreadable: 0, examples: [] });
  const strict = await replay('strict', POLICIES.replace('> 10000', '> 600').replace('> 50000', '> 15000'));
  expect(strict.json).toMatchObject({
    decisions: 6,
    changed: { 'allow -> ask': 2, 'ask -> deny': 1, 'allow -> deny': 1 },
  });
  expect(strict.lines).toContainEqual(expect.stringMatching(/^allow -> ask +\S+\/second +payments\.refund: was by `all`, is by `big`$/)); // prettier-ignore
  const loose = await replay('loose', 'permit (principal, action, resource);');
  expect(loose.json).toMatchObject({ changed: { 'ask -> allow': 1, 'deny -> allow': 1 } });
  const elsewhere = await replay('elsewhere', POLICIES.replace('> 10000', '> 1'), '--tenant', 'globex');
  expect(elsewhere.json).toMatchObject({ decisions: 0 });
});

test('P6 a request that was changed beside its entry is not believed', async () => {
  await p.db.query(
    `update actguard.entry_contents set content = jsonb_set(content, '{request,context,args,amountCents}', '1')
     where entry_id in (select id from actguard.entries where run = $1 and call = 'denied')`,
    [session.run],
  );
  expect((await explain('denied')).text).toContain('not the one that the entry commits to');
  const { json } = await actguard('policy', 'replay', '--config', config, '--policies', join(p.directory, 'policies'));
  expect(json).toMatchObject({ decisions: 6, changed: {}, unreadable: 1 });
  await p.db.query(`delete from actguard.entry_contents where entry_id in (select id from actguard.entries where run = $1 and call = 'denied')`, [session.run]); // prettier-ignore
  expect((await explain('denied')).text).toContain('the request was erased');
});
