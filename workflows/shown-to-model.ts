/** A call's result as the agent's model reads it, where there is no output. */
import type { CallResult } from '../governance/call.ts';
import type { Json } from '../governance/json.ts';

/** What the model reads where there is no output (P9). */
export function shownToModel(result: CallResult): Json {
  switch (result.kind) {
    case 'denied': {
      const { code, reason, hint, retryAfterMs, firstResult } = result.denial;
      return {
        error: {
          code,
          reason,
          hint,
          ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
          ...(firstResult === undefined ? {} : { firstResult }),
        },
      };
    }
    case 'failed':
      return {
        error: {
          code: result.error.code,
          reason: result.error.message,
          hint: 'decide whether to try something else or to tell the user',
        },
      };
    case 'unknown':
      return {
        error: {
          code: 'OUTCOME_UNKNOWN',
          reason: 'nobody knows whether this happened',
          hint: 'do not repeat it; tell the user',
        },
      };
    case 'done':
    case 'pending':
      return null;
    default:
      return result satisfies never;
  }
}
