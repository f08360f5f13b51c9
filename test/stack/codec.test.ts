/** `actguard codec`: keys as people add them, and the server that the Web UI asks. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PayloadCipher } from '../../activities/payload-codec.ts';
import { openPayloadKeys, readPayloadKeys } from '../../activities/payload-keys.ts';
import { startCodecServer, type CodecServer } from '../../worker/codec-server.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';

const folder = mkdtempSync(join(tmpdir(), 'actguard-codec-'));
const file = join(folder, 'keys.json');
const TOKEN = 'token-0123456789-abc';
let database: FreshDatabase;
let server: CodecServer;
afterAll(async () => {
  await server?.close();
  await database?.drop();
  rmSync(folder, { recursive: true, force: true });
});

function codec(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const env = { ...process.env, ACTGUARD_PAYLOAD_KEYS: file };
  return spawnSync(process.execPath, [resolve('bin/actguard.mjs'), 'codec', ...args, '--output', 'json'], {
    ...{ cwd: folder, encoding: 'utf8', env },
  });
}

beforeAll(async () => {
  expect(codec('key', '--tenant', 'acme').status).toBe(3);
  expect(codec('key').status).toBe(0);
  expect(codec('key', '--tenant', 'acme').status).toBe(0);
  database = await freshDatabase();
  const keys = openPayloadKeys(file);
  const origin = 'http://127.0.0.1:8233';
  server = await startCodecServer({ keys, db: database.db, token: TOKEN, origin, port: 0 });
});

test('P5 keys are added, listed without themselves, and switched', () => {
  expect(statSync(file).mode & 0o077).toBe(0);
  const later = JSON.parse(codec('key', '--later').stdout) as { id: string; current: boolean };
  expect(later.current).toBe(false);
  // a tenant's first key, too: other machines have to know it before it encrypts
  const first = JSON.parse(codec('key', '--later', '--tenant', 'globex').stdout) as { current: boolean };
  expect(first.current).toBe(false);
  expect(codec('use', later.id).status).toBe(0);
  expect(codec('use', 'k-none').status).toBe(1);
  const listed = codec('list');
  expect(JSON.parse(listed.stdout)).toMatchObject([{ current: false }, { tenant: 'acme', current: true }, { id: later.id, current: true }, { tenant: 'globex', current: false }]); // prettier-ignore
  for (const { secret } of readPayloadKeys(file))
    expect(listed.stdout).not.toContain(secret.export().toString('base64'));
  expect(listed.stdout).not.toContain('secret');
});

async function sealed(): Promise<object[]> {
  const cipher = new PayloadCipher(openPayloadKeys(file));
  cipher.remember('w', 'acme');
  const context = { type: 'workflow', namespace: 'default', workflowId: 'w' } as const;
  const plain = { metadata: { encoding: Buffer.from('json/plain') }, data: Buffer.from('"shown to people"') };
  return (await cipher.encode([plain], context)).map(({ metadata, data }) => ({
    metadata: Object.fromEntries(
      Object.entries(metadata ?? {}).map(([k, v]) => [k, Buffer.from(v).toString('base64')]),
    ),
    data: Buffer.from(data ?? []).toString('base64'),
  }));
}

const decode = (path: string, body: string, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${server.address}${path}`, { method: 'POST', body, headers: { 'x-namespace': 'default', ...headers } });
const entries = (): Promise<{ tenant: string; body: string }[]> =>
  database.db.query(
    `select tenant, convert_from(body, 'UTF8') as body from actguard.entries where kind = 'codec.decoded'`,
  );

test('P5 the server decodes for who has the token, and each use is recorded before it', async () => {
  const body = JSON.stringify({ payloads: await sealed() });
  for (const response of [
    await decode('/decode', body, { authorization: `Bearer ${TOKEN}` }),
    await decode(`/${TOKEN}/decode`, body),
  ]) {
    expect(response.status).toBe(200);
    expect(response.headers.get('access-control-allow-origin')).toBe('http://127.0.0.1:8233');
    const [payload] = ((await response.json()) as { payloads: { data: string }[] }).payloads;
    expect(Buffer.from(payload?.data ?? '', 'base64').toString()).toBe('"shown to people"');
  }
  const recorded = await entries();
  expect(recorded.map((e) => e.tenant)).toEqual(['acme', 'acme']);
  expect(recorded[0]?.body).toContain('"namespace":"default"');
  expect(server.address).toContain('127.0.0.1');
});

test('P5 without the token, with another method or body, and without its database nothing is decoded', async () => {
  const body = JSON.stringify({ payloads: await sealed() });
  const before = (await entries()).length;
  expect((await decode('/decode', body)).status).toBe(401);
  expect((await decode('/decode', body, { authorization: 'Bearer token-0123456789-abd' })).status).toBe(401);
  expect((await decode('/other-0123456789-abc/decode', body)).status).toBe(401);
  expect((await decode(`/${TOKEN}/encode`, body)).status).toBe(404);
  expect((await fetch(`${server.address}/${TOKEN}/decode`)).status).toBe(404);
  for (const wrong of ['', '{', '{"payloads":5}', '{"payloads":[{"data":5}]}', '{"payloads":[null]}']) {
    expect((await decode(`/${TOKEN}/decode`, wrong)).status).toBe(400);
  }
  expect((await entries()).length).toBe(before);
  const deaf = await startCodecServer({
    keys: openPayloadKeys(file),
    db: { query: () => Promise.reject(new Error('away')) },
    ...{ token: TOKEN, origin: 'http://127.0.0.1:8233', port: 0 },
  });
  const response = await fetch(`${deaf.address}/${TOKEN}/decode`, { method: 'POST', body });
  expect([response.status, await response.text()]).toEqual([503, '{"error":"not recorded, not decoded"}']);
  await deaf.close();
});
