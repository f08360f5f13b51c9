/** What a call's arguments name: the values that provenance judges or that its output depends on (guards.md PV2, PV6). */
import { destinationsIn, shapesOf } from './destination.ts';
import { uncoded } from './disguise.ts';
import type { JsonObject } from './json.ts';
import { leavesOf, type Leaf } from './leaves.ts';
import { nounsOf, roleOf, singular } from './nouns.ts';
import type { Origin } from './provenance.ts';
import type { ArgumentTrust, ToolManifest } from './tool.ts';
import type { Sought } from './vouch.ts';

/** A value that an argument names. */
export interface Target {
  readonly argument: string;
  readonly value: string;
  /** As what it may be vouched for. */
  readonly sought: readonly Sought[];
  readonly mode: ArgumentTrust;
  /** Whether it is a destination that this call is judged by. */
  readonly judged: boolean;
  /** Whether it has to be a fact (`requires`). */
  readonly guarded: boolean;
  /** One of the values that the tool's author listed. */
  readonly byAuthor: boolean;
  /** Whether the output depends on it (PV6); `perhaps`: only where it was certainly a stranger's. */
  readonly lookup: 'sure' | 'perhaps' | 'no';
}

/** A longer text is not what something is looked up by. */
const MAX_LOOKUP_CHARS = 80;
const MAX_LOOKUP_WORDS = 5;

type Judged = Pick<ToolManifest, 'name' | 'effect' | 'reach' | 'requires' | 'proves' | 'trust' | 'inputJsonSchema'>;

/** Whether what a tool returns is worth more for better arguments (PV1): an untrusted output cannot get worse. */
function outputDepends({ proves, trust }: Judged): boolean {
  return proves.length > 0 || [trust.output, ...Object.values(trust.fields)].some((level) => level !== 'untrusted');
}

/** The targets of a call. Reads inside the house are judged by the arguments that `argumentTrust` names only. */
export function targetsOf(tool: Judged, args: JsonObject): Target[] {
  const leaves = tool.effect === 'write' || tool.reach === 'external';
  const depends = outputDepends(tool);
  return leavesOf(tool.inputJsonSchema, args).flatMap((leaf) => {
    const mode = Object.hasOwn(tool.trust.arguments, leaf.top) ? tool.trust.arguments[leaf.top] : undefined;
    const guarded = Object.hasOwn(tool.requires, leaf.top);
    const named = mode !== undefined;
    const value = String(leaf.value);
    if (value === '') return [];
    const whole = (sought: readonly Sought[], judged: boolean, lookup: Target['lookup']): Target => ({
      argument: leaf.top, value, sought, mode: mode ?? 'ask', judged, guarded, byAuthor: leaf.says === 'author', lookup,
    }); // prettier-ignore
    if (named || guarded) return [whole(soughtAs(leaf, tool), named || (leaves && isDestination(leaf)), 'sure')];
    if (leaf.says === 'author' || leaf.says === 'date' || leaf.says === 'plain') return [];
    if (isDestination(leaf)) return leaves || depends ? [whole(soughtAs(leaf, tool), leaves, 'sure')] : [];
    const inside = leaves ? linksOf(leaf, mode ?? 'ask') : [];
    const lookup = leaf.says === 'name' || !depends ? 'no' : lookupOf(leaf, value);
    return lookup === 'no' ? inside : [...inside, whole(soughtAs(leaf, tool), false, lookup)];
  });
}

/** Every text of the arguments, names of free fields and long numbers among them: what could give away something private. */
export function textsOf(args: JsonObject): string[] {
  return leavesOf(null, args).map(({ value }) => String(value)).filter((text) => text.length > 1); // prettier-ignore
}

/** Whether an origin is not good enough for a destination (PV4, PV7). */
export function isQuestioned(origin: Origin, mode: ArgumentTrust, tool: Pick<ToolManifest, 'effect'>): boolean {
  if (mode === 'allow') return false;
  if (origin === 'user') return false;
  if (mode === 'user') return true;
  return origin === 'model' || origin === 'untrusted' || (origin === 'internal' && tool.effect === 'write');
}

/** Pieces of an address that may have come from elsewhere: hosts, names before an @, segments, values of a query. */
export function partsOf(value: string): string[] {
  if (!/[@/:?&=]/.test(value)) return [];
  return value.split(/[@/:?&=#\s]+/).filter((part) => part.length >= 5 && !/^(?:https?|mailto|www)$/i.test(part));
}

function isDestination({ says }: Leaf): boolean {
  return says !== 'text' && says !== 'name' && says !== 'plain' && says !== 'date' && says !== 'author';
}

/** As what a whole argument may be vouched for: what its schema says, else every shape that it has. */
function soughtAs(leaf: Leaf, tool: Judged): Sought[] {
  const value = String(leaf.value);
  const guard = Object.hasOwn(tool.requires, leaf.top) ? tool.requires[leaf.top] : undefined;
  const nouns = [...nounsOf(leaf.field, leaf.parent, tool.name), ...(guard === undefined ? [] : [singular(guard)])];
  const id: Sought = { kind: 'id', value, nouns };
  const { says } = leaf;
  if (typeof leaf.value === 'number' && says !== 'id') return [{ kind: 'number', value, nouns }, ...(guard === undefined ? [] : [id])]; // prettier-ignore
  if (says === 'id') return [id];
  if (says !== 'text' && says !== 'author' && says !== 'name' && says !== 'plain' && says !== 'date') {
    return [{ kind: says, value, nouns }];
  }
  const shapes = shapesOf(value).map((kind) => ({ kind, value, nouns }));
  return [...shapes, id, ...(/\d/.test(value) ? [] : [{ kind: 'name' as const, value, nouns }])];
}

/** Links, addresses and account numbers inside free text, also where a browser reads more than stands there. */
function linksOf(leaf: Leaf, mode: ArgumentTrust): Target[] {
  const text = String(leaf.value);
  const plain = destinationsIn(text);
  const read = uncoded(text).flatMap(destinationsIn);
  const more = read.filter((one) => !plain.some(({ kind, value }) => kind === one.kind && value === one.value));
  return [...plain, ...more].map(({ kind, value }) => ({
    argument: leaf.top,
    value,
    sought: [{ kind, value, nouns: ['account'] }],
    mode,
    judged: true,
    guarded: false,
    byAuthor: false,
    lookup: 'no',
  }));
}

function lookupOf(leaf: Leaf, value: string): Target['lookup'] {
  const role = roleOf(leaf.field);
  if (role === 'free text') return 'no';
  if (value.length > MAX_LOOKUP_CHARS || value.split(/\s+/).length > MAX_LOOKUP_WORDS || /\n/.test(value)) return 'no';
  if (/^\d{4}-\d{2}(?:-\d{2}(?:[T ][\d:.]+(?:Z|[+-]\d{2}:?\d{2})?)?)?$/.test(value)) return 'no';
  return role === 'lookup' ? 'sure' : 'perhaps';
}
