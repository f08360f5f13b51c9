import { describe, expect, test } from 'vitest';
import { priceOf } from '../../activities/prices.ts';
import { settleModelCall, worstCaseModelCall } from '../../governance/price.ts';

const NOW = Date.parse('2026-11-24T12:00:00Z');
const DAY_MS = 86_400_000;

describe('BU4 prices', () => {
  test('BU4 gpt-4o: 10,000 in of which 8,000 cached, 1,200 out is $0.027', () => {
    const price = priceOf('openai/gpt-4o', {}, NOW);
    if (!price) throw new Error('gpt-4o has no price');
    const usage = {
      inputTokens: 10_000,
      cachedInputTokens: 8_000,
      cacheWriteTokens: 0,
      outputTokens: 1_200,
      reasoningTokens: 0,
    };
    expect(settleModelCall(usage, price)).toEqual({ usdMicros: 27_000, tokens: 11_200, calls: 1 });
  });

  test('BU4 the dearest tier counts, and integers only', () => {
    expect(priceOf('google/gemini-2.5-pro', {}, NOW)).toEqual({
      version: 'genai-prices 0.1.8',
      inputMicrosPerMTok: 2_500_000,
      cachedInputMicrosPerMTok: 250_000,
      cacheWriteMicrosPerMTok: 2_500_000,
      outputMicrosPerMTok: 15_000_000,
    });
    expect(priceOf('anthropic/claude-sonnet-4-5', {}, NOW)?.cacheWriteMicrosPerMTok).toBe(7_500_000);
  });

  test('BU4 a price that changes by the hour has one price: the dearest of the coming days', () => {
    const night = priceOf('deepseek/deepseek-chat', {}, Date.parse('2026-11-24T20:00:00Z'));
    const day = priceOf('deepseek/deepseek-chat', {}, Date.parse('2026-11-24T10:00:00Z'));
    expect(night?.inputMicrosPerMTok).toBe(270_000);
    expect(night).toEqual(day);
  });

  test('BU4 an announced rise counts before it comes, as runs live for days', () => {
    const rise = Date.parse('2027-01-01T00:00:00Z');
    const long = priceOf('google/gemini-3.8-flash', {}, rise - 30 * DAY_MS);
    const before = priceOf('google/gemini-3.8-flash', {}, rise - 2 * DAY_MS);
    const after = priceOf('google/gemini-3.8-flash', {}, rise + 2 * DAY_MS);
    expect(before).toEqual(after);
    expect(long?.outputMicrosPerMTok).toBe(3_750_000);
    expect(after?.outputMicrosPerMTok).toBe(7_500_000);
  });

  test('BU4 your own prices may follow each other: the dearest of the coming days counts, before and after them none is known', () => {
    const at = (date: string) => Date.parse(`${date}T00:00:00Z`);
    const price = (usd: number, from: string | null, until: string | null) => ({
      ...{ inputUsdPerMTok: usd, outputUsdPerMTok: 2 * usd },
      ...{ fromMs: from === null ? null : at(from), untilMs: until === null ? null : at(until) },
    });
    const prices = { 'x/m': [price(1, '2026-01-01', '2026-12-01'), price(3, '2026-12-01', '2027-01-01')] };
    const input = (date: string) => priceOf('x/m', prices, at(date))?.inputMicrosPerMTok ?? null;
    expect(['2025-12-31', '2026-06-01', '2026-11-30', '2026-12-02', '2027-01-01'].map(input)).toEqual([
      null,
      1_000_000,
      3_000_000,
      3_000_000,
      null,
    ]);
  });

  test('BU3 a provider that puts a prompt of its own before tools is reserved with it', () => {
    const cost = (model: string) => {
      const price = priceOf(model, { [model]: { inputUsdPerMTok: 1, outputUsdPerMTok: 1 } }, NOW);
      const worst = worstCaseModelCall({ promptBytes: 100, messages: 1, price, maxOutputTokens: 16, left: {} });
      return worst.kind === 'ok' ? worst.reserved.tokens : null;
    };
    expect(cost('openai/x')).toBe(100 + 16 + 64 + 16);
    expect(cost('anthropic/x')).toBe(100 + 16 + 1_024 + 16);
  });

  test('BU4 your own table wins, decimals round up and never down', () => {
    const prices = {
      'openai/gpt-4o': { inputUsdPerMTok: 0.14, cachedInputUsdPerMTok: 0.0000001, outputUsdPerMTok: 1.1 },
    };
    expect(priceOf('openai/gpt-4o', prices, NOW)).toEqual({
      version: 'config',
      inputMicrosPerMTok: 140_000,
      cachedInputMicrosPerMTok: 1,
      cacheWriteMicrosPerMTok: 140_000,
      outputMicrosPerMTok: 1_100_000,
    });
    const free = { 'local/llama': { inputUsdPerMTok: 0, outputUsdPerMTok: 0 } };
    expect(priceOf('local/llama', free, NOW)?.inputMicrosPerMTok).toBe(0);
  });

  test.each([
    ['an unknown model', 'openai/no-such-model'],
    ['an unknown provider', 'nobody/gpt-4o'],
    ['a provider that only looks like one', 'my-openai-proxy/gpt-4o'],
    ['no provider', 'gpt-4o'],
    ['no model', 'openai/'],
    ['a name of Object.prototype', 'constructor'],
  ])('BU4 unknown is null and never zero: %s', (_name, model) => {
    expect(priceOf(model, {}, NOW)).toBeNull();
  });

  test('BU4 embeddings are priced by their input; a call with output has no price there, and its usage none either', () => {
    const price = priceOf('openai/text-embedding-3-small', {}, NOW);
    expect(price).toMatchObject({ inputMicrosPerMTok: 20_000, outputMicrosPerMTok: 0, inputOnly: true });
    const asked = { promptBytes: 1_000_000, messages: 0, price, left: {} };
    const worst = worstCaseModelCall({ ...asked, maxOutputTokens: 1 });
    expect(worst).toMatchObject({ kind: 'ok', reserved: { usdMicros: Math.ceil((1_000_000 + 64) * 0.02) } });
    expect(worstCaseModelCall({ ...asked, maxOutputTokens: 2 })).toEqual({ kind: 'price-unknown' });
    const used = {
      inputTokens: 500_000,
      cachedInputTokens: 0,
      cacheWriteTokens: 0,
      outputTokens: 0,
      reasoningTokens: 0,
    };
    if (!price) throw new Error('no price');
    expect(settleModelCall(used, price)).toEqual({ usdMicros: 10_000, tokens: 500_000, calls: 1 });
    expect(settleModelCall({ ...used, outputTokens: 1 }, price)).toBeNull();
  });

  test.each([NaN, -1, Infinity])('BU4 an own price of %s is no price', (usd) => {
    const prices = { 'local/m': { inputUsdPerMTok: 1, outputUsdPerMTok: usd } };
    expect(priceOf('local/m', prices, NOW)).toBeNull();
  });
});
