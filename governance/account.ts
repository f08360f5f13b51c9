/**
 * Accounts: what users, tenants, agents and labels may spend together, in a window of time. Their limits are changed
 * here, by pure steps over plain data; what they have spent and reserved is counted in the claim (docs/budgets.md).
 */
import { BUDGET_UNITS, type BudgetUnit } from './budget.ts';
import type { Amount, Limit } from './call.ts';
import { parseName } from './id.ts';
import type { JsonObject } from './json.ts';
import { type Parsed, parsing, refuse } from './strict.ts';

/** What an account belongs to, innermost first: a refusal names the first of them that has too little. */
export const ACCOUNT_SCOPES = ['label', 'user', 'agent', 'tenant'] as const;
/** One of {@link ACCOUNT_SCOPES}. */
export type AccountScope = (typeof ACCOUNT_SCOPES)[number];

/** How long a limit lasts: for ever, or a calendar day, week (from Monday) or month in a time zone. */
export const WINDOWS = ['total', 'day', 'week', 'month'] as const;
/** One of {@link WINDOWS}. */
export type Window = (typeof WINDOWS)[number];

/** Which account: a scope within a tenant. For scope `tenant`, `value` is the tenant itself. */
export interface AccountRef {
  readonly tenant: string;
  readonly scope: AccountScope;
  readonly value: string;
}

/** A limit and the window that it counts in. `zone` is an IANA name; `UTC` for `total`. */
export interface AccountLimit {
  readonly limit: Limit;
  readonly window: Window;
  readonly zone: string;
}

/** What a `budgetAccount` workflow holds; the truth about an account's limits. Money in micro-dollars. */
export interface AccountState extends AccountRef, AccountLimit {
  readonly v: 1;
  /** Counts the commands that were carried out; 0: the configured default. */
  readonly version: number;
  /** Top-ups of one window, by its key (`day:2026-11-24@UTC`); they end with it. */
  readonly extra: { readonly key: string; readonly amount: Amount } | null;
  readonly frozen: { readonly by: string; readonly reason: string } | null;
}

/** What a signed command does to an account. */
export type AccountChange =
  | ({ readonly kind: 'limit' } & AccountLimit)
  | { readonly kind: 'topUp'; readonly more: Limit }
  | { readonly kind: 'freeze' }
  | { readonly kind: 'thaw' };

const UNIT_NAMES: { readonly [unit in BudgetUnit]: string } = { usdMicros: 'usd', tokens: 'tokens', calls: 'calls' };
/** The form of an IANA time zone name; whether it exists is for whoever has the tz data. */
const ZONE = /^[A-Za-z][A-Za-z0-9_+-]{0,30}(\/[A-Za-z0-9_+-]{1,30}){0,2}$/;

/** The id of an account: its parts as JSON, so that no two accounts share one. */
export function accountId({ tenant, scope, value }: AccountRef): string {
  return JSON.stringify([tenant, scope, value]);
}

/** The account that an id stands for ({@link accountId}); undefined for what is no id. */
export function accountOfId(id: string): AccountRef | undefined {
  try {
    const [tenant, scope, value] = JSON.parse(id) as [string, AccountScope, string];
    return { tenant, scope, value };
  } catch {
    return undefined;
  }
}

/**
 * An account as people write it: `tenant:acme`, `user:alice`, `agent:desk`, `label:search`.
 *
 * @example parseAccount('user:alice', 'acme') // { kind: 'ok', value: { tenant: 'acme', scope: 'user', value: 'alice' } }
 */
export function parseAccount(target: unknown, tenant: unknown): Parsed<AccountRef> {
  return parsing(() => {
    if (typeof target !== 'string') return refuse('the account is not text');
    const colon = target.indexOf(':');
    const scope = ACCOUNT_SCOPES.find((known) => colon > 0 && known === target.slice(0, colon));
    if (!scope) return refuse('the account is none of tenant:NAME, user:NAME, agent:NAME, label:NAME');
    const value = scope === 'label' ? parseLabel(target.slice(colon + 1)) : parseName(target.slice(colon + 1), scope);
    const where = parseName(tenant, 'tenant');
    if (scope === 'tenant' && where !== value) return refuse('the tenant that is named is not the one it is asked for');
    return { tenant: where, scope, value };
  });
}

/** How an account is written. */
export function accountTarget({ scope, value }: Pick<AccountRef, 'scope' | 'value'>): string {
  return `${scope}:${value}`;
}

/** A label: names joined by `/`, outermost first (`report/search`). @throws ActGuardError ARGUMENTS_INVALID */
export function parseLabel(value: unknown): string {
  const label = parseName(value, 'label');
  for (const part of label.split('/')) parseName(part, 'label');
  return label;
}

/** A limit in integers: any mix of units, each above 0, at least one. Anything else (another currency) is refused. */
export function limitOf(value: unknown, what: string): Limit {
  if (typeof value !== 'object' || value === null) return refuse(`${what} is not an object`);
  if (Array.isArray(value)) return refuse(`${what} is a list: a scope has one limit`);
  const limit: { [unit in BudgetUnit]?: number } = {};
  for (const [key, amount] of Object.entries(value)) {
    const unit = BUDGET_UNITS.find((known) => known === key);
    if (!unit) return refuse(`${what} has \`${key.slice(0, 40)}\`: limits are in usdMicros, tokens, calls`);
    if (typeof amount !== 'number' || !Number.isSafeInteger(amount) || amount <= 0)
      return refuse(`${what} has ${UNIT_NAMES[unit]} that are no whole number above 0`);
    limit[unit] = amount;
  }
  return Object.keys(limit).length > 0 ? limit : refuse(`${what} names no usd, tokens or calls`);
}

/** A window with its zone: `total` has none, every other has one. */
export function windowOf(window: unknown, zone: unknown): { window: Window; zone: string } {
  const found = WINDOWS.find((known) => known === window);
  if (!found) return refuse(`the window is none of ${WINDOWS.join(', ')}`);
  if (found === 'total')
    return zone === undefined ? { window: found, zone: 'UTC' } : refuse('`total` has no time zone');
  if (zone === undefined) return refuse(`a limit a ${found} needs a time zone, such as Europe/Berlin or UTC`);
  if (typeof zone !== 'string' || !ZONE.test(zone)) return refuse('the time zone is no IANA name like Europe/Berlin');
  return { window: found, zone };
}

/** What a command's data asks for, read strictly. `verb` is one that accounts have. */
export function parseChange(verb: string, data: JsonObject): Parsed<AccountChange> {
  return parsing(() => {
    switch (verb) {
      case 'limit': {
        const { window = 'total', zone, ...limit } = data;
        return { kind: 'limit', limit: limitOf(limit, 'the limit'), ...windowOf(window, zone) };
      }
      case 'topUp':
        return { kind: 'topUp', more: limitOf(data, 'the top-up') };
      case 'freeze':
      case 'thaw':
        return Object.keys(data).length === 0 ? { kind: verb } : refuse(`a ${verb} has no data`);
      default:
        return refuse('accounts know limit, topUp, freeze and thaw');
    }
  });
}

/**
 * The account after a change; whether it is below what is spent is for the claim's counters to say.
 *
 * @param key the window of now; a top-up of an earlier window is gone
 */
export function changeAccount(
  state: AccountState,
  change: AccountChange,
  by: { readonly person: string; readonly reason: string; readonly key: string },
): AccountState {
  const next = { ...state, version: state.version + 1 };
  switch (change.kind) {
    case 'limit':
      // a new limit means what it says: earlier top-ups do not stand on top of it
      return { ...next, limit: change.limit, window: change.window, zone: change.zone, extra: null };
    case 'topUp':
      return { ...next, extra: { key: by.key, amount: addLimit(extraOf(state, by.key), change.more) } };
    case 'freeze':
      return { ...next, frozen: { by: by.person, reason: by.reason } };
    case 'thaw':
      return { ...next, frozen: null };
    default:
      return change satisfies never;
  }
}

/** An account before anybody decided anything about it. */
export function newAccount(ref: AccountRef, limit: AccountLimit): AccountState {
  return { v: 1, ...ref, ...limit, version: 0, extra: null, frozen: null };
}

/** What a top-up may name: only units that are limited can be raised. */
export function unlimitedUnit(state: Pick<AccountState, 'limit'>, more: Limit): string | null {
  const unit = BUDGET_UNITS.find((u) => more[u] !== undefined && state.limit[u] === undefined);
  return unit === undefined ? null : UNIT_NAMES[unit];
}

/** What a run's top-up adds, read strictly. `limit`: the run's; null: it is not known here. */
export function parseTopUp(data: JsonObject, limit: Limit | null): Parsed<Limit> {
  return parsing(() => {
    const more = limitOf(data, 'the top-up');
    if (limit === null) return more;
    const unlimited = unlimitedUnit({ limit }, more);
    if (unlimited !== null) return refuse(`the budget has no limit of ${unlimited} that could be topped up`);
    for (const unit of BUDGET_UNITS) {
      if (!Number.isSafeInteger((limit[unit] ?? 0) + (more[unit] ?? 0))) return refuse('more than can be counted');
    }
    return more;
  });
}

/** What was topped up in a window. */
export function extraOf(state: AccountState, key: string): Amount {
  return state.extra?.key === key ? state.extra.amount : { usdMicros: 0, tokens: 0, calls: 0 };
}

function addLimit(amount: Amount, more: Limit): Amount {
  const { usdMicros = 0, tokens = 0, calls = 0 } = more;
  return { usdMicros: amount.usdMicros + usdMicros, tokens: amount.tokens + tokens, calls: amount.calls + calls };
}
