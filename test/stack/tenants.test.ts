/** Every command of the command line, by a client that is kept to one tenant, about another: it learns and changes nothing. */
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { accountOf, changeAccount } from '../../client/accounts.ts';
import { DEV_ROOT_KEY_FILE, devApprover } from '../../client/dev-approver.ts';
import { freezeScope } from '../../client/freezes.ts';
import { connect, type ActGuard } from '../../client/index.ts';
import { invite } from '../../client/invitations.ts';
import { generateKey, readKeyFile, writeKeyFile } from '../../client/keys.ts';
import { createToken } from '../../client/tokens.ts';
import { defineTool } from '../../define/index.ts';
import type { Io } from '../../client/cli/io.ts';
import { noteKeyText } from '../../governance/note.ts';
import { commandLine, writeConfig } from '../support/cli.ts';
import { signerOf } from '../support/ledger.ts';
import { noteKey } from '../support/note-keys.ts';
import { platform, type Platform } from '../support/platform.ts';
import { temporalAddress } from '../support/temporal.ts';
import { digestOfTenant, tenantTables } from '../support/tenants.ts';

const OURS = 'acme';
const THEIRS = 'globex';
/** Stands in what is theirs, and nowhere in what is asked. */
const MARK = 'zorbmark';

const pay = defineTool({
  name: 'pay',
  description: 'Pay somebody',
  effect: 'write',
  inputSchema: z.strictObject({ to: z.string(), cents: z.int() }),
  cost: { usd: 1 },
  describe: ({ to, cents }) => `Pay ${to} ${cents} cents`,
  execute: () => ({ ok: true }),
});
const CONFIG = `
import { z } from 'zod';
import { defineAgent, defineConfig, defineTool } from 'actguard';
const inputSchema = z.strictObject({ to: z.string(), cents: z.int() });
const pay = defineTool({ name: 'pay', description: 'Pay', effect: 'write', inputSchema, execute: () => ({ ok: true }) });
export default defineConfig({ tools: [pay], agents: [defineAgent({ name: 'desk', tools: [pay] })], policies: './policies' });
`;
const POLICY = `@id("all") permit (principal, action, resource);
@id("large") @gate("approval") @roles("approver")
forbid (principal, action == Action::"pay", resource) when { context.args.cents > 100 }
unless { context.approved.contains(Gate::"large") };
`;

type Registers = { register(program: Command, io: Io): void };
let p: Platform;
const kept: { [tenant: string]: ActGuard } = {};
let theirs: { run: string; small: string; ask: string; entry: number; token: string };
let registers: Registers[];
let config: string;
const log = noteKey('log.test');

beforeAll(async () => {
  p = await platform({
    tools: [pay],
    policy: POLICY,
    sealing: { signers: [signerOf(log)], witnesses: [] },
    config: { budgets: { tenant: { usd: 10, window: 'month' } } },
  });
  config = writeConfig(p.directory, CONFIG);
  const { approver } = devApprover(p.directory, userInfo().username, Date.now());
  const root = readKeyFile(join(p.directory, DEV_ROOT_KEY_FILE), null);
  for (const tenant of [OURS, THEIRS]) {
    const { databaseUrl, taskQueue } = p;
    kept[tenant] = await connect({ address: temporalAddress(), databaseUrl, taskQueue, tenant });
  }
  const s = await p.actguard.session({ id: randomUUID(), agent: 'desk', user: `${MARK}-user`, tenant: THEIRS });
  expect((await s.call('pay', { to: MARK, cents: 1 }, { callId: 'small' })).kind).toBe('done');
  expect((await s.call('pay', { to: MARK, cents: 900 }, { callId: 'large' })).kind).toBe('pending');
  await freezeScope(p.actguard, { tenant: THEIRS, scope: 'tool', value: 'other' }, { by: MARK, reason: MARK });
  const account = accountOf(`tenant:${THEIRS}`, undefined);
  await changeAccount(p.actguard, account, 'limit', { usdMicros: 7_000_000 }, MARK, approver);
  const nowMs = Date.now();
  await invite(p.db, { tenant: THEIRS, person: 'gina', roles: ['approver'], mail: `${MARK}@globex.example`, signer: root, nowMs }); // prettier-ignore
  const token = await createToken(p.db, root, { tenant: THEIRS, caller: `${MARK}-bot`, actsForUsers: false, nowMs });
  const [about] = await p.db.query<{ run: string; ask: string; small: string; entry: number }>(
    `select a.run, a.approval as ask, (select e.call from actguard.entries e where e.run = a.run and e.kind = 'call.started') as small,
       (select max(e.id) from actguard.entries e where e.run = a.run and e.kind = 'run.opened') as entry
     from actguard.approvals a where a.tenant = $1`,
    [THEIRS],
  );
  if (!about) throw new Error('nothing was asked');
  theirs = { ...about, token: token.keyId };
  writeKeyFile(join(p.directory, 'new.key'), generateKey('newcomer'), null);
  const source = readFileSync(new URL('../../client/cli/main.ts', import.meta.url), 'utf8');
  const files = [...source.matchAll(/import\('\.\/([\w-]+)\.ts'\)/g)].map(([, file]) => file ?? '');
  registers = await Promise.all(
    files.filter((file) => file !== 'io').map((file) => import(`../../client/cli/${file}.ts`) as Promise<Registers>),
  );
}, 300_000);
afterAll(async () => {
  for (const each of Object.values(kept)) await each.close();
  await p?.end();
});

/** Commands by their words, `pay` or `budget show`. */
function everyCommand(): string[] {
  const program = new Command();
  for (const each of registers) each.register(program, {} as Io);
  const leaves = (command: Command): Command[] =>
    command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
  const path = (command: Command): string =>
    command.parent?.parent ? `${path(command.parent)} ${command.name()}` : command.name();
  return program.commands.flatMap(leaves).map(path);
}

/** Read nothing of a tenant, with the reason. */
const OF_NOBODY: { readonly [command: string]: string } = {
  init: 'writes files', dev: 'starts servers', worker: 'serves every tenant', witness: 'hashes of the tree', doctor: 'the platform',
  gateway: 'serves every tenant, each person their own', 'keys generate': 'a file', 'approval verify': 'a file', 'ledger verify': 'a file',
  'ledger key': 'a public key', 'policy check': 'files', 'policy schema': 'files', 'policy test': 'files', 'policy push': 'sets are the deployment’s',
  'secrets set': 'a file', 'secrets get': 'a file', 'secrets list': 'a file', 'secrets scan': 'a stack of its own', 'secrets rotate': 'a file',
  'codec key': 'a file', 'codec use': 'a file', 'codec list': 'a file', 'codec destroy': 'the file of keys', 'codec serve': 'keys decide',
}; // prettier-ignore

/** Every other command, about what is theirs; `shows`: what its owner sees with the same words has the mark in it. */
function cases(): { readonly args: readonly string[]; readonly shows?: true }[] {
  const { run, small, ask, entry, token } = theirs;
  const file = (name: string): string => join(p.directory, name);
  const [t, r, root] = [
    ['--tenant', THEIRS],
    ['--reason', 'because'],
    ['--signer', file(DEV_ROOT_KEY_FILE)],
  ];
  const call = `${run}/${small}`;
  const digest = 'a'.repeat(64);
  const reads = [
    ['approvals', ...t, '--all'], ['approvals', '--all'], ['approval', 'show', ask], ['show', run], ['freezes', ...t], ['token', 'list', ...t],
    ['approver', 'list', ...t], ['budget', 'show', `tenant:${THEIRS}`], ['budget', 'list', ...t],
    ['spend', '--by', 'user', ...t], ['spend', '--by', 'user'], ['spend', '--by', 'user', '--run', run],
    ['ledger', 'list', ...t], ['ledger', 'list', '--run', run], ['ledger', 'list'], ['ledger', 'show', String(entry)], ['ledger', 'tail', ...t],
    ['policy', 'explain', call, '--config', config],
  ].map((args) => ({ args, shows: true as const })); // prettier-ignore
  const others = [
    ['runs', ...t], ['runs'], ['budget', 'show', run], ['questions', ...t], ['questions'], ['policy', 'list', ...t], ['policy', 'replay', '--policies', file('policies'), '--config', config, ...t],
    ['policy', 'replay', '--policies', file('policies'), '--config', config],
    ['approval', 'export', ask, '--out', file('bundle.json')], ['ledger', 'prove', call, '--out', file('proof.json')],
    ['ledger', 'export', ...t, '--contents', '--out', file('export.jsonl')], ['ledger', 'audit', '--key', noteKeyText(log.key)],
    ['approve', ask, '--yes'], ['reject', ask, '--yes'],
    ['approver', 'add', ...t, '--role', 'approver', '--key', file('new.key'), ...root],
    ['approver', 'invite', ...t, '--person', 'nina', '--role', 'approver', ...root, '--page', 'https://approvals.example'],
    ['approver', 'confirm', token, ...root, '--yes'], ['approver', 'revoke', ...t, '--person', 'gina'],
    ['token', 'create', ...t, '--caller', 'somebot', ...root], ['token', 'revoke', token, ...t],
    ['run', 'desk', 'Pay', '--user', 'alice', ...t, '--detach'], ['cancel', run],
    ['freeze', 'tool:pay', ...r, ...t], ['freeze', run, ...r], ['thaw', 'tool:other', ...r, ...t], ['thaw', run, ...r],
    ['topup', run, '--usd', '1', ...r], ['topup', `tenant:${THEIRS}`, '--usd', '1', ...r],
    ['budget', 'limit', `tenant:${THEIRS}`, '--usd', '9', ...r], ['budget', 'freeze', `tenant:${THEIRS}`, ...r], ['budget', 'thaw', `tenant:${THEIRS}`, ...r],
    ['resolve', call, '--did-not-happen', ...r], ['recover', run, ...r],
    ['ledger', 'erase', run, ...r], ['ledger', 'erase', 'user:gina', ...r, ...t], ['ledger', 'recover', ...r],
    ['policy', 'activate', digest, ...r, ...t], ['policy', 'shadow', digest, ...r, ...t], ['policy', 'rollback', ...r, ...t],
  ].map((args) => ({ args })); // prettier-ignore
  return [...reads, ...others];
}

/** All that a command says, in its own words or in those of its error. */
async function said(tenant: string, args: readonly string[]): Promise<string> {
  const run = commandLine({ ...p, actguard: kept[tenant] as ActGuard }, registers);
  return run(...args).then(
    ({ lines, progress, json, exit }) => JSON.stringify({ lines, progress, json, exit }),
    (error: Error & { code?: string }) => JSON.stringify({ code: error.code, error: error.message, ...error }),
  );
}

test('P1 P7 every command has a case here, or a reason why it needs none', () => {
  const tried = cases().map(({ args }) => args.join(' '));
  const covered = (command: string): boolean => tried.some((words) => `${words} `.startsWith(`${command} `));
  const every = everyCommand();
  expect(every.filter((command) => !covered(command) && !(command in OF_NOBODY))).toEqual([]);
  expect(Object.keys(OF_NOBODY).filter((command) => !every.includes(command) || covered(command))).toEqual([]);
});

test('P1 P4 P7 a client of one tenant learns nothing of another by any command, and changes nothing', async () => {
  const tables = await tenantTables(p.db);
  const before = await digestOfTenant(p.db, tables, THEIRS);
  for (const { args } of cases()) {
    const answer = await said(OURS, args);
    expect(answer, args.join(' ')).not.toContain(MARK);
    if (!args.some((word) => word.includes(theirs.run))) expect(answer, args.join(' ')).not.toContain(theirs.run);
    expect(await digestOfTenant(p.db, tables, THEIRS), args.join(' ')).toBe(before);
  }
  expect(existsSync(join(p.directory, 'export.jsonl'))).toBe(false); // nothing half written either
  expect((await p.actguard.run(theirs.run).state()).status).toBe('waiting-approval');
}, 300_000);

test('P1 the same commands by a client of that tenant are answered: what kept the others out was the tenant', async () => {
  for (const { args } of cases().filter(({ shows }) => shows)) expect(await said(THEIRS, args), args.join(' ')).toContain(MARK); // prettier-ignore
  const tables = await tenantTables(p.db);
  const before = await digestOfTenant(p.db, tables, THEIRS);
  await said(THEIRS, ['freeze', 'tool:pay', '--reason', 'because', '--tenant', THEIRS]);
  expect(await digestOfTenant(p.db, tables, THEIRS)).not.toBe(before);
});
