import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { loadPolicies, loadPolicyDirectory } from '../../activities/policy-load.ts';
import { splitPolicies } from '../../activities/policy-split.ts';
import { isActGuardError } from '../../governance/errors.ts';
import { MAX_POLICY_FILE_BYTES } from '../../governance/limits.ts';
import { agents, gate, load, refund, request, tools } from './world.ts';

const ALL = 'permit (principal, action, resource);\n';
const root = mkdtempSync(join(tmpdir(), 'actguard-policies-'));
afterAll(() => rmSync(root, { recursive: true }));

function folder(name: string, files: { readonly [file: string]: string | Uint8Array }): string {
  const path = join(root, name);
  mkdirSync(path);
  for (const [file, content] of Object.entries(files)) writeFileSync(join(path, file), content);
  return path;
}

function refusal(work: () => unknown): string {
  try {
    work();
    return '';
  } catch (error) {
    if (!isActGuardError(error)) throw error;
    return `${error.code}: ${error.message}`;
  }
}

describe('a folder of policies', () => {
  test('every *.cedar file in order of names, nothing else', () => {
    const path = folder('good', {
      'b.cedar': gate('big', 5),
      'a.cedar': `${ALL}// end`,
      'notes.txt': 'permit nothing',
    });
    const engine = loadPolicyDirectory(path, tools, agents);
    expect(engine.policies.map(({ id, effect, file }) => [id, effect, file])).toEqual([
      ['a.cedar#1', 'permit', 'a.cedar'],
      ['big', 'forbid', 'b.cedar'],
    ]);
    expect(engine.decide(request())).toMatchObject({ kind: 'ask', gates: ['big'] });
  });

  test.each<[string, { readonly [file: string]: string | Uint8Array }, RegExp]>([
    ['no file', { 'policy.txt': ALL }, /^CONFIG_INVALID: .*\n.*no policy: what is not permitted is denied/],
    ['only comments', { 'a.cedar': '// permit (principal, action, resource);' }, /no policy/],
    ['not UTF-8', { 'a.cedar': new Uint8Array([0x2f, 0x2f, 0xff]) }, /a\.cedar: is not UTF-8 text/],
    ['too large', { 'a.cedar': `${ALL}//${'x'.repeat(MAX_POLICY_FILE_BYTES)}` }, /a\.cedar: larger than 256 KB/],
  ])('P7 refused: %s', (name, files, expected) => {
    expect(refusal(() => loadPolicyDirectory(folder(name, files), tools, agents))).toMatch(expected);
  });

  test('P7 refused: no folder', () => {
    expect(refusal(() => loadPolicyDirectory(join(root, 'none'), tools, agents))).toMatch(
      /cannot be read: ENOENT\n.*create the folder/,
    );
  });

  test('every problem of every file is listed, each with its line', () => {
    const a = `${ALL}forbid (principal, action == Action::"payments.refund", resource) when { context.args.amountCent > 1 };`;
    const b = `permit (principal, action == Action::"orders.fnd", resource);\npermit (principal action, resource);`;
    const text = refusal(() => loadPolicyDirectory(folder('bad', { 'a.cedar': a, 'b.cedar': b }), tools, agents));
    expect(text).toContain('3 problems in the policies');
    for (const place of ['a.cedar:2:74', 'b.cedar:1:30', 'b.cedar:2:19']) expect(text).toContain(place);
    expect(text).toContain(`    2 | permit (principal action, resource);\n      |                   ^^^^^^`);
  });

  test('text that hides or moves is refused and shown as its number', () => {
    const text = refusal(() => load(`${ALL}permit (principal, action, resource) when { "\u202E\u001b[2J" == 1 };`));
    expect(text).toContain('<U+202E><U+001B>[2J');
    expect(text).not.toMatch(/[\u202E\u001b]/);
  });

  test('a tool that has the name of an action group is refused', () => {
    const read = { ...refund, name: 'read' };
    expect(refusal(() => loadPolicies({ files: [{ name: 'a.cedar', text: ALL }], tools: [read], agents }))).toContain(
      'rename the tool',
    );
  });

  test('two files with one name are refused', () => {
    const files = [
      { name: 'a.cedar', text: ALL },
      { name: 'a.cedar', text: ALL },
    ];
    expect(refusal(() => loadPolicies({ files, tools, agents }))).toContain('two files with one name');
  });
});

describe('splitting', () => {
  test('whatever the text, no character outside comments and space is lost', () => {
    const words = fc.constantFrom(
      'permit',
      '@id("a;b")',
      '"x // y"',
      '"\\""',
      '// c;"\n',
      ';',
      ' ',
      '\n',
      '(',
      '::',
      'é',
      '"',
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 30 }), (parts) => {
        const text = parts.join('');
        const { pieces, findings } = splitPolicies('f', text);
        expect(pieces.map((piece) => piece.number)).toEqual(pieces.map((_, index) => index + 1));
        let end = 0;
        for (const piece of pieces) {
          expect(
            text
              .slice(end, piece.start)
              .replace(/\/\/[^\n]*/g, '')
              .trim(),
          ).toBe('');
          expect(text.slice(piece.start, piece.start + piece.text.length)).toBe(piece.text);
          end = piece.start + piece.text.length;
        }
        const rest = text
          .slice(end)
          .replace(/\/\/[^\n]*/g, '')
          .trim();
        expect(findings.length > 0).toBe(rest !== '');
      }),
    );
  });

  test('a text that is too large for the parser is refused before it, and the parser lives', () => {
    const cases = [
      '('.repeat(500),
      'context' + '.a'.repeat(500),
      '1' + '+1'.repeat(500),
      'if true then '.repeat(500),
      'true' + '&&true'.repeat(3_000),
    ];
    for (const body of cases)
      expect(refusal(() => load(`${ALL}permit (principal, action, resource) when { ${body} };`))).toContain(
        'too large',
      );
    expect(load(ALL).decide(request()).kind).toBe('allow');
  });
});
