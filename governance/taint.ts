/**
 * Lenient matching (guards.md PV3): whether a value came from a text, however it was written. Text is reduced to a
 * skeleton (letters and digits), the skeleton to hashed pieces of four letters. Only those are kept: they are salted per
 * run, and several pieces share one hash, so that the text cannot be read back from them.
 */
import { sha256, utf8Bytes } from './digest.ts';

/** Letters of one hashed piece: an id of four letters is still found. */
const GRAM = 4;
/** Bits of a piece's hash: 4 million values; a value of five letters passes by chance once in 10^5 texts of 2 KB. */
const GRAM_BITS = 22;
const GRAM_VALUES = 1 << GRAM_BITS;
/** Of a longer text one bit is kept for each value: half a megabyte, whatever the text. */
const MAX_LISTED_GRAMS = Math.floor(GRAM_VALUES / 8 / 3);

/** Letters that look like Latin ones. */
const LOOKALIKES: { readonly [letter: string]: string } = {
  а: 'a', е: 'e', о: 'o', р: 'p', с: 'c', х: 'x', у: 'y', і: 'i', ѕ: 's', ј: 'j', ԁ: 'd', һ: 'h', к: 'k', т: 't',
  м: 'm', в: 'b', н: 'h', α: 'a', ο: 'o', ε: 'e', ρ: 'p', ν: 'v', ι: 'i', κ: 'k', τ: 't', υ: 'u', ı: 'i', ł: 'l',
}; // prettier-ignore
const LOOKALIKE = new RegExp(`[${Object.keys(LOOKALIKES).join('')}]`, 'gu');

const FOREIGN_DIGIT = /[^\P{Nd}0-9]/gu;

/** Unicode's decimal digits stand in rows of ten that begin at a code point ending in 0 or 6 (hexadecimal). */
function latinDigit(digit: string): string {
  const code = digit.codePointAt(0) ?? 0;
  const row = code & ~15;
  return String((code & 15) - (/\p{Nd}/u.test(String.fromCodePoint(row)) ? 0 : 6));
}

/** Letters and digits of a text in small letters, without accents, one alphabet where letters look alike. */
export function skeleton(text: string): string {
  const plain = /^[\x20-\x7e\n\r\t]*$/.test(text)
    ? text.toLowerCase()
    : text
        .normalize('NFKD')
        .toLowerCase()
        .replace(LOOKALIKE, (letter) => LOOKALIKES[letter] ?? letter)
        .replace(FOREIGN_DIGIT, latinDigit);
  return plain.replace(/[^\p{L}\p{N}]+/gu, '');
}

/** Two numbers that make hashes of one run unlike those of another. */
export interface Seed {
  readonly a: number;
  readonly b: number;
}

/** The seed of a run's salt. */
export function seedOf(salt: string): Seed {
  const view = new DataView(sha256(utf8Bytes(`actguard grams ${salt}`)).buffer);
  return { a: view.getUint32(0) | 1, b: view.getUint32(4) };
}

/** Hashed pieces of one text or of several: sorted, or one bit for each value where they are many. */
export type Grams =
  { readonly kind: 'list'; readonly list: Uint32Array } | { readonly kind: 'bits'; readonly bits: Uint8Array };

/**
 * The pieces of texts that belong together: a value that is split over two of them is found too. Runs of fewer than four
 * letters or digits are kept as they stand alone (`13`), since no longer piece says that they were there.
 */
export function gramsOf(seed: Seed, texts: readonly string[]): Grams {
  const long = texts.reduce((sum, text) => sum + text.length, 0) > MAX_LISTED_GRAMS;
  const bits = long ? new Uint8Array(GRAM_VALUES / 8) : marks;
  const listed: number[] = [];
  const add = (gram: number): void => {
    const [at, bit] = [gram >> 3, 1 << (gram & 7)];
    const before = bits[at] ?? 0;
    if ((before & bit) !== 0) return;
    bits[at] = before | bit;
    if (!long) listed.push(gram);
  };
  let tail = '';
  for (const text of texts) {
    const bones = tail + skeleton(text);
    for (let i = 0; i + GRAM <= bones.length; i += 1) add(hashGram(seed, bones, i));
    tail = bones.slice(1 - GRAM);
    for (const short of shortRuns(text)) add(hashShort(seed, short));
  }
  if (long) return { kind: 'bits', bits };
  for (const gram of listed) marks[gram >> 3] = 0;
  return { kind: 'list', list: Uint32Array.from(listed).sort() };
}

/** Which pieces of a text were listed already; all zero between two uses. */
const marks = new Uint8Array(GRAM_VALUES / 8);

/** A value's pieces, made once and looked for in many texts. Every one of a group has to be there; any group will do. */
export type Pieces = readonly (readonly number[])[];

/** The pieces of a value's forms; a form without letters and digits has none and is never found. */
export function piecesOf(seed: Seed, forms: Iterable<string>): Pieces {
  const groups: number[][] = [];
  const seen = new Set<string>();
  for (const form of forms) {
    const bones = skeleton(form);
    if (bones.length === 0 || (bones.length >= GRAM && seen.has(bones))) continue;
    seen.add(bones);
    if (bones.length < GRAM) {
      groups.push(
        [hashShort(seed, bones)],
        [...shortRuns(form)].map((run) => hashShort(seed, run)),
      );
      continue;
    }
    const group: number[] = [];
    for (let i = 0; i + GRAM <= bones.length; i += 1) group.push(hashGram(seed, bones, i));
    groups.push(group);
  }
  return groups;
}

/** Whether all pieces of one of the forms are there. */
export function holds(grams: Grams, pieces: Pieces): boolean {
  return pieces.some((group) => group.length > 0 && group.every((gram) => has(grams, gram)));
}

/** The stretches of a text's skeleton of which every piece is there: where a value of the heap may stand inside it. */
export function stretches(grams: Grams, seed: Seed, text: string): string[] {
  const bones = skeleton(text);
  const found: string[] = [];
  let from = -1;
  for (let i = 0; i + GRAM <= bones.length + 1; i += 1) {
    const there = i + GRAM <= bones.length && has(grams, hashGram(seed, bones, i));
    if (there && from < 0) from = i;
    if (!there && from >= 0) {
      found.push(bones.slice(from, i + GRAM - 1));
      from = -1;
    }
  }
  return found;
}

/** Whether a text repeats so many letters in a row (at least) of what the pieces were made from. */
export function repeats(grams: Grams, seed: Seed, text: string, letters: number): boolean {
  const bones = skeleton(text);
  let row = 0;
  for (let i = 0; i + GRAM <= bones.length; i += 1) {
    row = has(grams, hashGram(seed, bones, i)) ? row + 1 : 0;
    if (row + GRAM - 1 >= letters) return true;
  }
  return false;
}

/** Pieces as bytes: a mark, then three bytes for each or the bits. */
export function packGrams(grams: Grams): Uint8Array {
  if (grams.kind === 'bits') {
    const bytes = new Uint8Array(1 + grams.bits.length);
    bytes[0] = 1;
    bytes.set(grams.bits, 1);
    return bytes;
  }
  const bytes = new Uint8Array(1 + 3 * grams.list.length);
  grams.list.forEach((gram, i) => bytes.set([gram >> 16, (gram >> 8) & 255, gram & 255], 1 + 3 * i));
  return bytes;
}

/** The pieces again. */
export function unpackGrams(bytes: Uint8Array): Grams {
  if (bytes[0] === 1) return { kind: 'bits', bits: bytes.subarray(1) };
  const list = new Uint32Array(Math.floor(Math.max(0, bytes.length - 1) / 3));
  for (let i = 0; i < list.length; i += 1) {
    const at = 1 + 3 * i;
    list[i] = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
  }
  return { kind: 'list', list };
}

/** Whether nothing is in them. */
export function isEmpty(grams: Grams): boolean {
  return grams.kind === 'list' && grams.list.length === 0;
}

function* shortRuns(text: string): Iterable<string> {
  for (const [run] of text.matchAll(/[\p{L}\p{N}]+/gu)) if (run.length < GRAM) yield skeleton(run);
}

function hashGram(seed: Seed, bones: string, at: number): number {
  let h = seed.b;
  for (let i = 0; i < GRAM; i += 1) h = Math.imul(h ^ bones.charCodeAt(at + i), seed.a) + 0x9e3779b9;
  return mix(h);
}

function hashShort(seed: Seed, run: string): number {
  let h = ~seed.b ^ run.length;
  for (let i = 0; i < run.length; i += 1) h = Math.imul(h ^ run.charCodeAt(i), seed.a) + 0x85ebca6b;
  return mix(h);
}

/** The last steps of MurmurHash3: every bit of the input moves every bit of the hash. */
function mix(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> (32 - GRAM_BITS);
}

function has(grams: Grams, gram: number): boolean {
  if (grams.kind === 'bits') return ((grams.bits[gram >> 3] ?? 255) & (1 << (gram & 7))) !== 0;
  let [low, high] = [0, grams.list.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    const found = grams.list[middle] ?? 0;
    if (found === gram) return true;
    if (found < gram) low = middle + 1;
    else high = middle - 1;
  }
  return false;
}
