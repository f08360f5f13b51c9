import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { findConfig, loadConfig } from '../../worker/load-config.ts';

const root = mkdtempSync(join(tmpdir(), 'actguard-config-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;

function project(files: { readonly [path: string]: string }): string {
  const folder = join(root, `p${(count += 1)}`);
  mkdirSync(folder);
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules'));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

const TOOL = (imports: string) => `${imports}
import { z } from 'zod';
import { defineTool } from 'actguard';
export const find = defineTool({
  name: 'orders.find', description: 'Finds an order', effect: 'read', reach: 'internal',
  inputSchema: z.strictObject({ id: z.string() }), outputSchema: z.object({ id: z.string() }),
  execute: async ({ id }) => ({ id }),
});
`;
const CONFIG = `import { defineAgent, defineConfig } from 'actguard';
import { find } from './tools';
export default defineConfig({ tools: [find], agents: [defineAgent({ name: 'desk', tools: [find] })], policies: './policies' });
`;
const TSCONFIG = JSON.stringify({ compilerOptions: { paths: { '@app/*': ['./src/*'] }, baseUrl: '.' } });

test('enums, extensionless imports and tsconfig paths load, and the project is found from a folder below', async () => {
  const folder = project({
    'actguard.config.ts': CONFIG,
    'tools.ts': TOOL(`import { Kind } from '@app/kinds';\nvoid Kind.Order;`),
    'src/kinds.ts': 'export enum Kind { Order = "order" }\n',
    'tsconfig.json': TSCONFIG,
    'deep/er/keep.txt': '',
  });
  const loaded = await loadConfig(undefined, join(folder, 'deep', 'er'));
  expect(loaded.config.tools.map((tool) => tool.name)).toEqual(['orders.find']);
  expect(loaded.directory).toBe(folder);
});

test('a CommonJS configuration loads', async () => {
  const folder = project({
    'actguard.config.cjs': `const { defineConfig } = require('actguard');
module.exports = defineConfig({ tools: [require('./tools').find], agents: [], policies: './policies' });`,
    'tools.ts': TOOL(''),
  });
  // No agents is refused or accepted by define; either way the file itself was run as CommonJS.
  const outcome = await loadConfig(undefined, folder).catch(
    (error: unknown) => error as { code: string; message: string },
  );
  expect('config' in outcome || /agent/.test(outcome.message)).toBe(true);
});

test.each([
  ['a syntax error', { 'actguard.config.ts': 'const a = 1;\nconst b = ;\n' }, 'actguard.config.ts', 2],
  ['an error while it runs', { 'actguard.config.ts': '\n\nthrow new Error("no luck");\n' }, 'actguard.config.ts', 3],
  [
    'an error in a file it imports',
    { 'actguard.config.ts': CONFIG, 'tools.ts': 'export const find = 1;\nnull.boom;\n' },
    'tools.ts',
    2,
  ],
])('%s names its file and line', async (_what, files, file, line) => {
  const folder = project(files);
  const error = await loadConfig(undefined, folder).catch((e: unknown) => e as Error);
  expect(error).toMatchObject({ code: 'CONFIG_INVALID', details: { file: join(folder, file), line } });
  expect((error as Error).message).toContain(`${file}:${line}: `);
});

test('every problem of a definition is listed, with the file', async () => {
  const folder = project({
    'actguard.config.ts': CONFIG,
    'tools.ts': TOOL('').replace("effect: 'read'", "effect: 'sometimes', madeUp: 1"),
  });
  const error = await loadConfig(undefined, folder).catch((e: unknown) => e as Error & { problems: unknown[] });
  expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
  expect((error as { problems: unknown[] }).problems.length).toBeGreaterThanOrEqual(2);
  expect((error as Error).message).toContain('tools.ts:');
});

test('a file that exports something else, and one that exports nothing, are refused with what to write', async () => {
  for (const text of ['export default { tools: [] };', 'export const x = 1;']) {
    const folder = project({ 'actguard.config.ts': text });
    await expect(loadConfig(undefined, folder)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      hint: expect.stringContaining('export default defineConfig') as string,
    });
  }
});

test('no configuration: the error says where it looked; a wrong --config names that path', async () => {
  const folder = project({});
  expect(findConfig(undefined, folder)).toBeUndefined();
  await expect(loadConfig(undefined, folder)).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    details: { from: folder },
  });
  await expect(loadConfig('nowhere.ts', folder)).rejects.toThrow(join(folder, 'nowhere.ts'));
});

test('a configuration in the wrong place is not used, but told: `src/actguard.config.ts`', async () => {
  const folder = project({ 'src/app/actguard.config.ts': 'export default 1', 'node_modules/x/actguard.config.ts': '' });
  await expect(loadConfig(undefined, folder)).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    hint: 'there is one below: move it here, or give --config src/app/actguard.config.ts',
  });
  await expect(loadConfig(undefined, project({ 'node_modules/x/actguard.config.ts': '' }))).rejects.toMatchObject({
    hint: expect.stringContaining('npx actguard init') as string,
  });
});
