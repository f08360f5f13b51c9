/** Prices of the user's own, in dollars per million tokens. */
import type { Checks } from './check.ts';
import { isOptions, quote } from './check.ts';
import { checkModel } from './agent.ts';
import type { PriceOptions } from './types.ts';

const KEYS = ['inputUsdPerMTok', 'cachedInputUsdPerMTok', 'cacheWriteUsdPerMTok', 'outputUsdPerMTok'] as const;

/** Every price is finite and not negative; input and output are required. */
export function checkPrices(checks: Checks, value: unknown): { readonly [model: string]: PriceOptions } {
  if (value === undefined) return {};
  if (!isOptions(value)) {
    checks.add('prices', `must be an object of prices by model, not ${quote(value)}`);
    return {};
  }
  const found: { [model: string]: PriceOptions } = {};
  for (const [model, price] of Object.entries(value)) {
    const field = `prices.${model}`;
    checkModel(checks, field, model);
    const given = checks.options(field, price ?? null, KEYS);
    if (given === undefined) continue;
    for (const key of KEYS) {
      const required = key === 'inputUsdPerMTok' || key === 'outputUsdPerMTok';
      if (given[key] === undefined && required) checks.add(`${field}.${key}`, 'is required');
      checks.number(`${field}.${key}`, given[key], 0, 0);
    }
    found[model] = given as unknown as PriceOptions;
  }
  return Object.freeze(found);
}
