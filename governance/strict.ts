/**
 * Strict reading of what strangers signed: exactly the named fields, bounded texts, canonical bytes. Reading answers
 * with a value or with the reason why not; it never throws on hostile input.
 */
import { canonicalize } from './canonical.ts';
import { isActGuardError } from './errors.ts';
import type { Json } from './json.ts';

/** What was read, or the first thing that is wrong with it. */
export type Parsed<T> =
  { readonly kind: 'ok'; readonly value: T } | { readonly kind: 'invalid'; readonly reason: string };

/** Thrown by the readers below, caught by {@link parsing}. */
class Refusal extends Error {}

/** Names of people, roles and the like: ASCII, so that no look-alike can pass for another. */
export const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}$/;

/** Runs readers and turns their refusal into a value. Anything else that goes wrong is thrown on. */
export function parsing<T>(read: () => T): Parsed<T> {
  try {
    return { kind: 'ok', value: read() };
  } catch (error) {
    if (error instanceof Refusal) return { kind: 'invalid', reason: error.message };
    if (isActGuardError(error)) return { kind: 'invalid', reason: error.message };
    throw error;
  }
}

/** Ends a {@link parsing} with a reason: lower case, no full stop. */
export function refuse(reason: string): never {
  throw new Refusal(reason);
}

/** The value of a parsed part, or the end of the enclosing {@link parsing} with its reason. */
export function valueOf<T>(parsed: Parsed<T>): T {
  return parsed.kind === 'ok' ? parsed.value : refuse(parsed.reason);
}

/** An object with exactly these fields: none missing, none more. */
export function exactObject<K extends string>(value: unknown, keys: readonly K[], what: string): { [P in K]: unknown } {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return refuse(`${what} is not an object`);
  for (const key of keys) if (!Object.hasOwn(value, key)) return refuse(`${what} has no \`${key}\``);
  if (Object.keys(value).length !== keys.length) return refuse(`${what} has fields that it may not have`);
  return value as { [P in K]: unknown };
}

/** A well-formed text of 1 to `max` UTF-16 units. */
export function textOf(value: unknown, what: string, max: number): string {
  if (typeof value !== 'string' || !value.isWellFormed()) return refuse(`${what} is not text`);
  if (value.length === 0 || value.length > max)
    return refuse(`${what} has ${value.length} characters, 1 to ${max} are allowed`);
  return value;
}

/** A name in {@link NAME_PATTERN}; `orAny` also allows `*`. */
export function nameOf(value: unknown, what: string, orAny = false): string {
  if (typeof value === 'string' && (NAME_PATTERN.test(value) || (orAny && value === '*'))) return value;
  return refuse(`${what} is not a name`);
}

/** Lower-case hex of so many bytes. */
export function hexOf(value: unknown, what: string, bytes: number): string {
  if (typeof value === 'string' && value.length === 2 * bytes && /^[0-9a-f]+$/.test(value)) return value;
  return refuse(`${what} is not ${bytes} bytes of lower-case hex`);
}

/** An integer from 0 (or `min`) up. */
export function integerOf(value: unknown, what: string, min = 0): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min) return value;
  return refuse(`${what} is not an integer from ${min}`);
}

/** A point in time exactly as `Date.prototype.toISOString` writes it, so that one time has one text. */
export function timeOf(value: unknown, what: string): string {
  if (typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value)) {
    const ms = Date.parse(value);
    if (Number.isFinite(ms) && new Date(ms).toISOString() === value) return value;
  }
  return refuse(`${what} is not a time like 2026-11-24T08:00:00.000Z`);
}

/** A list of at most `max` items, each read by `read`. */
export function listOf<T>(value: unknown, what: string, max: number, read: (item: unknown) => T): T[] {
  if (!Array.isArray(value)) return refuse(`${what} is not a list`);
  if (value.length > max) return refuse(`${what} has ${value.length} items, at most ${max} are allowed`);
  return value.map(read);
}

/** One of a few texts. */
export function oneOf<T extends string>(value: unknown, what: string, allowed: readonly T[]): T {
  const found = allowed.find((item) => item === value);
  return found ?? refuse(`${what} is none of ${allowed.join(', ')}`);
}

/** JSON whose bytes are their own canonical form (RFC 8785): no duplicate keys, no spaces, one text for one value. */
export function canonicalJsonOf(bytes: Uint8Array, what: string): Json {
  let text: string;
  let value: Json;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text) as Json;
  } catch {
    return refuse(`${what} is not JSON in UTF-8`);
  }
  if (canonicalize(value) !== text) return refuse(`${what} is not in canonical form`);
  return value;
}
