/** The ways in which a value is hidden: encodings, spelling, order. Made on the small side of a match: the value's. */
import { toBase64 } from './base64.ts';
import { utf8Bytes } from './digest.ts';

/** A longer value is not hidden letter by letter; its encodings are not made. */
const MAX_DISGUISED_CHARS = 512;

/** A value as a text may write it: itself, hex, base64 at any offset, codes of characters, spelled out, backwards, ROT13. */
export function disguisesOf(value: string): string[] {
  if (value.length > MAX_DISGUISED_CHARS || !value.isWellFormed()) return [value];
  const forms = new Set([value, value.toLowerCase(), value.toUpperCase()]);
  const found = new Set([value, [...value].reverse().join(''), rot13(value), spelled(value)]);
  for (const form of forms) {
    const bytes = utf8Bytes(form);
    found.add(hexOf(bytes));
    for (const text of base64Cores(bytes)) found.add(text);
    found.add([...form].map((c) => c.codePointAt(0)).join(' '));
    found.add([...form].map((c) => `u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''));
  }
  for (const decoded of decodingsOf(value)) found.add(decoded);
  // percent-encoding leaves most letters as they are
  found.add(encodeURIComponent(value));
  return [...found].filter((text) => text !== '');
}

/** A text with its codes of characters read (percent, HTML, backslash), where it has some. */
export function uncoded(text: string): string[] {
  const found: string[] = [];
  if (/%[0-9a-f]{2}/i.test(text)) found.push(percentDecoded(text));
  if (/&(?:#x?[0-9a-f]+|[a-z]+);/i.test(text)) found.push(entitiesDecoded(text));
  if (/\\[ux][0-9a-f]{2}/i.test(text)) found.push(escapesDecoded(text));
  return found.filter((decoded) => decoded !== text);
}

/**
 * Base64 in a text, read: of a short value no piece is long enough to be looked for encoded. Words of letters alone are
 * left out, and what does not decode to readable text.
 */
export function unpacked(text: string): string[] {
  return [...text.matchAll(/(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{6,4096}={0,2}/g)].flatMap(([run]) => {
    if (!run.endsWith('=') && !(/\d/.test(run) && /[a-z]/.test(run) && /[A-Z]/.test(run))) return [];
    return readable(lenientBase64(run)) ?? [];
  });
}

/** What stands encoded in a text: percent, base64, hex, codes of characters; only what decodes to readable text. */
export function decodingsOf(text: string): string[] {
  const found: string[] = [];
  const keep = (decoded: string | null): void => {
    if (decoded !== null && decoded !== text && decoded.trim() !== '') found.push(decoded);
  };
  for (const decoded of uncoded(text)) keep(decoded);
  for (const [run] of text.matchAll(/(?:[0-9a-f]{2}[\s:,-]?){4,}/gi)) {
    const digits = run.replace(/[^0-9a-f]/gi, '');
    keep(readable(Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16))));
  }
  for (const [run] of text.matchAll(/[A-Za-z0-9+/_-]{8,}={0,2}/g)) keep(readable(lenientBase64(run)));
  return found;
}

function spelled(value: string): string {
  return value.replaceAll('@', ' at ').replaceAll('.', ' dot ');
}

function rot13(value: string): string {
  return value.replace(/[a-z]/gi, (c) => {
    const base = c <= 'Z' ? 65 : 97;
    return String.fromCharCode(((c.charCodeAt(0) - base + 13) % 26) + base);
  });
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Base64 of the bytes where they begin at offset 0, 1 or 2 of a group, without the letters that neighbours change. */
function base64Cores(bytes: Uint8Array): string[] {
  return [0, 1, 2].flatMap((offset) => {
    const text = toBase64(Uint8Array.from([...new Uint8Array(offset), ...bytes]));
    const core = text.slice(offset === 0 ? 0 : offset + 1, text.length - (text.endsWith('=') ? 4 : 0));
    // a core that is too short would be found anywhere
    return core.length >= 6 ? [core] : [];
  });
}

function percentDecoded(text: string): string {
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (run) => {
    const bytes = Uint8Array.from(run.match(/[0-9a-f]{2}/gi) ?? [], (pair) => parseInt(pair, 16));
    return readable(bytes) ?? run;
  });
}

/** HTML's names of the characters that addresses are made of; a browser drops line ends and tabs inside one. */
const NAMED: { readonly [name: string]: string } = {
  colon: ':', sol: '/', bsol: '\\', period: '.', commat: '@', amp: '&', quest: '?', equals: '=', lowbar: '_', dash: '-', Tab: '', NewLine: '',
}; // prettier-ignore

function entitiesDecoded(text: string): string {
  return text.replace(/&(?:#(x?)([0-9a-f]+)|([a-z]+));/gi, (whole, hex?: string, digits?: string, name?: string) => {
    if (name !== undefined) return Object.hasOwn(NAMED, name) ? (NAMED[name] ?? whole) : whole;
    const code = parseInt(digits ?? '', hex === '' ? 10 : 16);
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}

function escapesDecoded(text: string): string {
  return text.replace(/\\u([0-9a-f]{4})|\\x([0-9a-f]{2})/gi, (_whole, wide?: string, narrow?: string) =>
    String.fromCharCode(parseInt(wide ?? narrow ?? '0', 16)),
  );
}

const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** Base64 as people write it: either alphabet, with or without padding. */
function lenientBase64(run: string): Uint8Array {
  const letters = run.replace(/=+$/, '').replaceAll('-', '+').replaceAll('_', '/');
  const bytes: number[] = [];
  let [bits, held] = [0, 0];
  for (const letter of letters) {
    held = (held << 6) | BASE64.indexOf(letter);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((held >> bits) & 255);
    held &= (1 << bits) - 1;
  }
  return Uint8Array.from(bytes);
}

/** Bytes as text, where they are UTF-8 without control characters. */
function readable(bytes: Uint8Array): string | null {
  if (bytes.length < 3)
    return bytes.length > 0 && bytes.every((b) => b >= 32 && b < 127) ? String.fromCharCode(...bytes) : null;
  let text = '';
  try {
    text = decodeURIComponent(Array.from(bytes, (b) => `%${b.toString(16).padStart(2, '0')}`).join(''));
  } catch {
    return null;
  }
  return /[\p{Cc}\p{Co}\p{Cn}]/u.test(text.replace(/[\n\r\t]/g, '')) ? null : text;
}
