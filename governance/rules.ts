/** Rules on single arguments (guards.md RU1, RU2). A rule is a name with its limit and a pure test. */
import { ActGuardError } from './errors.ts';
import type { Json, JsonObject } from './json.ts';

/** A rule as `atMost(50)` makes it. `label` names rule and limit: it stands in RULE_FAILED. */
export interface Rule {
  readonly label: string;
  /** The type of value that the rule can judge; anything else is refused. */
  readonly of: 'number' | 'string' | 'any';
  readonly test: (value: Json) => boolean;
}

/** The rules of one argument, in order. */
export interface RuledArgument {
  readonly argument: string;
  readonly rules: readonly Rule[];
  /** Whether the schema lets the argument be absent: then its rules do not apply (D10). */
  readonly optional: boolean;
}

/** A number of at most `limit`. @throws CONFIG_INVALID unless the limit is a finite number. */
export function atMost(limit: number): Rule {
  finite('atMost', limit);
  return ofNumber(`atMost(${limit})`, (n) => n <= limit);
}

/** A number of at least `limit`. @throws CONFIG_INVALID unless the limit is a finite number. */
export function atLeast(limit: number): Rule {
  finite('atLeast', limit);
  return ofNumber(`atLeast(${limit})`, (n) => n >= limit);
}

/** A number from `low` to `high`, both included. @throws CONFIG_INVALID unless both are finite and in order. */
export function between(low: number, high: number): Rule {
  finite('between', low);
  finite('between', high);
  if (low > high) throw misuse('between', 'has its lower limit above its upper one');
  return ofNumber(`between(${low}, ${high})`, (n) => n >= low && n <= high);
}

/** Exactly one of these values; 1 and "1" differ. @throws CONFIG_INVALID for an empty list. */
export function oneOf(...values: readonly (string | number | boolean)[]): Rule {
  scalars('oneOf', values);
  return { label: listLabel('oneOf', values), of: 'any', test: (v) => values.some((allowed) => allowed === v) };
}

/**
 * None of these values, compared exactly. A value of a type that is not in the list is refused: "1" does not slip past
 * notOneOf(1). @throws CONFIG_INVALID for an empty list.
 */
export function notOneOf(...values: readonly (string | number | boolean)[]): Rule {
  scalars('notOneOf', values);
  const types = new Set(values.map((v) => typeof v));
  const test = (v: Json): boolean => types.has(typeof v as 'string') && !values.some((banned) => banned === v);
  return { label: listLabel('notOneOf', values), of: 'any', test: (v) => !Number.isNaN(v) && test(v) };
}

/** Text of at most this many UTF-16 units, as zod counts. @throws CONFIG_INVALID unless it is a whole number from 0. */
export function maxLength(chars: number): Rule {
  whole('maxLength', chars);
  return ofString(`maxLength(${chars})`, (text) => text.length <= chars);
}

/** A list of at most this many elements. @throws CONFIG_INVALID unless it is a whole number from 0. */
export function maxItems(items: number): Rule {
  whole('maxItems', items);
  return { label: `maxItems(${items})`, of: 'any', test: (v) => Array.isArray(v) && v.length <= items };
}

/** Text that starts with exactly this. @throws CONFIG_INVALID for an empty prefix. */
export function startsWith(prefix: string): Rule {
  if (typeof prefix !== 'string' || prefix === '') throw misuse('startsWith', 'needs a prefix');
  return ofString(`startsWith(${JSON.stringify(prefix)})`, (text) => text.startsWith(prefix));
}

/**
 * The first failing rule in order (RU1); null when all pass. An absent optional argument passes; null is not absent.
 * A wrong type, NaN, an infinity, an absent argument, a test that throws: refused.
 */
export function firstFailing(
  rules: readonly RuledArgument[],
  args: JsonObject,
): { readonly rule: string; readonly argument: string } | null {
  for (const { argument, rules: ofArgument, optional } of rules) {
    const value = Object.hasOwn(args, argument) ? args[argument] : undefined;
    if (value === undefined && optional) continue;
    for (const rule of ofArgument) {
      if (value === undefined || !passes(rule, value)) return { rule: rule.label, argument };
    }
  }
  return null;
}

function passes(rule: Rule, value: Json): boolean {
  if (typeof value === 'number' && !Number.isFinite(value)) return false;
  if (rule.of !== 'any' && typeof value !== rule.of) return false;
  try {
    return rule.test(value) === true;
  } catch {
    return false;
  }
}

function ofNumber(label: string, test: (n: number) => boolean): Rule {
  return { label, of: 'number', test: (v) => typeof v === 'number' && Number.isFinite(v) && test(v) };
}

function ofString(label: string, test: (text: string) => boolean): Rule {
  return { label, of: 'string', test: (v) => typeof v === 'string' && test(v) };
}

function listLabel(name: string, values: readonly unknown[]): string {
  return `${name}(${values.map((v) => JSON.stringify(v)).join(', ')})`;
}

function finite(rule: string, limit: unknown): void {
  if (typeof limit !== 'number' || !Number.isFinite(limit)) throw misuse(rule, 'needs a finite number');
}

function whole(rule: string, limit: unknown): void {
  if (!Number.isSafeInteger(limit) || (limit as number) < 0) throw misuse(rule, 'needs a whole number from 0');
}

function scalars(rule: string, values: readonly unknown[]): void {
  const known = (v: unknown): boolean =>
    typeof v === 'string' || typeof v === 'boolean' || (typeof v === 'number' && Number.isFinite(v));
  if (values.length === 0 || !values.every(known)) throw misuse(rule, 'needs strings, numbers or booleans');
}

function misuse(rule: string, problem: string): ActGuardError {
  return new ActGuardError('CONFIG_INVALID', `rule \`${rule}\` ${problem}`, {
    problems: [{ where: `rule \`${rule}\``, problem }],
  });
}
