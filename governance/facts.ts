/** Facts: values that a tool proved in this run, and arguments that must be one (guards.md FA1, FA2, FA4). */
import type { Fact, LiveFact } from './call.ts';
import type { Json, JsonObject } from './json.ts';
import { MAX_FACTS_PER_RUN } from './limits.ts';

/** How a tool's output proves facts: field -> kind, a function, or not at all. */
export type Proves = { readonly [field: string]: string } | ((output: Json) => readonly Fact[]) | null;

/** What an output proved. */
export type Minted =
  | { readonly kind: 'minted'; readonly facts: readonly Fact[] }
  | { readonly kind: 'too-many'; readonly count: number; readonly max: number };

/** A guarded argument without a live fact. `value` is the text that is no fact; null: absent, or no text at all. */
export interface MissingFact {
  readonly argument: string;
  readonly kind: string;
  readonly value: string | null;
}

/**
 * The facts of a successful output (FA1): each named field of the one object or of each list item, as text. Strings,
 * finite numbers and booleans mint; null, missing, empty and nested values mint nothing; equal facts count once. More
 * than `max`: `too-many` and none, or the first `max` with `truncate`. What a `proves` function throws goes through.
 */
export function mintFacts(
  proves: Proves,
  output: Json,
  options: { readonly max: number; readonly onTooMany: 'deny' | 'truncate' },
): Minted {
  const facts = distinct(
    proves === null ? [] : typeof proves === 'function' ? called(proves, output) : read(proves, output),
  );
  if (facts.length <= options.max) return { kind: 'minted', facts };
  if (options.onTooMany === 'truncate') return { kind: 'minted', facts: facts.slice(0, options.max) };
  return { kind: 'too-many', count: facts.length, max: options.max };
}

/**
 * The first guarded argument that is no live fact (FA2); null when all are. Every element of a list must be one. An
 * absent, null or empty argument is missing unless the schema makes it optional and it is absent.
 *
 * @param requires argument -> kind
 * @param nowMs a fact counts before its `expiresAtMs`, not at it
 */
export function missingFact(
  requires: { readonly [argument: string]: string },
  args: JsonObject,
  facts: readonly LiveFact[],
  nowMs: number,
  optionalArguments: readonly string[],
): MissingFact | null {
  for (const [argument, kind] of Object.entries(requires)) {
    const value = own(args, argument);
    if (value === undefined && optionalArguments.includes(argument)) continue;
    const wanted: readonly Json[] = isList(value) ? value : [value ?? null];
    if (wanted.length === 0) return { argument, kind, value: null };
    for (const one of wanted) {
      const text = asText(one);
      const live = (fact: LiveFact): boolean => fact.kind === kind && fact.value === text && nowMs < fact.expiresAtMs;
      if (text === null || !facts.some(live)) return { argument, kind, value: one === '' ? '' : text };
    }
  }
  return null;
}

/**
 * The run's facts with new ones: expired ones go, proving again renews (the longer life counts), and past
 * MAX_FACTS_PER_RUN those that expire first go.
 */
export function addFacts(state: readonly LiveFact[], minted: readonly LiveFact[], nowMs: number): readonly LiveFact[] {
  const byKind = new Map<string, Map<string, LiveFact>>();
  // a stranger's lookup of the same value neither renews nor taints what was proved without him (D9)
  const shaky = new Map<string, Map<string, LiveFact>>();
  for (const fact of [...state, ...minted]) {
    if (!(nowMs < fact.expiresAtMs)) continue;
    const kinds = fact.untrusted === true ? shaky : byKind;
    const ofKind = kinds.get(fact.kind) ?? new Map<string, LiveFact>();
    kinds.set(fact.kind, ofKind);
    const known = ofKind.get(fact.value);
    if (known === undefined || known.expiresAtMs <= fact.expiresAtMs) ofKind.set(fact.value, fact);
  }
  const facts = [byKind, shaky].flatMap((kinds) => [...kinds.values()].flatMap((ofKind) => [...ofKind.values()]));
  if (facts.length <= MAX_FACTS_PER_RUN) return facts;
  return facts.sort((a, b) => a.expiresAtMs - b.expiresAtMs).slice(-MAX_FACTS_PER_RUN);
}

/** The facts that the guarded arguments of a call could rest on: what has to travel with it. */
export function relevantFacts(
  requires: { readonly [argument: string]: string },
  args: JsonObject,
  facts: readonly LiveFact[],
): readonly LiveFact[] {
  const wanted = Object.entries(requires).map(([argument, kind]) => {
    const value = own(args, argument) ?? null;
    return { kind, values: new Set((isList(value) ? value : [value]).map(asText)) };
  });
  return facts.filter((fact) => wanted.some(({ kind, values }) => kind === fact.kind && values.has(fact.value)));
}

function read(proves: { readonly [field: string]: string }, output: Json): Fact[] {
  const fields = Object.entries(proves);
  return (isList(output) ? output : [output]).flatMap((item) => {
    if (typeof item !== 'object' || item === null || isList(item)) return [];
    return fields.flatMap(([field, kind]) => fact(kind, own(item, field)));
  });
}

function called(proves: (output: Json) => readonly Fact[], output: Json): Fact[] {
  const given: unknown = proves(output);
  if (!Array.isArray(given)) return [];
  return (given as (Partial<Fact> | null)[]).flatMap((one) =>
    typeof one?.kind === 'string' && one.kind !== '' ? fact(one.kind, one.value) : [],
  );
}

function fact(kind: string, value: Json | undefined): Fact[] {
  const text = asText(value);
  return text === null ? [] : [{ kind, value: text }];
}

/** Each fact once, in order. Kind and value are never joined into one text (FA4). */
function distinct(facts: readonly Fact[]): Fact[] {
  const seen = new Map<string, Set<string>>();
  return facts.filter(({ kind, value }) => {
    const values = seen.get(kind) ?? new Set<string>();
    seen.set(kind, values);
    return values.has(value) ? false : values.add(value);
  });
}

/** A scalar as text; null for what is no fact: null, empty, nested, not finite. */
function asText(value: unknown): string | null {
  if (typeof value === 'string') return value === '' ? null : value;
  if (typeof value === 'boolean') return String(value);
  return typeof value === 'number' && Number.isFinite(value) ? String(value) : null;
}

function own(object: JsonObject, key: string): Json | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}
