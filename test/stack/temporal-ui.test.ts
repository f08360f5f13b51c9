/** Temporal's own Web UI, in a browser, as an operator sees a run whose payloads are encrypted. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { z } from 'zod';
import { addPayloadKey, readPayloadKeys, writePayloadKeys } from '../../activities/payload-keys.ts';
import { listEntries, type ListedEntry } from '../../client/ledger.ts';
import { defineTool } from '../../define/index.ts';
import { workflowIdOf } from '../../workflows/ids.ts';
import { openChromium } from '../support/chromium.ts';
import { temporalAddress } from '../support/temporal.ts';
import { platform, type Platform } from '../support/platform.ts';

const TOKEN = 'token-0123456789-abc';
const WORDS = 'what-alice-asked-for';
const folder = mkdtempSync(join(tmpdir(), 'actguard-ui-'));
const file = join(folder, 'keys.json');
const ui = inject('temporalUi');
const look = defineTool({
  name: 'look',
  description: 'Look something up',
  effect: 'read',
  inputSchema: z.strictObject({}),
  execute: () => 1,
});
let p: Platform;
let browser: Browser;
let server: ChildProcess;
/** What `actguard codec serve` prints. */
let endpoint = '';
beforeAll(async () => {
  writePayloadKeys(file, addPayloadKey(addPayloadKey([], null, false), 'acme', false));
  [p, browser] = await Promise.all([platform({ tools: [look], payloadKeys: file }), openChromium()]);
  const env = { ...process.env, ACTGUARD_PAYLOAD_KEYS: file, ACTGUARD_DATABASE_URL: p.databaseUrl, TEMPORAL_ADDRESS: temporalAddress(), ACTGUARD_CODEC_TOKEN: TOKEN }; // prettier-ignore
  const args = [resolve('bin/actguard.mjs'), 'codec', 'serve', '--origin', ui, '--output', 'json'];
  server = spawn(process.execPath, args, { cwd: folder, env, stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(server.stdout as Readable, 'data')) as [Buffer];
  ({ endpoint } = JSON.parse(line.toString()) as { endpoint: string });
});
afterAll(async () => {
  await browser?.close();
  server?.kill();
  await p?.end();
  rmSync(folder, { recursive: true, force: true });
});

/** As an operator does it: the button with the glasses, "use my browser's endpoint", the address, Apply. */
async function useCodecServer(page: Page, endpoint: string): Promise<void> {
  await page.locator('[data-testid^="data-encoder-status"]:visible').first().click();
  await page.getByTestId('use-local-endpoint-input').check({ force: true });
  await page.locator('#data-encoder-endpoint-input').fill(endpoint);
  await page.locator('#data-encoder-settings').getByRole('button', { name: 'Apply' }).click();
}

/** What stands under "Input" of the workflow that the page shows; zero-width signs are the editor's. */
const inputOf = async (page: Page): Promise<string> =>
  (await page.getByTestId('input-and-result').getByLabel('Input').first().innerText()).replaceAll(/[\s\u200b]/g, '');
const looks = (): Promise<ListedEntry[]> => listEntries(p.db, { kind: 'codec.decoded' });

test('P5 the Temporal UI shows ciphertext, and with the codec server what the payloads hold; each look is recorded', async () => {
  const session = await p.actguard.session({ id: 'seen', agent: 'desk', user: 'alice', tenant: 'acme', input: WORDS });
  expect(await session.call('look', {})).toMatchObject({ kind: 'done' });
  await session.close();
  const address = `${ui}/namespaces/default/workflows/${workflowIdOf(session.run)}`;
  const page = await browser.newPage();
  await page.goto(address);
  await expect.poll(() => inputOf(page), { timeout: 60_000 }).toMatch(/^"[\w+/]{200,}={0,2}"$/);
  expect(Buffer.from((await inputOf(page)).slice(1, -1), 'base64').toString('latin1')).not.toContain(WORDS);
  expect(await looks()).toEqual([]);

  await useCodecServer(page, endpoint);
  await page.goto(address);
  await expect.poll(() => inputOf(page), { timeout: 60_000 }).toContain(`"input":"${WORDS}"`);
  const [key] = readPayloadKeys(file).filter(({ tenant }) => tenant === 'acme');
  const [look] = await looks();
  expect(look?.tenant).toBe('acme');
  expect(JSON.parse(look?.body ?? '')).toMatchObject({ data: { keys: [key?.id], namespace: 'default' } });

  // another browser with a wrong token: it asks, gets nothing, and shows what it did before
  const other = await browser.newPage();
  const answers: number[] = [];
  other.on('response', (r) => void (r.url().startsWith(new URL(endpoint).origin) && answers.push(r.status())));
  await other.goto(address);
  await useCodecServer(other, endpoint.replace('abc', 'abd'));
  await other.goto(address);
  await expect.poll(() => answers, { timeout: 60_000 }).toContain(401);
  await expect.poll(() => inputOf(other), { timeout: 60_000 }).toMatch(/^"[\w+/]{200,}={0,2}"$/);
});
