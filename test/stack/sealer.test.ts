/** P6: the sealer as it runs: a workflow, a witness, a restored database, a signed recover. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { verifySignature } from '../../activities/signatures.ts';
import { DEV_ROOT_KEY_FILE } from '../../client/dev-approver.ts';
import { makeCommand } from '../../client/commands.ts';
import { generateKey, readKeyFile } from '../../client/keys.ts';
import { defineTool } from '../../define/index.ts';
import { toBase64 } from '../../governance/base64.ts';
import { openCheckpoint } from '../../governance/checkpoint.ts';
import { openWitnessMemory } from '../../worker/witness-memory.ts';
import { type Witness, startWitness } from '../../worker/witness-server.ts';
import { sealerIdOf } from '../../workflows/ids.ts';
import { recoverSignal, sealedQuery } from '../../workflows/messages.ts';
import { appendEntries, rootOver, sealedBodies, signerOf } from '../support/ledger.ts';
import { noteKey } from '../support/note-keys.ts';
import { type Platform, platform } from '../support/platform.ts';

const log = noteKey('log.test');
const watcher = noteKey('witness.test', 'witness');
const WAIT = { timeout: 30_000, interval: 100 };
const noop = defineTool({
  name: 'notes.keep',
  description: 'Keep a note',
  effect: 'write',
  inputSchema: z.strictObject({ note: z.string() }),
  execute: ({ note }) => Promise.resolve({ note }),
});

let folder: string;
let witness: Witness;
let at: Platform;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'actguard-witness-'));
  const memory = openWitnessMemory(join(folder, 'memory.json'));
  witness = await startWitness({ signer: signerOf(watcher), memory, logs: [log.key], port: 0 });
  const sealing = { signers: [signerOf(log)] as const, witnesses: [{ url: witness.url, key: watcher.key }] };
  at = await platform({ tools: [noop], sealing: { ...sealing, signers: [signerOf(log)] } });
});
afterAll(async () => {
  await at?.end();
  await witness?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const handle = () => at.actguard.client.workflow.getHandle(sealerIdOf(at.taskQueue));
const latest = async () => {
  const [row] = await at.db.query<{ c: { size: number; note: string; cosigned: boolean } | null }>(
    `select actguard.ledger_checkpoint('{}') as c`,
  );
  return row?.c ?? null;
};
const waiting = async (): Promise<number> => {
  const [row] = await at.db.query<{ w: { count: number } }>('select actguard.ledger_waiting() as w');
  return row?.w.count ?? -1;
};
const cosignedAt = async (): Promise<number> => {
  const checkpoint = await latest();
  return checkpoint?.cosigned && (await waiting()) === 0 ? checkpoint.size : -1;
};
const uncosigned = async (): Promise<number> => {
  const [row] = await at.db.query<{ n: number }>('select count(*) as n from actguard.entries');
  return (row?.n ?? -1) - (await cosignedAt());
};
const session = () => at.actguard.session({ id: `s-${Math.random()}`, agent: 'desk', user: 'alice', tenant: 'acme' });

test('P6: what a run writes is sealed, witnessed, and survives a restart of the worker', async () => {
  const own = await session();
  expect(await own.call('notes.keep', { note: 'first' })).toMatchObject({ kind: 'done' });
  await expect.poll(cosignedAt, WAIT).toBeGreaterThan(2);
  await at.restart();
  await appendEntries(at.db, 3, 100);
  await expect.poll(uncosigned, WAIT).toBe(0);
  const checkpoint = await latest();
  const opened = openCheckpoint(checkpoint?.note ?? '', log.key.name, [log.key, watcher.key], verifySignature);
  if (opened.kind !== 'ok') throw new Error(opened.reason);
  expect(opened.value.signatures.map((s) => s.key.name)).toEqual(['log.test', 'witness.test']);
  const bodies = await sealedBodies(at.db);
  expect(Buffer.from(opened.value.checkpoint.root).toString('base64')).toBe(rootOver(bodies));
});

test('P6: a restored backup freezes everything, a thaw does not lift it, a signed recover does', async () => {
  await appendEntries(at.db, 5, 200);
  await expect.poll(uncosigned, WAIT).toBe(0);
  const before = (await latest())?.size ?? 0;
  // yesterday's backup: the last entries and everything that was made of them are gone
  await at.db.query('delete from actguard.ledger_checkpoints where size = $1', [before]);
  const [kept] = await at.db.query<{ size: number }>('select max(size) as size from actguard.ledger_checkpoints');
  const size = kept?.size ?? 0;
  await at.db.query(
    'with l as (delete from actguard.ledger_leaves where idx >= $1 returning entry_id) delete from actguard.entries e using l where e.id = l.entry_id',
    [size],
  );
  await at.db.query('delete from actguard.ledger_nodes where (idx + 1) * (2 ^ level) > $1', [size]);
  await appendEntries(at.db, 1, 300);
  await expect.poll(async () => (await handle().query(sealedQuery)).trouble?.kind, WAIT).toBe('behind');

  const own = await session();
  expect(await own.call('notes.keep', { note: 'while broken' })).toMatchObject({
    kind: 'denied',
    denial: { code: 'FROZEN' },
  });
  const root = readKeyFile(join(at.directory, DEV_ROOT_KEY_FILE), null);
  const recover = (key: typeof root, verb: 'recover' | 'thaw' = 'recover') => ({
    envelope: makeCommand(
      verb,
      { tenant: '*', target: 'ledger', reason: 'restored', data: { publicKey: toBase64(key.publicKey) } },
      key,
      Date.now(),
    ),
  });
  for (const [signal, reason] of [
    [recover(generateKey('mallory')), 'unknown'],
    [recover(root, 'thaw'), 'no recover'],
  ] as const) {
    await handle().signal(recoverSignal, signal);
    await expect.poll(async () => (await handle().query(sealedQuery)).refused ?? '', WAIT).toContain(reason);
  }
  expect((await latest())?.size).toBe(size);

  // the witness still knows better: its operator has to forget, too
  await handle().signal(recoverSignal, recover(root));
  await expect.poll(async () => (await handle().query(sealedQuery)).trouble?.kind, WAIT).toBe('witness-ahead');
  expect(await own.call('notes.keep', { note: 'still broken' })).toMatchObject({ denial: { code: 'FROZEN' } });
  const [row] = await at.db.query<{ n: number }>(
    `select count(*) as n from actguard.entries where kind in ('ledger.broken', 'ledger.recovered')`,
  );
  expect(row?.n).toBe(3);
});

test('P6: after the witness forgot, a recover lets writes begin again', async () => {
  await witness.stop();
  rmSync(join(folder, 'memory.json'));
  const memory = openWitnessMemory(join(folder, 'memory.json'));
  const port = Number(new URL(witness.url).port);
  witness = await startWitness({ signer: signerOf(watcher), memory, logs: [log.key], port });
  const root = readKeyFile(join(at.directory, DEV_ROOT_KEY_FILE), null);
  const data = { publicKey: toBase64(root.publicKey) };
  const about = { tenant: '*', target: 'ledger', reason: 'witness forgot', data };
  await handle().signal(recoverSignal, { envelope: makeCommand('recover', about, root, Date.now()) });
  await expect.poll(async () => (await handle().query(sealedQuery)).trouble, WAIT).toBeNull();
  await expect.poll(uncosigned, WAIT).toBe(0);
  const own = await session();
  expect(await own.call('notes.keep', { note: 'again' })).toMatchObject({ kind: 'done' });
});
