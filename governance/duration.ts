/** Durations: milliseconds, or text such as '10s' (guards.md D4). */
import { quote } from './denial.ts';
import { ActGuardError } from './errors.ts';
import { MAX_DURATION_MS } from './limits.ts';

/** Milliseconds of each unit. */
const UNITS: { readonly [unit: string]: number } = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** What may be written: stands in every error. */
const ALLOWED = "write milliseconds, or '100ms', '10s', '1m', '1h', '1d'";

/**
 * A duration in whole milliseconds, longer than 0 and at most ten years.
 *
 * @throws ActGuardError ARGUMENTS_INVALID that names what is allowed
 * @example parseDuration('1.5s') // 1500
 */
export function parseDuration(value: number | string): number {
  const ms = typeof value === 'number' ? value : typeof value === 'string' ? parseText(value) : NaN;
  if (Number.isNaN(ms)) throw invalid(value, 'is not a duration');
  if (ms <= 0) throw invalid(value, 'is not longer than 0');
  if (ms > MAX_DURATION_MS) throw invalid(value, 'is longer than ten years');
  if (!Number.isInteger(ms)) throw invalid(value, 'is not a whole number of milliseconds');
  return ms;
}

/** Milliseconds, NaN when the text is no duration. Decimals are shifted, not multiplied: 1.005s is 1005. */
function parseText(text: string): number {
  const [, whole = '', decimals = '', unit = ''] = /^(\d{1,15})(?:\.(\d{1,15}))?(ms|s|m|h|d)$/.exec(text) ?? [];
  const unitMs = UNITS[unit];
  if (unitMs === undefined) return NaN;
  return (Number(whole + decimals) * unitMs) / 10 ** decimals.length;
}

function invalid(value: unknown, problem: string): ActGuardError {
  const shown = typeof value === 'string' || typeof value === 'number' ? quote(String(value)) : `a ${typeof value}`;
  return new ActGuardError('ARGUMENTS_INVALID', `${shown} ${problem}: ${ALLOWED}`, { hint: ALLOWED });
}
