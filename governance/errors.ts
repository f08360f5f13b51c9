/**
 * One error, one closed union of codes. The code is Temporal's failure `type`, the HTTP problem's `code`, the CLI's
 * word and the heading in docs/errors.md, which says what to do next for each.
 */
import type { Json, JsonObject } from './json.ts';

/** Every code ActGuard can answer with. Adding one needs its entry in docs/errors.md (a test compares). */
export const ERROR_CODES = [
  'CONFIG_INVALID',
  'ARGUMENTS_INVALID',
  'OUTPUT_INVALID',
  'TOOL_UNKNOWN',
  'POLICY_DENIED',
  'POLICY_ERROR',
  'RULE_FAILED',
  'FACT_MISSING',
  'TOO_MANY_FACTS',
  'RATE_LIMITED',
  'CIRCUIT_OPEN',
  'CALLS_EXHAUSTED',
  'BUDGET_EXCEEDED',
  'PRICE_UNKNOWN',
  'DUPLICATE_EFFECT',
  'IDEMPOTENCY_CONFLICT',
  'IN_PROGRESS',
  'OUTCOME_UNKNOWN',
  'APPROVAL_REJECTED',
  'APPROVAL_EXPIRED',
  'APPROVAL_INVALID',
  'FROZEN',
  'DEADLINE_EXCEEDED',
  'TOOL_FAILED',
  'TOOL_TIMEOUT',
  'MODEL_FAILED',
  'CREDENTIAL_MISSING',
  'HOST_FORBIDDEN',
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'NOT_FOUND',
  'CONFLICT',
  'BACKEND_UNAVAILABLE',
  'LIMIT_EXCEEDED',
] as const;

/** One of {@link ERROR_CODES}. */
export type ErrorCode = (typeof ERROR_CODES)[number];

/**
 * A refusal as the model sees it (guards.md D1). `details` is the object that guards.md writes after the code;
 * text that came from arguments or outputs is quoted in `reason` and `hint`.
 */
export interface Denial {
  readonly code: ErrorCode;
  /** What happened, in one sentence for a human. */
  readonly reason: string;
  /** What could be done instead, for the model. */
  readonly hint: string;
  readonly details: JsonObject;
  /** Milliseconds until the same call could pass. */
  readonly retryAfterMs?: number;
  /** The first call's result where this call repeats it. */
  readonly firstResult?: Json;
}

/** What kind of failure a tool had (guards.md CB1). */
export const FAILURE_KINDS = [
  'transport',
  'timeout',
  'overloaded',
  'throttled',
  'auth',
  'invalid',
  'not_found',
  'conflict',
  'unknown',
] as const;

/** One of {@link FAILURE_KINDS}. */
export type FailureKind = (typeof FAILURE_KINDS)[number];

/** The error of a call that ran and failed (guards.md D1): name and message are the original's. */
export interface CallError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: JsonObject;
  readonly cause?: { readonly name: string; readonly message: string; readonly kind: FailureKind };
}

/** One problem found in a configuration: where it stands and what is wrong with it. */
export interface Problem {
  /** The place, e.g. ``tool `payments.refund`, field `timeout` ``. */
  readonly where: string;
  /** What is wrong, lower case, no full stop. */
  readonly problem: string;
  /** How to mend it. */
  readonly fix?: string;
}

/**
 * The one error class of ActGuard. Test it by `code`, not by class: two copies of the package may be loaded.
 *
 * @example
 * try { await search({ q: 'x' }); } catch (error) {
 *   if (isActGuardError(error) && error.code === 'RATE_LIMITED') await sleep(error.denial?.retryAfterMs ?? 1000);
 * }
 */
export class ActGuardError extends Error {
  override readonly name: string = 'ActGuardError';
  /** Marks the class across copies of the package. */
  readonly actguard = true;
  readonly code: ErrorCode;
  readonly details: JsonObject;
  /** A separate line: what to do about it. */
  readonly hint: string | undefined;
  readonly denial: Denial | undefined;
  readonly problems: readonly Problem[];

  constructor(
    code: ErrorCode,
    message: string,
    more: {
      details?: JsonObject;
      hint?: string;
      denial?: Denial;
      problems?: readonly Problem[];
      cause?: unknown;
    } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.details = more.details ?? {};
    this.hint = more.hint;
    this.denial = more.denial;
    this.problems = more.problems ?? [];
  }
}

/** Whether a value is an {@link ActGuardError}, also one from another copy of the package. */
export function isActGuardError(value: unknown): value is ActGuardError {
  return value instanceof Error && 'actguard' in value && 'code' in value;
}

/** One `CONFIG_INVALID` that lists every problem, a line each. Throws nothing when the list is empty. */
export function throwIfProblems(problems: readonly Problem[], what = 'the configuration'): void {
  if (problems.length === 0) return;
  const lines = problems.map((p) => `  ${p.where}: ${p.problem}${p.fix ? `\n    fix: ${p.fix}` : ''}`);
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
  throw new ActGuardError('CONFIG_INVALID', `${count} in ${what}\n${lines.join('\n')}`, { problems });
}
