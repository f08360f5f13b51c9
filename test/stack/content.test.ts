/** Content in Postgres under a tenant's key: nothing in clear, everything works, rotation, and a past that is destroyed. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { addPayloadKey, readPayloadKeys, writePayloadKeys } from '../../activities/payload-keys.ts';
import * as approval from '../../client/cli/approval.ts';
import * as approvals from '../../client/cli/approvals.ts';
import * as approve from '../../client/cli/approve.ts';
import * as codec from '../../client/cli/codec.ts';
import * as ledger from '../../client/cli/ledger.ts';
import * as policy from '../../client/cli/policy.ts';
import * as questions from '../../client/cli/questions.ts';
import * as resolve from '../../client/cli/resolve.ts';
import * as show from '../../client/cli/show.ts';
import { connect } from '../../client/index.ts';
import { auditLedger } from '../../client/ledger-audit.ts';
import { defineAgent, defineTool, secret } from '../../define/index.ts';
import { noteKeyText } from '../../governance/note.ts';
import { setSecret } from '../../worker/secret-store.ts';
import { startModelServer, type ModelServer } from '../../worker/model-server.ts';
import { COMMANDS, signerOf } from '../support/ledger.ts';
import { noteKey } from '../support/note-keys.ts';
import { commandLine, type Printed } from '../support/cli.ts';
import { platform, type Platform } from '../support/platform.ts';
import { temporalAddress } from '../support/temporal.ts';

const POLICY = `
@id("all") permit (principal, action, resource);
@id("large") @gate("approval") @roles("finance")
forbid (principal, action == Action::"pay", resource) when { context.args.cents > 100 } unless { context.approved.contains(Gate::"large") };
@id("never") forbid (principal, action == Action::"pay", resource) when { context.args.to == "nobody" };
`;
const pay = defineTool({
  name: 'pay',
  description: 'Pay somebody',
  effect: 'write',
  inputSchema: z.strictObject({ to: z.string(), cents: z.int() }),
  describe: ({ to, cents }) => `Pay ${cents} cents to ${to} (canary-shown)`,
  idempotency: { key: ({ to }) => to },
  execute: ({ to }) => {
    if (to === 'canary-broke') throw new Error('canary-thrown');
    return { receipt: `canary-receipt for ${to}` };
  },
});
const send = defineTool({
  name: 'send',
  description: 'Send something, and never hear of it again',
  effect: 'write',
  inputSchema: z.strictObject({ to: z.string() }),
  timeout: '200ms',
  execute: () => new Promise<{ receipt: string }>(() => undefined),
});
const look = defineTool({
  name: 'look',
  description: 'Look something up',
  effect: 'read',
  inputSchema: z.strictObject({ what: z.string() }),
  execute: ({ what }) => ({ found: `canary-output ${what}` }),
});

/** A receiver that takes the keys it was told of, and the tool that asks it. */
const [OLD_KEY, NEW_KEY] = ['sk-old-0123456789abc', 'sk-new-0123456789abc'];
const accepted = new Set([OLD_KEY]);
const shown: string[] = [];
const receiver = createServer((request, response) => {
  const key = (request.headers.authorization ?? '').replace('Bearer ', '');
  shown.push(key);
  response.writeHead(accepted.has(key) ? 200 : 401).end('{}');
}).listen(0, '127.0.0.1');
await once(receiver, 'listening');
const host = `127.0.0.1:${(receiver.address() as AddressInfo).port}`;
const collect = defineTool({
  name: 'collect',
  description: 'Collect something where a key is needed',
  effect: 'read',
  reach: 'internal',
  inputSchema: z.strictObject({ n: z.int() }),
  credentials: { bank: secret('bank/key', { host }) },
  execute: async ({ n }, { fetch }) => (await fetch(`http://${host}/${n}`)).json(),
});

const folder = mkdtempSync(join(tmpdir(), 'actguard-rest-'));
const file = join(folder, 'keys.json');
writePayloadKeys(file, addPayloadKey(addPayloadKey([], null, false), 'acme', false));
const log = noteKey('log.test');
const store = { place: { path: join(folder, 'secrets.age'), identityFile: join(folder, 'identity'), identity: undefined }, cacheMs: 100 }; // prettier-ignore
const { path, identityFile } = store.place;
let model: ModelServer;
let p: Platform;
let actguard: (...args: string[]) => Promise<Printed>;
beforeAll(async () => {
  model = await startModelServer([
    { user: /go/, turn: 1, text: 'canary-thought', toolCalls: [{ name: 'look', args: { what: 'canary-asked' } }] },
    { user: /go/, turn: 2, text: 'canary-answer' },
  ]);
  const tools = [pay, send, look, collect];
  await setSecret(store, 'bank/key', {}, OLD_KEY);
  const secrets = { from: [{ kind: 'file' as const, path, identityFile }], cacheFor: '100ms' as const };
  const agents = [defineAgent({ name: 'desk', model: 'openai/gpt-4o', instructions: 'Be brief.', tools })];
  const sealing = { signers: [signerOf(log)] as const, witnesses: [] };
  p = await platform({ tools, agents, policy: POLICY, modelReplayUrl: model.baseUrl, payloadKeys: file, sealing: sealing as never, config: { secrets } }); // prettier-ignore
  actguard = commandLine(p, [approval, approvals, approve, codec, ledger, policy, questions, resolve, show]);
});
afterAll(async () => {
  await p?.end();
  await model?.stop();
  receiver.closeAllConnections();
  receiver.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Every row of every table, as text. */
async function everything(): Promise<string> {
  const tables = await p.db.query<{ name: string }>(
    `select tablename as name from pg_tables where schemaname = 'actguard'`,
  );
  const rows = await Promise.all(
    tables.map(({ name }) => p.db.query<{ row: string }>(`select to_jsonb(t)::text as row from actguard.${name} t`)),
  );
  const texts = rows.flat().map(({ row }) => row);
  // bytea comes as hex: what is in it is looked at as well
  const bytes = texts.flatMap((row) =>
    [...row.matchAll(/\\\\x([0-9a-f]+)/g)].map((m) => Buffer.from(m[1] ?? '', 'hex')),
  );
  return [...texts, ...bytes.map((b) => b.toString('latin1'))].join('\n');
}
const open = (tenant = 'acme') =>
  p.actguard.session({ id: randomUUID(), agent: 'desk', user: 'alice', tenant, input: 'canary-request' });
let runs: string[] = [];

test('P5 nothing of what was asked, answered, shown or thrown stands in the database in clear, and everything works', async () => {
  const run = await p.actguard.start('desk', { input: 'go canary-input', user: 'alice', tenant: 'acme' });
  expect(await run.result()).toMatchObject({ status: 'answered', text: 'canary-answer' });
  const session = await open();
  expect(await session.call('look', { what: 'canary-arg' })).toMatchObject({
    output: { found: 'canary-output canary-arg' },
  });
  expect(await session.call('pay', { to: 'nobody', cents: 1 })).toMatchObject({ kind: 'denied' });
  const first = await session.call('pay', { to: 'canary-bob', cents: 5 }, { callId: 'first' });
  expect(first).toMatchObject({ output: { receipt: 'canary-receipt for canary-bob' } });
  // the same effect again, from another run: the first result, read from the database
  expect(await (await open()).call('pay', { to: 'canary-bob', cents: 5 })).toMatchObject({ output: { receipt: 'canary-receipt for canary-bob' } }); // prettier-ignore

  const pending = await session.call('pay', { to: 'canary-carol', cents: 500 }, { callId: 'asked' });
  const id = (pending as { approvalId: string }).approvalId;
  expect((await actguard('approvals')).lines.join()).toContain('canary-shown');
  const answered = await actguard('approve', id);
  expect(answered.lines.join('\n')).toContain('canary-carol');
  await expect.poll(() => session.outcome('asked'), { timeout: 60_000 }).toMatchObject({ kind: 'done' });

  expect(await session.call('pay', { to: 'canary-broke', cents: 1 })).toMatchObject({ kind: 'failed' });
  expect(await session.call('send', { to: 'canary-lost' }, { callId: 'lost' })).toMatchObject({ kind: 'unknown' });
  expect((await actguard('questions')).lines.join()).toContain('lost');
  await actguard('resolve', `${session.run}/lost`, '--happened', '{"receipt":"by hand"}', '--reason', 'looked');
  await expect.poll(() => session.outcome('lost'), { timeout: 60_000 }).toMatchObject({ output: { receipt: 'by hand' } }); // prettier-ignore
  runs = [run.id, session.run];

  const kept = await everything();
  expect(kept.match(/.{0,80}canary.{0,40}/)).toBeNull();
  expect(kept).toContain(`${readPayloadKeys(file)[1]?.id}.`);
  const bundle = join(folder, 'bundle.json');
  await actguard('approval', 'export', id, '--out', bundle);
  expect(readFileSync(bundle, 'utf8')).toContain('canary-carol');
  expect((await actguard('approval', 'verify', bundle)).lines.join('\n')).toContain('approve');
  expect((await actguard('show', session.run)).lines.join('\n')).toContain('canary-bob');
  expect((await actguard('policy', 'explain', `${session.run}/asked`)).lines.join('\n')).toContain('canary-carol');
});

test('P5 a payload key and an API key are rotated under load: no call fails, what was before is read, the old API key is needed no more', async () => {
  const before = readPayloadKeys(file)[1]?.id ?? '';
  const session = await open();
  let after = '';
  let rounds = 0;
  const load = async (during?: () => Promise<unknown>): Promise<void> => {
    const round = (rounds += 1);
    const calls = Array.from({ length: 16 }, (_, i) =>
      i % 2 === 0
        ? session.call('look', { what: `load ${round}/${i}` })
        : session.call('collect', { n: 100 * round + i }),
    );
    await during?.();
    expect((await Promise.all(calls)).map(({ kind }) => kind)).toEqual(calls.map(() => 'done'));
  };
  await load();
  accepted.add(NEW_KEY); // the receiver knows it first
  await load(async () => {
    await actguard('codec', 'key', '--keys', file, '--tenant', 'acme');
    after = readPayloadKeys(file).at(-1)?.id ?? '';
    await setSecret(store, 'bank/key', {}, NEW_KEY, true);
  });
  // until both have been used: files are looked at each second, values kept for 100 ms
  while (!(await everything()).includes(`"${after}.`) || shown.at(-1) !== NEW_KEY) await load();
  accepted.delete(OLD_KEY);
  shown.length = 0;
  await load();
  expect(new Set(shown)).toEqual(new Set([NEW_KEY]));
  expect(await session.call('pay', { to: 'canary-bob', cents: 5 })).toMatchObject({ output: { receipt: 'canary-receipt for canary-bob' } }); // prettier-ignore
  expect(await everything()).toContain(`"${before}.`);
  for (const key of [OLD_KEY, NEW_KEY]) expect(await everything()).not.toContain(key);
  runs.push(session.run);
});

test('P6 ledger erase, as people type it: refused while the run is open; then it is gone, on record by a signature that needs no payload key, and all is valid', async () => {
  const session = await p.actguard.session({ id: randomUUID(), agent: 'desk', user: 'alice', tenant: 'acme' });
  expect(await session.call('look', { what: 'canary-forget' })).toMatchObject({ kind: 'done' });
  const erase = ['ledger', 'erase', session.run, '--reason', 'asked to be forgotten'];
  await expect(actguard(...erase)).rejects.toThrow('have not ended');
  await session.close();
  await p.actguard.client.workflow.getHandle(`actguard-run-${session.run}`).result();
  await expect(actguard('ledger', 'erase', 'user:alice', '--reason', 'x')).rejects.toThrow('is erased in a tenant');
  await expect(actguard('ledger', 'erase', 'user:', '--reason', 'x')).rejects.toMatchObject({
    code: 'ARGUMENTS_INVALID',
  });
  const erased = await actguard(...erase);
  expect(erased.json).toMatchObject({ scope: 'run', run: session.run, tenant: 'acme' });
  expect(erased.lines.join()).toContain('signed by');
  const listed = (await actguard('ledger', 'list', '--run', session.run)).json as unknown as {
    entries: { kind: string; content: object | null; body: string }[];
  };
  expect(listed.entries.filter(({ content }) => content !== null)).toEqual([]);
  const record = listed.entries.find(({ kind }) => kind === 'ledger.erased');
  expect(JSON.parse(record?.body ?? '')).toMatchObject({
    data: { envelope: { payloadType: expect.any(String) as string }, enrolment: {} },
  });
  const look = await auditLedger(p.db, {
    keys: [log.key],
    witness: null,
    tripwire: null,
    commands: COMMANDS,
    waitMs: 30_000,
  });
  expect(look).toMatchObject({ integrity: 'valid', completeness: 'complete', missing: [] });
  expect(look.erased).toBeGreaterThan(1);
});

test('P5 P6 destroyed: refused while runs are open; then acme’s past is unreadable, says so, and the ledger is valid', async () => {
  await (await open('globex')).call('look', { what: 'canary-globex' });
  await expect(actguard('codec', 'destroy', '--keys', file, '--tenant', 'globex', '--reason', 'x')).rejects.toMatchObject({ code: 'NOT_FOUND' }); // prettier-ignore
  const destroy = ['codec', 'destroy', '--keys', file, '--tenant', 'acme', '--reason', 'the contract ended'];
  await expect(actguard(...destroy)).rejects.toMatchObject({ code: 'CONFLICT', message: expect.stringContaining(runs[1] ?? '') as string }); // prettier-ignore
  const ids = readPayloadKeys(file).filter((key) => key.tenant === 'acme').map((key) => key.id); // prettier-ignore
  expect(ids).toHaveLength(2);
  expect((await actguard(...destroy, '--close-runs')).json).toMatchObject({ destroyed: ids });
  expect(readPayloadKeys(file).map((key) => key.tenant)).toEqual([null]);

  // a client that starts now has never had the keys
  const later = await connect({ address: temporalAddress(), databaseUrl: p.databaseUrl, taskQueue: p.taskQueue, payloadKeys: file }); // prettier-ignore
  const now = commandLine({ ...p, actguard: later }, [approval, approvals, ledger, policy, show]);
  try {
    const run = runs[1] ?? '';
    const story = (await now('ledger', 'list', '--run', run)).lines.join('\n');
    expect(story).toContain(`its content is unreadable: key ${ids[0]} is gone`);
    expect(story).not.toContain('canary');
    expect((await now('policy', 'explain', `${run}/asked`)).lines.join('\n')).toContain(`key ${ids[0]} is gone`);
    expect((await now('ledger', 'list', '--tenant', 'globex')).lines.join('\n')).toContain('canary-globex');
    const listed = (await now('approvals', '--all')).json as { approvals: { approvalId: string; title: string }[] };
    expect(listed.approvals[0]?.title).toContain('is gone');
    await expect(now('approval', 'show', listed.approvals[0]?.approvalId ?? '')).rejects.toMatchObject({ message: expect.stringContaining('unreadable') as string }); // prettier-ignore
    await expect.poll(async () => (await now('ledger', 'list', '--kind', 'codec.destroyed')).lines.length).toBe(1);

    const waiting = (): Promise<{ w: { count: number } }[]> => p.db.query('select actguard.ledger_waiting() as w');
    await expect.poll(async () => (await waiting())[0]?.w.count, { timeout: 60_000 }).toBe(0);
    const exported = join(folder, 'export.jsonl');
    await now('ledger', 'export', '--contents', '--out', exported);
    const verified = await now('ledger', 'verify', exported, '--key', noteKeyText(log.key));
    expect(verified.lines.join('\n')).toMatch(new RegExp(`valid, content unreadable: key ${ids[0]} is gone \\(\\d+ entries\\)`)); // prettier-ignore
    expect(verified).toMatchObject({ exit: 0, json: { integrity: 'valid', problems: [] } });
    const proof = join(folder, 'proof.json');
    await now('ledger', 'prove', `${run}/first`, '--out', proof);
    expect((await now('ledger', 'verify', proof, '--key', noteKeyText(log.key))).lines.join('\n')).toContain(`valid, content unreadable: key ${ids[0]} is gone`); // prettier-ignore
  } finally {
    await later.close();
  }
  expect(JSON.stringify(await p.actguard.run(runs[0] ?? '').state().catch((e: Error) => e.message))).not.toContain('canary'); // prettier-ignore
});
