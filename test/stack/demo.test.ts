/** `npm run demo -- --output json`, as somebody with a full environment of their own would run it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { findChromium } from '../../examples/refund-desk/chromium.ts';
import { commandOf } from '../../worker/children.ts';

// Everything the demo makes goes here: what is left of it afterwards is a leak.
const scratch = mkdtempSync(join(tmpdir(), 'actguard-demotest-'));
chmodSync(scratch, 0o711); // Postgres may run as another user
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const POISON = {
  TEMPORAL_ADDRESS: 'poison.invalid:1',
  TEMPORAL_NAMESPACE: 'poison',
  TEMPORAL_API_KEY: 'poison',
  DATABASE_URL: 'postgres://poison.invalid/x',
  ACTGUARD_DATABASE_URL: 'postgres://poison.invalid/x',
  SMTP_URL: 'smtp://poison.invalid',
  ACTGUARD_SMTP_URL: 'smtp://poison.invalid',
  OPENAI_API_KEY: 'sk-poison-poison-poison',
  OPENAI_BASE_URL: 'http://poison.invalid/v1',
  ANTHROPIC_API_KEY: 'sk-poison-poison-poison',
  PAYMENTS_API_KEY: 'poison-poison-poison',
  REFUND_SERVICE_URL: 'http://poison.invalid',
  PGHOST: 'poison.invalid',
  PGPORT: '1',
  PGPASSWORD: 'poison',
};

interface Summary {
  readonly stories: readonly { readonly name: string; readonly ok: boolean; readonly run: string | null }[];
  readonly effects: { readonly executed: number; readonly duplicates: number };
  readonly decisions: { readonly allowed: number; readonly denied: number; readonly asked: number };
  readonly spentMicros: number;
  readonly ledgerEntries: number;
  readonly temporalUi: string;
}

/** Plays the demo with these words; what it said, and its exit code. */
async function play(...words: string[]): Promise<{ code: number | null; out: string; told: string }> {
  const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: { demo: string } };
  const [, ...args] = manifest.scripts.demo.split(' ');
  const demo = spawn(process.execPath, [...args, ...words], {
    cwd: resolve('.'),
    env: { ...process.env, ...POISON, TMPDIR: scratch, ...(chromium ? { ACTGUARD_CHROMIUM: chromium } : {}) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let told = '';
  demo.stdout.on('data', (part: Buffer) => (out += part.toString()));
  demo.stderr.on('data', (part: Buffer) => (told += part.toString()));
  const [code] = (await once(demo, 'close')) as [number | null];
  return { code, out, told };
}
let chromium: string | null = null;

test('P2 P7 the demo plays every story without a duplicate, reads no poisoned variable and leaves nothing behind', async () => {
  const { code, out, told } = await play('--output', 'json');
  expect(told).not.toContain('FAIL');
  expect(told + out).not.toContain('poison');
  const summary = JSON.parse(out.trimEnd().split('\n').at(-1) ?? '') as Summary;
  expect(summary.stories.filter((story) => !story.ok)).toEqual([]);
  expect(summary.stories.map((story) => story.name)).toEqual([
    'under-the-limit',
    'over-the-limit',
    'injected-instruction',
    'laundered-fact',
    'planned-twice',
    'tiny-budget',
    'killed-worker',
    'broken-policy',
  ]);
  for (const { name, run } of summary.stories) {
    if (name !== 'broken-policy') expect(run).toMatch(/^[0-9A-Z]{26}$/);
  }
  expect(summary).toMatchObject({ effects: { executed: 4, duplicates: 0 }, decisions: { asked: 2 } });
  expect(summary.decisions.allowed).toBeGreaterThan(8);
  expect(summary.decisions.denied).toBeGreaterThan(1);
  expect(summary.spentMicros).toBeGreaterThan(0);
  expect(summary.ledgerEntries).toBeGreaterThan(30);
  expect(new URL(summary.temporalUi).hostname).toBe('127.0.0.1');
  expect(code).toBe(0);
  expect(processesNaming(scratch)).toEqual([]);
  expect(readdirSync(scratch)).toEqual([]);
}, 180_000);

test('P4 --browser: the approval is taken by mail, page and passkey, the run goes on, and nothing is left behind', async () => {
  chromium = await findChromium({ ...process.env, ACTGUARD_CHROMIUM: undefined });
  const { code, out, told } = await play('--browser', '--only', 'over-the-limit', '--output', 'json');
  expect(told).not.toContain('FAIL');
  for (const step of ['makes a passkey from a mailed link', 'opens the mail', 'what came of it: It was done, once.'])
    expect(told).toContain(step);
  expect(told).not.toContain('signs with the enrolled key');
  const summary = JSON.parse(out.trimEnd().split('\n').at(-1) ?? '') as Summary;
  expect(summary).toMatchObject({ effects: { executed: 1, duplicates: 0 }, decisions: { asked: 1 } });
  expect(code).toBe(0);
  expect(processesNaming(scratch)).toEqual([]);
  expect(readdirSync(scratch)).toEqual([]);
}, 180_000);

test('--browser without one starts nothing and says how to get one; an unknown word says which there are', async () => {
  chromium = join(scratch, 'no-chromium');
  const none = await play('--browser');
  expect(none.told).toContain('apt-get install chromium');
  expect(none.told).not.toContain('Postgres');
  expect(none.code).toBe(1);
  const unknown = await play('--only', 'nothing');
  expect(unknown.told).toContain('over-the-limit');
  expect(unknown.code).toBe(3);
});

/** Command lines that name a folder: servers, workers and services are all told where their files lie. */
function processesNaming(folder: string): string[] {
  if (!existsSync('/proc/self')) return []; // elsewhere the folder itself has to do
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => commandOf(Number(name)))
    .filter((command) => command.includes(folder));
}
