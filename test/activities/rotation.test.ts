/** An API key is rotated while calls are made: the receiver takes both for a while, and no call fails. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { cachedSecrets } from '../../activities/secret-cache.ts';
import { fileSecrets, makeIdentity, writeSecretFile } from '../../activities/secret-file.ts';
import { defineTool, secret } from '../../define/index.ts';
import { desk } from '../support/calls.ts';

const { worker } = desk();
const folder = mkdtempSync(join(tmpdir(), 'actguard-rotation-'));
const place = { path: join(folder, 'secrets.age'), identityFile: join(folder, 'identity'), identity: undefined };
const [OLD, NEW] = ['sk-old-0123456789abc', 'sk-new-0123456789abc'];
const accepted = new Set([OLD]);
const seen: string[] = [];
let server: Server;
let host = '';
const store = (value: string): Promise<void> =>
  writeSecretFile(place, [{ name: 'bank/key', tenant: null, user: null, value, setAt: '2026-11-24T00:00:00.000Z' }]);

beforeAll(async () => {
  await makeIdentity(place.identityFile);
  await store(OLD);
  server = createServer((request, response) => {
    const key = (request.headers.authorization ?? '').replace('Bearer ', '');
    seen.push(key);
    response.writeHead(accepted.has(key) ? 200 : 401).end('{}');
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

test('P5 a key is rotated under load without a restart and without a failed call', async () => {
  let nowMs = 0;
  const pay = defineTool({
    ...{ name: 'pay', description: 'Pay', effect: 'write', repeatable: true },
    inputSchema: z.strictObject({ n: z.int() }),
    credentials: { bank: secret('bank/key', { host }) },
    execute: async (args, { fetch }) =>
      (await fetch(`http://${host}/`, { method: 'POST', body: JSON.stringify(args) })).json(),
  });
  const w = worker([pay]);
  Object.assign(w.shared.deps, { secrets: cachedSecrets([fileSecrets(place)], 1_000, () => nowMs) });
  const run = await w.run();
  const batch = async (from: number): Promise<string[]> =>
    (await Promise.all(Array.from({ length: 8 }, (_, i) => run.call('pay', { n: from + i })))).map((r) => r.kind);
  const kinds = await batch(0);
  accepted.add(NEW); // the receiver knows the new one first
  const [during] = await Promise.all([batch(10), store(NEW)]);
  nowMs = 1_000; // what was kept has had its time
  kinds.push(...during, ...(await batch(20)));
  accepted.delete(OLD); // only now: nobody sends it any more
  kinds.push(...(await batch(30)));
  expect(new Set(kinds)).toEqual(new Set(['done']));
  expect(seen.slice(0, 8)).toEqual(Array(8).fill(OLD));
  expect(seen.slice(-16)).toEqual(Array(16).fill(NEW));

  // the twin: without the time in between the old one would be refused
  await store(OLD);
  expect(await batch(40)).toEqual(Array(8).fill('done'));
  nowMs = 2_000;
  expect(new Set(await batch(50))).toEqual(new Set(['failed']));
});
