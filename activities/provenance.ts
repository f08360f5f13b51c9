/**
 * Provenance at work: what the run has seen is read once and then only what is new (one round trip, and none for a call
 * that names nothing or only what its user named); what a call showed is written with its outcome.
 */
import type { Agent, Tool } from '../define/types.ts';
import type { Fact, LiveFact } from '../governance/call.ts';
import { isChild } from '../governance/family.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { MAX_SEEN_BYTES } from '../governance/limits.ts';
import { kindOfFormat } from '../governance/destination.ts';
import { nounsOf, singular } from '../governance/nouns.ts';
import { HARMLESS, judgeProvenance, type Known, type Origin, type Provenance, type Seen } from '../governance/provenance.ts'; // prettier-ignore
import { argumentRows, errorRows, outputRows, type ProvenanceRow, type RunSalt, type Worth } from '../governance/provenance-rows.ts'; // prettier-ignore
import { seedOf, unpackGrams } from '../governance/taint.ts';
import { targetsOf, textsOf } from '../governance/targets.ts';
import { hashKey, tokenHash, TOKEN_BYTES, wordsOf, type Words } from '../governance/vouch.ts';
import type { ToolManifest } from '../governance/tool.ts';
import type { Database } from './deps.ts';
import type { Grant } from './grant.ts';
import type { CallShared } from './prepared.ts';

interface StoredRow {
  readonly id: string | null;
  readonly call: string;
  readonly level: Seen['level'];
  readonly words: boolean;
  readonly tokens: Uint8Array;
  readonly grams: Uint8Array;
  readonly known: string;
}

interface Remembered {
  readonly rows: readonly Seen[];
  readonly last: string;
  readonly bytes: number;
}

/** What runs have seen, kept by a worker; always asked for what is new before it is used. */
export class SeenByRuns {
  readonly #db: Database;
  readonly #runs = new Map<string, Remembered>();
  #bytes = 0;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Everything that the run has seen until now, oldest first. @throws BACKEND_UNAVAILABLE */
  async of(run: string): Promise<readonly Seen[]> {
    const known = this.#runs.get(run) ?? { rows: [], last: '0', bytes: 0 };
    const found = await this.#read(run, known.last);
    // a row that was written earlier and committed later: what is kept is not all there was
    if (Number(found[0]?.known ?? 0) !== known.rows.length) {
      return this.#keep(run, { rows: [], last: '0', bytes: 0 }, await this.#read(run, '0'));
    }
    return this.#keep(run, known, found);
  }

  #read(run: string, after: string): Promise<StoredRow[]> {
    const text = 'select * from actguard.read_provenance($1, $2)';
    return this.#db.query<StoredRow>(text, [run, after], 'actguard_read_provenance');
  }

  #keep(run: string, known: Remembered, found: readonly StoredRow[]): readonly Seen[] {
    const fresh = found.filter((row): row is StoredRow & { id: string } => row.id !== null);
    const size = fresh.reduce((sum, row) => sum + row.tokens.length * 8 + row.grams.length, 0);
    const next: Remembered = {
      rows: fresh.length === 0 ? known.rows : [...known.rows, ...fresh.map(seenOf)],
      last: fresh.at(-1)?.id ?? known.last,
      bytes: known.bytes + size,
    };
    this.#bytes += next.bytes - (this.#runs.get(run)?.bytes ?? 0);
    this.#runs.delete(run);
    this.#runs.set(run, next);
    for (const [oldest, { bytes }] of this.#runs) {
      if (this.#bytes <= MAX_SEEN_BYTES || oldest === run) break;
      this.#runs.delete(oldest);
      this.#bytes -= bytes;
    }
    return next.rows;
  }
}

function seenOf(row: Omit<StoredRow, 'id' | 'known'>): Seen {
  const tokens = new Set<string>();
  for (let at = 0; at < row.tokens.length; at += TOKEN_BYTES) {
    tokens.add(hashKey(row.tokens.subarray(at, at + TOKEN_BYTES)));
  }
  const grams = row.grams.length === 0 ? null : unpackGrams(row.grams);
  return { call: row.call, level: row.level, words: row.words, tokens, grams };
}

/** A stored row as it is judged with. */
export function seenFrom(call: string, rows: readonly JsonObject[]): Seen[] {
  const bytes = (value: Json | undefined): Uint8Array => Buffer.from(typeof value === 'string' ? value : '', 'base64');
  return rows.map((row) => {
    const { level, words } = row as unknown as Pick<StoredRow, 'level' | 'words'>;
    return seenOf({ call, level, words, tokens: bytes(row['tokens']), grams: bytes(row['grams']) });
  });
}

/** What judging a call needs: the agents, and what the run has seen. */
export interface Sees {
  readonly deps: Pick<CallShared['deps'], 'config'>;
  readonly seen: Pick<SeenByRuns, 'of'>;
}

/** The provenance of a call that nobody has approved yet. @throws BACKEND_UNAVAILABLE */
export async function provenanceOf(
  shared: Sees,
  grant: Grant,
  run: string,
  tool: Tool,
  args: JsonObject,
  facts: readonly LiveFact[],
  nowMs = Date.now(),
): Promise<Provenance> {
  const house = houseOf(shared, grant);
  const targets = targetsOf(tool.manifest, args);
  const texts = house.secretive && tool.manifest.reach === 'external' ? textsOf(args) : [];
  if (targets.length === 0 && texts.length === 0) return HARMLESS;
  const { request, salt, seed } = saltedRun(grant, run);
  const keyOf = (token: string): string => hashKey(tokenHash(salt, token));
  const known: Known = { ...house, request, seed, keyOf, facts, nowMs };
  const judged = judgeProvenance(tool.manifest, targets, texts, known, null);
  if (judged) return judged;
  const seen = await shared.seen.of(run);
  const answer = judgeProvenance(tool.manifest, targets, texts, known, seen);
  if (!answer) throw new Error('provenance is judged once the rows are there');
  return answer;
}

/** Rows of a call's outcome, as `actguard.note_provenance` reads them. */
export function rowsOfOutcome(
  grant: Grant,
  run: string,
  tool: Tool,
  args: JsonObject | null,
  outcome: { readonly output?: Json; readonly error?: string; readonly facts?: readonly Fact[] },
  lookups: Origin,
): JsonObject[] {
  const salted: RunSalt = saltedRun(grant, run);
  const rows: ProvenanceRow[] = args === null ? [] : argumentRows(tool.manifest, args, salted);
  if (outcome.output !== undefined) rows.push(...outputRows(worthOf(tool), outcome.output, lookups, outcome.facts ?? [], salted)); // prettier-ignore
  if (outcome.error !== undefined) rows.push(...errorRows(tool.manifest, outcome.error, salted));
  return rows.map(storedOf);
}

/** What a child run has seen before it begins: its parent's words, which vouch for nothing (guards.md BU7, PV1). */
export function rowsOfRequest(grant: OpenedGrant, run: string): JsonObject[] {
  if (!isChild(grant.openedBy)) return [];
  return errorRows({ trust: STRANGER }, grant.input, saltedRun(grant, run)).map(storedOf);
}

const STRANGER = { output: 'untrusted', fields: {}, arguments: {}, private: [], declassify: {} } as const;

function storedOf({ level, words, tokens, grams }: ProvenanceRow): JsonObject {
  return {
    level,
    words,
    ...(tokens.length === 0 ? {} : { tokens: Buffer.from(tokens).toString('base64') }),
    ...(grams === null ? {} : { grams: Buffer.from(grams).toString('base64') }),
  };
}

/** What of a tool says how its output is worth. */
export function worthOf({ manifest, code }: Tool): Worth {
  return { name: manifest.name, trust: manifest.trust, proves: code.proves, outputJsonSchema: code.outputJsonSchema };
}

interface House {
  readonly house: Words;
  readonly nouns: ReadonlySet<string>;
  readonly secretive: boolean;
}

const NO_WORDS = wordsOf('');
const houses = new WeakMap<Agent, House>();

/** What the run's agent was made with: its author's words, the ids of its tools. */
function houseOf({ deps }: Sees, grant: Grant): House {
  const agent = deps.config.agents.find(({ name }) => name === grant.principal.agent);
  if (!agent) return { house: NO_WORDS, nouns: new Set(), secretive: true };
  const known = houses.get(agent);
  if (known) return known;
  const nouns = agent.tools.flatMap(({ manifest }) => [
    ...manifest.proves.map(singular),
    ...idFieldsOf(manifest).flatMap((field) => nounsOf(field, '', manifest.name)),
  ]);
  const made: House = {
    house: wordsOf(agent.instructions),
    nouns: new Set(nouns),
    secretive: agent.tools.some(({ manifest }) => manifest.trust.private.length > 0),
  };
  houses.set(agent, made);
  return made;
}

/** Arguments that hold ids: by their format, their guard or their name. */
function idFieldsOf({ inputJsonSchema, requires }: ToolManifest): string[] {
  const properties = (inputJsonSchema['properties'] ?? {}) as { readonly [field: string]: JsonObject };
  return Object.entries(properties).flatMap(([field, schema]) => {
    const format = schema['format'];
    const says = typeof format === 'string' && kindOfFormat(format) === 'id';
    return says || Object.hasOwn(requires, field) || /(?:^|[a-z_-])(?:id|ids|ref|number|key)$/i.test(field)
      ? [field]
      : [];
  });
}

/** What of a grant the run's hashes rest on. */
type OpenedGrant = Pick<Grant, 'salt' | 'input' | 'openedBy'>;
const salted = new WeakMap<OpenedGrant, RunSalt & { readonly request: Words }>();

/** The run's request, read once, and the salt of its hashes. */
function saltedRun(grant: OpenedGrant, run: string): RunSalt & { readonly request: Words } {
  const known = salted.get(grant);
  if (known) return known;
  const salt = grant.salt ?? run;
  const made = { salt, seed: seedOf(salt), request: isChild(grant.openedBy) ? NO_WORDS : wordsOf(grant.input) };
  salted.set(grant, made);
  return made;
}
