/** Worker and caller killed with ten calls of a session in flight: none is lost, none happens twice. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { migrate } from '../../activities/migrate.ts';
import { connect } from '../../client/index.ts';
import type { CallResult } from '../../governance/call.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import { temporalAddress } from '../support/temporal.ts';

const directory = mkdtempSync(join(tmpdir(), 'actguard-killed-'));
const children: ChildProcess[] = [];
/** What the receiver did, by `n`: it honours Idempotency-Key where one is sent. */
const effects: number[] = [];
const keys = new Set<string>();
let held: ServerResponse[] | null = [];
const receiver = createServer((request, response) => {
  let body = '';
  request.on('data', (part: Buffer) => (body += part.toString()));
  request.on('end', () => {
    const key = String(request.headers['idempotency-key'] ?? randomUUID());
    if (!keys.has(key)) effects.push((JSON.parse(body) as { n: number }).n);
    keys.add(key);
    if (held) held.push(response);
    else response.end('{"receipt":1}');
  });
});
let database: FreshDatabase;

beforeAll(async () => {
  database = await freshDatabase({ max: 2 });
  await migrate(database.url);
  await new Promise<void>((done) => receiver.listen(0, '127.0.0.1', done));
  const { port } = receiver.address() as AddressInfo;
  mkdirSync(join(directory, 'policies'));
  writeFileSync(join(directory, 'policies', 'all.cedar'), '@id("all") permit (principal, action, resource);\n');
  writeFileSync(
    join(directory, 'actguard.config.ts'),
    `import { defineAgent, defineConfig, defineTool } from 'actguard';
import { z } from ${JSON.stringify(resolve('node_modules/zod/index.js'))};
const pay = (name, more) => defineTool({
  name, description: 'Pay', effect: 'write', inputSchema: z.strictObject({ n: z.int() }), timeout: '60s', ...more,
  execute: async (args, { fetch }) => (await fetch('http://127.0.0.1:${port}/', { method: 'POST', body: JSON.stringify(args) })).json(),
});
const tools = [pay('pay.once', {}), pay('pay.kept', { idempotency: { key: ({ n }) => String(n), receiver: { header: 'idempotency-key' } } })];
export default defineConfig({ tools, policies: './policies', agents: [defineAgent({ name: 'payer', tools })] });
`,
  );
});
afterAll(async () => {
  for (const child of children) if (child.exitCode === null && child.signalCode === null) await kill(child);
  receiver.closeAllConnections();
  receiver.close();
  await database?.drop();
  rmSync(directory, { recursive: true, force: true });
});

function start(file: string, given: object): { child: ChildProcess; output: () => string } {
  const path = resolve('test/support', file);
  const child = spawn(process.execPath, ['--conditions=actguard:source', path, JSON.stringify(given)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  let output = '';
  child.stdout?.on('data', (part: Buffer) => (output += part.toString()));
  return { child, output: () => output };
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((passed) => setTimeout(passed, 50));
}

test('P1 P2 kill -9 of worker and caller with ten calls in flight: none is lost, none happens twice', async () => {
  const taskQueue = `killed-${randomUUID()}`;
  const address = temporalAddress();
  const session = randomUUID();
  const worker = () => start('worker-child.ts', { directory, address, databaseUrl: database.url, taskQueue });
  const caller = () => start('session-child.ts', { address, taskQueue, session });

  const first = worker();
  await until(() => first.output().includes('ready'));
  const lost = caller();
  await until(() => effects.length === 10);
  await Promise.all([kill(first.child), kill(lost.child)]);
  expect(lost.output()).toBe('');
  for (const response of held ?? []) response.destroy();
  held = null;

  const second = worker();
  await until(() => second.output().includes('ready'));
  const again = caller();
  await until(() => again.output().endsWith('\n'));
  const results = JSON.parse(again.output()) as CallResult[];
  // the receiver that honours a key is asked again under it; of the others nobody knows, and nobody asks twice
  expect(results.map((r) => [r.callId, r.kind])).toEqual(
    Array.from({ length: 10 }, (_, n) => [`call-${n}`, n < 5 ? 'done' : 'unknown']),
  );
  expect([...effects].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(keys.size).toBe(10);

  const actguard = await connect({ address, namespace: 'default', databaseUrl: database.url, taskQueue });
  try {
    const open = await actguard.session({ id: session, agent: 'payer', user: 'alice', tenant: 'acme' });
    expect(await actguard.run(open.run).state()).toMatchObject({ calls: 10 });
    expect((await open.usage()).calls).toBe(10);
  } finally {
    await actguard.close();
  }
}, 180_000);
