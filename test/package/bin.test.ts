/** `bin/actguard.mjs` on a Node that is too old: it finds one that npm installed, or says in one line how to get one. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import ts from 'typescript';
import { afterAll, beforeEach, expect, test } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'actguard-bin-'));
const project = join(folder, 'project');
beforeEach(() => {
  rmSync(project, { recursive: true, force: true });
  mkdirSync(join(project, 'bin'), { recursive: true });
  mkdirSync(join(project, 'dist/client/cli'), { recursive: true });
  cpSync('bin/actguard.mjs', join(project, 'bin/actguard.mjs'));
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
  const main = `export const main = (args) => { console.log('ran', args.join(' ')); process.exitCode = 7; };\n`;
  writeFileSync(join(project, 'dist/client/cli/main.js'), main);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the program as if Node were of this version; a child that it starts is the true one. */
function on(version: string) {
  const fake = `Object.defineProperty(process.versions, 'node', { value: '${version}' })`;
  const preload = `data:text/javascript,${encodeURIComponent(fake)}`;
  return spawnSync(process.execPath, ['--import', preload, 'bin/actguard.mjs', 'runs', '--x'], {
    cwd: project,
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
}

test.each(['22.18.0', '24.0.0', '26.1.0'])('on Node %s it runs', (version) => {
  expect(on(version)).toMatchObject({ status: 7, stdout: 'ran runs --x\n', stderr: '' });
});

test.each(['18.0.0', '20.20.2', '22.17.9'])(
  'on Node %s it says in one line how to get a newer one, and ends with 3',
  (version) => {
    const { status, stdout, stderr } = on(version);
    expect([status, stdout]).toEqual([3, '']);
    expect(stderr).toBe(
      `actguard needs Node 22.18 or newer, this is ${version}: install one beside it with \`npm install --save-dev node@24\`\n`,
    );
  },
);

test('on an old Node it runs with the one that npm installed beside it, and gives its exit code on', () => {
  mkdirSync(join(project, 'node_modules/node/bin'), { recursive: true });
  symlinkSync(process.execPath, join(project, 'node_modules/node/bin/node'));
  expect(on('20.20.2')).toMatchObject({ status: 7, stdout: 'ran runs --x\n', stderr: '' });
});

test('installed with --ignore-scripts the package `node` has no program: it says that, and what to run', () => {
  mkdirSync(join(project, 'node_modules/node'), { recursive: true });
  writeFileSync(join(project, 'node_modules/node/package.json'), '{ "name": "node" }');
  const { status, stderr } = on('20.20.2');
  expect(status).toBe(3);
  expect(stderr).toContain('--ignore-scripts');
  expect(stderr).toContain('npm rebuild node');
  expect(stderr.trim().split('\n')).toHaveLength(1);
});

test('it is plain JavaScript that Node 18 reads: nothing newer than ES2022', () => {
  const text = readFileSync(resolve('bin/actguard.mjs'), 'utf8');
  const { outputText } = ts.transpileModule(text, {
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      removeComments: true,
      allowJs: true,
    },
    fileName: 'actguard.mjs',
  });
  const plain = ts.transpileModule(text, {
    compilerOptions: {
      target: ts.ScriptTarget.ESNext,
      module: ts.ModuleKind.ESNext,
      removeComments: true,
      allowJs: true,
    },
    fileName: 'actguard.mjs',
  });
  expect(outputText).toBe(plain.outputText);
});
