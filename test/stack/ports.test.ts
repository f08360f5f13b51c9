import { expect, test } from 'vitest';
import { choosePort, freePort } from '../../worker/ports.ts';

test('a port that was given out is not given out again before it is bound', async () => {
  const given: number[] = [];
  for (let count = 0; count < 300; count += 1) given.push(await freePort());
  given.push(await choosePort('the approval page', 0, 0));
  expect(new Set(given).size).toBe(given.length);
  expect(given.every((port) => port >= 20_000 && port < 32_000)).toBe(true);
});
