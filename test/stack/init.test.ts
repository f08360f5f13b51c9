import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadPolicyDirectory } from '../../activities/policy-load.ts';
import { init } from '../../client/cli/init.ts';
import type { JsonObject } from '../../governance/json.ts';
import type { ToolManifest } from '../../governance/tool.ts';
import { loadConfig } from '../../worker/load-config.ts';
import { load, request } from '../policy/world.ts';

const root = mkdtempSync(join(tmpdir(), 'actguard-init-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function project(name: string): string {
  const folder = join(root, name);
  mkdirSync(join(folder, 'node_modules'), { recursive: true });
  symlinkSync(resolve('node_modules/zod'), join(folder, 'node_modules/zod'));
  symlinkSync(resolve('.'), join(folder, 'node_modules/actguard'));
  return folder;
}

function actguard(folder: string, ...args: string[]) {
  return spawnSync(process.execPath, [resolve('bin/actguard.mjs'), ...args], { cwd: folder, encoding: 'utf8' });
}

const ALL = ['actguard.config.ts', 'policies/00-start.cedar', '.gitignore'];

test.each(['plain', 'with space', "it's $HOME `x`", 'ünï-日本', '100%#1'])(
  'what init writes loads in `%s`',
  async (name) => {
    const folder = project(name);
    const first = actguard(folder, 'init', '--output', 'json');
    expect([first.status, JSON.parse(first.stdout)]).toEqual([0, { created: ALL, kept: [] }]);
    const check = actguard(folder, 'policy', 'check');
    expect([check.status, check.stderr]).toEqual([0, '']);
    const { config } = await loadConfig(undefined, folder);
    expect(config.tools.map((tool) => tool.name)).toEqual(['notes.find', 'notes.save']);
    const manifests = config.tools.map((tool) => tool.manifest);
    const engine = loadPolicyDirectory(join(folder, 'policies'), manifests, ['assistant']);
    const principal = { tenant: 'acme', user: 'alice', agent: 'assistant' };
    const decide = (at: number, args: JsonObject) =>
      engine.decide(request({ principal, tool: manifests[at] as ToolManifest, args }));
    expect(await decide(0, { id: '1' })).toMatchObject({ kind: 'allow' });
    expect(await decide(1, { id: '1', text: 'x' })).toMatchObject({ kind: 'ask' });
  },
);

test('a second run changes nothing and says so', () => {
  const folder = project('twice');
  init(folder);
  const before = readFileSync(join(folder, '.gitignore'), 'utf8');
  const again = actguard(folder, 'init');
  expect(again.status).toBe(0);
  expect(again.stdout).toContain('everything exists already');
  expect(readFileSync(join(folder, '.gitignore'), 'utf8')).toBe(before);
});

test('existing files are named and left, and no permit is put beside existing policies', () => {
  const folder = project('existing');
  mkdirSync(join(folder, 'policies'));
  writeFileSync(join(folder, 'actguard.config.mjs'), 'mine');
  writeFileSync(join(folder, 'policies/mine.cedar'), 'mine');
  writeFileSync(join(folder, '.gitignore'), 'dist\n/node_modules');
  expect(init(folder)).toEqual({ created: ['.gitignore'], kept: ['actguard.config.mjs', 'policies/mine.cedar'] });
  expect(readFileSync(join(folder, '.gitignore'), 'utf8')).toBe('dist\n/node_modules\n.actguard/\n');
  expect(readdirSync(join(folder, 'policies'))).toEqual(['mine.cedar']);
});

test('a folder that cannot be written to is CONFIG_INVALID', () => {
  const folder = process.getuid?.() === 0 ? '/proc' : project('readonly');
  if (folder !== '/proc') chmodSync(folder, 0o555);
  const { status, stderr } = actguard(folder, 'init');
  expect([status, stderr]).toEqual([3, expect.stringContaining(`cannot write into \`${folder}\``)]);
});

test('the hint of POLICY_DENIED is a permit that allows the call', async () => {
  const other = 'permit (principal, action == Action::"orders.find", resource);';
  const denied = await load(other).decide(request());
  expect(denied).toMatchObject({ kind: 'deny', code: 'POLICY_DENIED' });
  const permit = /permit \(.*\);/.exec((denied as { hint: string }).hint)?.[0] ?? '';
  expect(await load(`${other}\n${permit}`).decide(request())).toMatchObject({ kind: 'allow' });
});
