/** What activities throw: only what Temporal should try again, or what no try can mend. */
import { ApplicationFailure } from '@temporalio/activity';
import type { Json } from '../governance/json.ts';
import { MAX_ERROR_CHARS } from '../governance/limits.ts';
import type { SecretSet } from './scrub.ts';
import { isActGuardError, type ErrorCode } from '../governance/errors.ts';

/** Temporal tries again after this delay; the code is the failure's `type`. */
export function retryLater(message: string, delayMs: number, code: ErrorCode = 'IN_PROGRESS'): ApplicationFailure {
  return ApplicationFailure.create({ message, type: code, nonRetryable: false, nextRetryDelay: Math.max(1, delayMs) });
}

/**
 * Any error as Temporal should see it: the code as `type`; BACKEND_UNAVAILABLE and what is not ours are tried again
 * (the run waits and goes on), every other code is final.
 */
export function toFailure(error: unknown, secrets: SecretSet): ApplicationFailure {
  if (error instanceof ApplicationFailure) return scrubbed(error, secrets);
  if (isActGuardError(error)) {
    return ApplicationFailure.create({
      message: secrets.text(error.message),
      type: error.code,
      nonRetryable: error.code !== 'BACKEND_UNAVAILABLE',
      details: [secrets.json(error.details)],
    });
  }
  const message = error instanceof Error ? error.message : String(error);
  return ApplicationFailure.create({
    message: secrets.cut(message, MAX_ERROR_CHARS),
    type: 'BACKEND_UNAVAILABLE',
    nonRetryable: false,
  });
}

/** Ours, or one that a user's code threw: its texts are nobody's promise. */
function scrubbed(error: ApplicationFailure, secrets: SecretSet): ApplicationFailure {
  const { message, type, nonRetryable, nextRetryDelay, details } = error;
  return ApplicationFailure.create({
    message: secrets.text(message),
    ...(type ? { type: secrets.text(type) } : {}),
    ...(nonRetryable === undefined || nonRetryable === null ? {} : { nonRetryable }),
    ...(nextRetryDelay ? { nextRetryDelay } : {}),
    ...(details ? { details: secrets.json(details as Json[]) as Json[] } : {}),
  });
}
