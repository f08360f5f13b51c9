import { expect, test } from 'vitest';
import type { Json } from '../../governance/json.ts';
import * as rules from '../../governance/rules.ts';
import { firstFailing, type Rule } from '../../governance/rules.ts';

const { atLeast, atMost, between, maxItems, maxLength, notOneOf, oneOf, startsWith } = rules;

function passes(rule: Rule, value: Json | undefined): boolean {
  const args = value === undefined ? {} : { x: value };
  return firstFailing([{ argument: 'x', rules: [rule], optional: false }], args) === null;
}

test.each<[Rule, string, Json[], Json[]]>([
  [atMost(50), 'atMost(50)', [50, 0, -7], [50.000001, 51, '50', '7', true, [1], {}]],
  [atLeast(1), 'atLeast(1)', [1, 1e9], [0.999, 0, '1']],
  [between(1, 3), 'between(1, 3)', [1, 2, 3], [0, 4, '2']],
  [oneOf('USD', 'EUR'), 'oneOf("USD", "EUR")', ['USD', 'EUR'], ['usd', 'USD ', '', ['USD']]],
  [oneOf(1, true), 'oneOf(1, true)', [1, true], ['1', 'true', 2, false]],
  [notOneOf('prod'), 'notOneOf("prod")', ['dev', ''], ['prod', 1, ['prod'], {}]],
  [notOneOf(1), 'notOneOf(1)', [2], [1, '1', '2']],
  [maxLength(3), 'maxLength(3)', ['', 'abc'], ['abcd', 3, ['a']]],
  [maxItems(1), 'maxItems(1)', [[], ['abcd']], [[1, 2], 'a', {}]],
  [startsWith('/home/'), 'startsWith("/home/")', ['/home/', '/home/a'], ['/Home/a', ' /home/', '', '/home']],
])('RU1 $label: at the limit passes, beyond it and of another type is refused', (rule, label, good, bad) => {
  expect(rule.label).toBe(label);
  for (const value of good) expect(passes(rule, value), JSON.stringify(value)).toBe(true);
  for (const value of bad) expect(passes(rule, value), JSON.stringify(value)).toBe(false);
  for (const value of [NaN, Infinity, -Infinity, null, undefined]) expect(passes(rule, value)).toBe(false);
});

test('RU1 the first failing rule in order is named', () => {
  const list = [
    { argument: 'amount', rules: [atLeast(1), atMost(50)], optional: false },
    { argument: 'currency', rules: [oneOf('USD')], optional: false },
  ];
  expect(firstFailing(list, { amount: 50, currency: 'USD' })).toBeNull();
  expect(firstFailing(list, { amount: 51, currency: 'EUR' })).toEqual({ rule: 'atMost(50)', argument: 'amount' });
  expect(firstFailing(list, { amount: 0, currency: 'EUR' })).toEqual({ rule: 'atLeast(1)', argument: 'amount' });
  expect(firstFailing(list, { amount: 1, currency: 'EUR' })).toEqual({ rule: 'oneOf("USD")', argument: 'currency' });
  expect(firstFailing([], {})).toBeNull();
});

test('D10 a ruled optional argument may be absent, but not null', () => {
  const list = [{ argument: 'amount', rules: [atMost(50)], optional: true }];
  expect(firstFailing(list, {})).toBeNull();
  expect(firstFailing(list, { amount: undefined })).toBeNull();
  expect(firstFailing(list, { amount: null })).not.toBeNull();
  expect(firstFailing(list, { amount: 51 })).not.toBeNull();
});

test('P7 what is inherited is absent, a test that throws refuses', () => {
  const any: Rule = { label: 'any', of: 'any', test: () => true };
  const throws: Rule = { label: 'throws', of: 'any', test: () => { throw new Error('boom'); } }; // prettier-ignore
  expect(firstFailing([{ argument: 'toString', rules: [any], optional: false }], {})).not.toBeNull();
  expect(passes(throws, 1)).toBe(false);
  expect(passes(any, 1)).toBe(true);
});

test('a rule that cannot judge anything is CONFIG_INVALID', () => {
  for (const make of [
    () => atMost(NaN),
    () => atMost('5' as never),
    () => atLeast(Infinity),
    () => between(3, 1),
    () => oneOf(),
    () => notOneOf(NaN),
    () => notOneOf({} as never),
    () => maxLength(-1),
    () => maxItems(1.5),
    () => startsWith(''),
  ]) {
    expect(make).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  }
});
