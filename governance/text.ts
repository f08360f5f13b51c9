/** Sizes of text, without an encoder: it runs in the workflow sandbox too. */
import type { Json } from './json.ts';

/** UTF-8 bytes of a text; a lone surrogate counts 3, as encoders write U+FFFD. */
export function utf8Length(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    if (unit < 0x800) bytes += 1;
    else if (unit >= 0xd800 && unit < 0xdc00 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) {
      bytes += 2; // a pair: four bytes for two units
      i += 1;
    } else bytes += 2;
  }
  return bytes;
}

/** A provider's framing of one tool result: ids, role, names. */
const RESULT_FRAMING_BYTES = 400;

/** At most so many bytes a tool result adds to a model's request: JSON as text inside JSON, with its framing. */
export function resultBytes(value: Json): number {
  return utf8Length(JSON.stringify(JSON.stringify(value))) + RESULT_FRAMING_BYTES;
}
