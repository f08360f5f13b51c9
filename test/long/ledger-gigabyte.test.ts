/** P6: an export of more than a gigabyte is verified in a stream: the memory that it takes does not grow with the file. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { checkpointText } from '../../governance/checkpoint.ts';
import { makeEntry } from '../../governance/entry.ts';
import { leafBytes, writeExportHead, writeExportLeaf } from '../../governance/ledger-export.ts';
import { NO_PEAKS, type Peaks, appendLeaves, leafHash, rootOf } from '../../governance/merkle.ts';
import { noteKeyText, signNote, writeNote } from '../../governance/note.ts';
import { noteKey } from '../support/note-keys.ts';

const folder = mkdtempSync(join(tmpdir(), 'actguard-gigabyte-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const log = noteKey('log.test');
const ENTRIES = 1_100_000;
/** Of V8's heap, for a file of more than a gigabyte. */
const HEAP_MIB = 96;

/** A run after the other is opened, makes calls and is closed: what stays in memory is what is open. */
function body(i: number): string {
  const [run, at] = [`run-${Math.floor(i / 100)}`, i % 100];
  const seq = Math.ceil(at / 2);
  const base = { tenant: 'acme', run, atMs: 1_790_000_000_000 + i };
  const user = { user: 'alice', agent: 'desk' };
  if (at === 0) return makeEntry({ ...base, kind: 'run.opened', key: 'opened', data: user }).body;
  if (at === 99)
    return makeEntry({ ...base, kind: 'run.closed', key: 'closed', data: { ...user, status: 'answered', lastSeq: 49 } })
      .body;
  const call = { ...base, seq, call: `c${seq}` };
  const data = { ...user, tool: 'notes.keep', note: 'x'.repeat(700) };
  return at % 2 === 1
    ? makeEntry({
        ...call,
        kind: 'call.started',
        key: `c:${seq}:started`,
        data: { ...data, authorization: 'autonomous', effect: 'write' },
      }).body
    : makeEntry({ ...call, kind: 'call.succeeded', key: `c:${seq}:succeeded`, data }).body;
}

test('P6: a gigabyte is valid within a small heap; with one byte changed near its end it is not', async () => {
  let peaks: Peaks = NO_PEAKS;
  for (let i = 0; i < ENTRIES; i += 1) peaks = appendLeaves(peaks, [leafHash(leafBytes(body(i)))]).peaks;
  const signed = checkpointText({ origin: 'log.test', size: ENTRIES, root: rootOf(peaks) });
  const checkpoint = writeNote(signed, [signNote(signed, log.key, log.sign)]);
  for (const [name, changed] of [
    ['whole', -1],
    ['changed', ENTRIES - 3],
  ] as const) {
    const file = join(folder, `${name}.jsonl`);
    const out = createWriteStream(file);
    out.write(`${writeExportHead({ origin: 'log.test', tenant: null, size: ENTRIES, contents: false, checkpoint })}\n`);
    for (let index = 0; index < ENTRIES; index += 1) {
      const text = index === changed ? body(index).replace('alice', 'alicf') : body(index);
      if (!out.write(`${writeExportLeaf({ index, body: text, content: null })}\n`)) await once(out, 'drain');
    }
    out.end();
    await once(out, 'finish');
    expect(statSync(file).size).toBeGreaterThan(1e9);
    const words = [
      resolve('bin/actguard.mjs'),
      'ledger',
      'verify',
      file,
      '--key',
      noteKeyText(log.key),
      '--output',
      'json',
    ];
    const child = spawn(process.execPath, [`--max-old-space-size=${HEAP_MIB}`, ...words], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.on('data', (text) => (said += String(text)));
    const [code] = (await once(child, 'close')) as [number | null];
    expect({ name, code }).toEqual({ name, code: changed < 0 ? 0 : 2 });
    expect(JSON.parse(said)).toMatchObject({ integrity: changed < 0 ? 'valid' : 'invalid', entries: ENTRIES });
    rmSync(file);
  }
}, 1_800_000);
