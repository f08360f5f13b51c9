import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { exitCodeOf } from '../../client/cli/output.ts';
import { ActGuardError } from '../../governance/errors.ts';
import { isAlpine } from '../../worker/examine.ts';

const folder = mkdtempSync(join(tmpdir(), 'actguard-cli-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const { TEMPORAL_ADDRESS: _a, ACTGUARD_DATABASE_URL: _b, ...env } = process.env;

function actguard(
  args: string[],
  more: NodeJS.ProcessEnv = {},
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [resolve('bin/actguard.mjs'), ...args], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...env, ...more },
  });
}

test.each([
  [['nonsense']],
  [['dev', '--port-of-call', '1']],
  [['dev', '--ui-port', '70000']],
  [['--output', 'xml', 'doctor']],
])('wrong usage ends with 3 and one line: %j', (args) => {
  const { status, stderr, stdout } = actguard(args);
  expect(status).toBe(3);
  expect(stderr).toMatch(/^error: /);
  expect(stderr + stdout).not.toMatch(/\n\s+at /);
});

test('help lists every command and ends with 0', () => {
  const { status, stdout } = actguard(['--help']);
  expect(status).toBe(0);
  for (const command of ['dev', 'worker', 'doctor', 'run', 'approve', 'reject', 'freeze', 'thaw', 'ledger'])
    expect(stdout).toContain(command);
});

test('an error is one line with its code on standard error, the hint is another, and JSON carries both', () => {
  const plain = actguard(['worker']);
  expect(plain.status).toBe(3);
  expect(plain.stderr.trim().split('\n')).toEqual([
    'CONFIG_INVALID: nothing says where Temporal is',
    expect.stringContaining('TEMPORAL_ADDRESS') as string,
  ]);
  const json = actguard(['worker', '--output', 'json']);
  expect(JSON.parse(json.stdout)).toMatchObject({
    error: { code: 'CONFIG_INVALID', hint: expect.any(String) as string },
  });
});

test('doctor names what fails, how to mend it, and ends with 1', () => {
  const secret = 'sup3r-secret-password';
  const more = {
    ACTGUARD_DATABASE_URL: `postgres://u:${secret}@127.0.0.1:1/x`,
    ACTGUARD_SMTP_URL: 'smtp://127.0.0.1:1',
  };
  const { status, stdout, stderr } = actguard(['doctor', '--output', 'json'], more);
  expect(status).toBe(1);
  const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: { name: string; state: string; fix?: string }[] };
  expect(ok).toBe(false);
  const failed = checks.filter((check) => check.state === 'fail');
  expect(failed.map((check) => check.name)).toEqual(['Postgres', 'mail']);
  expect(failed.every((check) => check.fix !== undefined)).toBe(true);
  expect(stdout + stderr).not.toContain(secret);
  expect(actguard(['doctor']).status).toBe(0);
});

test('Alpine is known by its name', () => {
  expect(isAlpine(join(folder, 'none'))).toBe(false);
  expect(isAlpine(folder)).toBe(process.platform === 'linux');
});

test('exit codes: 0 ok, 1 failed, 2 denied, 3 invalid', () => {
  expect(exitCodeOf(new ActGuardError('BUDGET_EXCEEDED', 'x'))).toBe(2);
  expect(exitCodeOf(new ActGuardError('ARGUMENTS_INVALID', 'x'))).toBe(3);
  expect(exitCodeOf(new ActGuardError('BACKEND_UNAVAILABLE', 'x'))).toBe(1);
  expect(exitCodeOf(new Error('x'))).toBe(1);
});
