/** `actguard secrets` as people type it. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'actguard-secrets-cli-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function secrets(args: string[], input = ''): { status: number | null; stdout: string; stderr: string } {
  const { ACTGUARD_AGE_IDENTITY: _, ...env } = process.env;
  return spawnSync(process.execPath, [resolve('bin/actguard.mjs'), 'secrets', ...args], {
    ...{ cwd: folder, encoding: 'utf8', env, input },
  });
}

test('P5 set, get, list and rotate; values come from standard input and are shown by get alone', () => {
  const made = secrets(['set', 'payments/api-key'], 'sk-first-0123456789\n');
  expect(made).toMatchObject({ status: 0, stdout: expect.stringContaining('set payments/api-key in secrets.age') });
  expect(made.stderr).toContain('no configuration reads this file yet');
  expect(made.stdout + made.stderr).not.toContain('sk-first');
  expect(secrets(['set', 'payments/api-key', '--tenant', 'acme', '--user', 'al'], 'sk-of-al-0123456789').status).toBe(
    0,
  );
  expect(secrets(['get', 'payments/api-key']).stdout).toBe('sk-first-0123456789\n');
  expect(secrets(['get', 'payments/api-key', '--tenant', 'acme']).status).toBe(1);
  const listed = secrets(['list', '--output', 'json']);
  expect(JSON.parse(listed.stdout)).toEqual([
    { name: 'payments/api-key', tenant: null, user: null, setAt: expect.stringMatching(/Z$/) as string },
    { name: 'payments/api-key', tenant: 'acme', user: 'al', setAt: expect.stringMatching(/Z$/) as string },
  ]);
  expect(secrets(['rotate', 'payments/api-key'], 'sk-second-0123456789').status).toBe(0);
  expect(secrets(['get', 'payments/api-key']).stdout).toBe('sk-second-0123456789\n');

  const identity = join(folder, '.actguard', 'age-identity');
  const before = readFileSync(identity, 'utf8');
  expect(secrets(['rotate']).status).toBe(0);
  const after = readFileSync(identity, 'utf8');
  expect(after).not.toBe(before);
  expect(existsSync(`${identity}.old`)).toBe(true);
  expect(secrets(['get', 'payments/api-key']).stdout).toBe('sk-second-0123456789\n');
  writeFileSync(identity, before);
  expect(secrets(['get', 'payments/api-key'])).toMatchObject({ status: 3, stderr: expect.stringContaining('cannot be opened') }); // prettier-ignore
  writeFileSync(identity, after);
});

test('what cannot be a secret, a name or an owner ends with 3; what is not there with 1', () => {
  for (const [args, input, status] of [
    [['set', 'a/key'], 'short', 3],
    [['set', 'a/key'], 'administrator', 3],
    [['set', 'A Key'], 'sk-0123456789abc', 3],
    [['set', 'a/key', '--user', 'al'], 'sk-0123456789abc', 3],
    [['rotate', '--tenant', 'acme'], '', 3],
    [['rotate', 'none/key'], 'sk-0123456789abc', 1],
    [['get', 'none/key', '--config', 'no.ts'], '', 3],
  ] as const) {
    const ended = secrets([...args], input);
    expect([args, ended.status]).toEqual([args, status]);
    expect(ended.stdout + ended.stderr).not.toContain('sk-0123456789abc');
  }
});
