/** What the governor says: to the model, to people, to the Temporal UI. */
import type { Exceeded } from '../governance/budget.ts';
import { budgetDetails, deny, escapeHidden, quote } from '../governance/denial.ts';
import type { Denial } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import type { GovernorState, OpenCall } from './governor-state.ts';

/** A summary in the Temporal UI is one short line. */
const MAX_SUMMARY_CHARS = 120;

/** A call that was still waiting when its run ended. */
export function runEnded(): Denial {
  return deny('CONFLICT', 'the run ended while this call was waiting', 'tell the user; start a new run', {});
}

/** People said yes, and the policies of the day asked for more each time. */
export function askedTooOften(tool: string): Denial {
  return deny(
    'APPROVAL_INVALID',
    `the policies changed while people were asked about ${tool}`,
    'tell the user; ask again only if it is still wanted',
    { tool },
  );
}

/** Nobody said yes: rejected, or expired. */
export function noYes(tool: string, why: 'rejected' | 'expired', approvalId: string): Denial {
  return why === 'rejected'
    ? deny('APPROVAL_REJECTED', `${tool} was rejected by a person`, 'do not ask for the same again; tell the user', {
        approvalId,
      })
    : deny(
        'APPROVAL_EXPIRED',
        `nobody answered in time whether ${tool} may run`,
        'tell the user; ask again only if it is still wanted',
        { approvalId },
      );
}

/** The question about an unknown outcome, as it is mailed. */
export function unknownText(run: string, open: OpenCall): string {
  return `${open.tool}: nobody knows whether it happened. Look, then: actguard resolve ${run}/${open.call}`;
}

/** Tool and object, for the Temporal UI: `payments.refund orderId 1042`. */
export function summaryOf(tool: string, args: Json): string {
  const fields = typeof args === 'object' && args !== null && !Array.isArray(args) ? Object.entries(args) : [];
  const first = fields.find(([, value]) => typeof value === 'string' || typeof value === 'number');
  const text = first ? `${tool} ${first[0]} ${String(first[1])}` : tool;
  return escapeHidden(text.slice(0, MAX_SUMMARY_CHARS).toWellFormed()).slice(0, MAX_SUMMARY_CHARS);
}

/** BUDGET_EXCEEDED (BU2) with the unit that ran out. */
export function budgetDenial(state: GovernorState, exceeded: Omit<Exceeded, 'kind'>): Denial {
  const usd = exceeded.unit === 'usdMicros';
  return deny(
    'BUDGET_EXCEEDED',
    usd ? 'the run has no budget left for this' : `the run has no ${exceeded.unit} left for this`,
    'answer with what you have, or tell the user that the budget is used up',
    budgetDetails({
      ...{ ...exceeded, scope: 'run', unit: usd ? 'usd' : exceeded.unit },
      limitMicros: state.budget.limit.usdMicros ?? null,
      spentMicros: state.budget.spent.usdMicros,
      reservedMicros: state.budget.reserved.usdMicros,
      neededMicros: usd ? exceeded.needed : 0,
    }),
  );
}

/** TOOL_UNKNOWN with what there is. */
export function unknownTool(state: GovernorState, name: string): Denial {
  return deny(
    'TOOL_UNKNOWN',
    `there is no tool ${quote(name)}`,
    `use one of: ${Object.values(state.tools)
      .map((t) => t.modelName)
      .join(', ')}`,
    { tool: name },
  );
}
