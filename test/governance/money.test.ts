import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatMicros, microsToUsd, priceMicros, settleMicros, usdToMicros } from '../../governance/money.ts';

test.each<[number | string, number]>([
  [0, 0],
  ['0', 0],
  [-0, 0],
  [0.25, 250_000],
  ['0.25', 250_000],
  [0.07, 70_000],
  [1.1, 1_100_000],
  [0.000001, 1],
  ['1.0000000000', 1_000_000],
  ['007', 7_000_000],
  [9_007_199_254, 9_007_199_254_000_000],
  ['9007199254.740991', Number.MAX_SAFE_INTEGER],
])('BU1 dollars %s are %d micro-dollars, exactly', (usd, micros) => {
  expect(usdToMicros(usd)).toBe(micros);
});

test.each<[unknown, RegExp]>([
  ['lots', /`lots` is not an amount/],
  ['', /is not an amount/],
  [' 1', /is not an amount/],
  ['1e3', /is not an amount/],
  ['0x10', /is not an amount/],
  ['1,5', /is not an amount/],
  ['.5', /is not an amount/],
  ['5.', /is not an amount/],
  ['+1', /is not an amount/],
  ['٣', /is not an amount/],
  [NaN, /is not an amount/],
  [Infinity, /is not an amount/],
  [null, /a object is not an amount/],
  [-1, /is negative/],
  ['-0.5', /is negative/],
  [-1e-9, /is negative/],
  [1e-7, /more than 6 decimals/],
  ['0.0000001', /more than 6 decimals/],
  [0.1 + 0.2, /more than 6 decimals/],
  ['9007199254.740992', /more than can be counted/],
  [1e21, /more than can be counted/],
  [Number.MAX_VALUE, /more than can be counted/],
])('BU1 dollars %s are refused', (usd, problem) => {
  expect(() => usdToMicros(usd as number)).toThrow(problem);
});

test('money reads as dollars and back', () => {
  expect(formatMicros(250_000)).toBe('$0.25');
  expect(formatMicros(125)).toBe('$0.000125');
  expect(formatMicros(0)).toBe('$0.00');
  expect(formatMicros(12_000_000)).toBe('$12.00');
  expect(formatMicros(1_500_010)).toBe('$1.50001');
  expect(formatMicros(-250_000)).toBe('-$0.25');
  expect(() => formatMicros(0.5)).toThrow('not an integer');
  expect(microsToUsd(250_000)).toBe(0.25);
  fc.assert(fc.property(fc.maxSafeNat(), (micros) => usdToMicros(formatMicros(micros).slice(1)) === micros));
  fc.assert(fc.property(fc.nat(2_000_000_000), (micros) => usdToMicros(microsToUsd(micros)) === micros));
});

test('BU4 summed exactly, rounded once, up', () => {
  expect(priceMicros(1, 1)).toBe(1);
  expect(priceMicros(0, 5)).toBe(0);
  expect(priceMicros(1_000_000, 3)).toBe(3);
  expect(priceMicros(1_000_001, 3)).toBe(4);
  const third = { tokens: 1, microsPerMTok: 400_000 };
  expect(settleMicros([third, third])).toBe(1);
  expect(settleMicros([third, third, third])).toBe(2);
  expect(settleMicros([])).toBe(0);
});

test('BU4 rounding gives nothing away: never below the exact sum, less than one micro-dollar above', () => {
  const part = fc.record({ tokens: fc.nat(10_000_000), microsPerMTok: fc.nat(1_000_000_000) });
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
      const exact = parts.reduce((sum, p) => sum + BigInt(p.tokens) * BigInt(p.microsPerMTok), 0n);
      const settled = BigInt(settleMicros(parts)) * 1_000_000n;
      return settled >= exact && settled - exact < 1_000_000n;
    }),
  );
});

test.each([
  [{ tokens: -1, microsPerMTok: 1 }],
  [{ tokens: 1.5, microsPerMTok: 1 }],
  [{ tokens: NaN, microsPerMTok: 1 }],
  [{ tokens: 1, microsPerMTok: -1 }],
  [{ tokens: Number.MAX_SAFE_INTEGER, microsPerMTok: Number.MAX_SAFE_INTEGER }],
])('P7 a part that cannot be counted is refused: %o', (part) => {
  expect(() => settleMicros([part])).toThrow();
});
