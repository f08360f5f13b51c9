/** README.md is true: its commands exist, its code compiles and loads, its links lead somewhere. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { STORIES } from '../examples/refund-desk/stories.ts';
import { checkPolicies } from '../worker/policy.ts';

const text = readFileSync('README.md', 'utf8');
const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: { [name: string]: string } };

/** Fenced blocks of a language. */
function blocks(language: string): string[] {
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter((m) => m[1] === language).map((m) => m[2] ?? '');
}

test('every npm script that is named exists', () => {
  const named = [...text.matchAll(/npm (?:run ([\w:]+)|(start|test)\b)/g)].map((m) => m[1] ?? m[2] ?? '');
  expect(named).toEqual(expect.arrayContaining(['demo', 'test', 'start']));
  expect(named.filter((name) => !(name in scripts))).toEqual([]);
});

test('every actguard command and option that is named exists', () => {
  const help = (...command: string[]): string =>
    spawnSync(process.execPath, ['bin/actguard.mjs', ...command, '--help'], { encoding: 'utf8' }).stdout;
  const known = new Set([...help().matchAll(/^ {2}([a-z]+)[ |]/gm)].map((m) => m[1]));
  const table = /## Commands\n(.*?)\n## /s.exec(text)?.[1] ?? '';
  const lines = blocks('sh').flatMap((block) => [...block.matchAll(/npx actguard ([^#\n]*)/g)].map((m) => m[1] ?? ''));
  const listed = [...table.matchAll(/^\| (.*?) \|/gm)].flatMap((row) => [...(row[1] ?? '').matchAll(/`([^`]+)`/g)]);
  const named = [...lines, ...listed.map((m) => m[1] ?? '')];
  expect(named.length).toBeGreaterThan(15);
  expect(named.map((words) => words.split(' ')[0]).filter((word) => !known.has(word))).toEqual([]);
  for (const line of lines) {
    const options = line.match(/--[a-z-]+/g) ?? [];
    if (options.length > 0)
      expect(help(line.split(' ')[0] ?? '').match(/--[a-z-]+/g)).toEqual(expect.arrayContaining(options));
  }
  expect([...known].filter((command) => command !== 'help' && !named.some((n) => n.startsWith(command ?? '')))).toEqual(
    [],
  );
});

test('its TypeScript compiles', () => {
  const { config } = ts.readConfigFile('tsconfig.json', (path) => ts.sys.readFile(path)) as { config: object };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, resolve('.'));
  const files = new Map(blocks('ts').map((block, i) => [resolve(`readme-${i}.ts`), `${block}\nexport {};\n`]));
  expect(files.size).toBeGreaterThan(1);
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => files.has(path) || fileExists(path);
  host.readFile = (path) => files.get(path) ?? readFile(path);
  host.getSourceFile = (path, version, ...more) => {
    const block = files.get(path);
    return block === undefined ? getSourceFile(path, version, ...more) : ts.createSourceFile(path, block, version);
  };
  const program = ts.createProgram([...files.keys()], options, host);
  const problems = [...files.keys()].flatMap((path) => {
    const source = program.getSourceFile(path);
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
  });
  expect(problems.map((problem) => ts.flattenDiagnosticMessageText(problem.messageText, '\n'))).toEqual([]);
});

test('its configuration loads with the policy that stands in it', async () => {
  const block = blocks('ts').find((b) => b.includes('actguard.config.ts')) ?? '';
  const policy = /policies\/00\.cedar: (.*)$/m.exec(block)?.[1] ?? '';
  const project = mkdtempSync(join(tmpdir(), 'actguard-readme-'));
  try {
    symlinkSync(resolve('node_modules'), join(project, 'node_modules'));
    mkdirSync(join(project, 'policies'));
    writeFileSync(join(project, 'policies', '00.cedar'), `${policy}\n`);
    writeFileSync(join(project, 'actguard.config.ts'), block);
    const { policies } = await checkPolicies({ configPath: join(project, 'actguard.config.ts') });
    expect(policies.policies).toHaveLength(1);
  } finally {
    rmSync(project, { recursive: true, force: true });
  }
});

test('its links and its map lead to what is there; its table tells every story', () => {
  const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map((m) => m[1] ?? '');
  expect(links.length).toBeGreaterThan(4);
  expect(links.filter((link) => !existsSync(link))).toEqual([]);
  const map = /## The rooms\n+```\n(.*?)```/s.exec(text)?.[1] ?? '';
  const rooms = [...map.matchAll(/(?<![\w/])([a-z]+(?:\/[a-z]+)*)\//g)].map((m) => m[1] ?? '');
  expect(rooms).toEqual(expect.arrayContaining(['governance', 'workflows', 'client/cli']));
  expect(rooms.filter((room) => !existsSync(room))).toEqual([]);
  const stories = /\| story \|.*?\n\| ---.*?\n(.*?)\n\n/s.exec(text)?.[1]?.split('\n') ?? [];
  expect(stories).toHaveLength(STORIES.length);
});
