/** Files of `actguard secrets` and of the age tool, both ways. The installed tool is used; without one it is built from its Go module. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { identityToRecipient } from 'age-encryption';
import { makeIdentity, readSecretFile, writeSecretFile } from '../../activities/secret-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'actguard-age-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function ageTool(): string {
  if (spawnSync('age', ['--version']).status === 0) return 'age';
  execFileSync('go', ['install', 'filippo.io/age/cmd/age@v1.2.1'], {
    env: { ...process.env, GOBIN: folder },
    stdio: 'pipe',
  });
  return join(folder, 'age');
}

test('P5 the age tool opens our file, and we open the tool\u2019s', async () => {
  const tool = ageTool();
  const age = (args: string[], input?: string): string =>
    execFileSync(tool, args, { encoding: 'utf8', ...(input === undefined ? {} : { input }) });
  const place = { path: join(folder, 'secrets.age'), identityFile: join(folder, 'identity'), identity: undefined };
  await makeIdentity(place.identityFile);
  const entry = {
    name: 'bank/key',
    tenant: null,
    user: null,
    value: 'sk-0123456789',
    setAt: '2026-11-24T00:00:00.000Z',
  };
  await writeSecretFile(place, [entry]);
  const opened = age(['-d', '-i', place.identityFile, place.path]);
  expect(JSON.parse(opened)).toEqual({ v: 1, secrets: [entry] });

  const identity = /^AGE-SECRET-KEY-.*$/m.exec(readFileSync(place.identityFile, 'utf8'))?.[0] ?? '';
  const edited = opened.replace('sk-0123456789', 'sk-9876543210');
  for (const armor of [[], ['-a']]) {
    age(['-r', await identityToRecipient(identity), ...armor, '-o', place.path], edited);
    expect(await readSecretFile(place)).toEqual([{ ...entry, value: 'sk-9876543210' }]);
  }
});
