/** docker-compose.yml and Dockerfile: nothing dangles, nothing listens to the world, and their command lines run, without containers. */
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { generateKey, writeKeyFile } from '../../client/keys.ts';
import { noteKeyText } from '../../governance/note.ts';
import { freePort } from '../../worker/ports.ts';
import { SEARCH_ATTRIBUTES } from '../../worker/search-attributes.ts';
import { findTemporal } from '../../worker/temporal-server.ts';
import { freshDatabase } from '../support/database.ts';
import { noteKey } from '../support/note-keys.ts';
import { temporalAddress } from '../support/temporal.ts';

interface Service {
  readonly image?: string;
  readonly build?: string;
  readonly depends_on?: { readonly [name: string]: { readonly condition: string } };
  readonly environment?: { readonly [name: string]: string };
  readonly networks?: readonly string[];
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly command?: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly healthcheck?: object;
  readonly restart?: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
}
const file = parse(readFileSync('docker-compose.yml', 'utf8')) as {
  readonly services: { readonly [name: string]: Service };
  readonly networks: object;
  readonly volumes: object;
};
const services = Object.entries(file.services);
const dockerfile = readFileSync('Dockerfile', 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'actguard-compose-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('every name that a part uses is one that stands there', () => {
  for (const [name, part] of services) {
    for (const network of part.networks ?? []) expect(Object.keys(file.networks), name).toContain(network);
    for (const volume of part.volumes ?? []) {
      const [from = ''] = volume.replace(/\$\{[^}]*\}/, './').split(':');
      if (!/^[./]/.test(from)) expect(Object.keys(file.volumes), name).toContain(from);
    }
    for (const [other, { condition }] of Object.entries(part.depends_on ?? {})) {
      const found = file.services[other];
      expect(found, `${name} depends on ${other}`).toBeDefined();
      if (condition === 'service_healthy') expect(found?.healthcheck, `${other} has a health check`).toBeDefined();
    }
  }
});

test('ports are bound to loopback, images are pinned, no password stands in the file', () => {
  for (const [name, part] of services) {
    for (const port of part.ports ?? []) expect(port, name).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
    if (part.image !== undefined) expect(part.image, name).toMatch(/:v?\d+(\.\d+)*$/);
    expect(part.image === undefined ? part.build : part.image, name).toBeDefined();
    for (const [variable, value] of Object.entries(part.environment ?? {})) {
      const secret = /PASS|PWD|KEY/.test(variable) ? value : /:\/\/[^/:]+:([^@]+)@/.exec(value)?.[1];
      if (secret !== undefined) expect(secret, `${name} ${variable}`).toMatch(/^\$\{\w+:\?[^}]+\}$/);
    }
  }
});

test('the worker runs as nobody special: not root, nothing to write, no capability; its bundle is built before', () => {
  const worker = file.services['worker'];
  expect(worker).toMatchObject({ read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] });
  const users = [...dockerfile.matchAll(/^USER (\S+)$/gm)].map((m) => m[1]);
  expect(users).toEqual(['node']);
  const last = dockerfile.slice(dockerfile.lastIndexOf('\nFROM'));
  expect(last.indexOf('USER node')).toBeLessThan(last.indexOf('\nCMD'));
  expect(last.slice(last.indexOf('USER node'))).not.toMatch(/^RUN/m);
  expect(dockerfile).toContain('RUN node scripts/build.mjs');
  expect(dockerfile).toContain('COPY --from=build /app/dist ./dist');
  expect(dockerfile).not.toMatch(/^FROM .*alpine/im);
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap((m) => (m[1] ?? '').split(' '));
  for (const path of copied.filter((one) => one !== '.')) expect(() => readFileSync(path)).not.toThrow(/ENOENT/);
});

test('the search attributes are registered by the command line that stands there, a second time as well', async () => {
  const line = file.services['search-attributes']?.entrypoint ?? [];
  const named = line.filter((word) => word.startsWith('--name=')).map((word) => word.slice(7));
  const types = line.filter((word) => word.startsWith('--type=')).map((word) => word.slice(7));
  expect(Object.fromEntries(named.map((name, i) => [name, types[i]]))).toEqual(SEARCH_ATTRIBUTES);
  const { path } = await findTemporal();
  const words = line
    .slice(1)
    .map((word) =>
      word.replace('temporal:7233', temporalAddress()).replace('--namespace=actguard', '--namespace=default'),
    );
  for (let time = 1; time <= 2; time += 1) {
    const { status, stderr } = spawnSync(path, words, { encoding: 'utf8' });
    expect([time, status, stderr]).toEqual([time, 0, expect.any(String)]);
  }
});

/** A folder as the image has it: the program beside its packages, a configuration mounted below. */
function image(): string {
  const app = mkdtempSync(join(folder, 'app-'));
  for (const name of ['bin', 'package.json', 'node_modules']) symlinkSync(resolve(name), join(app, name));
  mkdirSync(join(app, 'config'));
  cpSync('examples/refund-desk', join(app, 'config'), { recursive: true });
  return app;
}

/** Starts a part by the command line that stands there, waits until it says that it is ready, and tells it to stop. */
async function startsAndStops(
  name: string,
  app: string,
  env: NodeJS.ProcessEnv,
  ready: RegExp,
  adjust: (word: string) => string = (word) => word,
  whileReady: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const [program, ...args] = file.services[name]?.command ?? [];
  expect(program).toBe('node');
  const child = spawn(process.execPath, args.map(adjust), { cwd: app, env: { PATH: process.env['PATH'], ...env } });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part: Buffer) => (said += part.toString()));
  const ended = new Promise<number | null>((done) => child.on('exit', done));
  try {
    while (!ready.test(said) && child.exitCode === null) await new Promise((r) => setTimeout(r, 100));
    expect(child.exitCode, said).toBeNull();
    await whileReady();
    child.kill('SIGTERM');
    expect(await ended, said).toBe(0);
  } finally {
    child.kill('SIGKILL');
  }
}

test('the worker starts by the command line and the variables that stand there, and ends when it is told to stop', async () => {
  const database = await freshDatabase({ max: 1 });
  const given: { readonly [name: string]: string } = {
    TEMPORAL_ADDRESS: temporalAddress(),
    TEMPORAL_NAMESPACE: 'default',
    ACTGUARD_DATABASE_URL: database.url,
    ACTGUARD_SMTP_URL: 'smtp://127.0.0.1:1',
  };
  expect(Object.keys(file.services['worker']?.environment ?? {}).sort()).toEqual(Object.keys(given).sort());
  try {
    const env = { PAYMENTS_API_KEY: 'a-key-of-the-test-0123456789', ...given };
    await startsAndStops('worker', image(), env, /ready|RUNNING|polls/i);
  } finally {
    await database.drop();
  }
}, 300_000);

test('the approval page starts by the command line and the variables that stand there, and answers', async () => {
  const database = await freshDatabase({ max: 1 });
  const app = image();
  const text = readFileSync(join(app, 'config/actguard.config.ts'), 'utf8');
  const page = text.replace('approvals: { notify', "approvals: { page: 'https://approvals.example', notify");
  expect(page).not.toBe(text);
  writeFileSync(join(app, 'config/actguard.config.ts'), page);
  const given: { readonly [name: string]: string } = {
    TEMPORAL_ADDRESS: temporalAddress(),
    TEMPORAL_NAMESPACE: 'default',
    ACTGUARD_DATABASE_URL: database.url,
  };
  expect(Object.keys(file.services['gateway']?.environment ?? {}).sort()).toEqual(Object.keys(given).sort());
  const port = await freePort();
  const adjust = (word: string): string =>
    word.replace('--port=8400', `--port=${port}`).replace('0.0.0.0', '127.0.0.1');
  const asked = async (): Promise<void> => {
    const headers = { host: 'approvals.example' }; // as the proxy in front of it hands it on
    const answer = await new Promise<IncomingMessage>((done, failed) =>
      get({ host: '127.0.0.1', port, path: '/', headers }, done).on('error', failed),
    );
    answer.resume();
    expect([answer.statusCode, typeof answer.headers['content-security-policy']]).toEqual([200, 'string']);
  };
  try {
    await startsAndStops('gateway', app, given, /listens on/, adjust, asked);
  } finally {
    await database.drop();
  }
}, 300_000);

test('the witness starts by the command line that stands there, with a key and a log of its own', async () => {
  const app = image();
  const keys = join(app, 'witness.key');
  writeKeyFile(keys, generateKey('witness.example'), null);
  const adjust = (word: string): string =>
    word
      .replace('/run/witness/witness.key', keys)
      .replace('/memory/', `${app}/`)
      .replace('${ACTGUARD_LOG_KEY:-}', noteKeyText(noteKey('log.test').key))
      .replace('0.0.0.0', '127.0.0.1')
      .replace('--port=8401', '--port=0');
  await startsAndStops('witness', app, {}, /witness at http/, adjust);
}, 300_000);

test('every part of ours is tried here', () => {
  const ours = services.filter(([, part]) => part.build !== undefined).map(([name]) => name);
  expect(ours.sort()).toEqual(['gateway', 'witness', 'worker']);
});
