/** The error of a budget around model calls: what was used until then comes with it. */
import type { Usage } from './call.ts';
import { ActGuardError } from './errors.ts';

/** The budget does not suffice. `usage` is what was used until then; nothing was sent. */
export class BudgetExceededError extends ActGuardError {
  override readonly name = 'BudgetExceededError';
  readonly usage: Usage;

  constructor(denied: ActGuardError, usage: Usage) {
    super('BUDGET_EXCEEDED', denied.message, {
      details: denied.details,
      ...(denied.hint === undefined ? {} : { hint: denied.hint }),
      ...(denied.denial === undefined ? {} : { denial: denied.denial }),
    });
    this.usage = usage;
  }
}
