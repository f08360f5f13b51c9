/**
 * Strict trust (guards.md PV3, PV5): what a source vouches for, as whole normalised tokens, each of one kind. A text in a
 * person's own words vouches for the tokens in it, an output for whole fields.
 */
import { destinationsIn, normalise, shapesOf, type DestinationKind } from './destination.ts';
import { sha256, utf8Bytes } from './digest.ts';
import { nounsOf, singular } from './nouns.ts';
import type { Leaf } from './leaves.ts';

/** A value that is looked for: a destination, a name, a number. Ids are of something (`nouns`). */
export interface Sought {
  readonly kind: DestinationKind | 'name' | 'number';
  readonly value: string;
  readonly nouns: readonly string[];
}

/** A person's words, read once. */
export interface Words {
  readonly tokens: ReadonlySet<string>;
  /** Ids as they stand there -> what they are called there ('' for nothing). */
  readonly ids: ReadonlyMap<string, ReadonlySet<string>>;
  /** All words in small letters, one space between and around: for names of several words. */
  readonly line: string;
}

/** Fewer letters than this are no name (PV5). */
const MIN_NAME_LETTERS = 4;
/** A longer value is text, not an id. */
const MAX_ID_CHARS = 128;
const LOCAL_PHONE = /(?<![\p{L}\p{N}+])\d(?:[\s().\-/]{0,2}\d){5,14}(?![\p{L}\p{N}])/gu;
const MIN_PHONE_DIGITS = 7;
const AROUND = /^[\s"'`<>()[\]{}«»„“”‘’,;:!?#]+|[\s"'`<>()[\]{}«»„“”‘’,;:!?.]+$/gu;
/** Between a noun and its number, and between the numbers of one noun. */
const LINKS = new Set([
  'no',
  'nr',
  'num',
  'number',
  'numbers',
  'id',
  'ids',
  'with',
  'called',
  'named',
  'and',
  'or',
  '&',
  '',
]);

/** Reads a text in a person's own words. */
export function wordsOf(text: string): Words {
  const tokens = new Set<string>();
  for (const { kind, value } of destinationsIn(text)) tokens.add(tokenOf(kind, value));
  // a person writes a phone number without its country, too
  for (const [digits] of text.matchAll(LOCAL_PHONE)) {
    if (digits.replace(/\D/g, '').length >= MIN_PHONE_DIGITS) tokens.add(tokenOf('phone', digits));
  }
  const ids = new Map<string, Set<string>>();
  const keep = (value: string, noun: string): void => {
    if (value === '' || value.length > MAX_ID_CHARS) return;
    for (const kind of shapesOf(value)) tokens.add(tokenOf(kind, value));
    if (/\d/.test(value)) tokens.add(`number\0${value.replaceAll(',', '')}`);
    const id = normalise('id', value);
    const nouns = ids.get(id) ?? new Set<string>();
    ids.set(id, nouns.add(noun));
  };
  let noun = '';
  const line: string[] = [];
  for (const raw of text.normalize('NFC').split(/\s+/)) {
    const value = raw.replace(AROUND, '');
    keep(value, noun);
    line.push(value.toLowerCase());
    if (!LINKS.has(value.toLowerCase()) && !/\d/.test(value)) noun = singular(value);
  }
  for (const [, quoted = ''] of text.matchAll(/["“„«']([^"“”„«»'\n]{1,128})["”“»']/gu)) keep(quoted.trim(), '');
  return { tokens, ids, line: ` ${line.filter((word) => word !== '').join(' ')} ` };
}

/**
 * Whether the words name the value. A bare number or a short word names an id only with its noun before it (`order 1042`);
 * an id that is called something else there (`event 13a`) is not one of this kind.
 *
 * @param nouns every kind of id that the run's tools have
 */
export function namedIn(words: Words, sought: Sought, nouns: ReadonlySet<string>): boolean {
  switch (sought.kind) {
    case 'id': {
      const called = words.ids.get(normalise('id', sought.value));
      if (!called) return false;
      if (sought.nouns.some((noun) => called.has(noun))) return true;
      return !isWeak(sought.value) && [...called].some((noun) => !nouns.has(noun));
    }
    case 'name':
      return isName(sought.value) && words.line.includes(` ${nameLine(sought.value)} `);
    case 'number':
      return words.tokens.has(`number\0${sought.value}`);
    default:
      return words.tokens.has(tokenOf(sought.kind, sought.value));
  }
}

/** Tokens that a whole field of a trusted output, or an argument in the user's words, vouches for. */
export function fieldTokens(leaf: Leaf, tool: string, proved: string | null): string[] {
  const text = String(leaf.value);
  if (leaf.says === 'name' || text === '') return [];
  const nouns = [...nounsOf(leaf.field, leaf.parent, tool), ...(proved === null ? [] : [singular(proved)])];
  if (typeof leaf.value !== 'string') return soughtTokens({ kind: 'id', value: text, nouns }).concat(`number\0${text}`);
  const said = leaf.says === 'date' || leaf.says === 'author' || leaf.says === 'text' ? null : leaf.says;
  const kinds = said === null || said === 'plain' || said === 'id' ? shapesOf(text) : [said];
  const tokens = kinds.map((kind) => tokenOf(kind, text));
  if (text.length <= MAX_ID_CHARS) tokens.push(...soughtTokens({ kind: 'id', value: text, nouns }));
  if (isName(text) && !/\d/.test(text)) tokens.push(...soughtTokens({ kind: 'name', value: text, nouns }));
  return tokens;
}

/** The tokens of which one has to be there. */
export function soughtTokens({ kind, value, nouns }: Sought): string[] {
  if (kind === 'id') return nouns.map((noun) => `id:${noun}\0${normalise('id', value)}`);
  if (kind === 'name') return [`name\0${nameLine(value)}`];
  if (kind === 'number') return [`number\0${value}`];
  return [tokenOf(kind, value)];
}

/** A token of a kind other than `id`. */
export function tokenOf(kind: DestinationKind, value: string): string {
  return `${kind}\0${normalise(kind, value)}`;
}

/** Bytes of a token's hash: the chance that two tokens of a run share one is below 10^-9. */
export const TOKEN_BYTES = 8;

/** SHA-256 of the run's salt and a token, cut to {@link TOKEN_BYTES}. */
export function tokenHash(salt: string, token: string): Uint8Array {
  return sha256(utf8Bytes(`${salt}\0${token.toWellFormed()}`)).subarray(0, TOKEN_BYTES);
}

/** A hash as a key of a set. */
export function hashKey(hash: Uint8Array): string {
  return String.fromCharCode(...hash);
}

function isWeak(value: string): boolean {
  const letters = value.replace(/[^\p{L}\p{N}]/gu, '');
  return letters.length < MIN_NAME_LETTERS || /^\p{N}+$/u.test(letters);
}

function isName(value: string): boolean {
  return value.length <= MAX_ID_CHARS && value.replace(/[^\p{L}\p{N}]/gu, '').length >= MIN_NAME_LETTERS;
}

function nameLine(value: string): string {
  return value.normalize('NFC').toLowerCase().split(/\s+/).map((word) => word.replace(AROUND, '')).filter((word) => word !== '').join(' '); // prettier-ignore
}
