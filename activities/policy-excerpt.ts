/** Turns a finding in a policy file into a problem that a person can find: line, column, the line itself, a caret. */
import type { Problem } from '../governance/errors.ts';
import type { Finding } from './policy-split.ts';

/** Characters of a line shown around the place. */
const SHOWN_CHARS = 120;

/** Line and column of an offset, both from 1; the column counts characters. */
export function placeOf(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset);
  const lineStart = before.lastIndexOf('\n') + 1;
  return { line: before.split('\n').length, column: [...before.slice(lineStart)].length + 1 };
}

/** `refunds.cedar:3:12`, the problem, and the line with a caret under the place. */
export function problemAt(text: string, finding: Finding): Problem {
  const { line, column } = placeOf(text, finding.start);
  const problem = `${visible(finding.problem)}\n${excerpt(text, finding, line)}`;
  const where = `${visible(finding.file)}:${line}:${column}`;
  return finding.fix === undefined ? { where, problem } : { where, problem, fix: visible(finding.fix) };
}

/** A byte offset in UTF-8, as Cedar counts, as an offset in UTF-16 units. */
export function fromByteOffset(text: string, bytes: number): number {
  return Buffer.from(text, 'utf8').subarray(0, bytes).toString('utf8').length;
}

/** The closest of the known words, if it is close enough to be what was meant. */
export function closest(word: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase(), bestDistance);
    if (distance >= bestDistance) continue;
    best = candidate;
    bestDistance = distance;
  }
  return best;
}

/** `did you mean …`, or the known words. */
export function suggestion(word: string, known: readonly string[]): string {
  const near = closest(word, known);
  if (near !== undefined) return `did you mean \`${near}\`?`;
  if (known.length === 0) return 'there is none';
  return `there is ${known
    .slice(0, 12)
    .map((name) => `\`${name}\``)
    .join(', ')}${known.length > 12 ? ', …' : ''}`;
}

function excerpt(text: string, finding: Finding, line: number): string {
  const lineStart = text.lastIndexOf('\n', finding.start - 1) + 1;
  const newline = text.indexOf('\n', finding.start);
  const lineEnd = newline < 0 ? text.length : newline;
  const from = Math.max(lineStart, finding.start - SHOWN_CHARS / 2);
  const to = Math.min(lineEnd, from + SHOWN_CHARS);
  const before = visible(text.slice(from, finding.start));
  const marked = visible(text.slice(finding.start, Math.max(finding.start, Math.min(finding.end, to))));
  const after = visible(text.slice(finding.start, to));
  const number = String(line);
  const carets = '^'.repeat(Math.max(1, [...marked].length));
  return `    ${number} | ${before}${after}\n    ${' '.repeat(number.length)} | ${' '.repeat([...before].length)}${carets}`;
}

/** Tabs as a space, everything that moves the cursor or hides text as its number. */
function visible(text: string): string {
  return text
    .replace(/\t/g, ' ')
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, (c) =>
      c === '\n' ? c : `<U+${(c.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}>`,
    );
}

/** Levenshtein distance; may stop early at `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? limit;
}
