import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, expect, test } from 'vitest';
import { connectDatabase } from '../../activities/postgres.ts';
import { isRunning } from '../../worker/children.ts';
import type { DevFile } from '../../worker/dev-file.ts';
import { startDevStack } from '../../worker/dev-stack.ts';
import type { DevEvent, DevStack } from '../../worker/dev-stack.ts';
import { emptyDatabase } from '../support/database.ts';

const BIN = resolve('bin/actguard.mjs');
const FREE = { temporal: 0, ui: 0, postgres: 0, mail: 0, page: 0 };
const POISON = {
  TEMPORAL_ADDRESS: 'poison.invalid:1',
  TEMPORAL_NAMESPACE: 'poison',
  TEMPORAL_API_KEY: 'poison',
  TEMPORAL_TLS: 'true',
  TEMPORAL_CONFIG_FILE: '/poison',
  DATABASE_URL: 'postgres://poison.invalid/x',
  SMTP_URL: 'smtp://poison.invalid',
  PGHOST: 'poison.invalid',
  PGPORT: '1',
  PGUSER: 'poison',
  PGPASSWORD: 'poison',
  PGDATABASE: 'poison',
};

const root = mkdtempSync(join(tmpdir(), 'actguard-devtest-'));
chmodSync(root, 0o755);
const cleanups: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
  rmSync(root, { recursive: true, force: true });
});

function folder(name: string): string {
  const path = join(root, name);
  mkdirSync(path);
  return path;
}

async function started(options: Parameters<typeof startDevStack>[0]): Promise<DevStack> {
  const stack = await startDevStack({ noWorker: true, ports: FREE, env: POISONED, ...options });
  if (stack.kind !== 'started') throw new Error('it runs already');
  cleanups.push(() => stack.stop());
  return stack;
}

// Only what finds the Temporal program stays true.
const POISONED = { ...process.env, ...POISON };

async function note(url: string, text: string): Promise<string[]> {
  const db = connectDatabase(url);
  try {
    await db.query('create table if not exists public.notes (text text)');
    await db.query('insert into public.notes values ($1)', [text]);
    return (await db.query<{ text: string }>('select text from public.notes')).map((row) => row.text);
  } finally {
    await db.end();
  }
}

function cli(args: string[], cwd: string): { child: ChildProcess; line: (pattern: RegExp) => Promise<string> } {
  const child = spawn(process.execPath, [BIN, ...args], { cwd, env: POISONED, stdio: ['ignore', 'pipe', 'inherit'] });
  cleanups.push(async () => {
    if (child.exitCode === null && child.signalCode === null && child.kill('SIGTERM')) await once(child, 'exit');
  });
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  return {
    child,
    line: async (pattern) => {
      for await (const line of lines) if (pattern.test(line)) return line;
      throw new Error(`it ended without ${pattern}`);
    },
  };
}

test('P7 state survives a stop and a start, poisoned variables are not read, a second start says what runs', async () => {
  const directory = folder('restart');
  const first = await started({ directory });
  const file = first.file();
  expect(JSON.stringify(file)).not.toContain('poison');
  expect(await note(file.postgres?.url ?? '', 'one')).toEqual(['one']);
  expect(await startDevStack({ directory, noWorker: true, ports: FREE })).toMatchObject({
    kind: 'running',
    file: { temporal: { address: file.temporal?.address } },
  });
  const second = spawnSync(process.execPath, [BIN, 'dev'], { cwd: directory, encoding: 'utf8' });
  expect(second.status).toBe(1);
  expect(second.stdout).toContain(file.temporal?.address);
  expect(second.stdout + second.stderr).not.toMatch(/\n\s+at /);
  for (const secret of ['dev.json', 'dev.secret', 'temporal.db']) {
    expect(statSync(join(directory, '.actguard', secret)).mode & 0o077).toBe(0);
  }
  await first.stop();
  expect(existsSync(join(directory, '.actguard', 'dev.json'))).toBe(false);
  for (const child of file.children) expect(isRunning(child)).toBe(false);
  const again = await started({ directory });
  expect(await note(again.file().postgres?.url ?? '', 'two')).toEqual(['one', 'two']);
  await again.stop();
});

test('a killed parent leaves nothing that blocks the next start, and its children are ended by it', async () => {
  const directory = folder('killed');
  const args = [
    'dev',
    '--no-worker',
    '--temporal-port',
    '0',
    '--ui-port',
    '0',
    '--postgres-port',
    '0',
    '--mail-port',
    '0',
    '--output',
    'json',
  ];
  const { child, line } = cli(args, directory);
  const ready = JSON.parse(await line(/"ready"/)) as { ready: { temporal: { address: string } } };
  expect(ready.ready.temporal.address).toMatch(/^127\.0\.0\.1:\d+$/);
  const left = JSON.parse(readFileSync(join(directory, '.actguard', 'dev.json'), 'utf8')) as DevFile;
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(left.children.map((c) => c.name).toSorted()).toEqual(['postgres', 'temporal']);
  expect(left.children.every((c) => isRunning(c))).toBe(true);

  const next = cli(args, directory);
  await next.line(/"ready"/);
  expect(left.children.some((c) => isRunning(c))).toBe(false);
  const now = JSON.parse(readFileSync(join(directory, '.actguard', 'dev.json'), 'utf8')) as DevFile;
  next.child.kill('SIGTERM');
  expect((await once(next.child, 'exit'))[0]).toBe(0);
  expect(now.children.some((c) => isRunning(c))).toBe(false);
});

test('a given port that is taken is named; nothing is left running', async () => {
  const busy = createServer();
  await new Promise<void>((done) => busy.listen(0, '127.0.0.1', done));
  const { port } = busy.address() as { port: number };
  const directory = folder('busy');
  try {
    await expect(
      startDevStack({ directory, noWorker: true, ports: { ...FREE, postgres: port } }),
    ).rejects.toMatchObject({
      code: 'BACKEND_UNAVAILABLE',
      details: { port },
    });
    expect(existsSync(join(directory, '.actguard', 'dev.json'))).toBe(false);
  } finally {
    await new Promise((done) => busy.close(done));
  }
});

test('P7 a disk that takes no more: says what could not be written and where to read on, ends with 1, runs nothing', async () => {
  const directory = folder('full');
  const dev = [process.execPath, BIN, 'dev', '--no-worker'].map((word) => `'${word}'`).join(' ');
  // no file may grow beyond 200 KB: the first segment of Postgres's log is larger
  const given = { cwd: directory, env: POISONED, encoding: 'utf8' } as const;
  const { status, stderr } = spawnSync('sh', ['-c', `ulimit -f 400; exec ${dev}`], given);
  expect(status).toBe(1);
  expect(stderr).toMatch(/BACKEND_UNAVAILABLE: the embedded Postgres could not be initialised/);
  expect(stderr).toMatch(/postgres\.log/);
  expect(existsSync(join(directory, '.actguard/postgres'))).toBe(false);
  const stack = await started({ directory }); // with room on the disk it starts where it failed
  expect(await note(stack.file().postgres?.url ?? '', 'there is room')).toEqual(['there is room']);
});

test("P7 a database of the user's own is never migrated unasked", async () => {
  const { url, drop } = await emptyDatabase();
  cleanups.push(drop);
  const db = connectDatabase(url);
  await db.query('create table invoices (id int)');
  await db.end();
  const env = { ...POISONED, ACTGUARD_DATABASE_URL: url };
  const directory = folder('own');
  await expect(startDevStack({ directory, noWorker: true, ports: FREE, env })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    hint: expect.stringContaining('--init') as string,
  });
  const said: DevEvent[] = [];
  const stack = await started({ directory, env, init: true, onEvent: (event) => said.push(event) });
  expect(stack.file().postgres?.url).toBe(url);
  expect(said.map((event) => (event.kind === 'progress' ? event.message : '')).join('\n')).toContain(
    'ACTGUARD_DATABASE_URL',
  );
  await stack.stop();
});

const GOOD = `import { defineAgent, defineConfig, defineTool } from 'actguard';
import { z } from 'zod';
const find = defineTool({
  name: 'orders.find', description: 'Finds an order', effect: 'read', reach: 'internal',
  inputSchema: z.strictObject({ id: z.string() }), outputSchema: z.object({ id: z.string() }),
  execute: async ({ id }) => ({ id }),
});
export default defineConfig({ tools: [find], agents: [defineAgent({ name: 'desk', tools: [find] })], policies: './policies' });
`;

test('P7 a worker whose configuration is wrong does not start, says file and line, and starts once it is mended; so do policies, read again when they change; ephemeral leaves nothing', async () => {
  const directory = folder('worker');
  symlinkSync(resolve('node_modules'), join(directory, 'node_modules'));
  mkdirSync(join(directory, 'policies'));
  writeFileSync(
    join(directory, 'policies', 'all.cedar'),
    '@id("find")\npermit (principal, action == Action::"orders.find", resource);\n',
  );
  const config = join(directory, 'actguard.config.ts');
  writeFileSync(config, 'const a = ;\n');
  const events: DevEvent[] = [];
  let wake: () => void = () => undefined;
  const stack = await started({
    directory,
    noWorker: false,
    ephemeral: true,
    onEvent: (event) => {
      events.push(event);
      wake();
    },
  });
  expect(events.find((event) => event.kind === 'worker-failed')).toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining('actguard.config.ts:1') as string,
  });
  expect(stack.file().worker).toBeNull();
  writeFileSync(config, GOOD);
  const comes = async (kind: DevEvent['kind'], from = 0): Promise<DevEvent> => {
    for (;;) {
      const found = events.slice(from).find((event) => event.kind === kind);
      if (found) return found;
      await new Promise<void>((done) => (wake = done));
    }
  };
  await comes('worker-ready');
  // policies are read again when a file of theirs changes: a broken one is named with its line, the mended one counts
  const policy = join(directory, 'policies', 'all.cedar');
  const good = readFileSync(policy, 'utf8');
  let from = events.length;
  writeFileSync(policy, good.replace('orders.find', 'orders.fnd'));
  expect(await comes('worker-restarting', from)).toMatchObject({
    why: expect.stringContaining('all.cedar changed') as string,
  });
  expect(await comes('worker-failed', from)).toMatchObject({
    message: expect.stringMatching(/all\.cedar:2[\s\S]*orders\.fnd/) as string,
  });
  await expect.poll(() => stack.file().worker, { timeout: 30_000 }).toBeNull();
  from = events.length;
  writeFileSync(policy, good);
  await comes('worker-ready', from);
  const worker = stack.file().children.find((child) => child.name === 'worker');
  expect(worker && isRunning(worker)).toBe(true);
  await stack.stop();
  expect(worker && isRunning(worker)).toBe(false);
  expect(existsSync(stack.stateDirectory)).toBe(false);
});
