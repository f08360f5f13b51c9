/** What to do about a value that did not decode: the payload converter put a marker in its place. */
import { ApplicationFailure, patched, workflowInfo } from '@temporalio/workflow';
import { MAX_NOTED_UNDECODABLE } from '../governance/limits.ts';

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

/**
 * Makes what a run's signals pass through: one under an unknown key is null, now and for ever. That it was is noted in
 * the history (a patch marker), so that the run replays as it went on once somebody has the key.
 */
export function makeHearing(): (signal: unknown) => unknown {
  let heard = 0;
  let noted = 0;
  return (signal) => {
    heard += 1;
    const why = whyUndecodable(signal);
    // damaged or malformed ones never decode: nothing to note
    const asksHistory = why === 'unknown-key' || (why === null && workflowInfo().unsafe.isReplaying);
    const wasDropped = asksHistory && noted < MAX_NOTED_UNDECODABLE && patched(`actguard-undecodable-${heard}`);
    if (wasDropped) noted += 1;
    return wasDropped || why !== null ? null : signal;
  };
}
