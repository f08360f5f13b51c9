/**
 * Cuts the text of a policy file into policies. Cedar's own splitter loses order, comments and places; giving Cedar
 * one policy at a time also keeps a mistake in one from hiding the others.
 */
import { MAX_POLICY_CHAIN, MAX_POLICY_DEPTH, MAX_POLICY_TOKENS } from '../governance/limits.ts';

/** A word, string, number or sign; comments and space are left out. Offsets in UTF-16 units. */
export interface Token {
  readonly kind: 'word' | 'string' | 'number' | 'sign' | 'unclosed';
  readonly text: string;
  readonly start: number;
}

/** The text of one policy, from its first annotation to its semicolon. */
export interface Piece {
  readonly file: string;
  /** 1, 2, 3 … in the file. */
  readonly number: number;
  readonly text: string;
  /** Where the text starts in the file, in UTF-16 units. */
  readonly start: number;
  readonly tokens: readonly Token[];
}

/** Something wrong at a place of a file: offsets in UTF-16 units of the normalised text. */
export interface Finding {
  readonly file: string;
  readonly start: number;
  readonly end: number;
  readonly problem: string;
  readonly fix?: string;
}

const WORD = /[A-Za-z_][A-Za-z0-9_]*/y;
const NUMBER = /[0-9]+/y;
const SIGN = /::|==|!=|<=|>=|&&|\|\||[^]/uy;
const SKIP = /(?:\s+|\/\/[^\n]*)+/y;

/** Text as it is read and digested: no byte order mark, every line end a `\n` (Cedar ends a comment at `\r` too). */
export function normaliseText(text: string): string {
  return text.replace(/^\uFEFF/, '').replace(/\r\n?/g, '\n');
}

/** The tokens of Cedar text. An unclosed string is one token of kind `unclosed` up to the end. */
export function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < text.length) {
    const skipped = match(SKIP, text, at);
    at += skipped.length;
    if (at >= text.length) break;
    const token = tokenAt(text, at);
    tokens.push(token);
    at += token.text.length;
  }
  return tokens;
}

/** Policies in order of appearance; a last one without its semicolon is a finding. */
export function splitPolicies(file: string, text: string): { pieces: Piece[]; findings: Finding[] } {
  const pieces: Piece[] = [];
  const findings: Finding[] = hiddenCharacters(file, text);
  let open: Token[] = [];
  for (const token of tokensOf(text)) {
    open.push(token);
    if (token.kind !== 'sign' || token.text !== ';') continue;
    const piece = pieceOf(file, text, pieces.length + 1, open);
    pieces.push(piece);
    findings.push(...tooLarge(piece));
    open = [];
  }
  const unclosed = open.find((token) => token.kind === 'unclosed');
  if (unclosed)
    findings.push({
      file,
      start: unclosed.start,
      end: unclosed.start + 1,
      problem: 'string without its closing quote',
    });
  else if (open[0]) {
    const last = open.at(-1) ?? open[0];
    const fix = 'end the policy with `;`';
    findings.push({
      file,
      start: last.start,
      end: last.start + last.text.length,
      problem: 'policy without a semicolon at its end',
      fix,
    });
  }
  return { pieces, findings };
}

function pieceOf(file: string, text: string, number: number, tokens: readonly Token[]): Piece {
  const start = tokens[0]?.start ?? 0;
  const end = (tokens.at(-1)?.start ?? start) + 1;
  const shifted = tokens.map((token) => ({ ...token, start: token.start - start }));
  return { file, number, start, text: text.slice(start, end), tokens: shifted };
}

function match(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? '';
}

function tokenAt(text: string, start: number): Token {
  if (text[start] === '"') {
    let end = start + 1;
    while (end < text.length && text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
    if (end >= text.length) return { kind: 'unclosed', text: text.slice(start), start };
    return { kind: 'string', text: text.slice(start, end + 1), start };
  }
  const word = match(WORD, text, start);
  if (word) return { kind: 'word', text: word, start };
  const number = match(NUMBER, text, start);
  if (number) return { kind: 'number', text: number, start };
  return { kind: 'sign', text: match(SIGN, text, start), start };
}

/** Characters that make a policy read as another one than it is: controls, text direction, zero width. */
const HIDDEN = /(?![\t\n])[\p{Cc}\u061C\u200B\u200E\u200F\u202A-\u202E\u2060\u2066-\u2069\uFEFF]/gu;

function hiddenCharacters(file: string, text: string): Finding[] {
  const fix = 'remove it; in a string write `\\u{...}`';
  return [...text.matchAll(HIDDEN)].map(({ index, 0: found }) => ({
    file,
    start: index,
    end: index + found.length,
    problem: `hidden character \`${found}\``,
    fix,
  }));
}

/** What would exhaust the stack of Cedar's parser, which does not recover from it. */
function tooLarge(piece: Piece): Finding[] {
  let depth = 0;
  let chain = 0;
  let signs = 0;
  let ifs = 0;
  for (const [index, { kind, text, start }] of piece.tokens.entries()) {
    if (kind === 'sign' && '([{'.includes(text)) depth += 1;
    if (kind === 'sign' && ')]}'.includes(text)) depth = Math.max(0, depth - 1);
    if (kind === 'word' && text === 'if') ifs += 1;
    if (kind === 'sign' && '+-*!'.includes(text)) signs += 1;
    if (kind === 'sign' && (text === '.' || text === '[')) chain += 1;
    else if (kind === 'sign' && !'()]'.includes(text)) chain = 0;
    const over =
      depth > MAX_POLICY_DEPTH
        ? `nested deeper than ${MAX_POLICY_DEPTH}`
        : chain > MAX_POLICY_CHAIN
          ? `a chain of more than ${MAX_POLICY_CHAIN} names`
          : ifs > MAX_POLICY_CHAIN
            ? `more than ${MAX_POLICY_CHAIN} times \`if\``
            : signs > MAX_POLICY_CHAIN
              ? `more than ${MAX_POLICY_CHAIN} arithmetic signs`
              : index >= MAX_POLICY_TOKENS
                ? `longer than ${MAX_POLICY_TOKENS} words and signs`
                : null;
    if (over === null) continue;
    const at = piece.start + start;
    return [
      {
        file: piece.file,
        start: at,
        end: at + text.length,
        problem: `policy is too large: ${over}`,
        fix: 'split it into several policies',
      },
    ];
  }
  return [];
}
