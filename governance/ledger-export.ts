/**
 * Exports of the sealed ledger: a line that says what it is, with the signed checkpoint, then a line for each leaf in the
 * tree's order: the entry's bytes as text, or, where they are another tenant's, the bare leaf hash.
 */
import { fromBase64, toBase64 } from './base64.ts';
import { goneKey } from './content.ts';
import { commitment, digestOf, utf8Bytes } from './digest.ts';
import type { Json, JsonObject } from './json.ts';
import { MAX_NOTE_BYTES } from './limits.ts';
import { HASH_BYTES } from './merkle.ts';
import { type Parsed, parsing, refuse } from './strict.ts';

/** First field of every export. */
export const EXPORT_KIND = 'actguard.ledger.export';

/** The first line. */
export interface ExportHead {
  readonly origin: string;
  /** Whose entries are in full; null: everybody's. */
  readonly tenant: string | null;
  /** Leaves, and lines after this one. */
  readonly size: number;
  /** Whether what lies beside entries is in it: arguments, outputs, envelopes, with their salts. */
  readonly contents: boolean;
  /** The signed note. */
  readonly checkpoint: string;
}

/** A leaf: an entry's text (its UTF-8 bytes are the leaf), or a hash. */
export type ExportLeaf =
  | { readonly index: number; readonly body: string; readonly content: JsonObject | null }
  | { readonly index: number; readonly hash: Uint8Array };

/** The first line, without line end. */
export function writeExportHead(head: ExportHead): string {
  const { origin, tenant, size, contents, checkpoint } = head;
  return JSON.stringify({ kind: EXPORT_KIND, v: 1, origin, tenant, size, contents, checkpoint });
}

/** The line of a leaf, without line end. */
export function writeExportLeaf(leaf: ExportLeaf): string {
  if ('hash' in leaf) return JSON.stringify({ index: leaf.index, hash: toBase64(leaf.hash) });
  const { index, body, content } = leaf;
  return JSON.stringify({ index, body, ...(content === null ? {} : { content }) });
}

/** Reads the first line: `invalid` means that this is no export that this version reads. */
export function parseExportHead(line: string): Parsed<ExportHead> {
  return parsing(() => {
    if (line.length > 4 * MAX_NOTE_BYTES) return refuse('the first line is too long');
    const h = objectOf(line, ['kind', 'v', 'origin', 'tenant', 'size', 'contents', 'checkpoint'], []);
    if (h['kind'] !== EXPORT_KIND) return refuse('the file is no export of a ledger');
    if (h['v'] !== 1) return refuse('the export is of a version that is not known here');
    const { origin, tenant, size, contents, checkpoint } = h;
    const sound = typeof origin === 'string' && (tenant === null || typeof tenant === 'string');
    if (!sound || typeof checkpoint !== 'string' || typeof contents !== 'boolean')
      return refuse('the head is malformed');
    if (!Number.isSafeInteger(size) || (size as number) < 0) return refuse('the size is no whole number');
    return { origin, tenant, size: size as number, contents, checkpoint };
  });
}

/** Reads the line of a leaf. */
export function parseExportLeaf(line: string): Parsed<ExportLeaf> {
  return parsing(() => {
    const l = objectOf(line, ['index'], ['body', 'hash', 'content']);
    const { index, body, hash, content } = l;
    if (!Number.isSafeInteger(index)) return refuse('the index is no whole number');
    if (typeof body === 'string' && hash === undefined) {
      if (!body.isWellFormed()) return refuse('the entry holds half of a surrogate pair');
      const lies = typeof content === 'object' && content !== null && !Array.isArray(content);
      if (content !== undefined && !lies) return refuse('the content is no object');
      return { index: index as number, body, content: lies ? (content as JsonObject) : null };
    }
    const bytes = typeof hash === 'string' && body === undefined ? fromBase64(hash) : null;
    if (bytes?.length !== HASH_BYTES || content !== undefined) return refuse('it is neither an entry nor a leaf hash');
    return { index: index as number, hash: bytes };
  });
}

/** How what lies beside an entry compares with what the entry commits to. */
export type ContentVerdict = 'whole' | 'erased' | { readonly changed: string } | { readonly unreadable: string };

/**
 * Checks content against its entry: `<name>Commitment` opens by `<name>` and `<name>Salt`, `<name>Sha256` is the
 * digest of `<name>`. What is absent was erased, or is sealed by a key that is gone; what is there and does not fit was
 * changed.
 */
export function checkContent(entry: JsonObject, content: JsonObject | null): ContentVerdict {
  const data = (entry['data'] ?? {}) as JsonObject;
  // what does not count is not kept, only its digest is; an erasure's command stands in the entry itself
  const keepsEnvelope = !String(entry['kind']).endsWith('.invalid') && data['envelope'] === undefined;
  const gone = goneKey(content);
  let erased = false;
  for (const [field, expected] of Object.entries(data)) {
    const [, name, how] = /^(\w+?)(Commitment|Sha256)$/.exec(field) ?? [];
    if (name === undefined || (how === 'Sha256' && !(keepsEnvelope && name === 'envelope'))) continue;
    const value = content?.[name];
    if (value === undefined && gone?.damaged !== undefined) return { changed: name };
    if (value === undefined) erased = true;
    else if (!opens(value, how === 'Commitment' ? content?.[`${name}Salt`] : null, expected)) return { changed: name };
  }
  if (erased && gone?.unreadable !== undefined) return { unreadable: gone.unreadable };
  return erased ? 'erased' : 'whole';
}

function opens(value: Json, salt: Json | undefined, expected: Json | undefined): boolean {
  const actual = parsing(() => (salt === null ? digestOf(value) : commitment(String(salt), value)));
  return actual.kind === 'ok' && actual.value === expected;
}

/** The bytes of a leaf: what was sealed. */
export function leafBytes(body: string): Uint8Array {
  return utf8Bytes(body);
}

function objectOf(line: string, needed: readonly string[], may: readonly string[]): { [field: string]: unknown } {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return refuse('a line is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return refuse('a line is no object');
  for (const field of needed) if (!Object.hasOwn(value, field)) return refuse(`\`${field}\` is missing`);
  const more = Object.keys(value).find((field) => !needed.includes(field) && !may.includes(field));
  return more === undefined
    ? (value as { [field: string]: unknown })
    : refuse('a line has fields that it may not have');
}
