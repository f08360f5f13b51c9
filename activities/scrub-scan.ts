/**
 * Finds many patterns in a text at once, without regard to the case of ASCII letters: Wu and Manber, "A fast algorithm
 * for multi-pattern searching" (1994), with blocks of three characters. A text without a pattern is read in steps of
 * about ten characters, so a megabyte takes a few milliseconds whatever the number of patterns.
 */
import { fold } from './secret-forms.ts';

/** A piece of text, from (inclusive) to (exclusive). */
export interface Span {
  readonly from: number;
  readonly to: number;
}

const BLOCK = 3;
const TABLE_BITS = 17;
/** Patterns are compared by at most this many of their first characters before they are compared as a whole. */
const WINDOW = 12;

/** A set of patterns that grows. */
export class Scanner {
  readonly #patterns = new Set<string>();
  #window = WINDOW;
  #longest = 0;
  #shifts = new Uint8Array(1 << TABLE_BITS).fill(WINDOW - BLOCK + 1);
  #buckets = new Map<number, string[]>();
  /** Patterns by their first block, and what is shorter than a block: how one begins. */
  readonly #heads = new Map<string, string[]>();

  /** Characters of the longest pattern; 0: there is none. */
  get longest(): number {
    return this.#longest;
  }

  /** @param pattern folded, at least BLOCK characters */
  add(pattern: string): void {
    if (pattern.length < BLOCK || this.#patterns.has(pattern)) return;
    this.#patterns.add(pattern);
    this.#longest = Math.max(this.#longest, pattern.length);
    for (let length = 1; length <= BLOCK; length += 1) {
      const head = pattern.slice(0, length);
      const known = this.#heads.get(head);
      if (known === undefined) this.#heads.set(head, [pattern]);
      else if (length === BLOCK) known.push(pattern);
    }
    if (pattern.length >= this.#window) return this.#insert(pattern);
    this.#window = pattern.length;
    this.#shifts.fill(this.#window - BLOCK + 1);
    this.#buckets = new Map();
    for (const known of this.#patterns) this.#insert(known);
  }

  /** Where patterns stand; overlapping ones are one span. `first`: ends with the first one. */
  find(text: string, first = false): Span[] {
    const spans: Span[] = [];
    if (this.#patterns.size === 0) return spans;
    const window = this.#window;
    const shifts = this.#shifts;
    let last: { from: number; to: number } | undefined;
    for (let end = window - 1; end < text.length;) {
      const hash = hashAt(text, end);
      const shift = shifts[hash] as number;
      if (shift > 0) {
        end += shift;
        continue;
      }
      const from = end - window + 1;
      const to = from + this.#longestAt(text, from, hash);
      end += 1;
      if (to === from) continue;
      if (last && from < last.to) last.to = Math.max(last.to, to);
      else spans.push((last = { from, to }));
      if (first) break;
    }
    return spans;
  }

  /** Length of the end of a text that could be the beginning of a pattern: what a cut or a stream has to hold back. */
  pending(text: string): number {
    const tail = fold(text.slice(Math.max(0, text.length - this.#longest + 1)));
    for (let from = 0; from < tail.length; from += 1) {
      const rest = tail.slice(from);
      for (const pattern of this.#heads.get(rest.slice(0, BLOCK)) ?? []) {
        if (pattern.length > rest.length && pattern.startsWith(rest)) return rest.length;
      }
    }
    return 0;
  }

  #insert(pattern: string): void {
    const window = this.#window;
    for (let end = BLOCK - 1; end < window; end += 1) {
      const hash = hashAt(pattern, end);
      this.#shifts[hash] = Math.min(this.#shifts[hash] as number, window - 1 - end);
    }
    const hash = hashAt(pattern, window - 1);
    const bucket = this.#buckets.get(hash);
    if (bucket) bucket.push(pattern);
    else this.#buckets.set(hash, [pattern]);
  }

  #longestAt(text: string, from: number, hash: number): number {
    let longest = 0;
    for (const pattern of this.#buckets.get(hash) ?? []) {
      if (pattern.length > longest && startsAt(text, from, pattern)) longest = pattern.length;
    }
    return longest;
  }
}

function startsAt(text: string, from: number, pattern: string): boolean {
  if (from + pattern.length > text.length) return false;
  for (let i = 0; i < pattern.length; i += 1) {
    if (folded(text.charCodeAt(from + i)) !== pattern.charCodeAt(i)) return false;
  }
  return true;
}

/** Of the block that ends at `end`. */
function hashAt(text: string, end: number): number {
  const a = folded(text.charCodeAt(end - 2));
  const b = folded(text.charCodeAt(end - 1));
  const c = folded(text.charCodeAt(end));
  return (Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b) ^ Math.imul(c, 0xc2b2ae35)) >>> (32 - TABLE_BITS);
}

function folded(code: number): number {
  return code >= 65 && code <= 90 ? code | 32 : code;
}
