import { expect, test } from 'vitest';
import { parseDuration } from '../../governance/duration.ts';

test.each<[number | string, number]>([
  [1, 1],
  [30_000, 30_000],
  ['100ms', 100],
  ['10s', 10_000],
  ['1m', 60_000],
  ['1h', 3_600_000],
  ['1d', 86_400_000],
  ['1.5s', 1_500],
  ['1.005s', 1_005],
  ['0.1s', 100],
  ['0.05m', 3_000],
])('D4 duration %s is %d ms', (value, ms) => {
  expect(parseDuration(value)).toBe(ms);
});

test.each([
  ...['', 's', '10', '10 s', ' 10s', '10S', '1w', '1y', '-1s', '+1s', '1e3s', 'soon', '1h30m', '10s\n', '.5s', '5.s'],
  ...[NaN, Infinity, 0, -1, 1.5, '0s', '1.5ms', '0.0001s', '4000d', 1e15, null, undefined, true, ['1s'], 10n],
])('D4 duration %s is refused, and the error names what is allowed', (value) => {
  expect(() => parseDuration(value as string)).toThrow(/'100ms', '10s', '1m', '1h', '1d'/);
});
