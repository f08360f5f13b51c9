/** P6: what an auditor's shell sees: exit 0 valid, 1 could not check, 2 invalid, 3 bad input. The real program, real files, the real stack. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { record } from '../../activities/record.ts';
import type { Io } from '../../client/cli/io.ts';
import { registerVerify } from '../../client/cli/ledger-verify.ts';
import { exitCodeOf } from '../../client/cli/output.ts';
import { exportLines, proveCall } from '../../client/ledger-export.ts';
import { defineTool } from '../../define/index.ts';
import { noteKeyText } from '../../governance/note.ts';
import { desk } from '../support/calls.ts';
import { LOG, appendEntries, sealAll, sealDeps } from '../support/ledger.ts';
import { noteKey } from '../support/note-keys.ts';
import { temporalAddress } from '../support/temporal.ts';

const BIN = resolve('bin/actguard.mjs');
const folder = mkdtempSync(join(tmpdir(), 'actguard-ledger-cli-'));
const at = desk();
const PUBLIC = noteKeyText(noteKey(LOG).key);
const keep = defineTool({
  name: 'notes.keep',
  description: 'Keep a note',
  effect: 'write',
  inputSchema: z.strictObject({ note: z.string() }),
  execute: ({ note }) => ({ kept: note }),
});
let sealing: ReturnType<typeof sealDeps>;
let lines: readonly string[];
let proof: object;
let run: string;
beforeAll(async () => {
  sealing = sealDeps(at.url());
  // written by a worker whose clock had jumped back by years: what is sealed is the order, not the time
  await appendEntries(at.db(), 1, 0, { atMs: Date.UTC(2020, 0, 1) });
  const worker = at.worker([keep]);
  const made = await worker.run();
  for (const note of ['one', 'two', 'three']) await made.call('notes.keep', { note });
  run = made.run;
  const where = { workflowId: made.workflowId, temporalRun: made.temporalRun };
  await record(worker.shared, { v: 1, run, entries: [], closed: { status: 'answered', lastSeq: 3 } }, where);
  await sealAll(sealing);
  const exported: string[] = [];
  for await (const line of exportLines(at.db(), { tenant: null, contents: true })) exported.push(line);
  lines = exported;
  proof = await proveCall(at.db(), run, 'c2');
});
afterAll(async () => {
  await sealing?.db.end();
  rmSync(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly json: { readonly [field: string]: unknown } | null;
  readonly errors: string;
}
async function actguard(words: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(TEMPORAL|ACTGUARD)_/.test(name)));
  const child = spawn(process.execPath, [BIN, 'ledger', ...words, '--output', 'json'], {
    cwd: folder,
    env: { ...clean, ...env },
  });
  let [out, errors] = ['', ''];
  child.stdout.on('data', (text) => (out += String(text)));
  child.stderr.on('data', (text) => (errors += String(text)));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, json: out.trim() === '' ? null : (JSON.parse(out) as Ended['json']), errors };
}
/** The same command without a process of its own: its exit code as the program sets it. */
async function inProcess(words: readonly string[]): Promise<Ended> {
  const ended = { code: 0, json: null as Ended['json'], errors: '' };
  const io = {
    line: () => undefined,
    progress: () => undefined,
    json: (value: unknown) => void (ended.json = value as Ended['json']),
    exitWith: (code: number) => void (ended.code = code),
  } as unknown as Io;
  const program = new Command('actguard').exitOverride();
  registerVerify(program, io);
  await program.parseAsync([...words], { from: 'user' }).catch((error: unknown) => {
    ended.code = exitCodeOf(error);
    ended.errors = (error as Error).message;
  });
  return ended;
}
let n = 0;
function file(text: string): string {
  const path = join(folder, `${++n}.jsonl`);
  writeFileSync(path, text);
  return path;
}
const text = (change: (of: string[]) => void = () => undefined): string => {
  const copy = [...lines];
  change(copy);
  return `${copy.join('\n')}\n`;
};
const KEY = ['--key', PUBLIC];

test.each<[string, () => readonly string[], number, string]>([
  ['whole', () => [file(text()), ...KEY], 0, ''],
  ['its last line cut off', () => [file(text((l) => void l.pop())), ...KEY], 2, 'cut short'],
  ['cut in the middle of a line', () => [file(text().slice(0, -40)), ...KEY], 2, ''],
  [
    'an entry changed',
    () => [file(text((l) => void (l[2] = (l[2] ?? '').replace('bench', 'bunch').replace('acme', 'acmf')))), ...KEY],
    2,
    '',
  ],
  ['a line twice', () => [file(text((l) => void l.splice(2, 0, l[2] ?? ''))), ...KEY], 2, 'line'],
  ['of another log', () => [file(text()), '--key', noteKeyText(noteKey('other.test').key)], 2, 'other.test'],
  [
    'signed by another key of that name',
    () => [file(text()), '--key', noteKeyText(noteKey(LOG, 'log', 'stolen').key)],
    2,
    '',
  ],
  [
    'a line of another version in it',
    () => [file(text((l) => void (l[1] = (l[1] ?? '').replace('"index":0', '"index":"0"')))), ...KEY],
    2,
    '',
  ],
  [
    'a line with a number beyond 2^53',
    () => [file(text((l) => void (l[1] = (l[1] ?? '').replace('"index":0', '"index":9007199254740993')))), ...KEY],
    2,
    '',
  ],
  [
    'a lone surrogate in it',
    () => [file(text((l) => void (l[1] = (l[1] ?? '').replace('acme', '\\ud800')))), ...KEY],
    2,
    '',
  ],
  ['not there', () => [join(folder, 'none.jsonl'), ...KEY], 1, 'cannot be read'],
  ['a folder', () => [folder, ...KEY], 1, 'cannot be read'],
  ['empty', () => [file(''), ...KEY], 3, 'empty'],
  ['a function, no export', () => [file('function () { return 1; }\n'), ...KEY], 3, 'no export'],
  [
    'of a version to come',
    () => [file(text((l) => void (l[0] = (l[0] ?? '').replace('"v":1', '"v":2')))), ...KEY],
    3,
    '',
  ],
  ['checked with no key', () => [file(text())], 3, 'public key'],
  ['checked with half a key', () => [file(text()), '--key', PUBLIC.slice(0, -4)], 3, '--key'],
  [
    'checked with a checkpoint that is not there',
    () => [file(text()), ...KEY, '--checkpoint', join(folder, 'none')],
    1,
    'cannot be read',
  ],
])('P6: ledger verify of an export that is %s', async (_what, words, code, says) => {
  const ended = await inProcess(['verify', ...words()]);
  expect(ended.code, ended.errors).toBe(code);
  expect(`${JSON.stringify(ended.json)}${ended.errors}`).toContain(says);
  if (code === 0) expect(ended.json).toMatchObject({ integrity: 'valid', completeness: 'complete' });
});

test('P6: ledger verify of a proof: 0 valid, 2 changed, 3 no proof', async () => {
  const whole = JSON.stringify(proof);
  expect(await actguard(['verify', file(whole), ...KEY])).toMatchObject({
    code: 0,
    json: { integrity: 'valid', call: 'c2', authorization: 'autonomous' },
  });
  expect((await actguard(['verify', file(whole.replaceAll('call.succeeded', 'call.failed000')), ...KEY])).code).toBe(2);
  expect((await actguard(['verify', file(whole.replace('"entries":[', '"entries":[7,')), ...KEY])).code).toBe(3);
});

test('P6: ledger audit: 0 valid and complete, 2 altered, 1 no database, 3 no key', async () => {
  const env = { TEMPORAL_ADDRESS: temporalAddress(), ACTGUARD_DATABASE_URL: at.url() };
  expect(await actguard(['audit', ...KEY], env)).toMatchObject({
    code: 0,
    json: { integrity: 'valid', completeness: 'complete' },
  });
  expect((await actguard(['audit', '--key', 'nonsense'], env)).code).toBe(3);
  const away = await actguard(['audit', ...KEY], {
    ...env,
    ACTGUARD_DATABASE_URL: 'postgres://nobody@127.0.0.1:9/none',
  });
  expect(away.code, away.errors).toBe(1);
  await at
    .db()
    .query(
      `delete from actguard.entry_contents where entry_id = (select id from actguard.entries where kind = 'call.started' and call = 'c1' and run = $1)`,
      [run],
    );
  const altered = await actguard(['audit', ...KEY], env);
  expect(altered).toMatchObject({ code: 2, json: { completeness: 'incomplete' } });
  expect(JSON.stringify(altered.json)).toContain('call c1');
});
