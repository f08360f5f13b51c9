/** What to do about a value that did not decode: the payload converter put a marker in its place. */
import { ApplicationFailure } from '@temporalio/workflow';

/** Why a value did not decode; null: it did. */
export function whyUndecodable(value: unknown): string | null {
  if (typeof value !== 'object' || value === null || !('__actguardUndecodable' in value)) return null;
  return String((value as { readonly reason?: unknown }).reason ?? 'undecodable');
}

/** What an activity answered and nobody can read fails the run instead of wedging it. @throws BACKEND_UNAVAILABLE */
export function checkReadable(result: unknown): void {
  const why = whyUndecodable(result);
  if (why === null) return;
  throw ApplicationFailure.create({
    message: `the answer of an activity does not decode: ${why}`,
    type: 'BACKEND_UNAVAILABLE',
    nonRetryable: true,
  });
}

/**
 * For a workflow that outlives runs and whose state may not be lost: it stands still until the payload key is there.
 * @throws Error, which fails the workflow task only: Temporal tries it again
 */
export function holdUntilReadable<T>(value: T): T {
  const why = whyUndecodable(value);
  if (why !== null) throw new Error(`this workflow waits for its payload key: ${why}`);
  return value;
}
