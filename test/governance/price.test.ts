import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Amount, Limit } from '../../governance/call.ts';
import { settleModelCall, worstCaseModelCall, type ModelPrice, type TokenUsage } from '../../governance/price.ts';

interface Vectors {
  readonly settlements: readonly { name: string; price: ModelPrice; usage: TokenUsage; amount: Amount }[];
  readonly worstCases: readonly {
    name: string;
    price: ModelPrice;
    promptBytes: number;
    messages: number;
    maxOutputTokens: number;
    left: Limit;
    reserved: Amount;
    cappedOutputTokens: number;
  }[];
}
const vectors = JSON.parse(readFileSync(new URL('../vectors/prices.json', import.meta.url), 'utf8')) as Vectors;

const price: ModelPrice = {
  version: 't1',
  inputMicrosPerMTok: 250_000,
  cachedInputMicrosPerMTok: 25_000,
  cacheWriteMicrosPerMTok: 0,
  outputMicrosPerMTok: 2_000_000,
};
const usage: TokenUsage = {
  inputTokens: 10,
  cachedInputTokens: 0,
  cacheWriteTokens: 0,
  outputTokens: 5,
  reasoningTokens: 0,
};
const planned = { promptBytes: 1_000, messages: 2, price, maxOutputTokens: 4_096, left: {} };

describe('BU4 settlement', () => {
  test.each(vectors.settlements)('vector: $name', (v) => {
    expect(settleModelCall(v.usage, v.price)).toEqual(v.amount);
  });

  test('parts that were reported beside their whole are added, not lost', () => {
    expect(settleModelCall({ ...usage, cachedInputTokens: 40 }, price)?.tokens).toBe(55);
    expect(settleModelCall({ ...usage, reasoningTokens: 40 }, price)?.tokens).toBe(55);
  });

  test('BU5 usage that cannot be read is no usage', () => {
    expect(settleModelCall(null, price)).toBeNull();
    for (const bad of [NaN, -1, 1.5, Infinity, 2 ** 53, undefined, '5']) {
      expect(settleModelCall({ ...usage, outputTokens: bad as number }, price)).toBeNull();
    }
    expect(settleModelCall(usage, price)).not.toBeNull();
  });
});

describe('BU3 worst case', () => {
  test.each(vectors.worstCases)('vector: $name', (v) => {
    const { promptBytes, messages, price: p, maxOutputTokens, left } = v;
    const worst = worstCaseModelCall({ promptBytes, messages, price: p, maxOutputTokens, left });
    expect(worst).toEqual({ kind: 'ok', reserved: v.reserved, maxOutputTokens: v.cappedOutputTokens });
  });

  test('BU4 unknown model: no worst case, whatever is left', () => {
    expect(worstCaseModelCall({ ...planned, price: null })).toEqual({ kind: 'price-unknown' });
    expect(worstCaseModelCall({ ...planned, price: null, left: { tokens: 5 } })).toEqual({ kind: 'price-unknown' });
  });

  test.each<[Limit, string]>([
    [{ usdMicros: 0 }, 'usdMicros'],
    [{ usdMicros: 305 }, 'usdMicros'],
    [{ tokens: 1_111 }, 'tokens'],
    [{ calls: 0 }, 'calls'],
    [{ usdMicros: NaN }, 'usdMicros'],
  ])('BU1 BU6 with %o left not even the least answer is paid', (left, unit) => {
    expect(worstCaseModelCall({ ...planned, left })).toMatchObject({ kind: 'exceeded', unit });
  });

  test.each<[Limit]>([[{ usdMicros: 306 }], [{ tokens: 1_112 }], [{ calls: 1 }]])('valid twin: %o suffices', (left) => {
    expect(worstCaseModelCall({ ...planned, left })).toMatchObject({ kind: 'ok' });
  });

  test('P7 measures that are no whole numbers are refused', () => {
    for (const bad of [{ promptBytes: NaN }, { messages: -1 }, { maxOutputTokens: 0 }, { promptBytes: 0.5 }]) {
      expect(() => worstCaseModelCall({ ...planned, ...bad })).toThrow('whole numbers');
    }
  });

  test('P3 no usage within the reserved tokens settles above the reservation, and that fits what is left', () => {
    const rate = fc.nat(20_000_000);
    const anyPrice = fc.record({
      version: fc.constant('t'),
      inputMicrosPerMTok: rate,
      cachedInputMicrosPerMTok: rate,
      cacheWriteMicrosPerMTok: rate,
      outputMicrosPerMTok: rate,
    });
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    const plan = fc.record({
      promptBytes: fc.nat(100_000),
      messages: fc.nat(50),
      price: anyPrice,
      maxOutputTokens: fc.integer({ min: 1, max: 10_000 }),
      left: fc.record({ usdMicros: fc.nat(3_000_000), tokens: fc.nat(150_000) }, { requiredKeys: [] }),
      declared: fc.record({ usdMicros: fc.nat(100_000), tokens: fc.nat(5_000) }),
    });
    fc.assert(
      fc.property(plan, share, share, share, share, (p, a, b, c, d) => {
        const worst = worstCaseModelCall(p);
        if (worst.kind !== 'ok') return;
        const { reserved, maxOutputTokens } = worst;
        expect(reserved.usdMicros).toBeLessThanOrEqual(p.left.usdMicros ?? Infinity);
        expect(reserved.tokens).toBeLessThanOrEqual(p.left.tokens ?? Infinity);
        expect(maxOutputTokens).toBeLessThanOrEqual(p.maxOutputTokens);
        const inputTokens = Math.floor((reserved.tokens - maxOutputTokens) * a);
        const cachedInputTokens = Math.floor(inputTokens * b);
        const cacheWriteTokens = Math.floor((inputTokens - cachedInputTokens) * c);
        const outputTokens = Math.floor(maxOutputTokens * d);
        const used = { inputTokens, cachedInputTokens, cacheWriteTokens, outputTokens, reasoningTokens: outputTokens };
        const actual = settleModelCall(used, p.price, p.declared);
        expect(actual!.usdMicros).toBeGreaterThanOrEqual(p.declared.usdMicros);
        expect(actual!.usdMicros).toBeLessThanOrEqual(reserved.usdMicros);
        expect(actual!.tokens).toBeLessThanOrEqual(reserved.tokens);
      }),
      { numRuns: 1_000 },
    );
  });
});
