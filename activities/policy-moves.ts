/** Policies that change between a decision and what was decided on: nothing was spent, it is decided again. */
import { MAX_POLICY_MOVES, POLICY_POLL_MS } from '../governance/limits.ts';
import type { Deps } from './deps.ts';
import { retryLater } from './failures.ts';

/** Another set became active before the claim, or before a model call started. */
export class PoliciesMoved extends Error {
  override readonly name = 'PoliciesMoved';
}

/** Decides and calls, anew under what is active by then as often as {@link PoliciesMoved} is thrown. @throws what Temporal tries later */
export async function underActivePolicies<T>({ policySets }: Deps, work: () => Promise<T>): Promise<T> {
  for (let moves = 0; ; moves += 1) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof PoliciesMoved)) throw error;
      if (moves >= MAX_POLICY_MOVES) throw retryLater('the policies keep changing', POLICY_POLL_MS);
      await policySets?.refresh();
    }
  }
}

/** The digest that the database compares with the active set's; null: the set comes from the worker's files. */
export function comparedDigest(policy: { readonly digest: string; readonly activated?: true }): string | null {
  return policy.activated ? policy.digest : null;
}
