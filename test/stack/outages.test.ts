/** Servers and workers that die in the middle: the run waits and goes on, and nothing is done twice. One stack of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { migrate } from '../../activities/migrate.ts';
import { connect, listEntries, type ActGuard, type Run } from '../../client/index.ts';
import { thisProcess } from '../../worker/children.ts';
import { startModelServer, type ModelServer } from '../../worker/model-server.ts';
import { freePort } from '../../worker/ports.ts';
import { startPostgres, type PostgresServer } from '../../worker/postgres-server.ts';
import { findTemporal, startTemporal, type TemporalServer } from '../../worker/temporal-server.ts';
import type { RunState } from '../../workflows/messages.ts';

const BIN = resolve('bin/actguard.mjs');
const LONG = 180_000;

/** The receiver: counts effects, honours Idempotency-Key where one is sent, keeps answers back while it is told to. */
class Receiver {
  readonly effects: number[] = [];
  readonly #keys = new Set<string>();
  #held: ServerResponse[] | null = null;
  #wake: () => void = () => undefined;
  readonly server: Server = createServer((request, response) => {
    let body = '';
    request.on('data', (part: Buffer) => (body += part.toString()));
    request.on('end', () => {
      const key = request.headers['idempotency-key'];
      const known = typeof key === 'string' && this.#keys.has(key);
      if (!known) this.effects.push((JSON.parse(body) as { n: number }).n);
      if (typeof key === 'string') this.#keys.add(key);
      if (this.#held && !known) this.#held.push(response);
      else response.end('{"receipt":1}');
      this.#wake();
    });
  });
  hold(): void {
    this.#held = [];
  }
  async arrived(n: number): Promise<void> {
    while (!this.effects.includes(n)) await new Promise<void>((done) => (this.#wake = done));
  }
  release(): void {
    for (const response of this.#held ?? []) response.end('{"receipt":1}');
    this.#held = null;
  }
  times(n: number): number {
    return this.effects.filter((effect) => effect === n).length;
  }
}

const directory = mkdtempSync(join(tmpdir(), 'actguard-outage-'));
const state = join(directory, '.actguard');
const receiver = new Receiver();
const workers: ChildProcess[] = [];
let model: ModelServer;
let postgres: PostgresServer;
let temporal: TemporalServer;
let actguard: ActGuard;
let ports: { postgres: number; temporal: number };

const database = (): Promise<PostgresServer> =>
  startPostgres({
    dataDirectory: join(directory, 'postgres'),
    port: ports.postgres,
    password: 'test-only',
    logFile: join(directory, 'postgres.log'),
    database: 'actguard',
    durable: false,
  });
const server = async (): Promise<TemporalServer> =>
  startTemporal({
    program: (await findTemporal()).path,
    port: ports.temporal,
    uiPort: null,
    databaseFile: join(directory, 'temporal.db'),
    logFile: join(directory, 'temporal.log'),
  });

interface Worker {
  readonly child: ChildProcess;
  /** Waits until its log says something. */
  readonly said: (what: RegExp) => Promise<void>;
}

/** A worker as `actguard dev` starts it. */
function spawnWorker(): Worker {
  const args = ['worker', '--config', join(directory, 'actguard.config.ts'), '--dev-state', state];
  const child = spawn(process.execPath, [BIN, ...args], {
    cwd: directory,
    env: { ...process.env, ACTGUARD_MODEL_REPLAY_URL: model.baseUrl },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  workers.push(child);
  let log = '';
  let wake: () => void = () => undefined;
  child.stderr?.on('data', (part: Buffer) => {
    log += part.toString();
    wake();
  });
  return {
    child,
    said: async (what) => {
      while (!what.test(log)) await new Promise<void>((done) => (wake = done));
    },
  };
}

/** A worker that is ready. */
async function worker(): Promise<Worker> {
  const started = spawnWorker();
  const [message] = (await once(started.child, 'message')) as [{ kind: string; message?: string }];
  if (message.kind !== 'ready') throw new Error(message.message);
  return started;
}

async function killWorkers(): Promise<void> {
  for (const child of workers) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

beforeAll(async () => {
  chmodSync(directory, 0o711); // Postgres may run as another user
  mkdirSync(state);
  mkdirSync(join(directory, 'policies'));
  writeFileSync(join(directory, 'policies', 'all.cedar'), '@id("all") permit (principal, action, resource);\n');
  await new Promise<void>((done) => receiver.server.listen(0, '127.0.0.1', done));
  const { port } = receiver.server.address() as AddressInfo;
  writeFileSync(
    join(directory, 'actguard.config.ts'),
    `import { defineAgent, defineConfig, defineTool } from 'actguard';
import { z } from ${JSON.stringify(resolve('node_modules/zod/index.js'))};
const pay = (name, more) => defineTool({
  name, description: 'Pay', effect: 'write', inputSchema: z.strictObject({ n: z.int() }), timeout: '60s', ...more,
  execute: async (args, { fetch }) => (await fetch('http://127.0.0.1:${port}/', { method: 'POST', body: JSON.stringify(args) })).json(),
});
const tools = [
  pay('pay.once', {}),
  pay('pay.kept', { idempotency: { key: ({ n }) => String(n), receiver: { header: 'idempotency-key' } } }),
];
export default defineConfig({
  tools, policies: './policies', budgets: { run: { usd: 1 } },
  agents: [defineAgent({ name: 'payer', model: 'openai/gpt-5-mini', instructions: 'Pay.', tools, maxOutputTokens: 100 })],
});
`,
  );
  model = await startModelServer(
    ['once', 'kept'].flatMap((how) =>
      [1, 2, 3, 4, 5, 6].flatMap((n) => {
        const user = new RegExp(`pay ${how} ${n}`);
        return [
          { user, turn: 1, toolCalls: [{ name: `pay_${how}`, args: { n } }] },
          { user, turn: 2, text: `paid ${n}` },
        ];
      }),
    ),
  );
  ports = { postgres: await freePort(), temporal: await freePort() };
  [postgres, temporal] = await Promise.all([database(), server()]);
  await migrate(postgres.url);
  const { address, namespace } = temporal;
  const file = { v: 1, ...thisProcess(), ready: true, worker: null, children: [], startedAt: new Date().toISOString() };
  writeFileSync(
    join(state, 'dev.json'),
    JSON.stringify({ ...file, temporal: { address, namespace, ui: null }, postgres: { url: postgres.url } }),
    { mode: 0o600 },
  );
  actguard = await connect({ cwd: directory });
});

afterAll(async () => {
  receiver.release();
  await actguard?.close();
  await killWorkers();
  await Promise.all([temporal?.stop(), postgres?.stop(), model?.stop()]);
  receiver.server.closeAllConnections();
  receiver.server.close();
  rmSync(directory, { recursive: true, force: true });
});

const pay = (what: string): Promise<Run> =>
  actguard.start('payer', { input: `pay ${what}`, user: 'alice', tenant: 'acme' });

async function kindsOf(run: Run): Promise<string[]> {
  return (await listEntries(actguard.db, { run: run.id, limit: 1_000 })).map((entry) => entry.kind);
}

async function shows(run: Run, holds: (state: RunState) => boolean): Promise<RunState> {
  for (;;) {
    const now = await run.state().catch(() => null);
    if (now && holds(now)) return now;
    await new Promise((done) => setTimeout(done, 200));
  }
}

async function cli(...args: string[]): Promise<{ status: number | null; text: string }> {
  const child = spawn(process.execPath, [BIN, ...args], { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part: Buffer) => (text += part.toString()));
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, text };
}

test(
  'P1 a deploy (SIGTERM) while a tool runs lets it finish: no unknown, one effect',
  async () => {
    const first = await worker();
    receiver.hold();
    const run = await pay('once 1');
    await receiver.arrived(1);
    const gone = once(first.child, 'exit');
    first.child.kill('SIGTERM');
    await first.said(/STOPPING|DRAINING/);
    receiver.release();
    expect((await gone)[0]).toBe(0);
    await worker();
    expect(await run.result()).toMatchObject({ status: 'answered', text: 'paid 1' });
    expect(await kindsOf(run)).not.toContain('call.unknown');
    expect(receiver.times(1)).toBe(1);
  },
  LONG,
);

test(
  'P2 Temporal restarted with its database file while a tool runs: the run goes on, one effect',
  async () => {
    receiver.hold();
    const run = await pay('once 2');
    await receiver.arrived(2);
    await temporal.stop();
    expect(existsSync(join(directory, 'temporal.db'))).toBe(true);
    temporal = await server();
    receiver.release();
    expect(await run.result()).toMatchObject({ status: 'answered', text: 'paid 2' });
    expect(await kindsOf(run)).not.toContain('call.unknown');
    expect(receiver.times(2)).toBe(1);
  },
  LONG,
);

test(
  'P2 P7 Postgres stopped while a tool runs and while a run opens: both wait and go on, one effect each',
  async () => {
    receiver.hold();
    const paying = await pay('kept 3');
    await receiver.arrived(3);
    await postgres.stop();
    const opening = await pay('kept 4');
    receiver.release();
    postgres = await database();
    expect(await paying.result()).toMatchObject({ status: 'answered', text: 'paid 3' });
    expect(await opening.result()).toMatchObject({ status: 'answered', text: 'paid 4' });
    expect([receiver.times(3), receiver.times(4)]).toEqual([1, 1]);
  },
  LONG,
);

test(
  'P2 EX5 a worker killed during a write without a receiver key: unknown, a person resolves it with a signature, the run goes on',
  async () => {
    receiver.hold();
    const run = await pay('once 5');
    await receiver.arrived(5);
    await killWorkers();
    receiver.release();
    await worker();
    const waiting = await shows(run, (now) => now.status === 'waiting-resolution');
    expect(receiver.times(5)).toBe(1);
    const [call = ''] = waiting.unknownCalls;
    const early = await cli('resolve', `${run.id}/${call}`, '--did-not-happen', '--reason', 'I looked');
    expect(early.status).toBe(2);
    expect((await run.state()).unknownCalls).toEqual([call]);
    const [refused] = await listEntries(actguard.db, { run: run.id, kind: 'command.invalid' });
    expect(refused?.body).toContain('it could still land');
    const known = await cli(
      'resolve',
      `${run.id}/${call}`,
      '--happened',
      '{"receipt":1}',
      '--reason',
      'the bank says so',
    );
    expect(known).toMatchObject({ status: 0 });
    expect(await run.result()).toMatchObject({ status: 'answered', text: 'paid 5' });
    expect(receiver.times(5)).toBe(1);
    expect(await kindsOf(run)).toEqual(expect.arrayContaining(['call.unknown', 'call.resolved', 'command.accepted']));
  },
  LONG,
);

test(
  'P2 EX5 the worker killed by hand during `actguard run` and started again: the run ends with one effect',
  async () => {
    receiver.hold();
    const running = cli('run', 'payer', 'pay kept 6', '--user', 'alice', '--tenant', 'acme');
    await receiver.arrived(6);
    await killWorkers();
    receiver.release();
    await worker();
    expect(await running).toMatchObject({ status: 0, text: expect.stringContaining('paid 6') });
    expect(receiver.times(6)).toBe(1);
  },
  LONG,
);

test(
  'P7 a worker that starts while Postgres and Temporal are down says which, waits for them, and ends with 1 when it is told to stop',
  async () => {
    await killWorkers();
    await Promise.all([postgres.stop(), temporal.stop()]);
    const impatient = spawnWorker();
    await impatient.said(/Postgres cannot be reached yet, trying again/);
    impatient.child.kill('SIGTERM');
    expect((await once(impatient.child, 'exit'))[0]).toBe(1);
    const patient = spawnWorker();
    const ready = once(patient.child, 'message');
    await patient.said(/Postgres cannot be reached yet, trying again/);
    postgres = await database();
    await patient.said(/Temporal cannot be reached yet, trying again/);
    temporal = await server();
    expect((await ready)[0]).toEqual({ kind: 'ready' });
  },
  LONG,
);
