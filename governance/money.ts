/** Money: integer micro-dollars, exact. What is computed is summed exactly and rounded once, up (guards.md BU1, BU4). */
import { quote } from './denial.ts';
import { ActGuardError } from './errors.ts';

/** Micro-dollars in a dollar. */
export const MICROS_PER_USD = 1_000_000;
/** Tokens that a price is given for. */
const TOKENS_PER_MTOK = 1_000_000n;

/** A number of tokens at a price in micro-dollars per million tokens. */
export interface PricedTokens {
  readonly tokens: number;
  readonly microsPerMTok: number;
}

/**
 * Dollars as written, exactly, in micro-dollars. More than 6 decimals are refused, not rounded: a limit means what it
 * says.
 *
 * @throws ActGuardError ARGUMENTS_INVALID for NaN, negatives, text that is no amount, more than 6 decimals, too much
 * @example usdToMicros('0.25') // 250000
 */
export function usdToMicros(usd: number | string): number {
  if (typeof usd !== 'number' && typeof usd !== 'string') throw notMoney(usd, 'is not an amount of dollars');
  if (typeof usd === 'number' && !Number.isFinite(usd)) throw notMoney(usd, 'is not an amount of dollars');
  const text = typeof usd === 'number' ? plainDecimal(usd) : usd;
  const [, minus, whole = '', decimals = ''] = /^(-?)(\d{1,400})(?:\.(\d{1,400}))?$/.exec(text) ?? [];
  if (whole === '') throw notMoney(usd, 'is not an amount of dollars');
  if (minus === '-') throw notMoney(usd, 'is negative');
  const fraction = decimals.replace(/0+$/, '');
  if (fraction.length > 6) throw notMoney(usd, 'has more than 6 decimals');
  const micros = Number(BigInt(whole) * BigInt(MICROS_PER_USD) + BigInt(fraction.padEnd(6, '0')));
  if (!Number.isSafeInteger(micros)) throw notMoney(usd, 'is more than can be counted');
  return micros;
}

/**
 * A cost in dollars, as somebody else's table or tool gives it, in micro-dollars, rounded up; null when it is no amount.
 * 0.07 * 1e6 is 70000.00000000001 as a float: the decimal text is what was meant, so that is what is scaled.
 *
 * @example costToMicros(0.0000001) // 1
 */
export function costToMicros(usd: number): number | null {
  if (!Number.isFinite(usd) || usd < 0) return null;
  const [digits = '0', exponent = '0'] = usd.toExponential().split('e');
  const micros = Math.ceil(Number(`${digits}e${Number(exponent) + 6}`));
  return Number.isSafeInteger(micros) ? micros : null;
}

/** Dollars for reading: never calculate with them. */
export function microsToUsd(micros: number): number {
  return micros / MICROS_PER_USD;
}

/** For people: `$0.25`, `$12.00`, `$0.000125`. @throws ActGuardError ARGUMENTS_INVALID when it is not an integer. */
export function formatMicros(micros: number): string {
  if (!Number.isSafeInteger(micros)) throw notMoney(micros, 'is not an integer of micro-dollars');
  const digits = String(Math.abs(micros)).padStart(7, '0');
  const decimals = digits.slice(-6).replace(/0{1,4}$/, '');
  return `${micros < 0 ? '-' : ''}$${digits.slice(0, -6)}.${decimals}`;
}

/** What tokens cost, in micro-dollars, rounded up. @throws ActGuardError ARGUMENTS_INVALID, see {@link settleMicros}. */
export function priceMicros(tokens: number, microsPerMTok: number): number {
  return settleMicros([{ tokens, microsPerMTok }]);
}

/**
 * What several parts cost together, in micro-dollars: summed exactly, then rounded once, up (BU4).
 *
 * @throws ActGuardError ARGUMENTS_INVALID when a part is no whole number from 0, or the sum cannot be counted
 */
export function settleMicros(parts: readonly PricedTokens[]): number {
  const sum = parts.reduce((total, part) => total + numerator(part), 0n);
  const micros = Number((sum + TOKENS_PER_MTOK - 1n) / TOKENS_PER_MTOK);
  if (!Number.isSafeInteger(micros)) throw notMoney(micros, 'micro-dollars are more than can be counted');
  return micros;
}

/** Micro-dollars times one million, exactly. @throws ActGuardError ARGUMENTS_INVALID for anything but whole numbers. */
export function numerator({ tokens, microsPerMTok }: PricedTokens): bigint {
  for (const part of [tokens, microsPerMTok]) {
    if (!Number.isSafeInteger(part) || part < 0) throw notMoney(part, 'is not a whole number from 0');
  }
  return BigInt(tokens) * BigInt(microsPerMTok);
}

/** A number without exponent: 1e-7 is `0.0000001`. */
function plainDecimal(usd: number): string {
  const text = String(usd);
  const [digits = '', exponent] = text.split('e-');
  if (exponent === undefined) return text.includes('e+') ? String(BigInt(usd)) : text;
  const sign = digits.startsWith('-') ? '-' : '';
  return `${sign}0.${'0'.repeat(Number(exponent) - 1)}${digits.replace(/[-.]/g, '')}`;
}

function notMoney(value: unknown, problem: string): ActGuardError {
  const shown = typeof value === 'string' || typeof value === 'number' ? quote(String(value)) : `a ${typeof value}`;
  return new ActGuardError('ARGUMENTS_INVALID', `${shown} ${problem}`, {
    hint: 'write dollars with at most 6 decimals, such as 0.25',
  });
}
