/** What an exhausted budget asks of a run: how much is missing, and what it waits for (guards.md BU6). */
import type { Refused } from '../activities/types.ts';
import type { Amount, CallResult } from '../governance/call.ts';
import { ZERO } from '../governance/budget.ts';
import type { Denial } from '../governance/errors.ts';

/** The run waits for a top-up of this limit, or for an account. */
export interface Pause {
  readonly needed: Amount;
  /** The run's limit as it stood; '' for an account. */
  readonly limit: string;
  readonly account?: NonNullable<Refused['account']>;
}

/** What a BUDGET_EXCEEDED says is needed. Its details name tokens or calls where these ran out, and nothing but money else. */
export function neededOf({ details }: Denial): Amount {
  const { neededMicros, unit, needed } = details;
  const counted = unit === 'tokens' || unit === 'calls';
  return { ...ZERO, ...(counted ? { [unit]: Number(needed) } : { usdMicros: Number(neededMicros) }) };
}

/** What a priced call waits for that was refused by the run's own budget or an account of it; null: it was not. */
export function waitsFor(
  result: CallResult,
  account: Refused['account'],
  limit: Partial<Amount>,
): Omit<Pause, 'needed'> | null {
  if (result.kind !== 'denied' || result.denial.code !== 'BUDGET_EXCEEDED') return null;
  if (account) return { limit: '', account };
  return result.denial.details['scope'] === 'run' ? { limit: JSON.stringify(limit) } : null;
}
