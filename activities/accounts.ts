/** Accounts as calls meet them: their defaults, what they refuse, thresholds that were crossed, dead calls. */
import type { Config } from '../define/types.ts';
import { accountId, accountTarget, type AccountLimit, type AccountRef } from '../governance/account.ts';
import type { Principal } from '../governance/call.ts';
import { budgetDetails, deny, quote, span, type BudgetNumbers } from '../governance/denial.ts';
import { makeEntry } from '../governance/entry.ts';
import type { Denial } from '../governance/errors.ts';
import { DEAD_CALL_GRACE_MS, DEAD_MODEL_CALL_MS, MAX_DEAD_CALLS } from '../governance/limits.ts';
import { formatMicros } from '../governance/money.ts';
import type { Deps } from './deps.ts';
import { pgJson } from './pg-json.ts';
import type { Refused } from './types.ts';

/** What `actguard.reserve_accounts` answers when an account has too little. Money in micro-dollars. */
export interface AccountRefusal extends BudgetNumbers {
  readonly kind: 'budget';
  /** Only others' reservations are in the way. */
  readonly wait: boolean;
  readonly account: string;
  readonly scope: AccountRef['scope'];
  readonly value: string;
  readonly window: AccountLimit['window'];
  readonly zone: string;
  readonly resetAtMs: number | null;
  readonly nowMs: number;
}

/** A threshold that an account crossed (actguard.settle_accounts). */
export interface Mark {
  readonly account: string;
  /** The window: `day:2026-11-24@UTC`. */
  readonly key: string;
  readonly tenant: string;
  readonly scope: AccountRef['scope'];
  readonly value: string;
  /** 50, 80 or 100 per cent. */
  readonly mark: number;
  readonly window: AccountLimit['window'];
  readonly zone: string;
  readonly limitMicros: number | null;
  readonly spentMicros: number;
  readonly spentTokens: number;
  readonly spentCalls: number;
}

/** The configured defaults that concern a principal, as `actguard.ensure_accounts` takes them. */
export function accountSeeds(accounts: Config['accounts'], principal: Principal): (AccountRef & AccountLimit)[] {
  const { tenant, user, agent } = principal;
  const seed = (
    scope: AccountRef['scope'],
    value: string,
    limit: AccountLimit | null,
  ): (AccountRef & AccountLimit)[] => (limit === null ? [] : [{ tenant, scope, value, ...limit }]);
  return [
    ...seed('tenant', tenant, accounts.tenant),
    ...seed('user', user, accounts.user),
    ...seed('agent', agent, accounts.agent),
    ...Object.entries(accounts.label).flatMap(([name, limit]) => seed('label', name, limit)),
  ].map((account) => ({ id: accountId(account), ...account }));
}

/** BUDGET_EXCEEDED (BU2) of an account; with `waitMs` where only others' reservations are in the way. */
export function accountRefused(answer: AccountRefusal, budgetWaitMs: number): Refused {
  const { wait, account, nowMs, resetAtMs } = answer;
  const target = quote(accountTarget(answer));
  const left = `${target} has ${amountText(answer, answer.limit - answer.spent)} left`;
  const reason = wait
    ? `${left}, and other calls hold ${amountText(answer, answer.reserved)} of that; this one needs ${amountText(answer, answer.needed)}`
    : `${left} of ${amountText(answer, answer.limit)}${windowText(answer)}; this call needs ${amountText(answer, answer.needed)}`;
  const retryAfterMs = wait ? 1_000 : resetAtMs === null ? null : Math.max(1, resetAtMs - nowMs);
  const hint =
    retryAfterMs === null
      ? 'answer with what you have, or tell the user that the budget is used up'
      : wait
        ? 'call it again in a moment'
        : `answer with what you have; the budget is whole again in ${span(retryAfterMs)}`;
  const denial: Denial = deny(
    'BUDGET_EXCEEDED',
    reason,
    hint,
    budgetDetails(answer),
    retryAfterMs === null ? {} : { retryAfterMs },
  );
  return { kind: 'denied', denial, ...(wait ? { waitMs: budgetWaitMs } : { account: { id: account, resetAtMs } }) };
}

function amountText({ unit }: AccountRefusal, amount: number): string {
  return unit === 'usd' ? formatMicros(amount) : `${amount} ${unit}`;
}

function windowText({ window, zone }: { window: AccountLimit['window']; zone: string }): string {
  return window === 'total' ? '' : ` this ${window} (${zone})`;
}

/** Records thresholds, each once, and answers what people are told. Where another call was first, nothing. */
export async function reportMarks(deps: Deps, marks: readonly Mark[] | null | undefined): Promise<string[]> {
  const told: string[] = [];
  for (const mark of marks ?? []) {
    const { account, key, tenant, mark: percent, ...data } = mark;
    const entry = makeEntry({
      kind: 'budget.threshold',
      tenant,
      run: null,
      key: `threshold:${account}:${key}:${percent}:${data.limitMicros ?? ''}`,
      atMs: Date.now(),
      data: { ...data, key, percent },
    });
    const [row] = await deps.db.query<{ first: boolean }>('select actguard.report_mark($1::jsonb) as first', [
      pgJson({ account, key, mark: percent, entries: [entry] }),
    ]);
    if (row?.first) told.push(markText(mark));
  }
  return told;
}

function markText(mark: Mark): string {
  const money =
    mark.limitMicros === null ? '' : `: ${formatMicros(mark.spentMicros)} of ${formatMicros(mark.limitMicros)}`;
  const target = accountTarget(mark);
  return `${quote(target)} in ${quote(mark.tenant)} has spent ${mark.mark} % of its budget${windowText(mark)}${money}. Look: actguard budget show ${target}`;
}

/** The fields of an answer that carries notices; nothing where there are none. */
export function noticesOf(told: readonly string[]): { readonly notices?: readonly string[] } {
  return told.length === 0 ? {} : { notices: told };
}

/**
 * Charges calls that nobody will finish at their worst case, until their outcome is known; thresholds are recorded. For
 * the janitor's rounds; safe to repeat. Answers how many, and what people are told. @throws BACKEND_UNAVAILABLE
 */
export async function settleDeadCalls(
  deps: Deps,
  options: { readonly graceMs?: number; readonly modelMs?: number } = {},
): Promise<{ readonly settled: number; readonly notices: readonly string[] }> {
  const { graceMs = DEAD_CALL_GRACE_MS, modelMs = DEAD_MODEL_CALL_MS } = options;
  const [row] = await deps.db.query<{ a: { settled: number; marks: readonly Mark[] } }>(
    'select actguard.settle_dead_calls($1::jsonb) as a',
    [pgJson({ graceMs, modelMs, max: MAX_DEAD_CALLS })],
  );
  return { settled: row?.a.settled ?? 0, notices: await reportMarks(deps, row?.a.marks) };
}
