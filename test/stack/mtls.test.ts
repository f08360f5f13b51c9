/** `actguard worker` against a Temporal that wants a client certificate: a TLS door in front of the shared dev server. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createServer, type Server } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import { temporalAddress } from '../support/temporal.ts';

const BIN = resolve('bin/actguard.mjs');
const directory = mkdtempSync(join(tmpdir(), 'actguard-mtls-'));
const at = (name: string): string => join(directory, name);
let database: FreshDatabase;
let door: Server;
let admitted = 0;

function certificate(name: string, extra: string[]): void {
  const subject = [
    '-subj',
    `/CN=${name}`,
    '-days',
    '2',
    '-nodes',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
  ];
  execFileSync(
    'openssl',
    ['req', '-x509', ...subject, '-keyout', at(`${name}.key`), '-out', at(`${name}.pem`), ...extra],
    { stdio: 'pipe' },
  );
}

beforeAll(async () => {
  certificate('ca', []);
  const signed = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-addext', 'basicConstraints=critical,CA:FALSE'];
  certificate('server', [...signed, '-addext', 'subjectAltName=DNS:localhost']);
  certificate('worker', signed);
  const [host, port] = temporalAddress().split(':');
  door = createServer(
    {
      key: readFileSync(at('server.key')),
      cert: readFileSync(at('server.pem')),
      ca: readFileSync(at('ca.pem')),
      requestCert: true,
      rejectUnauthorized: true,
      ALPNProtocols: ['h2'],
    },
    (socket) => {
      admitted += 1;
      const inner = connectTcp({ host: host ?? '', port: Number(port) });
      for (const end of [socket, inner]) end.on('error', () => end.destroy());
      socket.pipe(inner).pipe(socket);
    },
  );
  door.listen(0, '127.0.0.1');
  await once(door, 'listening');
  database = await freshDatabase();
  mkdirSync(at('policies'));
  writeFileSync(at('policies/all.cedar'), '@id("all") permit (principal, action, resource);\n');
  writeFileSync(
    at('actguard.config.ts'),
    `import { defineAgent, defineConfig, defineTool } from '${resolve('define/index.ts')}';
import { z } from '${resolve('node_modules/zod/index.js')}';
const look = defineTool({ name: 'a.look', description: 'Looks', effect: 'read', reach: 'internal', inputSchema: z.strictObject({}), execute: () => 1 });
export default defineConfig({ tools: [look], agents: [defineAgent({ name: 'desk', tools: [look] })], policies: './policies' });
`,
  );
});
afterAll(async () => {
  door.close();
  await database.drop();
  rmSync(directory, { recursive: true, force: true });
});

function worker(certificates: Record<string, string>): ReturnType<typeof spawn> {
  return spawn(process.execPath, ['--conditions=actguard:source', BIN, 'worker'], {
    cwd: directory,
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: directory,
      TEMPORAL_ADDRESS: `localhost:${(door.address() as AddressInfo).port}`,
      TEMPORAL_TLS_SERVER_CA_CERT_PATH: at('ca.pem'),
      ACTGUARD_DATABASE_URL: database.url,
      ...certificates,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Standard error until it matches. */
function says(child: ReturnType<typeof spawn>, pattern: RegExp): Promise<string> {
  return new Promise((done, failed) => {
    let text = '';
    child.stderr?.on('data', (part: Buffer) => {
      text += part.toString();
      if (pattern.test(text)) done(text);
    });
    child.on('exit', () => failed(new Error(`the worker ended: ${text}`)));
  });
}

test('a worker with the certificate that TEMPORAL_TLS_* names is admitted, works and stops', async () => {
  const child = worker({
    TEMPORAL_TLS_CLIENT_CERT_PATH: at('worker.pem'),
    TEMPORAL_TLS_CLIENT_KEY_PATH: at('worker.key'),
  });
  const ended = once(child, 'exit');
  await says(child, /worker ready/);
  expect(admitted).toBeGreaterThan(0);
  child.kill('SIGTERM');
  expect((await ended)[0]).toBe(0);
});

test('P7 without one it is not admitted, says which server does not answer, and starts nothing', async () => {
  const before = admitted;
  const child = worker({});
  const ended = once(child, 'exit');
  expect(await says(child, /Temporal/)).not.toMatch(/worker ready/);
  child.kill('SIGTERM');
  await ended;
  expect(admitted).toBe(before);
});
