import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const home = mkdtempSync(join(tmpdir(), 'actguard-policy-cli-'));
const CONFIG = `
import { z } from 'zod';
import { defineAgent, defineConfig, defineTool } from 'actguard';
const refund = defineTool({
  name: 'payments.refund', description: 'Refund', effect: 'write',
  inputSchema: z.strictObject({ orderId: z.string(), amountCents: z.int() }), outputSchema: z.object({}), execute: () => ({}),
});
export default defineConfig({ tools: [refund], agents: [defineAgent({ name: 'desk', tools: [refund] })], policies: './policies' });
`;

beforeAll(() => {
  writeFileSync(join(home, 'actguard.config.ts'), CONFIG);
  for (const [folder, file] of [
    ['policies', 'gate-roles.valid'],
    ['broken', 'argument-misspelt.broken'],
  ] as const) {
    mkdirSync(join(home, folder));
    copyFileSync(join(root, `test/vectors/policies/${file}.cedar`), join(home, folder, 'main.cedar'));
  }
  // zod is the user's own dependency
  mkdirSync(join(home, 'node_modules/zod'), { recursive: true });
  writeFileSync(join(home, 'node_modules/zod/package.json'), '{"name":"zod","main":"index.cjs"}');
  writeFileSync(
    join(home, 'node_modules/zod/index.cjs'),
    `module.exports = require(${JSON.stringify(join(root, 'node_modules/zod'))});`,
  );
});
afterAll(() => rmSync(home, { recursive: true }));

function actguard(...args: string[]) {
  const options = { cwd: home, encoding: 'utf8' } as const;
  return spawnSync(process.execPath, [join(root, 'bin/actguard.mjs'), ...args], options);
}

describe('actguard policy', () => {
  test('check lists what loads, with the digest that stands in entries', () => {
    const people = actguard('policy', 'check');
    expect(people.stderr).toBe('');
    expect(people.status).toBe(0);
    expect(people.stdout).toContain('forbid  big-refunds (main.cedar)  asks 1 of finance, cfo');
    const machine = JSON.parse(actguard('--output', 'json', 'policy', 'check').stdout) as { digest: string };
    expect(people.stdout).toContain(`digest ${machine.digest}\n`);
  });

  test('check of a broken folder says where, and exits 3', () => {
    const { status, stderr, stdout } = actguard('policy', 'check', 'broken');
    expect([status, stdout]).toEqual([3, '']);
    expect(stderr).toContain('main.cedar:3:8: attribute `args.amountCent`');
    expect(stderr).toContain('fix: did you mean `amountCents`?');
  });

  test('schema prints what policies may talk about', () => {
    const { status, stdout } = actguard('policy', 'schema');
    expect(status).toBe(0);
    expect(stdout).toContain('entity Gate enum ["big-refunds", "builtin.untrusted.payments.refund"];');
    expect(stdout).toMatch(/args: \{\s+amountCents: __cedar::Long,\s+orderId: __cedar::String\s+\}/);
  });
});
