/** Rules that engineers write on arguments: those of governance, and patterns in linear time (guards.md RU2). */
import { RE2JS } from 're2js';
import type { Rule } from '../governance/rules.ts';
import { Checks, quote } from './check.ts';

export { atLeast, atMost, between, maxItems, maxLength, notOneOf, oneOf, startsWith } from '../governance/rules.ts';
export type { Rule } from '../governance/rules.ts';

/** What `\s` means in a RegExp (ECMA-262 WhiteSpace and LineTerminator); in RE2 it is ASCII only. */
const SPACES =
  '\\t\\n\\v\\f\\r \\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}\\x{feff}';

/**
 * Refuses text in which the pattern is found. A RegExp may carry the flags i, m and s; text is RE2 syntax.
 * Backreferences and lookarounds cannot run in linear time and are refused.
 *
 * @throws CONFIG_INVALID when the pattern cannot run in linear time
 * @example rules: { path: forbidPattern(/\.\./) }
 */
export function forbidPattern(pattern: RegExp | string): Rule {
  const find = compile('forbidPattern', pattern);
  return { label: label('forbidPattern', pattern), of: 'string', test: (v) => typeof v === 'string' && !find(v) };
}

/**
 * Refuses text in which the pattern is not found; anchor it with `^` and `$` to judge the whole text.
 *
 * @throws CONFIG_INVALID when the pattern cannot run in linear time
 * @example rules: { iban: requirePattern(/^[A-Z]{2}\d{2}[A-Z0-9]+$/) }
 */
export function requirePattern(pattern: RegExp | string): Rule {
  const find = compile('requirePattern', pattern);
  return { label: label('requirePattern', pattern), of: 'string', test: (v) => typeof v === 'string' && find(v) };
}

function label(name: string, pattern: RegExp | string): string {
  return `${name}(${typeof pattern === 'string' ? JSON.stringify(pattern) : String(pattern)})`;
}

function compile(name: string, pattern: RegExp | string): (text: string) => boolean {
  const checks = new Checks(`rule ${quote(name)}`);
  const compiled = tryCompile(checks, pattern);
  checks.done();
  return (text) => compiled?.matcher(text).find() ?? false;
}

function tryCompile(checks: Checks, pattern: unknown): RE2JS | undefined {
  if (typeof pattern !== 'string' && !(pattern instanceof RegExp)) {
    checks.add('pattern', `must be a RegExp or text, not ${quote(pattern)}`);
    return undefined;
  }
  const source = typeof pattern === 'string' ? pattern : translate(pattern);
  if (source === '' || source === '(?:)') {
    checks.add('pattern', 'is empty: it is found in every text');
    return undefined;
  }
  const flags = typeof pattern === 'string' ? '' : pattern.flags.replace(/[gy]/g, '');
  const unknown = [...flags].filter((flag) => !'imsu'.includes(flag)).join('');
  if (unknown !== '') checks.add('pattern', `has flags ${quote(unknown)}`, 'only the flags i, m and s are understood');
  if (pattern instanceof RegExp && pattern.sticky)
    checks.add('pattern', 'has the flag `y`', 'anchor it with ^ instead');
  const bits =
    (flags.includes('i') ? RE2JS.CASE_INSENSITIVE : 0) |
    (flags.includes('m') ? RE2JS.MULTILINE : 0) |
    (flags.includes('s') ? RE2JS.DOTALL : 0);
  try {
    return RE2JS.compile(source, bits);
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^error parsing regexp: /, '').replaceAll('`', '') : '';
    const fix = 'write it without backreferences, lookaheads and lookbehinds (RE2 syntax)';
    checks.add('pattern', `${quote(String(pattern))} cannot run in linear time: ${quote(why)}`, fix);
    return undefined;
  }
}

/** A RegExp's source in RE2 syntax: `\s`, `\uXXXX`, `\cX` and `[^]` mean what they mean in a RegExp. */
function translate(pattern: RegExp): string {
  let inClass = false;
  return pattern.source.replace(
    /\\u\{([0-9a-fA-F]+)\}|\\u([0-9a-fA-F]{4})|\\c([A-Za-z])|\\[\s\S]|\[\^?\]?|\]/g,
    (token, ...groups) => {
      const [braced, four, control] = groups as (string | undefined)[];
      const hex = (pattern.unicode ? braced : undefined) ?? four;
      if (hex !== undefined) return `\\x{${hex}}`;
      if (control !== undefined) return `\\x{${(control.charCodeAt(0) % 32).toString(16)}}`;
      if (token === '\\s') return inClass ? SPACES : `[${SPACES}]`;
      if (token === '\\S' && !inClass) return `[^${SPACES}]`;
      if (token.startsWith('\\')) return token;
      if (token === ']') inClass = false;
      else if (inClass) return token.replaceAll('[', '\\[');
      else if (token === '[^]') return '(?s:.)';
      else if (token !== '[]') inClass = true;
      return token;
    },
  );
}
