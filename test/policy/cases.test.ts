import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readCases } from '../../activities/policy-cases.ts';
import { isActGuardError } from '../../governance/errors.ts';
import { MAX_POLICY_FILE_BYTES } from '../../governance/limits.ts';
import { testPolicies } from '../../worker/policy-cases.ts';
import { writeConfig } from '../support/cli.ts';
import { gate } from './world.ts';

const home = mkdtempSync(join(tmpdir(), 'actguard-cases-'));
afterAll(() => rmSync(home, { recursive: true }));
const config = writeConfig(
  home,
  `
import { z } from 'zod';
import { defineAgent, defineConfig, defineTool } from 'actguard';
const refund = defineTool({
  name: 'payments.refund', description: 'Refund', effect: 'write',
  inputSchema: z.strictObject({ orderId: z.string(), amountCents: z.int() }), outputSchema: z.object({}), execute: () => ({}),
});
export default defineConfig({
  tools: [refund], agents: [defineAgent({ name: 'desk', tools: [refund] })], policies: './policies',
  users: { attributes: z.strictObject({ department: z.enum(['finance', 'support']).optional() }), find: () => null },
});
`,
);
const POLICIES = `@id("all") permit (principal, action, resource);
${gate('big', 10_000)}
@id("night") @hint("come back at 8") forbid (principal, action, resource) when { context.now.toTime() < duration("8h") };
@id("last") forbid (principal, action, resource) when { context.left has usdCents && context.left.usdCents < 100 };
@id("bob") forbid (principal == User::"bob", action, resource);
@id("proven") forbid (principal, action, resource) unless { context.facts.contains({ kind: "order", value: context.args.orderId }) };
`;
let folders = 0;
function folder(cases: string, policies = POLICIES): string {
  const path = join(home, `p${++folders}`);
  mkdirSync(path);
  writeFileSync(join(path, 'main.cedar'), policies);
  writeFileSync(join(path, 'refunds.test.yaml'), cases);
  return path;
}
const run = (cases: string) => testPolicies({ configPath: config, directory: folder(cases) });
async function problems(cases: string): Promise<string[]> {
  try {
    await run(cases);
    return [];
  } catch (error) {
    if (!isActGuardError(error) || error.code !== 'CONFIG_INVALID') throw error;
    return error.problems.map(
      ({ where, problem, fix }) => `${where} ${problem}${fix === undefined ? '' : ` (${fix})`}`,
    );
  }
}
const ORDER = 'facts: [{ kind: order, value: "7" }]';
const one = (more: string): string =>
  `- name: a case\n  tool: payments.refund\n  args: { orderId: "7", amountCents: 500 }\n  ${ORDER}\n  ${more}\n`;

test('cases are decided as the policies decide, by the policies that are named', async () => {
  const { results } = await run(`# the first file of cases
${one('expect: allow\n  by: [all]')}
- name: over a hundred
  tool: payments.refund
  args: { orderId: "7", amountCents: 10001 }
  ${ORDER}
  expect: ask
  by: [big]
- { name: approved, tool: payments.refund, args: { orderId: "7", amountCents: 10001 }, ${ORDER}, approved: [big], expect: allow }
- { name: at night, tool: payments.refund, args: { orderId: "7", amountCents: 1 }, ${ORDER}, at: 2026-11-24T03:00:00Z, expect: deny, by: [night] }
- { name: no money, tool: payments.refund, args: { orderId: "7", amountCents: 1 }, ${ORDER}, left: { usd: 0.5 }, expect: deny, by: [last] }
- { name: bob, tool: payments.refund, args: { orderId: "7", amountCents: 1 }, ${ORDER}, user: bob, expect: deny, by: [bob] }
- { name: unproven, tool: payments.refund, args: { orderId: "8", amountCents: 1 }, ${ORDER}, expect: deny, by: [proven] }
- { name: an agent nobody knows, tool: payments.refund, args: { orderId: "7", amountCents: 1 }, agent: other, expect: error }
- { name: expected otherwise, tool: payments.refund, args: { orderId: "7", amountCents: 1 }, ${ORDER}, expect: deny }
- { name: by another policy, tool: payments.refund, args: { orderId: "7", amountCents: 1 }, ${ORDER}, user: bob, expect: deny, by: [night] }
`);
  expect(
    results.filter(({ ok }) => !ok).map(({ name, found, foundBy, line }) => ({ name, found, foundBy, line })),
  ).toEqual([
    { name: 'expected otherwise', found: 'allow', foundBy: ['all'], line: 21 },
    { name: 'by another policy', found: 'deny', foundBy: ['bob'], line: 22 },
  ]);
  expect(results).toHaveLength(10);
  expect(results.find(({ name }) => name === 'at night')?.hint).toBe('come back at 8');
});

const MAIL = `const mail = defineTool({
  name: 'mail', description: 'Mail', effect: 'write', inputSchema: z.strictObject({ to: z.email() }), execute: () => ({}),
});
`;

test('FA5 PV4 a case says who the user is, how old run and facts are, what the user asked for, and can be a model call', async () => {
  const policies = `@id("all") permit (principal, action, resource);
@id("group") forbid (principal in Group::"guests", action, resource);
@id("support") forbid (principal, action, resource) when { principal has department && principal.department == "support" };
@id("stale") forbid (principal, action, resource) when { context.runAgeMs > 600000 };
@id("dear") forbid (principal, action == Action::"model.call", resource) when { context.args.maxUsdCents > 10 };
`;
  const call = (name: string, more: string) =>
    `- { name: ${name}, tool: mail, args: { to: "bob@example.com" }, ${more} }\n`;
  const model = (name: string, cents: number, more: string) =>
    `- { name: ${name}, tool: model.call, args: { model: openai/gpt-5-mini, provider: openai, maxUsdCents: ${cents}, maxTokens: 10, turn: 1 }, ${more} }\n`;
  const mailing = join(home, 'mailing.config.ts');
  const text = readFileSync(config, 'utf8').replace('[refund]', '[mail]').replace('[refund]', '[mail]');
  writeFileSync(mailing, text.replace('export default', `${MAIL}export default`));
  const { results } = await testPolicies({
    configPath: mailing,
    directory: folder(
      call('plain', 'expect: allow') +
        call('guest', 'groups: [staff, guests], expect: deny, by: [group]') +
        call('staff', 'groups: [staff], expect: allow') +
        call('support', 'attributes: { department: support }, expect: deny, by: [support]') +
        call('finance', 'attributes: { department: finance }, expect: allow') +
        call('old', 'runAge: 11m, expect: deny, by: [stale]') +
        call('pointed', 'input: "mail bob@example.com", seen: ["write to bob@example.com"], expect: allow') +
        call(
          'nobody pointed there',
          'input: "mail carol@example.com", seen: ["write to bob@example.com"], expect: ask, by: [builtin.untrusted.mail]',
        ) +
        call(
          'and a yes',
          'input: "mail carol@example.com", seen: ["write to bob@example.com"], approved: [builtin.untrusted.mail], expect: allow',
        ) +
        model('cheap', 10, 'expect: allow') +
        model('dear', 11, 'expect: deny, by: [dear]'),
      policies,
    ),
  });
  expect(results.filter(({ ok }) => !ok)).toEqual([]);
  expect(results).toHaveLength(11);
});

describe('P7 a case that says nothing certain is refused at its line, its twin is decided', () => {
  const at = (line: number, column?: number): string =>
    `refunds.test.yaml:${line}${column === undefined ? '' : `:${column}`} `;
  test.each<[string, string, string]>([
    ['no expectation', one(''), `${at(1, 3)}a case without \`expect\` (it is one of allow, ask, deny, error)`],
    [
      'an expectation that nothing can be',
      one('expect: alow'),
      `${at(5, 11)}nothing can be \`alow\` (did you mean \`allow\`?)`,
    ],
    ['a field nobody reads', one('expect: allow\n  becuase: x'), `${at(6, 3)}unknown field \`becuase\``],
    [
      'an unknown tool',
      one('expect: allow').replace('payments.refund', 'payments.refnd'),
      `${at(1)}unknown tool \`payments.refnd\` (did you mean \`payments.refund\`?)`,
    ],
    ['an argument that the tool does not have', one('expect: allow').replace('amountCents', 'amountCent'), at(3)],
    ['a float where a whole number belongs', one('expect: allow').replace('500', '500.5'), at(3)],
    [
      'a number above 2^53',
      one('expect: allow').replace('500', '9007199254740993'),
      `${at(3, 38)}\`9007199254740993\` is larger than 2^53`,
    ],
    [
      'a text that is a number',
      one('expect: allow').replace('name: a case', 'name: 7'),
      `${at(1, 9)}\`name\` is not a text (put it in quotes)`,
    ],
    [
      'a policy that is not there',
      one('expect: allow\n  by: [al]'),
      `${at(1)}no policy \`al\` (did you mean \`all\`?)`,
    ],
    ['a gate that is not there', one('expect: allow\n  approved: [bog]'), `${at(1)}no gate \`bog\``],
    ['a time that is none', one('expect: allow\n  at: tomorrow'), `${at(6, 7)}\`at\` is no time`],
    [
      'a fact without a value',
      one('expect: allow').replace(', value: "7"', ''),
      `${at(4, 11)}a fact has a kind and a value`,
    ],
    ['a name twice', one('expect: allow\n  expect: deny'), `${at(6)}`.trim()],
    ['an alias', `- &a { name: x, tool: payments.refund, expect: allow }\n- *a\n`, `${at(2, 3)}an alias`],
    ['no list', 'name: x\n', `${at(1, 1)}a file of cases is a list`],
    ['broken YAML', '- { name: x\n', `${at(2)}`.trim()],
    [
      '`__proto__` as an argument',
      one('expect: allow').replace('amountCents: 500', 'amountCents: 500, __proto__: { a: 1 }'),
      at(3),
    ],
    [
      'half of a surrogate pair',
      one('expect: allow').replace('name: a case', 'name: "\\ud800"'),
      `${at(1, 9)}\`name\` is not a text`,
    ],
    ['an attribute that nobody has', one('expect: allow\n  attributes: { departement: finance }'), `${at(6)}`.trim()],
    [
      'a value that an attribute never has',
      one('expect: allow\n  attributes: { department: sales }'),
      `${at(6)}`.trim(),
    ],
    ['an age that is none', one('expect: allow\n  runAge: old'), `${at(6, 11)}\`runAge\` is no duration`],
    [
      'a fact that is untrusted or not',
      one('expect: allow').replace('value: "7"', 'value: "7", untrusted: maybe'),
      `${at(4, 49)}\`untrusted\` is neither true nor false`,
    ],
    ['more dollars than there are', one('expect: allow\n  left: { usd: 1e300 }'), at(3)],
  ])('%s', async (_name, cases, said) => {
    const found = await problems(cases);
    expect(found.length).toBeGreaterThan(0);
    expect(found[0]?.startsWith(said) ? said : found[0]).toBe(said);
    expect(await problems(one('expect: allow'))).toEqual([]);
  });

  test('text that is too deep or too large is refused, not parsed to the end', () => {
    const deep = readCases({ name: 'x', text: `- ${'['.repeat(100_000)}` });
    expect(deep.cases).toEqual([]);
    expect(deep.problems.length).toBeGreaterThan(0);
    expect(readCases({ name: 'x', text: 'x'.repeat(MAX_POLICY_FILE_BYTES + 1) }).problems).toMatchObject([
      { where: 'x' },
    ]);
    expect(readCases({ name: 'x', text: one('expect: allow') }).problems).toEqual([]);
  });

  test('no case at all', async () => {
    await expect(run('[]')).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('no case') as string,
    });
  });
});
