/** Prices of the user's own, in dollars per million tokens: one for ever, or one after the other without gap or overlap. */
import type { Checks } from './check.ts';
import { isOptions, quote } from './check.ts';
import { checkModel } from './agent.ts';
import type { PriceOptions, PricePeriod } from './budget-types.ts';

const KEYS = ['inputUsdPerMTok', 'cachedInputUsdPerMTok', 'cacheWriteUsdPerMTok', 'outputUsdPerMTok'] as const;

/** Every price is finite and not negative; input and output are required; periods follow each other exactly. */
export function checkPrices(checks: Checks, value: unknown): { readonly [model: string]: readonly PricePeriod[] } {
  if (value === undefined) return {};
  if (!isOptions(value)) {
    checks.add('prices', `must be an object of prices by model, not ${quote(value)}`);
    return {};
  }
  const found: { [model: string]: readonly PricePeriod[] } = {};
  for (const [model, price] of Object.entries(value)) {
    const field = `prices.${model}`;
    checkModel(checks, field, model);
    if (!Array.isArray(price)) {
      const one = checkPrice(checks, field, price ?? null, KEYS);
      if (one) found[model] = [{ ...one, fromMs: null, untilMs: null }];
      continue;
    }
    const periods = (price as unknown[]).map((item, i) => checkPeriod(checks, `${field}.${i}`, item ?? null));
    if (periods.length === 0) checks.add(field, 'has no price');
    checkOrder(checks, field, periods);
    found[model] = periods.filter((period) => period !== null);
  }
  return Object.freeze(found);
}

function checkPrice(checks: Checks, field: string, value: unknown, known: readonly string[]): PriceOptions | null {
  const given = checks.options(field, value, known);
  if (given === undefined) return null;
  for (const key of KEYS) {
    const required = key === 'inputUsdPerMTok' || key === 'outputUsdPerMTok';
    if (given[key] === undefined && required) checks.add(`${field}.${key}`, 'is required');
    checks.number(`${field}.${key}`, given[key], 0, 0);
  }
  return given as unknown as PriceOptions;
}

function checkPeriod(checks: Checks, field: string, value: unknown): PricePeriod | null {
  const price = checkPrice(checks, field, value, [...KEYS, 'from', 'until']);
  if (!price || !isOptions(value)) return null;
  const fromMs = checkTime(checks, `${field}.from`, value['from']);
  const untilMs = checkTime(checks, `${field}.until`, value['until']);
  if (fromMs !== null && untilMs !== null && fromMs >= untilMs) checks.add(field, 'ends before it begins');
  return { ...price, fromMs, untilMs };
}

function checkTime(checks: Checks, field: string, value: unknown): number | null {
  if (value === undefined) return null;
  const ms = typeof value === 'string' && /^\d{4}-\d\d-\d\d(T[\d:.]+Z)?$/.test(value) ? Date.parse(value) : NaN;
  if (Number.isFinite(ms)) return ms;
  checks.add(field, `${quote(value)} is no date`, "write '2026-12-01' (midnight UTC) or '2026-12-01T09:00:00Z'");
  return null;
}

/** In the order of time, each from where the one before ends: what is missing or twice has no price. */
function checkOrder(checks: Checks, field: string, periods: readonly (PricePeriod | null)[]): void {
  for (const [i, next] of periods.entries()) {
    const before = i === 0 ? null : periods[i - 1];
    if (!before || !next) continue;
    const [end, start] = [before.untilMs ?? Infinity, next.fromMs ?? -Infinity];
    if (start < end)
      checks.add(`${field}.${i}`, `overlaps the price before it`, 'let it begin when that one ends (`until`)');
    if (start > end)
      checks.add(`${field}.${i}`, `leaves a gap after the price before it`, 'let it begin when that one ends');
  }
}
