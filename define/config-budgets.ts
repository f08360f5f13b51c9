/** Budgets of a configuration: of a run, and the default limits of users, tenants, agents and labels. */
import { ACCOUNT_SCOPES, parseLabel, WINDOWS, windowOf, type AccountLimit } from '../governance/account.ts';
import type { Limit } from '../governance/call.ts';
import { DEFAULT_BUDGET_WAIT_MS, MAX_LABELS } from '../governance/limits.ts';
import { parsing } from '../governance/strict.ts';
import type { Checks } from './check.ts';
import { isOptions, quote } from './check.ts';
import type { Config } from './types.ts';

const UNITS = ['usd', 'tokens', 'calls'] as const;
const NONE: Config['accounts'] = { user: null, tenant: null, agent: null, label: {} };

/** What `budgets` becomes. A window without a zone is UTC's here; a signed change has to name one. */
export function checkBudgets(
  checks: Checks,
  value: unknown,
  wait: unknown,
): Pick<Config, 'runLimit' | 'accounts' | 'budgetWaitMs'> {
  const budgetWaitMs = checks.duration('budgetWait', wait, DEFAULT_BUDGET_WAIT_MS);
  const given = checks.options('budgets', value, ['run', ...ACCOUNT_SCOPES]) ?? {};
  const account = (scope: string): AccountLimit | null => checkAccount(checks, `budgets.${scope}`, given[scope]);
  return {
    budgetWaitMs,
    runLimit: checkLimit(checks, 'budgets.run', given['run'], UNITS),
    accounts: {
      ...NONE,
      user: account('user'),
      tenant: account('tenant'),
      agent: account('agent'),
      label: checkLabels(checks, given['label']),
    },
  };
}

function checkLabels(checks: Checks, value: unknown): { readonly [label: string]: AccountLimit } {
  if (value === undefined) return {};
  if (!isOptions(value)) {
    checks.add(
      'budgets.label',
      `must be an object of limits by label, not ${quote(value)}`,
      'label: { search: { usd: 1 } }',
    );
    return {};
  }
  const found: { [label: string]: AccountLimit } = {};
  const entries = Object.entries(value);
  if (entries.length > MAX_LABELS)
    checks.add('budgets.label', `limits ${entries.length} labels, at most ${MAX_LABELS}`);
  for (const [label, limit] of entries) {
    const field = `budgets.label.${label}`;
    const read = parsing(() => parseLabel(label));
    if (read.kind === 'invalid') checks.add(field, read.reason);
    const account = checkAccount(checks, field, limit ?? null);
    if (account) found[label] = account;
  }
  return Object.freeze(found);
}

function checkAccount(checks: Checks, field: string, value: unknown): AccountLimit | null {
  if (value === undefined) return null;
  if (Array.isArray(value)) {
    checks.add(field, 'is a list: a scope has one limit', 'name one limit with one window');
    return null;
  }
  const limit = checkLimit(checks, field, value, [...UNITS, 'window', 'zone']);
  if (!isOptions(value)) return null;
  const window = checks.oneOf(`${field}.window`, value['window'], 'total', WINDOWS);
  const zone = value['zone'] ?? (window === 'total' ? undefined : 'UTC');
  const read = parsing(() => windowOf(window, zone));
  if (read.kind === 'invalid') {
    checks.add(`${field}.zone`, read.reason);
    return null;
  }
  if (!isZone(read.value.zone)) checks.add(`${field}.zone`, `${quote(zone)} is no time zone`, 'such as Europe/Berlin');
  return { limit, ...read.value };
}

/** Whether this Node knows the zone; the database, whose arithmetic counts, is asked again when a limit is changed. */
function isZone(zone: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

/** A limit as written, in integer units: a limit must allow something and be a number. */
function checkLimit(checks: Checks, field: string, value: unknown, known: readonly string[]): Limit {
  const given = checks.options(field, value, known);
  if (given === undefined) return {};
  const usd = checkAbove0(checks, `${field}.usd`, given['usd']);
  const usdMicros = checks.dollars(`${field}.usd`, usd);
  const tokens = checkWhole(checks, `${field}.tokens`, given['tokens']);
  const calls = checkWhole(checks, `${field}.calls`, given['calls']);
  const named = UNITS.some((unit) => given[unit] !== undefined);
  if (!named) checks.add(field, 'limits nothing', 'name usd, tokens or calls, or leave it out');
  return {
    ...(usdMicros === undefined ? {} : { usdMicros }),
    ...(tokens === undefined ? {} : { tokens }),
    ...(calls === undefined ? {} : { calls }),
  };
}

function checkAbove0(checks: Checks, field: string, value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'number') checks.add(field, `must be a number, not the text or value ${quote(value)}`);
  else if (value === 0) checks.add(field, 'a limit of 0 allows nothing', 'leave it out, or set what may be spent');
  else if (!Number.isFinite(value)) checks.add(field, `${quote(value)} is not a finite number`);
  else if (value < 0) checks.add(field, `${quote(value)} is negative`);
  else return value;
  return undefined;
}

function checkWhole(checks: Checks, field: string, value: unknown): number | undefined {
  const number = checkAbove0(checks, field, value);
  if (number === undefined || Number.isSafeInteger(number)) return number;
  checks.add(field, `${quote(number)} is not a whole number that can be counted`);
  return undefined;
}
