/**
 * The budget of a run as plain data (guards.md BU1, BU2): the worst case is reserved before, the truth settled after.
 * spent + reserved never passes a limit by a reservation; settling above a reservation records what happened.
 */
import type { Amount, Limit } from './call.ts';
import { quote } from './denial.ts';
import { ActGuardError } from './errors.ts';
import { usdToMicros } from './money.ts';

/** What can run out. Money is integer micro-dollars. */
export type BudgetUnit = keyof Amount;

/** In the order in which they are judged: the first to run out is named. */
export const BUDGET_UNITS: readonly BudgetUnit[] = ['usdMicros', 'tokens', 'calls'];

/** A budget: what it allows, what is spent, what is held for calls under way. Money in micro-dollars. */
export interface BudgetState {
  readonly limit: Limit;
  readonly spent: Amount;
  readonly reserved: Amount;
}

/** Which unit does not suffice, in that unit: for BUDGET_EXCEEDED. */
export interface Exceeded {
  readonly kind: 'exceeded';
  readonly unit: BudgetUnit;
  readonly limit: number;
  readonly spent: number;
  readonly reserved: number;
  readonly needed: number;
}

/** Nothing of anything. */
export const ZERO: Amount = { usdMicros: 0, tokens: 0, calls: 0 };

/** A budget of which nothing is used. */
export function newBudget(limit: Limit): BudgetState {
  return { limit, spent: ZERO, reserved: ZERO };
}

/** A limit as written: dollars, tokens, calls, any mix, each greater than 0; at least one of them. */
export interface WrittenLimit {
  readonly usd?: number | string;
  readonly tokens?: number;
  readonly calls?: number;
}

const WRITTEN: readonly (readonly [name: keyof WrittenLimit, unit: BudgetUnit])[] = [
  ['usd', 'usdMicros'],
  ['tokens', 'tokens'],
  ['calls', 'calls'],
];

/**
 * A limit in micro-dollars.
 *
 * @throws ActGuardError ARGUMENTS_INVALID naming all that is wrong: zero, negatives, text, another currency, nothing
 */
export function parseLimit(written: WrittenLimit): Limit {
  const hint = 'such as { usd: 0.25 }: usd, tokens, calls, each greater than 0';
  if (typeof written !== 'object' || (written as unknown) === null || Array.isArray(written))
    throw new ActGuardError('ARGUMENTS_INVALID', 'a budget is one object', { hint });
  const foreign = Object.keys(written).filter((name) => !WRITTEN.some(([known]) => known === name));
  const problems = foreign.map((name) => `a budget has no ${quote(name)}`);
  const limit: { [unit in BudgetUnit]?: number } = {};
  for (const [name, unit] of WRITTEN) {
    const value = written[name];
    if (value === undefined) continue;
    try {
      limit[unit] = positive(name, unit === 'usdMicros' ? dollars(value) : (value as number), value);
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  }
  if (problems.length === 0 && Object.keys(limit).length === 0) problems.push('a budget needs usd, tokens or calls');
  if (problems.length > 0) throw new ActGuardError('ARGUMENTS_INVALID', problems.join('; '), { hint });
  return limit;
}

function dollars(usd: number | string): number {
  try {
    return usdToMicros(usd);
  } catch (error) {
    throw new ActGuardError('ARGUMENTS_INVALID', `usd: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The first unit in which a caller asks for more than the configuration allows a run; null: none. */
export function aboveCeiling(
  asked: Limit | null | undefined,
  ceiling: Limit,
): { readonly unit: BudgetUnit; readonly asked: number; readonly most: number } | null {
  for (const unit of BUDGET_UNITS) {
    const [wish, most] = [asked?.[unit], ceiling[unit]];
    if (wish !== undefined && most !== undefined && !(wish <= most)) return { unit, asked: wish, most };
  }
  return null;
}

/** The tighter of two limits, unit by unit: a caller's wish never widens the configured limit. */
export function tighterLimit(a: Limit, b: Limit): Limit {
  return mapLimit(a, b, (x, y) => Math.min(x === undefined ? Infinity : x, y === undefined ? Infinity : y));
}

/**
 * Reserves a worst case, all units or none. Exactly what is left may be reserved; a unit of which nothing is needed is
 * not asked (D10: free calls run when the money is gone). A budget that cannot be read is exhausted (BU6).
 *
 * @throws ActGuardError ARGUMENTS_INVALID when an amount is no whole number from 0
 */
export function reserve(
  state: BudgetState,
  needed: Amount,
): { readonly kind: 'ok'; readonly state: BudgetState } | Exceeded {
  checkAmount(needed);
  for (const unit of BUDGET_UNITS) {
    const limit = state.limit[unit];
    if (limit === undefined || needed[unit] === 0) continue;
    const after = state.spent[unit] + state.reserved[unit] + needed[unit];
    if (after <= limit) continue;
    const { [unit]: spent } = state.spent;
    return { kind: 'exceeded', unit, limit, spent, reserved: state.reserved[unit], needed: needed[unit] };
  }
  return { kind: 'ok', state: { ...state, reserved: addAmounts(state.reserved, needed) } };
}

/**
 * Replaces a reservation by what was really used, also where that is more.
 *
 * @throws ActGuardError CONFLICT when more is given back than is reserved: a settlement was applied twice
 */
export function settle(state: BudgetState, reserved: Amount, actual: Amount): BudgetState {
  checkAmount(reserved);
  checkAmount(actual);
  for (const unit of BUDGET_UNITS) {
    if (!(reserved[unit] <= state.reserved[unit])) {
      throw new ActGuardError('CONFLICT', `more ${unit} are given back than are reserved`);
    }
  }
  return {
    limit: state.limit,
    spent: addAmounts(state.spent, actual),
    reserved: mapAmount((unit) => state.reserved[unit] - reserved[unit]),
  };
}

/** Gives a reservation back unused. @throws ActGuardError CONFLICT, see {@link settle}. */
export function release(state: BudgetState, reserved: Amount): BudgetState {
  return settle(state, reserved, ZERO);
}

/** Raises limits; a unit without limit stays without. @throws ActGuardError ARGUMENTS_INVALID unless above 0. */
export function topUp(state: BudgetState, more: Limit): BudgetState {
  for (const unit of BUDGET_UNITS) if (more[unit] !== undefined) positive(unit, more[unit], more[unit]);
  const limit = mapLimit(state.limit, more, (have, add) => (have === undefined ? Infinity : have + (add ?? 0)));
  for (const unit of BUDGET_UNITS) if (limit[unit] !== undefined) positive(unit, limit[unit], limit[unit]);
  return { ...state, limit };
}

/** What may still be reserved; never below 0; a unit without limit is absent. */
export function left(state: BudgetState): Limit {
  return mapLimit(state.limit, state.limit, (limit, _same, unit) => {
    // only undefined means unlimited: a NaN that went through JSON is null, and is exhausted (BU6)
    const rest = (limit === undefined ? Infinity : limit) - state.spent[unit] - state.reserved[unit];
    return rest > 0 ? rest : 0;
  });
}

/** The first unit of which nothing is left; null: none has run out. At the limit is out (BU1). */
export function exhaustedUnit(state: BudgetState): BudgetUnit | null {
  const rest = left(state);
  return BUDGET_UNITS.find((unit) => rest[unit] === 0) ?? null;
}

/** Unit by unit. */
export function addAmounts(a: Amount, b: Amount): Amount {
  return mapAmount((unit) => a[unit] + b[unit]);
}

function mapAmount(value: (unit: BudgetUnit) => number): Amount {
  return { usdMicros: value('usdMicros'), tokens: value('tokens'), calls: value('calls') };
}

/** Infinity stands for no limit. */
function mapLimit(
  a: Limit,
  b: Limit,
  combine: (a: number | undefined, b: number | undefined, unit: BudgetUnit) => number,
): Limit {
  const pairs = BUDGET_UNITS.map((unit) => [unit, combine(a[unit], b[unit], unit)] as const);
  return Object.fromEntries(pairs.filter(([, value]) => value !== Infinity));
}

function checkAmount(amount: Amount): void {
  for (const unit of BUDGET_UNITS) {
    if (Number.isSafeInteger(amount[unit]) && amount[unit] >= 0) continue;
    throw new ActGuardError('ARGUMENTS_INVALID', `${unit} ${quote(String(amount[unit]))} is no whole number from 0`);
  }
}

function positive(unit: string, value: number, written: unknown): number {
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new ActGuardError('ARGUMENTS_INVALID', `${unit} ${quote(String(written))} is not a budget`, {
    details: { field: unit },
    hint: 'a budget is greater than 0; tokens and calls are whole numbers',
  });
}
