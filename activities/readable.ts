/** An activity whose input did not decode does nothing: its payload key may come yet, so Temporal tries again. */
import { ActGuardError } from '../governance/errors.ts';
import type { SecretSet } from './scrub.ts';
import { toFailure } from './failures.ts';

/** The same activities, each of which refuses an input that is the payload converter's marker. */
export function refuseUndecodable<T extends object>(activities: T, known: SecretSet): T {
  const entries = Object.entries(activities as { [name: string]: (input: unknown) => unknown }).map(
    ([name, activity]) => {
      const checked = (input: unknown): unknown => {
        if (!isUndecodable(input)) return activity(input);
        const error = new ActGuardError('BACKEND_UNAVAILABLE', 'the input of this activity cannot be decoded', {
          details: { backend: 'payload keys', reason: String(input.reason) },
        });
        throw toFailure(error, known);
      };
      return [name, checked] as const;
    },
  );
  return Object.fromEntries(entries) as T;
}

function isUndecodable(input: unknown): input is { readonly reason: unknown } {
  return typeof input === 'object' && input !== null && '__actguardUndecodable' in input;
}
