/** Every example runs as its reader would run it, against the real stack, and checks itself. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { loadConfig } from '../../worker/load-config.ts';
import { TASK_QUEUE } from '../../workflows/ids.ts';
import { platform, type Platform } from '../support/platform.ts';
import { temporalAddress } from '../support/temporal.ts';

const cwd = mkdtempSync(join(tmpdir(), 'actguard-example-'));
let p: Platform | undefined;
afterEach(async () => {
  await p?.end();
  p = undefined;
});

/** Runs `examples/<name>/main.ts` beside a worker of its configuration; answers its output. */
async function example(name: string): Promise<string> {
  const folder = resolve('examples', name);
  const { config } = await loadConfig(join(folder, 'actguard.config.ts'));
  const policies = join(folder, 'policies');
  const policy = readdirSync(policies).map((file) => readFileSync(join(policies, file), 'utf8'));
  const { tools, agents } = config;
  p = await platform({ tools, agents, policy: policy.join('\n'), taskQueue: TASK_QUEUE });
  const child = spawn(process.execPath, ['--conditions=actguard:source', join(folder, 'main.ts')], {
    cwd,
    env: {
      ...{ PATH: process.env['PATH'], NODE_ENV: 'test', AI_SDK_LOG_WARNINGS: 'false' },
      ...{ TEMPORAL_ADDRESS: temporalAddress(), ACTGUARD_DATABASE_URL: p.databaseUrl },
    },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part: Buffer) => (output += part.toString()));
  const code = await new Promise((done) => child.on('exit', done));
  expect(code, output).toBe(0);
  return output;
}

test('quick-start: a budget around the calls of a client that stays as it is (BU2)', async () => {
  expect(await example('quick-start')).toContain('then no more');
});

test('ai-sdk: an app of the AI SDK, governed by its diff', async () => {
  expect(await example('ai-sdk')).toContain('ai-sdk: every check holds');
});

test('ai-sdk: what changed in the app are at most 8 lines, and they are the ones that README.md shows', () => {
  const [before, after] = ['before', 'after'].map((name) =>
    readFileSync(`examples/ai-sdk/${name}.ts`, 'utf8').split('\n'),
  );
  const gone = before?.filter((line) => !after?.includes(line)) ?? [];
  const come = after?.filter((line) => !before?.includes(line)) ?? [];
  expect(gone.length + come.length).toBeLessThanOrEqual(8);
  const shown = /```diff\n(.*?)```/s.exec(readFileSync('README.md', 'utf8'))?.[1]?.split('\n') ?? [];
  const marked = (sign: string) => shown.filter((line) => line.startsWith(sign)).map((line) => line.slice(1));
  expect([marked('-'), marked('+')]).toEqual([gone, come]);
});

test('own-workflow: governed calls in a user’s own workflow, over its own continue-as-new', async () => {
  expect(await example('own-workflow')).toContain('own-workflow: every check holds');
});

test('there is no example that is not run', () => {
  const run = ['ai-sdk', 'own-workflow', 'quick-start'];
  const elsewhere = ['refund-desk']; // the demo
  expect(readdirSync('examples').sort()).toEqual([...run, ...elsewhere].sort());
  rmSync(cwd, { recursive: true, force: true });
});
