/**
 * Canonical JSON: one text for one value (RFC 8785, JCS), and the check that a value is plain JSON at all.
 * Checking and writing are one pass: what was checked is what is written.
 */
import { ActGuardError } from './errors.ts';
import type { Json } from './json.ts';
import { MAX_JSON_DEPTH, MAX_JSON_VALUES } from './limits.ts';

/** Characters of a JSON pointer that an error shows: keys come from strangers. */
const MAX_SHOWN_POINTER_CHARS = 200;

/** Thrown inside this file only: where the value stops being plain JSON and why. */
class NotPlain extends Error {}

interface Walk {
  /** Keys and indexes from the root to the value being written. */
  readonly path: (string | number)[];
  /** Containers that are open: one that turns up again is a cycle. */
  readonly open: Set<object>;
  /** Values that may still be written. */
  left: number;
}

/**
 * The canonical text of a value: keys sorted by UTF-16 code units, no spaces, ECMAScript numbers (RFC 8785).
 * A key whose value is `undefined` is left out.
 *
 * @throws ActGuardError ARGUMENTS_INVALID when the value is not plain JSON, see {@link checkPlainJson}.
 * @example canonicalize({ b: 2, a: [1, 'x'] }) // '{"a":[1,"x"],"b":2}'
 */
export function canonicalize(value: Json): string {
  try {
    return write(value, newWalk());
  } catch (error) {
    if (!(error instanceof NotPlain)) throw error;
    throw new ActGuardError('ARGUMENTS_INVALID', error.message, { hint: 'use plain JSON values only' });
  }
}

/**
 * Whether a value is plain JSON: null or the first problem with the JSON pointer (RFC 6901) of its place. Refused:
 * undefined (except as an object's value), functions, symbols, bigint, class instances, NaN and infinities, integers
 * beyond 2^53 - 1, lone surrogates, keys named `__proto__`, cycles, more than MAX_JSON_DEPTH levels or
 * MAX_JSON_VALUES values.
 *
 * @example checkPlainJson({ a: [1, NaN] }) // '`/a/1` is NaN: JSON has no such number'
 */
export function checkPlainJson(value: unknown): string | null {
  try {
    write(value, newWalk());
    return null;
  } catch (error) {
    if (error instanceof NotPlain) return error.message;
    throw error;
  }
}

function newWalk(): Walk {
  return { path: [], open: new Set(), left: MAX_JSON_VALUES };
}

function write(value: unknown, walk: Walk): string {
  walk.left -= 1;
  if (walk.left < 0) return refuse(walk, `holds more than ${MAX_JSON_VALUES} values`);
  switch (typeof value) {
    case 'string':
      return writeString(value, walk);
    case 'number':
      return writeNumber(value, walk);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      return value === null ? 'null' : writeContainer(value, walk);
    case 'undefined':
      return refuse(walk, 'is undefined');
    default:
      return refuse(walk, `is a ${typeof value}`);
  }
}

function writeString(value: string, walk: Walk): string {
  // JSON.stringify of a well-formed string is what RFC 8785 section 3.2.2.2 asks for.
  return value.isWellFormed() ? JSON.stringify(value) : refuse(walk, 'holds half of a surrogate pair');
}

function writeNumber(value: number, walk: Walk): string {
  if (!Number.isFinite(value)) return refuse(walk, `is ${value}: JSON has no such number`);
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    return refuse(walk, 'is an integer beyond 2^53 - 1: it is not exact, write it as text');
  }
  // RFC 8785 section 3.2.2.3 is ECMAScript's own Number-to-String; minus zero becomes 0.
  return String(value);
}

function writeContainer(value: object, walk: Walk): string {
  if (walk.open.has(value)) return refuse(walk, 'contains itself');
  if (walk.open.size >= MAX_JSON_DEPTH) return refuse(walk, `is nested deeper than ${MAX_JSON_DEPTH} levels`);
  walk.open.add(value);
  const text = Array.isArray(value) ? writeArray(value, walk) : writeObject(value as Record<string, unknown>, walk);
  walk.open.delete(value);
  return text;
}

function writeArray(value: readonly unknown[], walk: Walk): string {
  if (protoDepth(value) !== 2) return refuse(walk, 'is an instance of a class');
  const parts: string[] = [];
  for (let i = 0; i < value.length; i += 1) {
    walk.path.push(i);
    parts.push(write(value[i], walk));
    walk.path.pop();
  }
  if (Object.keys(value).length !== value.length) return refuse(walk, 'is a list with named properties');
  return `[${parts.join(',')}]`;
}

function writeObject(value: Record<string, unknown>, walk: Walk): string {
  if (!isPlainObject(value)) return refuse(walk, 'is an instance of a class');
  if (Object.getOwnPropertySymbols(value).length > 0) return refuse(walk, 'has a symbol as a key');
  const parts: string[] = [];
  // The default sort compares UTF-16 code units, as RFC 8785 section 3.2.3 asks for.
  for (const key of Object.keys(value).sort()) {
    walk.path.push(key);
    if (key === '__proto__') return refuse(walk, 'is a key that changes what an object is');
    const name = writeString(key, walk);
    const item = value[key];
    if (item !== undefined) parts.push(`${name}:${write(item, walk)}`);
    walk.path.pop();
  }
  return `{${parts.join(',')}}`;
}

/** Plain in any realm: the workflow sandbox and the main thread have an `Object` each. */
function isPlainObject(value: object): boolean {
  const proto: unknown = Object.getPrototypeOf(value);
  if (proto === null) return true;
  return Object.getPrototypeOf(proto) === null && Object.hasOwn(proto as object, 'isPrototypeOf');
}

/** Objects on the prototype chain: 2 for a plain list. */
function protoDepth(value: object): number {
  let depth = 0;
  for (let p: unknown = Object.getPrototypeOf(value); p !== null && depth < 9; p = Object.getPrototypeOf(p)) depth += 1;
  return depth;
}

function refuse(walk: Walk, problem: string): never {
  const pointer = walk.path
    .map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('')
    .toWellFormed();
  if (pointer === '') throw new NotPlain(`the value ${problem}`);
  const shown = JSON.stringify(pointer.slice(0, MAX_SHOWN_POINTER_CHARS).toWellFormed()).slice(1, -1);
  throw new NotPlain(
    `\`${shown.replaceAll('`', "'")}${pointer.length > MAX_SHOWN_POINTER_CHARS ? '…' : ''}\` ${problem}`,
  );
}
