import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import * as freeze from '../../client/cli/freeze.ts';
import * as freezes from '../../client/cli/freezes.ts';
import * as policy from '../../client/cli/policy.ts';
import type { Session } from '../../client/index.ts';
import { listPolicies } from '../../client/policies.ts';
import { generateKey, writeKeyFile } from '../../client/keys.ts';
import { defineTool } from '../../define/index.ts';
import { commandLine, writeConfig, type Printed } from '../support/cli.ts';
import { platform, type Platform } from '../support/platform.ts';

const CONFIG = `
import { z } from 'zod';
import { defineAgent, defineConfig, defineTool } from 'actguard';
const pay = defineTool({ name: 'pay', description: 'Pay somebody', effect: 'write', inputSchema: z.strictObject({ to: z.string() }), execute: () => ({ ok: true }) });
export default defineConfig({ tools: [pay], agents: [defineAgent({ name: 'desk', tools: [pay] })], policies: './policies' });
`;
const ALL = 'permit (principal, action, resource);\n';
const pay = defineTool({
  name: 'pay',
  description: 'Pay somebody',
  effect: 'write',
  inputSchema: z.strictObject({ to: z.string() }),
  execute: () => ({ ok: true }),
});
let p: Platform;
let actguard: (...args: string[]) => Promise<Printed>;
let config: string;
let session: Session;
let n = 0;
beforeAll(async () => {
  p = await platform({ tools: [pay] });
  actguard = commandLine(p, [policy, freeze, freezes]);
  config = writeConfig(p.directory, CONFIG);
  session = await p.actguard.session({ id: randomUUID(), agent: 'desk', user: 'alice', tenant: 'acme' });
});
afterAll(() => p?.end());

async function call(): Promise<string> {
  const result = await session.call('pay', { to: `x${++n}` });
  return result.kind === 'denied' ? result.denial.code : result.kind;
}

function folder(name: string, text: string): string {
  const path = join(p.directory, name);
  mkdirSync(path);
  writeFileSync(join(path, 'main.cedar'), text);
  return path;
}

test('P7 push, activate, list and roll back on a running stack: the next call is decided by it, without a restart', async () => {
  expect(await call()).toBe('done');
  const nobody = folder(
    'nobody',
    `${ALL}@id("closed") @hint("come back tomorrow")\nforbid (principal, action == Action::"pay", resource);`,
  );
  const pushed = await actguard('policy', 'push', nobody, '--config', config);
  const { digest } = pushed.json as { digest: string };
  expect(pushed.lines[0]).toBe(`pushed     ${digest}`);
  expect((await actguard('policy', 'push', nobody, '--config', config)).lines[0]).toBe(`known      ${digest}`);
  expect(await call()).toBe('done');

  const active = await actguard(
    'policy',
    'activate',
    digest.slice(0, 8),
    '--tenant',
    'acme',
    '--reason',
    'stop paying',
  );
  expect(active.json).toMatchObject({ kind: 'active', tenant: 'acme', digest, by: [expect.stringMatching(/^dev:/)] });
  expect(await session.call('pay', { to: 'nobody' })).toMatchObject({
    kind: 'denied',
    denial: { code: 'POLICY_DENIED', hint: 'come back tomorrow', details: { reasons: ['closed'] } },
  });
  const listed = await actguard('policy', 'list', '--tenant', 'acme');
  expect(listed.lines[0]).toMatch(new RegExp(`^active  ${digest.slice(0, 12)}  acme  .* by dev:.*: stop paying$`));

  await p.restart(); // what is active is in the database, not in the worker
  expect(await call()).toBe('POLICY_DENIED');

  expect((await actguard('policy', 'rollback', '--tenant', 'acme', '--reason', 'paying again')).json).toMatchObject({
    kind: 'active',
    digest: null,
    loosens: ['drops the forbid `closed`'],
  });
  await expect.poll(call, { timeout: 60_000, interval: 200 }).toBe('done'); // refusals need no claim: the worker looks every 2 s
  expect((await listPolicies(p.db, 'acme')).activations).toMatchObject([
    { digest: null, replaced: digest, reason: 'paying again' },
    { digest, replaced: null, reason: 'stop paying', active: false },
  ]);
});

test('P7 push refuses what does not fit the tools, with its line; a stranger activates nothing', async () => {
  const bad = folder('bad', `${ALL}forbid (principal, action == Action::"payy", resource);`);
  await expect(actguard('policy', 'push', bad, '--config', config)).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining('main.cedar:2:30') as string,
  });
  await expect(actguard('policy', 'activate', 'deadbeef', '--reason', 'x')).rejects.toMatchObject({
    code: 'ARGUMENTS_INVALID',
  });
  const key = join(p.directory, 'stranger.key');
  writeKeyFile(key, generateKey('olga'), null);
  const [set] = (await listPolicies(p.db, null)).sets;
  await expect(
    actguard('policy', 'activate', set?.digest ?? '', '--tenant', 'acme', '--reason', 'x', '--key', key),
  ).rejects.toMatchObject({
    code: 'FORBIDDEN',
  });
  expect(await call()).toBe('done');
});

test('P7 push refuses tools that no longer fit what is active, and says which policy; `--anyway` brings the set that mends it', async () => {
  const named = folder('named', `${ALL}@id("bob") forbid (principal, action == Action::"pay", resource) when { context.args.to == "bob" };`); // prettier-ignore
  const { digest } = (await actguard('policy', 'push', named, '--config', config)).json as { digest: string };
  await actguard('policy', 'activate', digest, '--tenant', 'acme', '--reason', 'not bob');
  const renamed = join(p.directory, 'renamed.config.ts');
  writeFileSync(renamed, CONFIG.replace('to: z.string()', 'recipient: z.string()'));
  const all = folder('mended', `${ALL}// mended`);
  await expect(actguard('policy', 'push', all, '--config', renamed)).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringMatching(
      new RegExp(`${digest.slice(0, 12)} of acme, main\\.cedar:2:\\d+: .*\\bto\\b`),
    ) as string,
  });
  expect((await actguard('policy', 'push', all, '--config', renamed, '--anyway')).exit).toBe(0);
  expect((await actguard('policy', 'push', all, '--config', config)).exit).toBe(0); // these tools fit
  await actguard('policy', 'rollback', '--tenant', 'acme', '--reason', 'done');
});

test('a shadow set is evaluated and recorded beside the one that decides, and enforces nothing', async () => {
  const strict = folder(
    'strict',
    '@id("only-bob") permit (principal, action, resource) when { context.args.to == "bob" };',
  );
  const { digest } = (await actguard('policy', 'push', strict, '--config', config)).json as { digest: string };
  await actguard('policy', 'shadow', digest, '--tenant', 'acme', '--reason', 'trying it');
  expect((await session.call('pay', { to: 'carol' })).kind).toBe('done');
  expect((await session.call('pay', { to: 'bob' })).kind).toBe('done');
  const rows = await p.db.query<{ body: string }>(
    `select convert_from(body, 'UTF8') as body from actguard.entries where kind = 'call.started' and run = $1 order by id desc limit 2`,
    [session.run],
  );
  expect(rows.map(({ body }) => (JSON.parse(body) as { data: object }).data)).toMatchObject([
    { reasons: ['all'], shadow: { policy: digest, decision: 'allow', reasons: ['only-bob'] } },
    { reasons: ['all'], shadow: { policy: digest, decision: 'deny', reasons: [] } },
  ]);
  await actguard('policy', 'shadow', 'none', '--tenant', 'acme', '--reason', 'seen enough');
  expect((await actguard('policy', 'list')).lines.filter((line) => line.startsWith('shadow'))).toEqual([]);
});

test.each([
  [['tool:pay', '--tenant', 'acme'], { scope: 'tool', value: 'pay' }],
  [['agent:desk', '--tenant', '*'], { scope: 'agent', value: 'desk' }],
  [['user:alice', '--tenant', 'acme'], { scope: 'user', value: 'alice' }],
  [['tenant:acme'], { scope: 'tenant', value: 'acme' }],
  [['all'], { scope: 'all', value: '*' }],
] as [string[], object][])('P7 freeze %j and thaw on a running stack', async (scope, details) => {
  const frozen = await actguard('freeze', ...scope, '--reason', 'looks odd');
  expect(frozen.json).toMatchObject({ ...details, frozen: true });
  expect(await session.call('pay', { to: `x${++n}` })).toMatchObject({
    kind: 'denied',
    denial: { code: 'FROZEN', details: { ...details, reason: 'looks odd' } },
  });
  expect((await actguard('freezes')).lines).toEqual([expect.stringContaining('looks odd')]);
  expect((await actguard('thaw', ...scope, '--reason', 'mended')).json).toMatchObject({ ...details, frozen: false });
  expect(await call()).toBe('done');
  expect((await actguard('freezes')).lines).toEqual(['nothing is frozen']);
  await expect(actguard('thaw', ...scope, '--reason', 'again')).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('P7 a scope that is wrong is refused with what to write', async () => {
  await expect(actguard('freeze', 'tool:pay', '--reason', 'x')).rejects.toMatchObject({ code: 'ARGUMENTS_INVALID', hint: expect.stringContaining('--tenant') as string }); // prettier-ignore
  await expect(actguard('freeze', 'room:pay', '--tenant', 'acme', '--reason', 'x')).rejects.toMatchObject({ code: 'ARGUMENTS_INVALID' }); // prettier-ignore
  expect(await call()).toBe('done');
});
