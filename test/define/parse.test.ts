import { expect, test } from 'vitest';
import { z } from 'zod';
import { define, read } from './tools.ts';

function codeOf(inputSchema: z.ZodType, outputSchema?: z.ZodType) {
  return define({ ...read, inputSchema, outputSchema, proves: undefined }).code;
}

/** The code and text that a parse is refused with. */
function refused(parse: () => unknown): { code: unknown; message: string } {
  try {
    parse();
  } catch (error) {
    if (error instanceof Error && 'code' in error) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('was accepted');
}

const strict = z.strictObject({
  id: z.string().trim().optional(),
  list: z.array(z.strictObject({ n: z.number() })).default([]),
});

test('O4 arguments come out in one canonical form', () => {
  const { parseInput } = codeOf(strict);
  expect(parseInput({ list: [{ n: -0 }], id: ' x ' })).toEqual({ id: 'x', list: [{ n: 0 }] });
  expect(parseInput({ id: undefined })).toEqual({ list: [] });
  expect(Object.keys(parseInput({ id: undefined }) as object)).toEqual(['list']);
});

const hostile: readonly (readonly [string, unknown, string])[] = [
  ['an unknown key', { zz: 1 }, 'unknown key `zz`'],
  ['an unknown key inside', { list: [{ n: 1, 'a`\u202e': 2 }] }, '`list.0` unknown key `a\\u0060\\u202e`'],
  ['a wrong type', { list: [{ n: 'x' }] }, '`list.0.n` invalid input'],
  ['NaN', { list: [{ n: NaN }] }, 'NaN'],
  ['__proto__', JSON.parse('{"__proto__":{"id":"x"}}'), '__proto__'],
  ['a class', new (class Id {})(), 'class'],
  ['text', '{}', 'expected object'],
  ['nothing', undefined, 'undefined'],
];
test.each(hostile)('O4 %s is ARGUMENTS_INVALID', (_title, value, words) => {
  const { code, message } = refused(() => codeOf(strict).parseInput(value));
  expect(code).toBe('ARGUMENTS_INVALID');
  expect(message).toContain(words);
});

test('O4 a cycle and a depth of thousands are refused, not followed', () => {
  const any = z.strictObject({ a: z.any() });
  const cycle: { a?: unknown } = {};
  cycle.a = cycle;
  expect(refused(() => codeOf(any).parseInput(cycle)).code).toBe('ARGUMENTS_INVALID');
  let deep: unknown = 1;
  for (let i = 0; i < 5_000; i += 1) deep = [deep];
  expect(refused(() => codeOf(any).parseInput({ a: deep })).code).toBe('ARGUMENTS_INVALID');
});

test('O4 a thousand wrong items make a short text', () => {
  const list = Array.from({ length: 1_000 }, () => ({ n: 'x' }));
  const { message } = refused(() => codeOf(strict).parseInput({ list }));
  expect(message).toContain('and 980 more');
  expect(message.length).toBeLessThan(4_000);
});

test.each([
  ['grows with each parse', z.string().overwrite((s) => `${s}!`), 'change when they are parsed a second time'],
  ['changes its type', z.string().transform((s) => s.length), 'parsed a second time, do not fit'],
])('O4 a schema that %s is ARGUMENTS_INVALID', (_title, a, words) => {
  const { code, message } = refused(() => codeOf(z.strictObject({ a })).parseInput({ a: 'x' }));
  expect(code).toBe('ARGUMENTS_INVALID');
  expect(message).toContain(words);
});

test('P7 a schema that throws or waits refuses', () => {
  const throwing = z.strictObject({
    a: z.string().refine(() => {
      throw new Error('boom');
    }),
  });
  expect(refused(() => codeOf(throwing).parseInput({ a: 'x' }))).toMatchObject({ code: 'ARGUMENTS_INVALID' });
  const waiting = z.strictObject({ a: z.string().refine(async () => false) });
  expect(refused(() => codeOf(waiting).parseInput({ a: 'x' }))).toMatchObject({ code: 'ARGUMENTS_INVALID' });
});

test('EX6 an output that does not fit is OUTPUT_INVALID', () => {
  const { parseOutput } = codeOf(strict, z.object({ id: z.string() }));
  expect(parseOutput({ id: 'a', more: 1 })).toEqual({ id: 'a' });
  expect(refused(() => parseOutput({ id: 1 }))).toMatchObject({ code: 'OUTPUT_INVALID' });
});

test('EX6 without a schema any JSON is an output, and nothing else', () => {
  const { parseOutput } = codeOf(strict);
  expect(parseOutput(undefined)).toBe(null);
  expect(parseOutput({ a: [1, null, 'x'], b: undefined })).toEqual({ a: [1, null, 'x'] });
  for (const value of [() => 1, 1n, { at: new Date(0) }, [NaN]]) {
    expect(refused(() => parseOutput(value)).code).toBe('OUTPUT_INVALID');
  }
});
