/** Failure kinds that open a breaker, as constants (guards.md CB1). */
import type { FailureKind } from '../governance/errors.ts';

/** The default and also wrong keys and throttling: `circuitBreaker: { name: 'payments', failOn: STRICT }`. */
export const STRICT: readonly FailureKind[] = Object.freeze([
  'transport',
  'timeout',
  'overloaded',
  'auth',
  'throttled',
]);

/** Only what says that the other side cannot be reached. */
export const INFRA_ONLY: readonly FailureKind[] = Object.freeze(['transport', 'timeout']);
