import { afterEach, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { defineTool, forbidPattern } from '../../define/index.ts';
import type { Json } from '../../governance/json.ts';
import { desk } from '../support/calls.ts';

const { worker } = desk();
const note = defineTool({
  name: 'note',
  description: 'Write a note',
  effect: 'write',
  repeatable: true,
  inputSchema: z.strictObject({
    text: z.string(),
    cents: z.int().optional(),
    rate: z.number().optional(),
    tree: z.json().optional(),
  }),
  rules: { text: forbidPattern(/^(?:a+)+b$/) },
  execute: () => ({ ok: true }),
});
const POLICIES = `@id("all") permit (principal, action, resource);
@id("cents") forbid (principal, action == Action::"note", resource) when { context.args has cents && context.args.cents > 1000000 };
@id("rate") forbid (principal, action == Action::"note", resource) when { context.args has rate && context.args.rate.greaterThan(decimal("2.0")) };
@id("like") forbid (principal, action == Action::"note", resource) when { context.args.text like "*x*x*x*x*x*x*x*x*x*x*y" };
`;
const nested = (depth: number): Json => JSON.parse(`${'['.repeat(depth)}${']'.repeat(depth)}`) as Json;
afterEach(() => vi.restoreAllMocks());

describe('P7 hostile arguments are refused or bounded, their twins pass', () => {
  test.each<[string, Json, string, Json]>([
    ['a float where a whole number belongs', { text: 'n', cents: 1.5 }, 'ARGUMENTS_INVALID', { text: 'n', cents: 15 }],
    ['a number above 2^53', { text: 'n', cents: 2 ** 53 }, 'ARGUMENTS_INVALID', { text: 'n', cents: 1_000_000 }],
    [
      'a number past the double',
      JSON.parse('{"text":"n","rate":1e999}') as Json,
      'ARGUMENTS_INVALID',
      { text: 'n', rate: 1 },
    ],
    ['more digits than policies hold', { text: 'n', rate: 0.12345 }, 'POLICY_ERROR', { text: 'n', rate: 0.1234 }],
    ['a number in exponent form', { text: 'n', rate: 1e21 }, 'ARGUMENTS_INVALID', { text: 'n', rate: 2 }],
    ['half of a surrogate pair', { text: '\ud83d' }, 'ARGUMENTS_INVALID', { text: '\ud83d\ude00' }],
    [
      '`__proto__` as a key',
      JSON.parse('{"text":"n","__proto__":{"cents":1}}') as Json,
      'ARGUMENTS_INVALID',
      { text: '__proto__' },
    ],
    [
      '`__proto__` deep inside',
      { text: 'n', tree: JSON.parse('{"a":{"__proto__":{"b":1}}}') as Json },
      'ARGUMENTS_INVALID',
      { text: 'n', tree: { a: { proto: 1 } } },
    ],
    ['a string of 10 MB', { text: 'n'.repeat(10 * 1024 * 1024) }, 'ARGUMENTS_INVALID', { text: 'n'.repeat(10 * 1024) }],
    ['10,000 deep', { text: 'n', tree: nested(10_000) }, 'ARGUMENTS_INVALID', { text: 'n', tree: nested(10) }],
    [
      'a text made for a backtracking pattern, which would not end',
      { text: `${'a'.repeat(30_000)}b` },
      'RULE_FAILED',
      { text: `${'a'.repeat(30_000)}c` },
    ],
    [
      'a text made for many wildcards',
      { text: `${'x'.repeat(20_000)}y` },
      'POLICY_DENIED',
      { text: `${'x'.repeat(20_000)}z` },
    ],
  ])('P7 %s', async (_name, bad, code, good) => {
    const run = await worker([note], { policies: POLICIES }).run();
    expect(await run.call('note', bad)).toMatchObject({ kind: 'denied', denial: { code } });
    expect(await run.call('note', good)).toMatchObject({ kind: 'done' });
    expect(({} as { cents?: number }).cents).toBeUndefined();
  });

  test('RL6 a worker whose clock is an hour off opens no window earlier, nor later', async () => {
    const limited = defineTool({
      name: 'limited',
      description: 'x',
      effect: 'write',
      repeatable: true,
      rateLimit: { maxCalls: 1, period: '30m', scope: 'user' },
      inputSchema: z.strictObject({ n: z.int() }),
      execute: () => ({ ok: true }),
    });
    const all = 'permit (principal, action, resource);';
    const [here, there] = [worker([limited], { policies: all }), worker([limited], { policies: all })];
    const [first, second, other] = [await here.run(), await there.run(), await there.run({ user: 'bob' })];
    expect((await first.call('limited', { n: 1 })).kind).toBe('done');
    for (const offMs of [3_600_000, -3_600_000]) {
      const now = Date.now();
      const clock = vi.spyOn(Date, 'now').mockReturnValue(now + offMs);
      const refused = await second.call('limited', { n: 2 });
      clock.mockRestore();
      expect(refused).toMatchObject({ kind: 'denied', denial: { code: 'RATE_LIMITED' } });
      const waitMs = refused.kind === 'denied' ? (refused.denial.retryAfterMs ?? 0) : 0;
      expect(waitMs).toBeGreaterThan(29 * 60_000);
      expect(waitMs).toBeLessThanOrEqual(30 * 60_000);
    }
    expect((await other.call('limited', { n: 3 })).kind).toBe('done');
  });
});
