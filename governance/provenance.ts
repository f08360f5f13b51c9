/**
 * Where values came from, and where a call may therefore go (guards.md PV1-PV7, FA3). Pure: what the run has seen comes
 * in as rows of hashes, what is decided goes out as plain data that policies judge and approvers read.
 */
import type { LiveFact } from './call.ts';
import { disguisesOf, decodingsOf } from './disguise.ts';
import type { JsonObject } from './json.ts';
import { isQuestioned, partsOf, type Target } from './targets.ts';
import { holds, piecesOf, repeats, skeleton, stretches, type Grams, type Seed } from './taint.ts';
import type { ToolManifest } from './tool.ts';
import { namedIn, soughtTokens, type Words } from './vouch.ts';

/** Where a value came from, best first. `model`: nowhere that the run knows of. */
export const ORIGINS = ['user', 'trusted', 'internal', 'model', 'untrusted'] as const;
/** One of {@link ORIGINS}. */
export type Origin = (typeof ORIGINS)[number];

/** The worse of two. */
export function worse(a: Origin, b: Origin): Origin {
  return ORIGINS.indexOf(a) >= ORIGINS.indexOf(b) ? a : b;
}

/** One output that the run has seen, or the arguments of a call from before it saw anything untrusted (level `user`). */
export interface Seen {
  readonly call: string;
  readonly level: 'user' | 'trusted' | 'internal' | 'untrusted' | 'private';
  /** Whether it holds words (numbers alone persuade nobody). */
  readonly words: boolean;
  /** What it vouches for: keys of hashed tokens. */
  readonly tokens: ReadonlySet<string>;
  /** What it taints; null: nothing. */
  readonly grams: Grams | null;
}

/** What judging needs to know of the run. */
export interface Known {
  readonly seed: Seed;
  /** The user's own request. */
  readonly request: Words;
  /** The agent's instructions, written by its author. */
  readonly house: Words;
  /** Every kind of id that the run's tools have. */
  readonly nouns: ReadonlySet<string>;
  /** Whether a tool of the run has private fields: else nothing private can leave. */
  readonly secretive: boolean;
  readonly facts: readonly LiveFact[];
  readonly nowMs: number;
  /** Key of a token under the run's salt. */
  readonly keyOf: (token: string) => string;
}

/** One value of a call that needs a yes, or is refused. */
export interface Concern {
  readonly argument: string;
  /** The value, cut to a length that a person reads. */
  readonly value: string;
  readonly origin: Origin;
  /** `destination`: it goes where nobody pointed; `fact`: what it rests on was looked up for a stranger; `private`. */
  readonly about: 'destination' | 'fact' | 'private';
  /** Calls whose outputs hold it. */
  readonly calls: readonly string[];
}

/** The provenance of one call, as policies see it and as an ask freezes it. */
export interface Provenance {
  /** What the generated gate makes of it (PV4). */
  readonly verdict: 'fine' | 'ask' | 'deny';
  /** Whether something private would leave the house (PV7). */
  readonly private: boolean;
  /** The worst origin of a judged value; `user` where nothing is judged. */
  readonly worst: Origin;
  /** Judged arguments -> the worst origin of their values. */
  readonly arguments: { readonly [argument: string]: Origin };
  readonly concerns: readonly Concern[];
  /** The worst origin of what the call looks things up by (PV6): its output is no better (PV1). */
  readonly lookups: Origin;
}

/** A call that names no destination and looks nothing up. */
export const HARMLESS: Provenance = {
  verdict: 'fine',
  private: false,
  worst: 'user',
  arguments: {},
  concerns: [],
  lookups: 'user',
};

/** Characters of a value that an approver reads in a concern. */
const MAX_SHOWN_CHARS = 200;
/** Longer texts are not turned around. */
const MAX_TURNED_CHARS = 4_096;
/** Shorter private values are found as words of their own only. */
const MIN_INSIDE_LETTERS = 6;
/** A text that repeats this many letters of something private in a row gives it away. */
const PRIVATE_LETTERS = 15;

interface Traced {
  readonly origin: Origin;
  readonly calls: readonly string[];
}

/**
 * The provenance of a call; null where it depends on what the run has seen and `seen` is null: ask again with the rows.
 *
 * @param targets what the arguments name, from `targetsOf`
 * @param texts every text of the arguments, for what is private
 */
export function judgeProvenance(
  tool: Pick<ToolManifest, 'effect' | 'reach' | 'requires' | 'trust'>,
  targets: readonly Target[],
  texts: readonly string[],
  known: Known,
  seen: readonly Seen[] | null,
): Provenance | null {
  const found: { verdict: Provenance['verdict']; worst: Origin; lookups: Origin } = {
    verdict: 'fine',
    worst: 'user',
    lookups: 'user',
  };
  const byArgument: { [argument: string]: Origin } = {};
  const concerns: Concern[] = [];
  for (const target of targets) {
    const traced = trace(target, known, seen);
    if (traced === null) return null;
    const { origin } = traced;
    const counts = target.lookup === 'sure' || (target.lookup === 'perhaps' && origin === 'untrusted');
    if (counts) found.lookups = worse(found.lookups, origin);
    const fact = target.guarded ? factOf(target, tool, known) : null;
    const shaky = fact !== null && fact.untrusted === true;
    if (!target.judged && !shaky) continue;
    const value = target.value.slice(0, MAX_SHOWN_CHARS);
    byArgument[target.argument] = worse(byArgument[target.argument] ?? 'user', shaky ? 'untrusted' : origin);
    found.worst = worse(found.worst, shaky ? 'untrusted' : origin);
    if (!shaky && !isQuestioned(origin, target.mode, tool)) continue;
    if (shaky && target.mode === 'allow') continue;
    found.verdict = target.mode === 'deny' || found.verdict === 'deny' ? 'deny' : 'ask';
    const calls = shaky ? [...traced.calls, fact.call] : traced.calls;
    const about = shaky ? ('fact' as const) : ('destination' as const);
    concerns.push({ argument: target.argument, value, origin: shaky ? 'untrusted' : origin, about, calls: [...new Set(calls)] }); // prettier-ignore
  }
  const leaks = tool.reach === 'external' ? leaksOf(texts, known, seen) : [];
  if (leaks === null) return null;
  return { ...found, private: leaks.length > 0, arguments: byArgument, concerns: [...concerns, ...leaks] };
}

/** The live fact that a guarded value rests on: a trusted one where there is one (D9); null: none, or none is needed. */
function factOf(target: Target, tool: Pick<ToolManifest, 'requires'>, { facts, nowMs }: Known): LiveFact | null {
  const kind = tool.requires[target.argument];
  const live = facts.filter((f) => f.kind === kind && f.value === target.value && nowMs < f.expiresAtMs);
  return live.find((f) => f.untrusted !== true) ?? live[0] ?? null;
}

/** Where one value came from: exact trust first (D9), then lenient taint, then nowhere. null: the rows are needed. */
function trace(target: Target, known: Known, seen: readonly Seen[] | null): Traced | null {
  const { sought } = target;
  const none: readonly string[] = [];
  if (sought.some((form) => namedIn(known.request, form, known.nouns))) return { origin: 'user', calls: none };
  const proven = target.guarded && isProven(target.value, known);
  const house = target.byAuthor || sought.some((form) => namedIn(known.house, form, known.nouns));
  // the user's own words may still be among the rows, but nothing asks for better than this
  if ((proven || house) && target.mode !== 'user') return { origin: 'trusted', calls: none };
  if (seen === null) return null;
  const keys = sought.flatMap(soughtTokens).map(known.keyOf);
  const vouching = (level: Seen['level']): readonly string[] =>
    seen.filter((row) => row.level === level && keys.some((key) => row.tokens.has(key))).map((row) => row.call);
  if (vouching('user').length > 0) return { origin: 'user', calls: none };
  const trusted = vouching('trusted');
  if (proven || house || trusted.length > 0) return { origin: 'trusted', calls: trusted };
  const internal = vouching('internal');
  if (internal.length > 0) return { origin: 'internal', calls: internal };
  const untrusted = tainting(target.value, known.seed, seen, 'untrusted');
  if (untrusted.length > 0) return { origin: 'untrusted', calls: untrusted };
  // made out of what our own people wrote, but not what they wrote: nobody's word
  const bent = tainting(target.value, known.seed, seen, 'internal');
  if (bent.length > 0) return { origin: 'model', calls: bent };
  return { origin: isClean(seen) ? 'user' : 'model', calls: none };
}

function isProven(value: string, { facts, nowMs }: Known): boolean {
  return facts.some((fact) => fact.untrusted !== true && fact.value === value && nowMs < fact.expiresAtMs);
}

/** Whether the run has not seen a single untrusted word (PV6). */
export function isClean(seen: readonly Seen[]): boolean {
  return !seen.some((row) => row.level === 'untrusted' && row.words);
}

function tainting(value: string, seed: Seed, seen: readonly Seen[], level: Seen['level']): string[] {
  const rows = seen.filter((row) => row.level === level && row.grams !== null);
  if (rows.length === 0) return [];
  const pieces = piecesOf(seed, [...disguisesOf(value), ...partsOf(value)]);
  return rows.filter(({ grams }) => grams !== null && holds(grams, pieces)).map((row) => row.call);
}

/** What of something private stands in the texts of a call that leaves the house. null: the rows are needed. */
function leaksOf(texts: readonly string[], known: Known, seen: readonly Seen[] | null): Concern[] | null {
  if (texts.length === 0 || !known.secretive) return [];
  if (seen === null) return null;
  const rows = seen.filter((row) => row.level === 'private');
  if (rows.length === 0) return [];
  const found: Concern[] = [];
  // a value may be cut up over several fields, or written backwards
  const joined = texts.length > 1 ? [texts.join(' ')] : [];
  for (const text of [...texts, ...joined]) {
    const backwards = text.length <= MAX_TURNED_CHARS ? [[...text].reverse().join('')] : [];
    const forms = [text, ...backwards, ...decodingsOf(text)];
    const calls = rows.filter((row) => forms.some((form) => givesAway(form, row, known))).map((row) => row.call);
    if (calls.length === 0) continue;
    if (text === joined[0] && found.length > 0) break;
    found.push({ argument: '', value: text.slice(0, MAX_SHOWN_CHARS), origin: 'internal', about: 'private', calls });
  }
  return found;
}

/** Whether a text holds a private value whole, as one of its words or in pieces long enough to be no chance. */
function givesAway(text: string, row: Seen, known: Known): boolean {
  if (privateKeys(text, known.keyOf).some((key) => row.tokens.has(key))) return true;
  if (row.grams === null) return false;
  return repeats(row.grams, known.seed, text, PRIVATE_LETTERS) || standsInside(text, row, row.grams, known);
}

/** Whether a private value stands inside a longer word: of the places where its pieces are, one is the whole value. */
function standsInside(text: string, row: Seen, grams: Grams, { seed, keyOf }: Known): boolean {
  return stretches(grams, seed, text).some((stretch) => {
    for (let from = 0; from + MIN_INSIDE_LETTERS <= stretch.length; from += 1) {
      for (let to = from + MIN_INSIDE_LETTERS; to <= Math.min(stretch.length, from + SPELLED_LETTERS); to += 1) {
        if (row.tokens.has(keyOf(`private\0${stretch.slice(from, to)}`))) return true;
      }
    }
    return false;
  });
}

/** Keys of a text as a whole, of its words, and of up to four words together. */
function privateKeys(text: string, keyOf: (token: string) => string): string[] {
  return [...privateTokens(text, true)].map(keyOf);
}

/** Shorter values stand in every text by chance. */
const MIN_PRIVATE_LETTERS = 3;
const PRIVATE_WINDOW_WORDS = 5;
const SPELLED_LETTERS = 24;

/** Tokens of something private; `windows`: also of the words in it, up to five together. */
export function privateTokens(text: string, windows: boolean): Set<string> {
  const words = text.normalize('NFKC').toLowerCase().split(/[^\p{L}\p{N}]+/u).filter((word) => word !== ''); // prettier-ignore
  const found = new Set<string>();
  const add = (letters: string): void => {
    if (letters.length >= MIN_PRIVATE_LETTERS) found.add(`private\0${letters}`);
  };
  add(words.join(''));
  if (!windows) add(skeleton(text));
  for (let i = 0; windows && i < words.length; i += 1) {
    let letters = '';
    // a value that is spelled out letter by letter is still one
    for (let n = 0; i + n < words.length && (n < PRIVATE_WINDOW_WORDS || letters.length < SPELLED_LETTERS); n += 1) {
      letters += words[i + n] ?? '';
      add(letters);
    }
  }
  return found;
}

/** What a policy reads of it: plain words, no values. */
export function forPolicies({ verdict, private: leaks, worst, arguments: byArgument }: Provenance): JsonObject {
  return { verdict, private: leaks, worst, arguments: byArgument };
}
