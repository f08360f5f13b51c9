import canonicalizeReference from 'canonicalize';
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import vm from 'node:vm';
import { describe, expect, test } from 'vitest';
import { canonicalize, checkPlainJson } from '../../governance/canonical.ts';
import { isActGuardError } from '../../governance/errors.ts';
import type { Json } from '../../governance/json.ts';
import { MAX_JSON_DEPTH } from '../../governance/limits.ts';

interface Vector {
  readonly name: string;
  readonly json: string;
  readonly canonical: string;
}
const vectors = JSON.parse(readFileSync(new URL('../vectors/canonical.json', import.meta.url), 'utf8')) as Vector[];

function nested(levels: number): Json {
  let value: Json = [];
  for (let i = 1; i < levels; i += 1) value = [value];
  return value;
}

describe('O1 one canonical form', () => {
  test.each(vectors)('vector: $name', ({ json, canonical }) => {
    expect(canonicalize(JSON.parse(json) as Json)).toBe(canonical);
  });

  test('equals the canonicalize package for any plain JSON', () => {
    const leaf = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc
        .double({ noNaN: true, noDefaultInfinity: true })
        .filter((n) => !Number.isInteger(n) || Number.isSafeInteger(n)),
      fc.integer(),
      fc.maxSafeInteger(),
      fc.boolean(),
      fc.constant(null),
    );
    const key = fc.string({ unit: 'binary' }).filter((k) => k !== '__proto__');
    const { value } = fc.letrec<{ value: Json }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 5 },
        leaf,
        fc.array(tie('value'), { maxLength: 5 }),
        fc.dictionary(key, tie('value'), { maxKeys: 5 }),
      ),
    }));
    fc.assert(
      fc.property(value, (json) => {
        const text = canonicalize(json);
        expect(text).toBe(canonicalizeReference(json));
        expect(canonicalize(JSON.parse(text) as Json)).toBe(text);
      }),
      { numRuns: 500 },
    );
  });

  test('the order of keys does not matter, a key without value is left out', () => {
    expect(canonicalize({ b: 1, a: undefined, '10': 2, '9': 3 })).toBe('{"10":2,"9":3,"b":1}');
    expect(canonicalize({ '9': 3, '10': 2, b: 1 })).toBe('{"10":2,"9":3,"b":1}');
  });
});

class Point {
  readonly x = 1;
}
class List extends Array<number> {}
const cycle: Record<string, unknown> = {};
cycle['self'] = cycle;
const sparse = [1, 2];
delete sparse[0];
const unfolding = (): unknown => {
  let value: unknown = 1;
  for (let i = 0; i < 40; i += 1) value = [value, value];
  return value;
};

describe('what is not plain JSON is refused with its place', () => {
  const refused: [string, unknown, RegExp][] = [
    ['undefined', undefined, /the value is undefined/],
    ['undefined in a list', { a: [undefined] }, /`\/a\/0` is undefined/],
    ['a hole in a list', sparse, /`\/0` is undefined/],
    ['a function', { a: () => 1 }, /`\/a` is a function/],
    ['toJSON', { toJSON: () => 1 }, /`\/toJSON` is a function/],
    ['a symbol', { a: Symbol('x') }, /`\/a` is a symbol/],
    ['a symbol as key', { [Symbol('x')]: 1 }, /symbol as a key/],
    ['a bigint', [1n], /`\/0` is a bigint/],
    ['a Map', { m: new Map() }, /`\/m` is an instance of a class/],
    ['a Date', { d: new Date(0) }, /`\/d` is an instance of a class/],
    ['a class instance', new Point(), /the value is an instance of a class/],
    ['a subclass of Array', new List(), /the value is an instance of a class/],
    ['bytes', new Uint8Array(2), /the value is an instance of a class/],
    ['a boxed string', { a: new String('x') }, /`\/a` is an instance of a class/],
    ['an object on an own prototype', Object.create({ a: 1 }), /the value is an instance of a class/],
    ['a list with a name', Object.assign([1], { a: 1 }), /list with named properties/],
    ['NaN', { a: [1, NaN] }, /`\/a\/1` is NaN/],
    ['Infinity', -Infinity, /the value is -Infinity/],
    ['an integer beyond 2^53 - 1', { n: 2 ** 53 }, /`\/n` is an integer beyond/],
    ['1e300', { n: -1e300 }, /`\/n` is an integer beyond/],
    ['a lone surrogate', ['\ud800'], /`\/0` holds half of a surrogate pair/],
    ['a lone surrogate in a key', { 'x\udc00': 1 }, /holds half of a surrogate pair/],
    ['an own key __proto__', JSON.parse('{"a":{"__proto__":{"admin":true}}}'), /`\/a\/__proto__` is a key/],
    ['a cycle', cycle, /`\/self` contains itself/],
    ['too deep', nested(MAX_JSON_DEPTH + 1), /nested deeper than 64 levels/],
    ['references that unfold to 2^40 values', unfolding(), /holds more than 1000000 values/],
    ['a place with slashes and tildes', { 'a/b~`': NaN }, /`\/a~1b~0'` is NaN/],
  ];
  test.each(refused)('%s', (_name, value, problem) => {
    expect(checkPlainJson(value)).toMatch(problem);
    let thrown: unknown;
    try {
      canonicalize(value as Json);
    } catch (error) {
      thrown = error;
    }
    expect(isActGuardError(thrown) && thrown.code).toBe('ARGUMENTS_INVALID');
  });

  const twins: [string, unknown][] = [
    ['null', null],
    ['an absent value of a key', { a: undefined }],
    ['the largest integer', [2 ** 53 - 1, -(2 ** 53 - 1), -0]],
    ['a fraction', 0.1],
    ['a surrogate pair', '\ud83d\ude00'],
    ['keys like proto', { proto: 1, constructor: 2, _proto_: 3 }],
    ['the deepest allowed', nested(MAX_JSON_DEPTH)],
    ['an object without prototype', Object.assign(Object.create(null) as object, { a: 1 })],
    ['the same object twice', ((x) => [x, x])({ a: 1 })],
    ['objects and lists of another realm', vm.runInNewContext('({ a: [1, { b: 2 }] })')],
  ];
  test.each(twins)('valid twin: %s', (_name, value) => {
    expect(checkPlainJson(value)).toBeNull();
  });
});

test('a long place is shortened in the error', () => {
  expect(checkPlainJson({ ['k'.repeat(100_000)]: NaN })!.length).toBeLessThan(300);
});
