/** The circuit breaker's states: the model that claim and outcome implement in SQL (guards.md CB2, CB3). */
import type { FailureKind } from './errors.ts';
import type { CircuitBreakerOptions } from './tool.ts';

/** Milliseconds since the epoch, on the database's clock. */
export interface BreakerState {
  /** Failures in a row since the last success. */
  readonly fails: number;
  /** null: closed. */
  readonly openedAtMs: number | null;
  /** Until when a probe is under way; null: none. */
  readonly probeUntilMs: number | null;
}

/** Options that the transitions depend on. */
export type BreakerLimits = Pick<CircuitBreakerOptions, 'maxFails' | 'resetTimeoutMs' | 'failOn' | 'ignoreOn'>;

/** What a caller may do now. */
export type BreakerLook =
  { readonly kind: 'closed' } | { readonly kind: 'probe' } | { readonly kind: 'open'; readonly resetAtMs: number };

/** A breaker that nothing happened to. */
export const NEW_BREAKER: BreakerState = { fails: 0, openedAtMs: null, probeUntilMs: null };

/**
 * Whether a call may pass (CB3). From `resetAt` on, inclusive, one probe may; while it is under way the others stay
 * refused, with the end of its lease as `resetAtMs`.
 */
export function lookAtBreaker(
  state: BreakerState,
  options: Pick<BreakerLimits, 'resetTimeoutMs'>,
  nowMs: number,
): BreakerLook {
  if (state.openedAtMs === null) return { kind: 'closed' };
  const resetAtMs = state.openedAtMs + options.resetTimeoutMs;
  if (!(nowMs >= resetAtMs)) return { kind: 'open', resetAtMs };
  const probing = state.probeUntilMs !== null && nowMs < state.probeUntilMs;
  return probing ? { kind: 'open', resetAtMs: state.probeUntilMs } : { kind: 'probe' };
}

/** The state with a probe under way; its lease ends by time should its worker die (CB3). */
export function takeProbe(state: BreakerState, nowMs: number, leaseMs: number): BreakerState {
  return { ...state, probeUntilMs: nowMs + leaseMs };
}

/**
 * The state after a call's final outcome (CB2, CB3, D6). Of an open breaker only the probe's outcome counts: its
 * success closes, its failure reopens for the full time, anything else gives the probe back.
 *
 * @param probe whether this call was the probe
 */
export function afterOutcome(
  state: BreakerState,
  outcome: FailureKind | 'success',
  options: BreakerLimits,
  nowMs: number,
  probe = false,
): BreakerState {
  const effect = effectOf(outcome, options);
  if (state.openedAtMs !== null) {
    if (!probe) return state;
    if (effect === 'reset') return NEW_BREAKER;
    return { ...state, probeUntilMs: null, openedAtMs: effect === 'count' ? nowMs : state.openedAtMs };
  }
  if (effect === 'none') return state;
  if (effect === 'reset') return NEW_BREAKER;
  const fails = state.fails + 1;
  return { fails, openedAtMs: fails >= options.maxFails ? nowMs : null, probeUntilMs: null };
}

function effectOf(outcome: FailureKind | 'success', options: BreakerLimits): 'reset' | 'count' | 'none' {
  if (outcome === 'success') return 'reset';
  return options.failOn.includes(outcome) && !options.ignoreOn.includes(outcome) ? 'count' : 'none';
}
