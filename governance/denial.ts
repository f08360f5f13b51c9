/** Denials: every refusal tells the model what it could do instead, and the human what happened (P9). */
import type { Denial, ErrorCode } from './errors.ts';
import type { Json, JsonObject } from './json.ts';

/** Longest piece of foreign text that is quoted. */
const MAX_QUOTED_CHARS = 200;

/**
 * Foreign text (arguments, outputs, error messages) as it may stand in a sentence: in backticks, on one line, control,
 * bidi and zero-width characters escaped, cut at 200 characters.
 */
export function quote(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'undefined');
  const cut = text.length > MAX_QUOTED_CHARS ? `${text.slice(0, MAX_QUOTED_CHARS)}…` : text;
  return `\`${escapeHidden(cut).replaceAll('`', '\\u0060')}\``;
}

/** Shows characters that could hide or reorder text (controls, formats, lone surrogates, fillers) as \uXXXX. */
export function escapeHidden(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0]/gu,
    (c) => `\\u${c.codePointAt(0)?.toString(16).padStart(4, '0')}`,
  );
}

/** A denial. `details` is the object that guards.md writes after the code. */
export function deny(
  code: ErrorCode,
  reason: string,
  hint: string,
  details: JsonObject = {},
  more: { retryAfterMs?: number; firstResult?: Json } = {},
): Denial {
  return { code, reason, hint, details, ...more };
}

/** A refused reservation: in the unit that ran out, and in money. */
export interface BudgetNumbers {
  readonly scope: string;
  /** Which of several: there is more than one label. */
  readonly value?: string;
  readonly unit: 'usd' | 'tokens' | 'calls';
  readonly limit: number;
  readonly spent: number;
  readonly reserved: number;
  readonly needed: number;
  readonly limitMicros: number | null;
  readonly spentMicros: number;
  readonly reservedMicros: number;
  readonly neededMicros: number;
}

/** Details of BUDGET_EXCEEDED (BU2); the numbers of the unit that ran out join where it is not money. */
export function budgetDetails(of: BudgetNumbers): JsonObject {
  const { scope, limitMicros, spentMicros, reservedMicros, neededMicros, unit, limit, spent, reserved, needed } = of;
  const which = scope === 'label' && of.value !== undefined ? { value: of.value } : {};
  const money = { scope, ...which, limitMicros, spentMicros, reservedMicros, neededMicros };
  return unit === 'usd' ? money : { ...money, unit, limit, spent, reserved, needed };
}

/** How long, for a sentence: `1 s`, `2 min`. */
export function span(ms: number): string {
  if (ms < 1000) return `${ms} ms`;
  if (ms < 120_000) return `${Math.ceil(ms / 1000)} s`;
  if (ms < 7_200_000) return `${Math.ceil(ms / 60_000)} min`;
  return `${Math.ceil(ms / 3_600_000)} h`;
}

/** FROZEN, by whom and why. */
export function frozen(details: { scope: string; value: string; by: string; reason: string }): Denial {
  return deny(
    'FROZEN',
    `${details.scope} ${quote(details.value)} is frozen by ${quote(details.by)}: ${quote(details.reason)}`,
    'stop and tell the user; nothing can be done until an operator thaws it',
    details,
  );
}

/** RATE_LIMITED (RL6). */
export function rateLimited(details: {
  tool: string;
  scope: string;
  value: string;
  maxCalls: number;
  periodMs: number;
  retryAfterMs: number;
}): Denial {
  return deny(
    'RATE_LIMITED',
    `${details.tool} may be called ${details.maxCalls} times per ${span(details.periodMs)} for ${details.scope} ${quote(details.value)}`,
    `call it again in ${span(details.retryAfterMs)} or go on without it`,
    details,
    { retryAfterMs: details.retryAfterMs },
  );
}

/** CIRCUIT_OPEN (CB3). */
export function circuitOpen(name: string, resetAtMs: number, nowMs: number): Denial {
  return deny(
    'CIRCUIT_OPEN',
    `the service behind circuit breaker ${quote(name)} is failing; calls are stopped until it is tried again`,
    'do something else or tell the user that the service is down',
    { name, resetAt: new Date(resetAtMs).toISOString() },
    { retryAfterMs: Math.max(1, resetAtMs - nowMs) },
  );
}
