/** The policies of a set by their ids, without checking them against any tools: for showing what decided long ago. */
import { policyToJson } from '@cedar-policy/cedar-wasm/nodejs';
import type { PolicyFile } from './policy-check.ts';
import { placeOf } from './policy-excerpt.ts';
import { normaliseText, splitPolicies } from './policy-split.ts';

/** A policy's text and where it stands. */
export interface PolicyText {
  readonly id: string;
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

/** In order of files and lines; what Cedar cannot parse is left out. */
export function policyTexts(files: readonly PolicyFile[]): PolicyText[] {
  return files.flatMap(({ name, text: raw }) => {
    const text = normaliseText(raw);
    return splitPolicies(name, text).pieces.flatMap((piece) => {
      const parsed = parse(piece.text);
      if (parsed === null) return [];
      const { line } = placeOf(text, piece.start);
      return [{ id: parsed ?? `${name}#${piece.number}`, file: name, line, text: piece.text }];
    });
  });
}

/** Its `@id`; undefined: it has none; null: it does not parse. */
function parse(text: string): string | undefined | null {
  try {
    const answer = policyToJson(text);
    return answer.type === 'success' ? (answer.json.annotations?.['id'] ?? undefined) : null;
  } catch {
    return null;
  }
}
