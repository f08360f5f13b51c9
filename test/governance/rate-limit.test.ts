import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bucketOf, lookAtHits, rateScopeValue, type RateSubject } from '../../governance/rate-limit.ts';
import type { RateScope } from '../../governance/tool.ts';

test('RL1 a sliding log, not a fixed window', () => {
  const at = (hits: number[], s: number) => lookAtHits(hits.map((h) => h * 1000), s * 1000, 2, 10_000); // prettier-ignore
  expect(at([], 0)).toEqual({ ok: true });
  expect(at([0], 6)).toEqual({ ok: true });
  expect(at([0, 6], 9)).toEqual({ ok: false, retryAfterMs: 1000 });
  expect(at([0, 6], 10)).toEqual({ ok: true });
  expect(at([0, 6, 10], 11)).toEqual({ ok: false, retryAfterMs: 5000 });
  expect(at([0, 6, 10], 16)).toEqual({ ok: true });
});

test('RL1 no window of the period ever holds more than maxCalls; retryAfterMs is the first time that passes', () => {
  const steps = fc.array(fc.nat(40), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 60 }), (gaps, maxCalls, period) => {
      const hits: number[] = [];
      let now = 0;
      for (const gap of gaps) {
        now += gap;
        const look = lookAtHits(hits, now, maxCalls, period);
        if (look.ok) {
          hits.push(now);
        } else {
          expect(look.retryAfterMs).toBeGreaterThan(0);
          expect(lookAtHits(hits, now + look.retryAfterMs - 1, maxCalls, period).ok).toBe(false);
          expect(lookAtHits(hits, now + look.retryAfterMs, maxCalls, period).ok).toBe(true);
        }
      }
      for (const start of hits) {
        expect(hits.filter((hit) => hit >= start && hit < start + period).length).toBeLessThanOrEqual(maxCalls);
      }
    }),
  );
});

test('RL1 a limit that was lowered waits for as many hits as are too many, in any order', () => {
  expect(lookAtHits([8, 2, 6, 4], 9, 2, 10)).toEqual({ ok: false, retryAfterMs: 7 });
});

test.each([
  [0, 1],
  [1.5, 1],
  [NaN, 1],
  [1, 0],
  [1, -1],
  [1, NaN],
])('RL4 maxCalls %d in %d ms is CONFIG_INVALID', (maxCalls, periodMs) => {
  expect(() => lookAtHits([], 0, maxCalls, periodMs)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
});

const subject: RateSubject = { tenant: 't', user: 'u', agent: 'a', run: 'r', tool: 'mail.send', args: { to: 'x' } };

test('RL3 D6 buckets: one per tool across tenants, every other scope within its tenant', () => {
  const others: Partial<RateSubject>[] = [{ tenant: 't2' }, { user: 'u2' }, { agent: 'a2' }, { run: 'r2' }];
  const shares = (scope: RateScope, other: Partial<RateSubject>): boolean =>
    bucketOf(scope, subject) === bucketOf(scope, { ...subject, ...other });
  const table = (scope: RateScope) => others.map((other) => shares(scope, other)); // prettier-ignore
  expect(table('tool')).toEqual([true, true, true, true]);
  expect(table('tenant')).toEqual([false, true, true, true]);
  expect(table('user')).toEqual([false, false, true, true]);
  expect(table('agent')).toEqual([false, true, false, true]);
  expect(table('run')).toEqual([false, true, true, false]);
  expect(table({ argument: 'to' })).toEqual([false, true, true, true]);
  for (const scope of ['tool', 'tenant', 'user', 'agent', 'run', { argument: 'to' }] as const) {
    expect(shares(scope, { tool: 'mail.read' })).toBe(false);
  }
});

test('RL3 D6 argument values are canonical: 1 and "1", absent and null differ, the order of keys does not', () => {
  const of = (args: RateSubject['args']): string => bucketOf({ argument: 'to' }, { ...subject, args });
  const buckets = [of({ to: 1 }), of({ to: '1' }), of({}), of({ to: null }), of({ to: [1] }), of({ to: 'null' })];
  expect(new Set(buckets).size).toBe(buckets.length);
  expect(of({ to: { a: 1, b: 2 } })).toBe(of({ to: { b: 2, a: 1 } }));
});

test('RL3 no value shadows a principal: different subjects never share a bucket by their text', () => {
  const word = fc.constantFrom('a', '"', ',', 'a","b', '","', 'user', 'tool', '\\', '');
  const pair = fc.tuple(word, word, word, fc.constantFrom('user', 'run', 'agent', 'argument'));
  fc.assert(
    fc.property(pair, pair, (one, two) => {
      const bucket = ([tenant, tool, value, scope]: typeof one): string => {
        const who = { ...subject, tenant, tool, user: value, run: value, agent: value, args: { to: value } };
        return bucketOf(scope === 'argument' ? { argument: 'to' } : (scope as RateScope), who);
      };
      expect(bucket(one) === bucket(two)).toBe(JSON.stringify(one) === JSON.stringify(two));
    }),
    { numRuns: 500 },
  );
});

test('RL6 the value of the scope', () => {
  expect(rateScopeValue('user', subject)).toBe('u');
  expect(rateScopeValue('tool', subject)).toBe('mail.send');
  expect(rateScopeValue({ argument: 'to' }, subject)).toBe('x');
  expect(rateScopeValue({ argument: 'toString' }, subject)).toBeNull();
});
