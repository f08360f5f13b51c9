/**
 * What a model costs: the user's own table first, then the data bundled with @pydantic/genai-prices (no network).
 * A price that is not known is null and never zero: the caller denies PRICE_UNKNOWN.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { calcPrice, findProvider, type ModelPrice as Rates } from '@pydantic/genai-prices';
import { costToMicros } from '../governance/money.ts';
import type { PriceOptions, PricePeriod } from '../define/budget-types.ts';
import { overheadOf, type ModelPrice } from '../governance/price.ts';

/** The package exports no package.json: it lies above its entry. */
const ENTRY = createRequire(import.meta.url).resolve('@pydantic/genai-prices');
const { version } = JSON.parse(readFileSync(join(dirname(ENTRY), '../package.json'), 'utf8')) as { version: string };

const HALF_HOUR_MS = 30 * 60_000;
/** A run lives up to 7 days (DEFAULT_DEADLINE_MS) on the price it was opened with: dearer hours and days count now. */
const LOOK_AHEAD_STEPS = 8 * 48;
/** Units that are billed besides tokens on every request, which a price per token cannot express. */
const PER_REQUEST = ['requests_kcount', 'input_text_messages_kcount'];

const known = new Map<string, { readonly hour: number; readonly price: ModelPrice | null }>();

/**
 * The price of `provider/name` in integer micro-dollars per million tokens, rounded up, at the dearest tier, hour and
 * announced date of the next days. null: unknown (no such model, free of charge without your saying so, billed by request).
 *
 * @param nowMs milliseconds since the epoch
 * @example priceOf('openai/gpt-4o', {}, Date.now())?.inputMicrosPerMTok // 2_500_000
 */
export function priceOf(
  model: string,
  prices: { readonly [model: string]: PriceOptions | readonly PricePeriod[] },
  nowMs: number,
): ModelPrice | null {
  if (Object.hasOwn(prices, model))
    return framed(model, ownPrices(prices[model] as PriceOptions | readonly PricePeriod[], nowMs));
  const hour = Math.floor(nowMs / (2 * HALF_HOUR_MS));
  const found = known.get(model);
  if (found?.hour === hour) return found.price;
  const price = framed(model, bundledPrice(model, nowMs));
  if (known.size >= 1_000) known.clear();
  known.set(model, { hour, price });
  return price;
}

function framed(model: string, price: ModelPrice | null): ModelPrice | null {
  const overhead = overheadOf(model);
  return price === null || overhead === undefined ? price : { ...price, overhead };
}

/** The dearest of the user's prices from now until runs of today are over; unknown where none holds now. */
function ownPrices(own: PriceOptions | readonly PricePeriod[], nowMs: number): ModelPrice | null {
  if (!isPeriods(own)) return ownPrice(own);
  const untilMs = nowMs + LOOK_AHEAD_STEPS * HALF_HOUR_MS;
  const holds = own.some((p) => (p.fromMs ?? -Infinity) <= nowMs && nowMs < (p.untilMs ?? Infinity));
  if (!holds) return null;
  return own
    .filter((p) => (p.fromMs ?? -Infinity) <= untilMs && nowMs < (p.untilMs ?? Infinity))
    .map(ownPrice)
    .reduce(dearer);
}

function isPeriods(own: PriceOptions | readonly PricePeriod[]): own is readonly PricePeriod[] {
  return Array.isArray(own);
}

/** Cached input and cache writes that the table leaves out cost what input costs. */
function ownPrice(own: PriceOptions): ModelPrice | null {
  const input = micros(own.inputUsdPerMTok);
  const output = micros(own.outputUsdPerMTok);
  const cached = micros(own.cachedInputUsdPerMTok ?? own.inputUsdPerMTok);
  const write = micros(own.cacheWriteUsdPerMTok ?? own.inputUsdPerMTok);
  if (input === null || output === null || cached === null || write === null) return null;
  return {
    version: 'config',
    inputMicrosPerMTok: input,
    cachedInputMicrosPerMTok: cached,
    cacheWriteMicrosPerMTok: write,
    outputMicrosPerMTok: output,
  };
}

function bundledPrice(model: string, nowMs: number): ModelPrice | null {
  const slash = model.indexOf('/');
  const provider = findProvider({ providerId: model.slice(0, slash) });
  // the package also finds providers by likeness: a name that only looks like one has no known price
  if (slash < 1 || provider?.id !== model.slice(0, slash)) return null;
  const name = model.slice(slash + 1);
  const now = ratesAt(name, provider.id, nowMs);
  if (!now) return null;
  const all = [now.rates];
  if (now.changes) {
    for (let step = 1; step <= LOOK_AHEAD_STEPS; step += 1) {
      const later = ratesAt(name, provider.id, nowMs + step * HALF_HOUR_MS);
      if (later) all.push(later.rates);
    }
  }
  return all.map(fromRates).reduce(dearer);
}

function ratesAt(name: string, providerId: string, atMs: number): { rates: Rates; changes: boolean } | null {
  const found = calcPrice({ input_tokens: 0, output_tokens: 0 }, name, { providerId, timestamp: new Date(atMs) });
  return found && { rates: found.model_price, changes: Array.isArray(found.model.prices) };
}

function fromRates(rates: Rates): ModelPrice | null {
  if (PER_REQUEST.some((unit) => rates[unit] !== undefined)) return null;
  const input = dearestMicros(rates['input_mtok']);
  const output = dearestMicros(rates['output_mtok'], rates['output_reasoning_mtok'], rates['output_citation_mtok']);
  // absent, or a zero that may only stand for "not entered"
  if (!input || output === 0) return null;
  return {
    version: `genai-prices ${version}`,
    inputMicrosPerMTok: input,
    // a cache that the table does not price is charged as plain input
    cachedInputMicrosPerMTok: dearestMicros(rates['cache_read_mtok']) ?? input,
    // requests ask for no longer-lived cache: its price (cache_write_1h) cannot arise
    cacheWriteMicrosPerMTok: dearestMicros(rates['cache_write_mtok']) ?? input,
    outputMicrosPerMTok: output ?? 0,
    ...(output === null ? { inputOnly: true } : {}),
  };
}

/** Unknown at any time counts as unknown. */
function dearer(a: ModelPrice | null, b: ModelPrice | null): ModelPrice | null {
  if (!a || !b) return null;
  return {
    version: a.version,
    inputMicrosPerMTok: Math.max(a.inputMicrosPerMTok, b.inputMicrosPerMTok),
    cachedInputMicrosPerMTok: Math.max(a.cachedInputMicrosPerMTok, b.cachedInputMicrosPerMTok),
    cacheWriteMicrosPerMTok: Math.max(a.cacheWriteMicrosPerMTok, b.cacheWriteMicrosPerMTok),
    outputMicrosPerMTok: Math.max(a.outputMicrosPerMTok, b.outputMicrosPerMTok),
    ...(a.inputOnly || b.inputOnly ? { inputOnly: true } : {}),
  };
}

/** The dearest of several rates and all their tiers; null where there is none. */
function dearestMicros(...rates: readonly Rates[string][]): number | null {
  const usd = rates.flatMap((rate) =>
    rate === undefined ? [] : typeof rate === 'number' ? [rate] : [rate.base, ...rate.tiers.map((tier) => tier.price)],
  );
  const all = usd.map(micros);
  return all.length === 0 || all.includes(null) ? null : Math.max(...(all as number[]));
}

function micros(usd: number): number | null {
  return costToMicros(usd);
}
