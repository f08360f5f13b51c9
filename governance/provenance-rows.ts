/**
 * What a run remembers of a call for provenance: rows of hashes, written with the outcome. An output vouches by its whole
 * fields where it is trusted, taints by every piece where it is not (guards.md PV1, PV3, PV5, PV7).
 */
import type { Fact } from './call.ts';
import { destinationsIn } from './destination.ts';
import { uncoded, unpacked } from './disguise.ts';
import type { Json, JsonObject } from './json.ts';
import { leavesOf, type Leaf } from './leaves.ts';
import { privateTokens, worse, type Origin, type Seen } from './provenance.ts';
import { gramsOf, isEmpty, packGrams, type Seed } from './taint.ts';
import type { ToolManifest, TrustOptions } from './tool.ts';
import { fieldTokens, soughtTokens, tokenHash, tokenOf, TOKEN_BYTES } from './vouch.ts';

/** A row as it is stored. */
export interface ProvenanceRow {
  readonly level: Seen['level'];
  readonly words: boolean;
  /** Hashed tokens, {@link TOKEN_BYTES} each. */
  readonly tokens: Uint8Array;
  /** Packed pieces; null: none. */
  readonly grams: Uint8Array | null;
}

/** Under what the hashes of a run are made. */
export interface RunSalt {
  readonly salt: string;
  readonly seed: Seed;
}

/** What of a tool says how its output is worth. */
export type Worth = Pick<ToolManifest, 'name' | 'trust'> & {
  /** Proven fields -> kind of fact; a function or null: none by name. */
  readonly proves: { readonly [field: string]: string } | ((output: never) => unknown) | null;
  readonly outputJsonSchema: JsonObject | null;
};

/** A number of fewer digits stands everywhere. */
const MIN_NUMBER_DIGITS = 2;

interface Heap {
  readonly tokens: Set<string>;
  readonly texts: string[];
  /** Behind the texts: a value that is split over two fields has no name of a field in it. */
  readonly names: string[];
  words: boolean;
}

/**
 * The rows of an output.
 *
 * @param lookups the worst origin of what the call looked things up by: the output is no better (PV1)
 * @param facts what the output proved: values that count as trusted, unless a stranger named what was looked up (FA3)
 */
export function outputRows(
  tool: Worth,
  output: Json,
  lookups: Origin,
  facts: readonly Fact[],
  run: RunSalt,
): ProvenanceRow[] {
  const heaps = new Map<Seen['level'], Heap>();
  const heapOf = (level: Seen['level']): Heap => {
    const heap = heaps.get(level) ?? { tokens: new Set<string>(), texts: [], names: [], words: false };
    heaps.set(level, heap);
    return heap;
  };
  for (const leaf of leavesOf(tool.outputJsonSchema, output)) {
    const proved = provedKind(tool, leaf);
    put(heapOf, leaf, levelOf(tool.trust, leaf, proved, lookups), tool.name, proved);
    if (leaf.says !== 'name' && tool.trust.private.includes(leaf.top)) hide(heapOf('private'), leaf);
  }
  for (const fact of facts) {
    if (fact.untrusted === true) continue;
    const nouns = [fact.kind.toLowerCase()];
    for (const token of soughtTokens({ kind: 'id', value: fact.value, nouns })) heapOf('trusted').tokens.add(token);
  }
  return rowsOf(heaps, run);
}

/** The row of a failure's text: a stranger may have worded it. */
export function errorRows(tool: Pick<ToolManifest, 'trust'>, message: string, run: RunSalt): ProvenanceRow[] {
  if (tool.trust.output === 'trusted') return [];
  const level = tool.trust.output;
  return rowsOf(new Map([[level, { tokens: new Set<string>(), texts: [message], names: [], words: true }]]), run);
}

/** The row of a call's arguments: the model's words count as the user's as long as it has seen nothing untrusted (PV6). */
export function argumentRows(
  tool: Pick<ToolManifest, 'name' | 'inputJsonSchema'>,
  args: JsonObject,
  run: RunSalt,
): ProvenanceRow[] {
  // prettier-ignore
  const tokens = new Set<string>();
  for (const leaf of leavesOf(tool.inputJsonSchema, args)) {
    if (leaf.says === 'author') continue;
    for (const token of fieldTokens(leaf, tool.name, null)) tokens.add(token);
    for (const found of leaf.says === 'text' ? destinationsIn(String(leaf.value)) : []) {
      tokens.add(tokenOf(found.kind, found.value));
    }
  }
  return rowsOf(new Map([['user', { tokens, texts: [], names: [], words: true }]]), run);
}

/** Whether what a call proved was looked up by what a stranger named (FA3); kinds of declassified fields are not. */
export function isShaky(tool: Worth, kind: string, lookups: Origin): boolean {
  if (lookups !== 'untrusted') return false;
  if (tool.proves === null || typeof tool.proves === 'function') return true;
  const fields = Object.entries(tool.proves).filter(([, one]) => one === kind);
  return !fields.every(([field]) => Object.hasOwn(tool.trust.declassify, field));
}

function provedKind(tool: Worth, leaf: Leaf): string | null {
  const own = leaf.field === leaf.top && leaf.says !== 'name';
  if (!own || tool.proves === null || typeof tool.proves === 'function') return null;
  return Object.hasOwn(tool.proves, leaf.top) ? (tool.proves[leaf.top] ?? null) : null;
}

function levelOf(trust: TrustOptions, leaf: Leaf, proved: string | null, lookups: Origin): Origin {
  if (leaf.top !== '' && Object.hasOwn(trust.declassify, leaf.top)) return 'trusted';
  if (proved !== null) return lookups === 'untrusted' ? 'untrusted' : 'trusted';
  const said = Object.hasOwn(trust.fields, leaf.top) ? trust.fields[leaf.top] : undefined;
  return worse(said ?? trust.output, lookups);
}

function put(
  heapOf: (level: Seen['level']) => Heap,
  leaf: Leaf,
  level: Origin,
  tool: string,
  proved: string | null,
): void {
  const text = String(leaf.value);
  switch (level) {
    case 'user':
    case 'trusted':
      for (const token of fieldTokens(leaf, tool, proved)) heapOf('trusted').tokens.add(token);
      return;
    case 'internal':
      for (const token of fieldTokens(leaf, tool, proved)) heapOf('internal').tokens.add(token);
      for (const { kind, value } of destinationsIn(text)) heapOf('internal').tokens.add(tokenOf(kind, value));
      heapOf('internal').texts.push(text);
      return;
    case 'untrusted': {
      // what the author listed nobody outside has worded
      if (leaf.says === 'author' || typeof leaf.value === 'boolean') return;
      const number = typeof leaf.value === 'number';
      if (number && text.length < MIN_NUMBER_DIGITS) return;
      const heap = heapOf('untrusted');
      (leaf.says === 'name' ? heap.names : heap.texts).push(text);
      heap.words ||= !number && leaf.says !== 'date' && text !== '';
      return;
    }
    case 'model':
      return; // nobody's word: it vouches for nothing and taints nothing
    default:
      return level satisfies never;
  }
}

function hide(heap: Heap, leaf: Leaf): void {
  for (const token of privateTokens(String(leaf.value), false)) heap.tokens.add(token);
  if (typeof leaf.value !== 'boolean') heap.texts.push(String(leaf.value));
}

function rowsOf(heaps: ReadonlyMap<Seen['level'], Heap>, { salt, seed }: RunSalt): ProvenanceRow[] {
  return [...heaps].flatMap(([level, heap]) => {
    const tokens = new Uint8Array(heap.tokens.size * TOKEN_BYTES);
    [...heap.tokens].forEach((token, i) => tokens.set(tokenHash(salt, token), i * TOKEN_BYTES));
    const plain = [...heap.texts, ...heap.names];
    const decoded = plain.flatMap((text) => [...uncoded(text), ...(level === 'untrusted' ? unpacked(text) : [])]);
    const grams = plain.length === 0 ? null : gramsOf(seed, [...plain, ...decoded]);
    const kept = grams === null || isEmpty(grams) ? null : packGrams(grams);
    if (tokens.length === 0 && kept === null && !heap.words) return [];
    return [{ level, words: heap.words, tokens, grams: kept }];
  });
}
