/** `actguard secrets scan` on the refund desk, and on a desk whose tools leak. */
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startWorld, worldEnvironment, type World } from '../../examples/refund-desk/world.ts';

const folder = mkdtempSync(join(tmpdir(), 'actguard-scan-'));
let world: World;
beforeAll(async () => {
  chmodSync(folder, 0o711); // Postgres may run as another user
  world = await startWorld(join(folder, 'books'));
});
afterAll(async () => {
  await world?.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Scan {
  readonly status: number | null;
  readonly json: { ok: boolean; leaks: { secret: string; where: string }[]; used: string[]; unused: string[] };
  readonly stderr: string;
}

function scan(args: readonly string[]): Promise<Scan> {
  const child = spawn(process.execPath, [resolve('bin/actguard.mjs'), 'secrets', 'scan', ...args, '--output', 'json'], {
    cwd: folder,
    env: { ...process.env, ...worldEnvironment(world) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (part: Buffer) => (stdout += part.toString()));
  child.stderr.on('data', (part: Buffer) => (stderr += part.toString()));
  return new Promise(
    (done) =>
    child.once('close', (status) => done({ status, stderr, json: JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}') as Scan['json'] })), // prettier-ignore
  );
}

test('P5 a run of the refund desk leaves no secret anywhere', { timeout: 180_000 }, async () => {
  const { status, json, stderr } = await scan([
    ...['Refund order 1042', '--own-values', '--timeout', '60'],
    ...['--config', resolve('examples/refund-desk/actguard.config.ts')],
  ]);
  expect([json, stderr]).toMatchObject([{ ok: true, leaks: [], used: ['payments/api-key'] }, expect.anything()]);
  expect(status).toBe(0);
});

test('P5 planted leaks are found; a run without secrets proves nothing', { timeout: 180_000 }, async () => {
  const left = join(folder, 'left.txt');
  writeFileSync(join(folder, 'actguard.config.ts'), CONFIG.replace('LEFT', JSON.stringify(left)));
  mkdirSync(join(folder, 'policies'));
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules')); // for zod
  writeFileSync(join(folder, 'policies', 'all.cedar'), '@id("all") permit (principal, action, resource);\n');
  const leaky = await scan(['--call', 'leak.file={}', '--call', 'leak.args={"text":"a"}']);
  expect([leaky.json, leaky.stderr]).toMatchObject([
    { ok: false, leaks: [{ secret: 'leaky/key', where: 'file: ./left.txt' }], used: ['leaky/key'] },
    expect.anything(),
  ]);
  expect(leaky.status).toBe(1);
  rmSync(left);
  const silent = await scan(['--call', 'leak.args={"text":"a"}']);
  expect(silent.json).toMatchObject({ ok: false, leaks: [], used: [], unused: ['leaky/key'] });
  expect(silent.status).toBe(1);
});

const CONFIG = `import { writeFileSync } from 'node:fs';
import { defineAgent, defineConfig, defineTool, secret } from 'actguard';
import { z } from 'zod';
const read = { effect: 'read', description: 'Leaks', credentials: { key: secret('leaky/key', { reveal: true }) } };
const tools = [
  defineTool({ ...read, name: 'leak.file', inputSchema: z.strictObject({}), execute: async (_args, { reveal }) => {
    writeFileSync(LEFT, Buffer.from('x' + (await reveal('key'))).toString('base64'));
    return 1;
  } }),
  defineTool({ ...read, name: 'leak.args', inputSchema: z.strictObject({ text: z.string() }), execute: ({ text }) => text }),
];
export default defineConfig({ tools, agents: [defineAgent({ name: 'desk', tools })], policies: './policies' });
`;
