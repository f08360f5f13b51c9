/**
 * Limits of labels inside one run: a part of its budget for `search`, another for `report`. Reserved with the run's budget
 * or not at all, settled with it; `report` counts calls of `report/search`, too.
 */
import { release, reserve, settle, type BudgetState, type BudgetUnit } from '../governance/budget.ts';
import type { Amount } from '../governance/call.ts';
import { budgetDetails, deny, quote } from '../governance/denial.ts';
import type { Denial } from '../governance/errors.ts';

/** Budgets of a run's labels, by name. */
export interface LabelBudgets {
  readonly [label: string]: BudgetState;
}
interface Labelled {
  readonly labels?: LabelBudgets;
}

/** Reserves in every label of a call, or says which one has too little: the innermost. Nothing where no label counts it. */
export function reserveLabels(
  state: Labelled,
  label: string | undefined,
  needed: Amount,
): ({ readonly kind: 'ok' } & Labelled) | { readonly kind: 'denied'; readonly denial: Denial } {
  const names = countedBy(state, label);
  let { labels } = state;
  for (const name of names) {
    const taken = reserve((labels as LabelBudgets)[name] as BudgetState, needed);
    if (taken.kind === 'exceeded')
      return { kind: 'denied', denial: labelDenial(name, labels?.[name] as BudgetState, taken) };
    labels = { ...labels, [name]: taken.state };
  }
  return names.length === 0 || !labels ? { kind: 'ok' } : { kind: 'ok', labels };
}

/** What becomes of a reservation: what was spent, all units zero where it is given back. */
export function settleLabels(
  state: Labelled,
  label: string | undefined,
  reserved: Amount,
  spent: Amount | null,
): Labelled {
  return change(state, label, (budget) =>
    spent === null ? release(budget, reserved) : settle(budget, reserved, spent),
  );
}

/** Takes back what an unknown outcome was charged. */
export function unchargeLabels(state: Labelled, label: string | undefined, charged: Amount): Labelled {
  return change(state, label, ({ spent, ...budget }) => {
    const less = (unit: BudgetUnit): number => Math.max(0, spent[unit] - charged[unit]);
    return { ...budget, spent: { usdMicros: less('usdMicros'), tokens: less('tokens'), calls: less('calls') } };
  });
}

function change(state: Labelled, label: string | undefined, next: (budget: BudgetState) => BudgetState): Labelled {
  const names = countedBy(state, label);
  if (names.length === 0 || !state.labels) return {};
  const changed = names.map((name) => [name, next((state.labels as LabelBudgets)[name] as BudgetState)] as const);
  return { labels: { ...state.labels, ...Object.fromEntries(changed) } };
}

/** The labels with a limit that count a call, innermost first. */
function countedBy({ labels }: Labelled, label: string | undefined): string[] {
  if (!labels || label === undefined) return [];
  return Object.keys(labels)
    .filter((name) => label === name || label.startsWith(`${name}/`))
    .sort((a, b) => b.length - a.length);
}

function labelDenial(
  label: string,
  { limit, spent, reserved }: BudgetState,
  exceeded: { unit: BudgetUnit; limit: number; spent: number; reserved: number; needed: number },
): Denial {
  const { unit } = exceeded;
  const usd = unit === 'usdMicros';
  return deny(
    'BUDGET_EXCEEDED',
    `the run has no ${usd ? 'budget' : unit} left for ${quote(label)}`,
    'go on without it, or answer with what you have',
    budgetDetails({
      ...{ ...exceeded, scope: 'label', value: label, unit: usd ? 'usd' : unit, limitMicros: limit.usdMicros ?? null },
      ...{ spentMicros: spent.usdMicros, reservedMicros: reserved.usdMicros, neededMicros: usd ? exceeded.needed : 0 },
    }),
  );
}
