/** Collects every problem of a definition, so that one CONFIG_INVALID names them all. */
import { quote as quoteText } from '../governance/denial.ts';
import { isActGuardError, throwIfProblems } from '../governance/errors.ts';
import type { Problem } from '../governance/errors.ts';
import { parseDuration } from '../governance/duration.ts';
import { usdToMicros } from '../governance/money.ts';
import { MAX_NAME_CHARS } from '../governance/limits.ts';

/** A plain object as an engineer writes options. */
export type Options = { readonly [key: string]: unknown };

/** Whether a value is an object literal (no list, no class instance, no null). */
export function isOptions(value: unknown): value is Options {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** User input for an error text: any value, in backticks, escaped and cut. */
export function quote(value: unknown): string {
  if (typeof value === 'function') return '`a function`';
  if (value === null || typeof value !== 'object') return quoteText(String(value));
  try {
    return quoteText(value);
  } catch {
    return '`an object`'; // a cycle or a bigint inside
  }
}

/** The place and the list: every check returns a usable value and notes what is wrong. */
export class Checks {
  readonly problems: Problem[] = [];
  readonly subject: string;

  /** @param subject e.g. ``tool `payments.refund` ``; each problem stands at ``<subject>, field `x` ``. */
  constructor(subject: string) {
    this.subject = subject;
  }

  /** Notes one problem at a field (dotted path; empty: the thing itself). */
  add(field: string, problem: string, fix?: string): void {
    const where = field === '' ? this.subject : `${this.subject}, field ${quote(field)}`;
    this.problems.push(fix === undefined ? { where, problem } : { where, problem, fix });
  }

  /** Throws one CONFIG_INVALID when anything was noted. */
  done(): void {
    throwIfProblems(this.problems, this.subject);
  }

  /** The options of a field; notes keys that are not known. undefined when absent or no object. */
  options(field: string, value: unknown, known: readonly string[]): Options | undefined {
    if (value === undefined) return undefined;
    if (!isOptions(value)) {
      this.add(field, `must be an object, not ${quote(value)}`);
      return undefined;
    }
    this.unknownKeys(field, value, known);
    return value;
  }

  /** Notes every key that is not known. */
  unknownKeys(field: string, value: Options, known: readonly string[]): void {
    for (const key of Object.keys(value)) {
      if (known.includes(key)) continue;
      this.add(field === '' ? key : `${field}.${key}`, 'is not an option', `options are ${known.join(', ')}`);
    }
  }

  /** A duration above zero, in milliseconds; `fallback` when absent or wrong. */
  duration<T>(field: string, value: unknown, fallback: T): number | T {
    if (value === undefined) return fallback;
    try {
      const ms = parseDuration(value as string | number);
      if (ms > 0) return ms;
      this.add(field, `must be longer than 0, not ${quote(value)}`);
    } catch (error) {
      const why = isActGuardError(error) ? error.message : 'is not a duration';
      this.add(field, why, "write milliseconds, or '100ms', '10s', '1m', '1h', '1d'");
    }
    return fallback;
  }

  /** A whole number of at least `least`. */
  int<T>(field: string, value: unknown, fallback: T, least: number, most = Number.MAX_SAFE_INTEGER): number | T {
    if (value === undefined) return fallback;
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most) return value;
    const range = most === Number.MAX_SAFE_INTEGER ? `at least ${least}` : `from ${least} to ${most}`;
    this.add(field, `must be a whole number of ${range}, not ${quote(value)}`);
    return fallback;
  }

  /** A finite number of at least `least`. */
  number<T>(field: string, value: unknown, fallback: T, least: number): number | T {
    if (value === undefined) return fallback;
    if (typeof value === 'number' && Number.isFinite(value) && value >= least) return value;
    this.add(field, `must be a finite number of at least ${least}, not ${quote(value)}`);
    return fallback;
  }

  /** Dollars as written, in micro-dollars; undefined when absent or wrong. */
  dollars(field: string, value: unknown): number | undefined {
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isFinite(value)) {
      this.add(field, `must be a number of dollars, not ${quote(value)}`);
      return undefined;
    }
    try {
      return usdToMicros(value);
    } catch (error) {
      if (!isActGuardError(error)) throw error;
      this.add(field, error.message, error.hint);
      return undefined;
    }
  }

  /** One of a few words. */
  oneOf<const W extends string, T>(field: string, value: unknown, fallback: T, words: readonly W[]): W | T {
    if (value === undefined) return fallback;
    const found = words.find((word) => word === value);
    if (found !== undefined) return found;
    this.add(field, `must be one of ${words.map((word) => `\`${word}\``).join(', ')}, not ${quote(value)}`);
    return fallback;
  }

  /** A list of words out of a closed set, without repeats. */
  words<const W extends string>(field: string, value: unknown, words: readonly W[]): readonly W[] | undefined {
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) {
      this.add(field, `must be a list, not ${quote(value)}`);
      return undefined;
    }
    const found = value.map((item: unknown, i) => this.oneOf(`${field}.${i}`, item ?? null, undefined, words));
    return [...new Set(found.filter((item) => item !== undefined))];
  }

  boolean(field: string, value: unknown, fallback: boolean): boolean {
    if (value === undefined) return fallback;
    if (typeof value === 'boolean') return value;
    this.add(field, `must be true or false, not ${quote(value)}`);
    return fallback;
  }

  /** A function, or null when absent. */
  fn<F>(field: string, value: unknown): F | null {
    if (value === undefined) return null;
    if (typeof value === 'function') return value as F;
    this.add(field, `must be a function, not ${quote(value)}`);
    return null;
  }

  /** A short name for people: text without control characters. */
  label(field: string, value: unknown): string {
    const fine = typeof value === 'string' && value.trim() !== '' && !/[\p{Cc}\p{Cf}]/u.test(value);
    if (fine && value.length <= MAX_NAME_CHARS) return value;
    this.add(field, `must be text of 1 to ${MAX_NAME_CHARS} characters, not ${quote(value)}`);
    return '';
  }

  /** A name of small letters, digits, `_`, `.` and `-`. */
  name(field: string, value: unknown, maxChars: number): string {
    if (typeof value === 'string' && /^[a-z0-9_.-]+$/.test(value) && value.length <= maxChars) return value;
    const fix = `use small letters, digits, _ . and -, at most ${maxChars} characters`;
    this.add(field, value === undefined ? 'is required' : `${quote(value)} is not a name`, fix);
    return '';
  }
}
