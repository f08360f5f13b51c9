/** Foreign text as people see it: nothing in it may hide, reorder or pass for something else. */
import { escapeHidden } from './denial.ts';

/** Text with control, bidi and zero-width characters, and letters of a second script inside a word, as \uXXXX. */
export function visible(text: string): string {
  return escapeHidden(text).replace(/[\p{L}\p{M}\p{N}]+/gu, (word) => {
    if (
      !/\p{Script=Latin}/u.test(word) ||
      !/[\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Armenian}\p{Script=Cherokee}]/u.test(word)
    )
      return word;
    return [...word].map((c) => (/[\p{Script=Latin}\p{N}]/u.test(c) ? c : escapeLetter(c))).join('');
  });
}

/** The same, line by line: a line break stays one. */
export function visibleLines(text: string): string[] {
  return text.split('\n').map(visible);
}

function escapeLetter(letter: string): string {
  return `\\u{${letter.codePointAt(0)?.toString(16) ?? ''}}`;
}
