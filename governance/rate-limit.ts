/** Rate limits: the model of the sliding log that the claim implements in SQL, and its buckets (guards.md RL1-RL3). */
import { canonicalize } from './canonical.ts';
import { ActGuardError } from './errors.ts';
import type { Json, JsonObject } from './json.ts';
import type { RateScope } from './tool.ts';

/** Whose call of which tool it is. */
export interface RateSubject {
  readonly tenant: string;
  readonly user: string;
  readonly agent: string;
  readonly run: string;
  readonly tool: string;
  /** Canonical arguments. */
  readonly args: JsonObject;
}

/**
 * Whether one more call fits (RL1): fewer than `maxCalls` hits in the `periodMs` before now. A hit leaves the window
 * exactly `periodMs` after it was made. Looking changes nothing: a refusal never lengthens the wait (RL2).
 *
 * @param hits times of earlier calls in milliseconds, in any order
 * @throws ActGuardError CONFIG_INVALID for maxCalls < 1 or periodMs <= 0 (RL4)
 */
export function lookAtHits(
  hits: readonly number[],
  nowMs: number,
  maxCalls: number,
  periodMs: number,
): { readonly ok: true } | { readonly ok: false; readonly retryAfterMs: number } {
  if (!Number.isSafeInteger(maxCalls) || maxCalls < 1 || !(periodMs > 0)) {
    throw new ActGuardError('CONFIG_INVALID', 'a rate limit needs maxCalls of at least 1 and a period longer than 0');
  }
  const live = hits.filter((hit) => hit + periodMs > nowMs).sort((a, b) => a - b);
  const blocking = live[live.length - maxCalls];
  return blocking === undefined ? { ok: true } : { ok: false, retryAfterMs: blocking + periodMs - nowMs };
}

/**
 * The name of the bucket that a call counts in: canonical text, so that 1 and "1" differ and no value can pretend to be
 * another principal (RL3). Scope `tool` is one bucket across tenants, every other one lies within its tenant (D6).
 */
export function bucketOf(scope: RateScope, subject: RateSubject): string {
  const name = typeof scope === 'string' ? scope : 'argument';
  const tenant = name === 'tool' ? null : subject.tenant;
  return canonicalize([name, tenant, subject.tool, scopePath(scope, subject)]);
}

/** The scope's value as RATE_LIMITED shows it (RL6); null: the argument is absent. */
export function rateScopeValue(scope: RateScope, subject: RateSubject): Json {
  if (typeof scope === 'string') return subject[scope];
  return Object.hasOwn(subject.args, scope.argument) ? (subject.args[scope.argument] ?? null) : null;
}

/** An absent argument and a null one are two buckets. */
function scopePath(scope: RateScope, subject: RateSubject): Json[] {
  if (typeof scope === 'string') return [subject[scope]];
  const value = Object.hasOwn(subject.args, scope.argument) ? subject.args[scope.argument] : undefined;
  return value === undefined ? [scope.argument] : [scope.argument, value];
}
