/**
 * `npm run demo`: the refund desk's stories, played against the real stack, each with what it expects. Ends by itself;
 * exits non-zero if an expectation fails. `-- --output json` ends with one line of JSON, `-- --keep` leaves all running,
 * `-- --browser` takes the approval by mail, page and passkey in a real Chromium, `-- --only STORY` plays one.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect, countEntries } from '../../client/index.ts';
import { startDevStack, type DevStack } from '../../worker/dev-stack.ts';
import { findChromium, NO_CHROMIUM } from './chromium.ts';
import { STORIES, type Stage, type StoryResult } from './stories.ts';
import { startWorld, worldEnvironment } from './world.ts';

const words = process.argv.slice(2);
const json = words.includes('json');
const keep = words.includes('--keep');
const tell = (line: string): void => void process.stderr.write(`${line}\n`);
const only = words.includes('--only') ? (words[words.indexOf('--only') + 1] ?? '') : null;
const stories = STORIES.filter((story) => only === null || story.name === only);
const known = ['--output', 'json', 'text', '--keep', '--browser', '--only', ...(stories.length > 0 ? [only] : [])];
const unknown = words.filter((word) => !known.includes(word));
if (unknown.length > 0) {
  const help = unknown.some((word) => ['--help', '-h'].includes(word));
  if (!help) tell(`unknown: ${unknown.join(' ')}`);
  tell('npm run demo -- [--output json] [--keep] [--browser] [--only STORY]');
  tell('  --keep      leaves everything running');
  tell('  --browser   the approval by mail, page and passkey in a Chromium on this machine, instead of a key file');
  tell(`  --only      one of ${STORIES.map((story) => story.name).join(', ')}`);
  process.exit(help ? 0 : 3);
}
const browser = words.includes('--browser') ? await openBrowser() : null;

const folder = mkdtempSync(join(tmpdir(), 'actguard-demo-'));
const world = await startWorld(join(folder, 'books'));
Object.assign(process.env, worldEnvironment(world));
tell(
  'ActGuard: a refund desk under control. The model is a recording behind the real wire format; everything else is real.',
);
const started = await startDevStack({
  directory: folder,
  ephemeral: true,
  ports: { temporal: 0, ui: 0, postgres: 0, mail: 0, page: 0 },
  configPath: fileURLToPath(new URL('./actguard.config.ts', import.meta.url)),
  env: { PATH: process.env['PATH'], HOME: process.env['HOME'] },
  onEvent: (event) => {
    if (event.kind === 'progress') tell(`  ${event.message}`);
    if (event.kind === 'worker-failed') tell(`  worker: ${event.code} ${event.message}`);
  },
});
if (started.kind !== 'started') throw new Error('another stack runs in a new folder');
const stack: DevStack = started;
const { temporal, postgres, mail } = stack.file();
if (!temporal || !postgres) throw new Error('the stack is not up');
const actguard = await connect({ address: temporal.address, namespace: temporal.namespace, databaseUrl: postgres.url });
tell(`  watch it: ${temporal.ui ?? ''}\n`);

const approver = browser && (await browser.approver({ actguard, stack, tell }));
const stage: Stage = { actguard, world, stack, folder, tell, approver };
const results: StoryResult[] = [];
for (const story of stories) {
  tell(`• ${story.title}`);
  const failures: string[] = [];
  const expect = (what: string, holds: boolean): void => {
    tell(`    ${holds ? 'ok  ' : 'FAIL'} ${what}`);
    if (!holds) failures.push(what);
  };
  let run: string | null = null;
  let spentMicros = 0;
  try {
    ({ run, spentMicros } = await story.play(stage, expect));
  } catch (error) {
    expect(`no error (${error instanceof Error ? error.message : String(error)})`, false);
  }
  results.push({ name: story.name, ok: failures.length === 0, run, spentMicros });
}

const books = await world.books();
const duplicates = books.length - new Set(books.map((r) => r.orderId)).size;
const entries = await countEntries(actguard.db);
const summary = {
  stories: results.map(({ name, ok, run }) => ({ name, ok, run })),
  effects: { executed: books.length, duplicates },
  decisions: {
    allowed: entries['call.started'] ?? 0,
    denied: entries['call.denied'] ?? 0,
    asked: entries['call.asked'] ?? 0,
  },
  spentMicros: results.reduce((sum, r) => sum + r.spentMicros, 0),
  ledgerEntries: Object.values(entries).reduce((sum, n) => sum + n, 0),
  temporalUi: temporal.ui,
};
tell('');
for (const r of results) tell(`  ${r.ok ? 'ok  ' : 'FAIL'}  ${r.name.padEnd(22)} ${r.run ?? ''}`);
tell(`\n  refunds in the service's own books: ${books.length}, duplicates: ${duplicates}`);
tell(
  `  decisions: ${summary.decisions.allowed} allowed, ${summary.decisions.denied} denied, ${summary.decisions.asked} asked`,
);
tell(
  `  ledger entries: ${summary.ledgerEntries}; Temporal UI: ${temporal.ui ?? '-'}; mails: ${mail?.directory ?? '-'}`,
);
if (keep) {
  tell(`  database: ${postgres.url}\n  everything stays up until Ctrl-C`);
  await new Promise<void>((resolve) => process.once('SIGINT', () => resolve()));
} else
  tell('  all of it ends now; `npm run demo -- --keep` leaves it running, `npm start` is the desk for your own words');
await browser?.close();
await actguard.close();
await stack.stop();
await world.stop();
rmSync(folder, { recursive: true, force: true });
if (json) process.stdout.write(`${JSON.stringify(summary)}\n`);
process.exit(results.every((r) => r.ok) && duplicates === 0 ? 0 : 1);

/** Before anything else is started: what is missing leaves nothing behind. */
async function openBrowser() {
  const path = await findChromium(process.env);
  try {
    // loaded when it is asked for: the demo itself needs no browser
    const { approverAt, launch } = await import('./browser.ts');
    if (path === null) throw new Error('no Chromium was found');
    const opened = await launch(path);
    const approver = (around: Parameters<typeof approverAt>[1]) => approverAt(opened, around);
    return { approver, close: () => opened.close() };
  } catch (error) {
    tell(`--browser: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)}\n${NO_CHROMIUM}`);
    return process.exit(1);
  }
}
