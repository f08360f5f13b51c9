/** The packed package, installed as a stranger would: into an ESM project and seen from CommonJS. */
import { spawn, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

interface Manifest {
  readonly version: string;
  readonly bin: { readonly actguard: string };
  readonly exports: { readonly [entry: string]: string | { readonly types: string; readonly default: string } };
  readonly dependencies: { readonly [name: string]: string };
  readonly optionalDependencies: { readonly [name: string]: string };
  readonly devDependencies: { readonly [name: string]: string };
}

const folder = mkdtempSync(join(tmpdir(), 'actguard-pack-'));
const project = join(folder, 'project');
const installed = join(project, 'node_modules', 'actguard');
const own = JSON.parse(readFileSync('package.json', 'utf8')) as Manifest;
let packed: readonly string[] = [];
let tarball = '';

function run(command: string, args: readonly string[], cwd = project): SpawnSyncReturns<string> {
  return spawnSync(command, args, { cwd, encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } });
}

function write(files: { readonly [path: string]: string }): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(project, path)), { recursive: true });
    writeFileSync(join(project, path), text);
  }
}

beforeAll(() => {
  const pack = run('npm', ['pack', '--json', '--pack-destination', folder], resolve('.'));
  if (pack.status !== 0) throw new Error(pack.stderr);
  const told = JSON.parse(pack.stdout.slice(pack.stdout.indexOf('[\n'))) as [
    { filename: string; files: { path: string }[] },
  ];
  packed = told[0].files.map((file) => file.path);
  tarball = join(folder, told[0].filename);
  write({ 'package.json': '{ "name": "project", "private": true, "type": "module" }\n' });
  const { zod, typescript, '@types/node': node } = own.devDependencies;
  const install = run('npm', [
    'install',
    ...['--prefer-offline', '--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund'],
    tarball,
    ...[`zod@${zod ?? ''}`, `typescript@${typescript ?? ''}`, `@types/node@${node ?? ''}`, 'zod3@npm:zod@3.25.76'],
    ...['ai6@npm:ai@6.0.326', 'openai3@npm:@ai-sdk/openai@3.0.141'],
    `@temporalio/worker@${own.optionalDependencies['@temporalio/worker'] ?? ''}`, // left out with what is optional
  ]);
  if (install.status !== 0) throw new Error(install.stderr);
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('the package holds what its entries name, every migration, and no source, test or local state', () => {
  const named = Object.values(own.exports).flatMap((entry) =>
    typeof entry === 'string' ? [entry] : [entry.types, entry.default],
  );
  for (const path of [...named, own.bin.actguard]) expect(packed).toContain(path.replace('./', ''));
  const migrations = readdirSync('activities/migrations').map((name) => `dist/activities/migrations/${name}`);
  expect(packed).toEqual(expect.arrayContaining(migrations));
  const functions = readdirSync('activities/functions').map((name) => `dist/activities/functions/${name}`);
  expect(packed).toEqual(expect.arrayContaining(functions));
  expect(
    packed.filter((path) => !/^(?:bin|dist|docs)\/|^(?:README|CHANGELOG|SECURITY)\.md$|^package\.json$/.test(path)),
  ).toEqual([]);
  expect(packed.filter((path) => /(?<!\.d)\.ts$|\.test\.|\.actguard|\.db$/.test(path))).toEqual([]);
  const outside = packed
    .filter((path) => path.endsWith('.js'))
    .flatMap((path) => [
      ...readFileSync(join(installed, path), 'utf8').matchAll(/^(?:import|export)\b[^;]*? from '([^.'][^']*)'/gm),
    ])
    .map(([, name = '']) => /^(@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? '')
    .filter((name) => !name.startsWith('node:') && !(name in { ...own.optionalDependencies, ...own.dependencies }));
  expect([...new Set(outside)].filter((name) => !['zod', 'actguard'].includes(name))).toEqual([]);
});

test('every entry is imported from ESM, the client from CommonJS too: by import and by require', () => {
  const entries = Object.keys(own.exports).filter((entry) => entry !== './package.json' && entry !== './workflow');
  const names = entries.map((entry) => entry.replace('.', 'actguard'));
  write({
    'esm.js': `for (const name of ${JSON.stringify(names)}) console.log(name, Object.keys(await import(name)).length > 2);\n`,
    'common/package.json': '{ "type": "commonjs" }\n',
    'common/index.js': `import('actguard/client').then(({ connect, ActGuardError }) => console.log(typeof connect, typeof ActGuardError));\n`,
    'common/require.js': `const { connect, BudgetExceededError } = require('actguard/client');
console.log(typeof connect, require('actguard').BudgetExceededError === BudgetExceededError);\n`,
  });
  expect(run(process.execPath, ['common/require.js']).stdout).toBe('function true\n');
  expect(run(process.execPath, ['esm.js']).stdout.trim().split('\n')).toEqual(names.map((name) => `${name} true`));
  expect(run(process.execPath, ['common/index.js']).stdout).toBe('function function\n');
  expect(existsSync(join(installed, 'dist', 'workflows', 'index.js'))).toBe(true);
});

const TOOL = `import { z } from 'zod';
import { atMost, defineTool } from 'actguard';
import { Currency } from './currency';

export const pay = defineTool({
  name: 'pay', description: 'Pay somebody', effect: 'write',
  inputSchema: z.strictObject({ to: z.string(), cents: z.int() }),
  outputSchema: z.object({ to: z.string(), cents: z.int(), currency: z.enum(Currency) }),
  rules: { cents: atMost(100) },
  execute: async ({ to, cents }) => ({ to, cents, currency: Currency.Euro }),
});
`;

test('types resolve: what is right compiles, a rule about a field that is not there does not', () => {
  write({
    'tsconfig.json': JSON.stringify({
      compilerOptions: {
        strict: true,
        module: 'nodenext',
        target: 'es2023',
        lib: ['es2023', 'esnext.disposable'],
        noEmit: true,
        types: ['node'],
        skipLibCheck: true, // Temporal's own declarations do not check without it
      },
      include: ['types/*.ts'],
    }),
    'types/currency.ts': `export enum Currency { Euro = 'EUR' }\n`,
    'types/pay.ts': TOOL.replace("'./currency'", "'./currency.js'"),
    'types/use.ts': `import { connect, type Run } from 'actguard/client';
import type { CallResult } from 'actguard';
import { pay } from './pay.js';
export async function use(): Promise<CallResult<{ currency: string }>> {
  await using actguard = await connect();
  const run: Run = await actguard.start('desk', { input: 'pay bob', user: 'alice', tenant: 'acme' });
  await run.result();
  const session = await actguard.session({ id: 'x', agent: 'desk', user: 'alice', tenant: 'acme' });
  const { currency } = await session.governed(pay)({ to: 'bob', cents: 5 });
  return session.call(pay, { to: currency, cents: 1 });
}
`,
  });
  const tsc = ['node_modules/typescript/bin/tsc', '--project', 'tsconfig.json'];
  const right = run(process.execPath, tsc);
  expect(right.stdout).toBe('');
  expect(right.status).toBe(0);
  write({ 'types/pay.ts': TOOL.replace("'./currency'", "'./currency.js'").replace('rules: { cents', 'rules: { cent') });
  const wrong = run(process.execPath, tsc);
  expect(wrong.stdout).toContain("'cent'");
}, 240_000);

test('the program runs from the package: its version; a tool with an enum and extensionless imports loads; policies are checked', () => {
  const actguard = (...args: string[]) => run(process.execPath, [join(installed, 'bin', 'actguard.mjs'), ...args]);
  expect(actguard('--version').stdout.trim()).toBe(own.version);
  expect(existsSync(join(project, 'node_modules', '.bin', 'actguard'))).toBe(true);
  write({
    'currency.ts': `export enum Currency { Euro = 'EUR' }\n`,
    'pay.ts': TOOL,
    'actguard.config.ts': `import { defineAgent, defineConfig } from 'actguard';
import { pay } from './pay';
export default defineConfig({ tools: [pay], agents: [defineAgent({ name: 'desk', tools: [pay] })], policies: './policies' });
`,
    'policies/00.cedar': '@id("pay")\npermit (principal, action == Action::"pay", resource);\n',
  });
  const checked = actguard('policy', 'check', '--output', 'json');
  expect(checked.stderr).toBe('');
  expect(JSON.parse(checked.stdout)).toMatchObject({ policies: [{ id: 'pay' }] });
  write({
    'common/actguard.config.js': `const { defineAgent, defineConfig } = require('actguard');
const { pay } = require('../pay');
module.exports = defineConfig({ tools: [pay], agents: [defineAgent({ name: 'desk', tools: [pay] })], policies: '../policies' });
`,
  });
  const common = actguard('policy', 'check', '--config', 'common/actguard.config.js', '--output', 'json');
  expect(JSON.parse(common.stdout)).toEqual({ ...JSON.parse(checked.stdout) });
  write({ 'policies/00.cedar': '@id("pay")\npermit (principal, action == Action::"payy", resource);\n' });
  const typo = actguard('policy', 'check');
  expect(typo.status).toBe(3);
  expect(typo.stderr).toContain('payy');
});

test('`@/` paths and an enum behind them load', () => {
  const paths = { baseUrl: '.', paths: { '@/*': ['./src/*'] } };
  write({
    'paths/tsconfig.json': JSON.stringify({ compilerOptions: paths }),
    'paths/src/currency.ts': `export enum Currency { Euro = 'EUR' }\n`,
    'paths/src/pay.ts': TOOL.replace("'./currency'", "'@/currency'"),
    'paths/actguard.config.ts': `import { defineAgent, defineConfig } from 'actguard';
import { pay } from '@/pay';
export default defineConfig({ tools: [pay], agents: [defineAgent({ name: 'desk', tools: [pay] })], policies: './policies' });
`,
    'paths/policies/00.cedar': '@id("pay")\npermit (principal, action == Action::"pay", resource);\n',
  });
  const bin = join(installed, 'bin', 'actguard.mjs');
  const checked = run(process.execPath, [bin, 'policy', 'check', '--output', 'json'], join(project, 'paths'));
  expect(checked.stderr).toBe('');
  expect(JSON.parse(checked.stdout)).toMatchObject({ policies: [{ id: 'pay' }] });
});

test('a schema of zod 3 is CONFIG_INVALID and says what to install', () => {
  write({
    'old/actguard.config.ts': `import { defineAgent, defineConfig, defineTool } from 'actguard';
import { z } from 'zod3';
const pay = defineTool({ name: 'pay', description: 'Pay', effect: 'read', inputSchema: z.object({ to: z.string() }) as never, execute: () => 1 });
export default defineConfig({ tools: [pay], agents: [defineAgent({ name: 'desk', tools: [pay] })], policies: './policies' });
`,
  });
  const bin = join(installed, 'bin', 'actguard.mjs');
  const { status, stderr } = run(process.execPath, [bin, 'policy', 'check', '--config', 'old/actguard.config.ts']);
  expect(status).toBe(3);
  expect(stderr).toContain('is a schema of zod 3');
  expect(stderr).toContain('install zod 4');
});

test('a client needs no native part: without Temporal’s worker it imports, and the program runs', () => {
  const native = ['@temporalio/core-bridge', '@temporalio/worker'].map((name) => join(project, 'node_modules', name));
  for (const path of native) renameSync(path, `${path}.away`);
  try {
    write({
      'client.js': `for (const name of ['actguard', 'actguard/client', 'actguard/ai-sdk']) console.log(name, typeof (await import(name)));
const { connect } = await import('actguard/client');
await connect({ address: '127.0.0.1:1' }).catch((error) => console.log(error.code));
`,
    });
    const { stdout, stderr } = run(process.execPath, ['client.js']);
    expect(stderr).toBe('');
    expect(stdout.trim().split('\n')).toEqual([
      ...['actguard object', 'actguard/client object', 'actguard/ai-sdk object'],
      'BACKEND_UNAVAILABLE',
    ]);
    const actguard = (...args: string[]) => run(process.execPath, [join(installed, 'bin', 'actguard.mjs'), ...args]);
    expect(actguard('--version').stdout.trim()).toBe(own.version);
    for (const command of ['init', 'run', 'runs', 'show', 'approvals', 'approve', 'freeze', 'ledger']) {
      expect(actguard(command, '--help').stdout, command).toContain(`Usage: actguard ${command}`);
    }
    // what needs it says so, and everything else is still listed
    const worker = actguard('worker');
    expect(worker.status).toBe(1);
    expect(worker.stderr).toContain('the package `@temporalio/worker` is not installed');
    expect(worker.stderr).toContain(
      `npm install @temporalio/worker@${own.optionalDependencies['@temporalio/worker'] ?? ''}`,
    );
    const help = actguard('--help');
    expect(help.status).toBe(0);
    expect(help.stdout).toMatch(/^ {2}run /m);
    expect(help.stdout).toMatch(/^ {2}worker +the package `@temporalio\/worker` is not\s+installed/m);
  } finally {
    for (const path of native) renameSync(`${path}.away`, path);
  }
});

/** All that somebody types and writes between an empty folder and the first governed call of a function of theirs. */
const COMMANDS = (tarball: string) => [
  ['npm', 'init', '-y'],
  ['npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', tarball, 'zod'],
  ['npx', 'actguard', 'init'],
  ['npx', 'actguard', 'dev'],
  ['node', 'call.mjs'],
];
const LINES = {
  'actguard.config.ts': `import { defineAgent, defineConfig, defineTool } from 'actguard';
import { z } from 'zod';

const double = defineTool({
  name: 'double', description: 'Double a number', effect: 'read', reach: 'internal',
  inputSchema: z.strictObject({ n: z.number() }),
  execute: ({ n }) => ({ twice: 2 * n }),
});

export default defineConfig({
  tools: [double], agents: [defineAgent({ name: 'mine', tools: [double] })], policies: './policies',
});
`,
  'call.mjs': `import { connect } from 'actguard/client';

const actguard = await connect();
const session = await actguard.session({ id: 'first', agent: 'mine', user: 'me', tenant: 'home' });
console.log(JSON.stringify(await session.call('double', { n: 21 }, { callId: 'one' })));
await actguard.close();
`,
};

test('from `npm init` to the first governed call of one’s own function: at most 6 commands and 20 lines', async () => {
  const commands = COMMANDS(tarball);
  expect(commands.length).toBeLessThanOrEqual(6);
  const written = Object.values(LINES).flatMap((text) => text.split('\n').filter((line) => line.trim() !== ''));
  expect(written.length).toBeLessThanOrEqual(20);

  const first = join(folder, 'first');
  mkdirSync(first);
  chmodSync(folder, 0o755); // Postgres may run as another user
  for (const [name, text] of Object.entries(LINES)) writeFileSync(join(first, name), text);
  const [init, install, begin, dev, call] = commands as string[][];
  for (const [command = '', ...args] of [init, install, begin] as string[][]) {
    const done = run(command, args, first);
    expect(done.status, `${command} ${args.join(' ')}\n${done.stderr}`).toBe(0);
  }
  const [program = '', ...args] = dev as string[];
  const stack = spawn(program, args, { cwd: first, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let output = '';
  for (const stream of [stack.stdout, stack.stderr]) stream.on('data', (part: Buffer) => (output += part.toString()));
  try {
    const isReady = (): boolean => {
      const file = join(first, '.actguard', 'dev.json');
      return existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { worker: unknown }).worker !== null;
    };
    while (!isReady() && stack.exitCode === null) await new Promise((passed) => setTimeout(passed, 200));
    expect(stack.exitCode, output).toBe(null);
    const called = run((call as string[])[0] as string, (call as string[]).slice(1), first);
    expect(called.stderr).toBe('');
    expect(JSON.parse(called.stdout)).toEqual({ kind: 'done', output: { twice: 42 }, callId: 'one' });
    // the AI SDK before this one, from another project, against the same stack
    copyFileSync('test/package/ai-sdk-6.mjs', join(project, 'ai-sdk-6.mjs'));
    const six = run(process.execPath, ['ai-sdk-6.mjs', first]);
    expect(six.stdout, six.stderr).toBe('ai 6: every check holds\n');
  } finally {
    const gone = once(stack, 'exit');
    process.kill(-(stack.pid as number), 'SIGTERM');
    await gone;
  }
}, 300_000);
