/**
 * Cases that a policy set has to decide as written: YAML files `*.test.yaml` next to the policies. A case says a call
 * and what is expected; whatever is wrong with it is named with its line.
 */
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, visit } from 'yaml';
import type { Node, Pair } from 'yaml';
import type { Fact } from '../governance/call.ts';
import { parseDuration } from '../governance/duration.ts';
import type { Problem } from '../governance/errors.ts';
import { MAX_POLICY_CASES, MAX_POLICY_FILE_BYTES } from '../governance/limits.ts';
import type { PolicyFile } from './policy-check.ts';
import { suggestion } from './policy-excerpt.ts';

/** What a case may expect. `error`: the policies cannot be evaluated, which denies. */
export const EXPECTATIONS = ['allow', 'ask', 'deny', 'error'] as const;

/** A case as it is written. */
export interface PolicyCase {
  readonly file: string;
  readonly line: number;
  readonly name: string;
  readonly tool: string;
  readonly args: unknown;
  /** Line of the arguments, or of the case. */
  readonly argsLine: number;
  readonly user: string;
  readonly tenant: string;
  /** undefined: the first agent of the configuration. */
  readonly agent: string | undefined;
  readonly groups: readonly string[];
  /** What is known of the user; its line. */
  readonly attributes: unknown;
  readonly attributesLine: number;
  /** The user's request, and what the run has read that nobody vouches for: destinations are judged by them, without either not. */
  readonly input: string | undefined;
  readonly seen: readonly string[];
  readonly runAgeMs: number;
  readonly facts: readonly (Fact & { readonly ageMs: number })[];
  readonly approved: readonly string[];
  /** Dollars, tokens, calls; absent: not limited. */
  readonly left: { readonly usd?: number; readonly tokens?: number; readonly calls?: number };
  readonly callsSoFar: number;
  readonly atMs: number;
  readonly expect: (typeof EXPECTATIONS)[number];
  /** Ids of exactly the policies that decide; undefined: any. */
  readonly by: readonly string[] | undefined;
}

/** A working day at noon: cases do not depend on when they are run. */
const DEFAULT_AT_MS = Date.UTC(2026, 0, 7, 12);
const FIELDS = [
  'name',
  'tool',
  'args',
  'user',
  'tenant',
  'agent',
  'groups',
  'attributes',
  'input',
  'seen',
  'runAge',
  'facts',
  'approved',
  'left',
  'callsSoFar',
  'at',
  'expect',
  'by',
] as const;

/** The cases of a file, or everything wrong with it. Never throws. */
export function readCases({ name: file, text }: PolicyFile): { cases: PolicyCase[]; problems: Problem[] } {
  if (Buffer.byteLength(text) > MAX_POLICY_FILE_BYTES) {
    const problem = `larger than ${MAX_POLICY_FILE_BYTES / 1024} KB`;
    return { cases: [], problems: [{ where: file, problem, fix: 'split it into several files' }] };
  }
  try {
    return readText(file, text);
  } catch {
    return { cases: [], problems: [{ where: file, problem: 'cannot be read: it is nested too deeply' }] };
  }
}

function readText(file: string, text: string): { cases: PolicyCase[]; problems: Problem[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, schema: 'core', intAsBigInt: true, strict: true });
  const reader = new Reader(file, lines);
  for (const error of [...document.errors, ...document.warnings]) {
    reader.refuse(error.pos[0], error.message.split('\n', 1)[0]?.replace(/ at line \d+, column \d+:?$/, '') ?? '');
  }
  if (reader.problems.length > 0) return { cases: [], problems: reader.problems };
  visit(document, {
    Alias: (_key, node) => reader.refuse(node.range?.[0] ?? 0, 'an alias', 'write the value out'),
  });
  const root = document.contents;
  if (!isSeq(root)) {
    reader.refuse(root?.range?.[0] ?? 0, 'a file of cases is a list', 'begin each case with `- name: ...`');
    return { cases: [], problems: reader.problems };
  }
  if (root.items.length > MAX_POLICY_CASES) reader.refuse(0, `more than ${MAX_POLICY_CASES} cases`);
  const cases = reader.problems.length > 0 ? [] : root.items.flatMap((item) => reader.case(item as Node) ?? []);
  return { cases, problems: reader.problems };
}

/** Reads nodes strictly and keeps what is wrong with its place. */
class Reader {
  readonly problems: Problem[] = [];
  readonly #file: string;
  readonly #lines: LineCounter;

  constructor(file: string, lines: LineCounter) {
    this.#file = file;
    this.#lines = lines;
  }

  refuse(offset: number, problem: string, fix?: string): undefined {
    const { line, col } = this.#lines.linePos(offset);
    this.problems.push({ where: `${this.#file}:${line}:${col}`, problem, ...(fix === undefined ? {} : { fix }) });
    return undefined;
  }

  case(node: Node): PolicyCase | undefined {
    const before = this.problems.length;
    const fields = this.#fields(node, FIELDS, 'a case');
    if (!fields) return undefined;
    const at = offsetOf(node);
    const text = (field: string, otherwise?: string): string => {
      const value = fields.get(field);
      if (value === undefined && otherwise !== undefined) return otherwise;
      if (value === undefined) return this.refuse(at, `a case without \`${field}\``) ?? '';
      return this.#text(value, field);
    };
    const list = (field: string): string[] | undefined => {
      const value = fields.get(field);
      return value === undefined ? undefined : this.#list(value, field).map((item) => this.#text(item, field));
    };
    const args = fields.get('args');
    const attributes = fields.get('attributes');
    const left = fields.get('left');
    const found: PolicyCase = {
      file: this.#file,
      line: this.#lines.linePos(at).line,
      name: text('name'),
      tool: text('tool'),
      args: args === undefined ? {} : this.#plain(args),
      argsLine: this.#lines.linePos(args === undefined ? at : offsetOf(args)).line,
      user: text('user', 'alice'),
      tenant: text('tenant', 'acme'),
      agent: fields.has('agent') ? text('agent') : undefined,
      groups: list('groups') ?? [],
      attributes: attributes === undefined ? {} : this.#plain(attributes),
      attributesLine: this.#lines.linePos(attributes === undefined ? at : offsetOf(attributes)).line,
      input: fields.has('input') ? text('input') : undefined,
      seen: list('seen') ?? [],
      runAgeMs: this.#duration(fields.get('runAge'), 'runAge'),
      facts: this.#facts(fields.get('facts')),
      approved: list('approved') ?? [],
      left: left === undefined ? {} : this.#left(left),
      callsSoFar: fields.has('callsSoFar') ? this.#number(fields.get('callsSoFar') as Node, 'callsSoFar') : 0,
      atMs: this.#time(fields.get('at')),
      expect: this.#expectation(fields.get('expect'), at),
      by: list('by'),
    };
    return this.problems.length > before ? undefined : found;
  }

  #fields(node: Node, known: readonly string[], what: string): Map<string, Node> | undefined {
    if (!isMap(node)) return this.refuse(offsetOf(node), `${what} is a map of ${known.join(', ')}`);
    const fields = new Map<string, Node>();
    for (const { key, value } of node.items as Pair<Node, Node | null>[]) {
      const name = isScalar(key) ? String(key.value) : '';
      if (!known.includes(name)) this.refuse(offsetOf(key), `unknown field \`${name}\``, suggestion(name, known));
      else if (value === null) this.refuse(offsetOf(key), `\`${name}\` has no value`);
      else fields.set(name, value);
    }
    return fields;
  }

  #text(node: Node, field: string): string {
    const value = isScalar(node) ? node.value : undefined;
    if (typeof value === 'string' && value !== '' && value.isWellFormed()) return value;
    const fix = typeof value === 'bigint' || typeof value === 'number' ? 'put it in quotes' : undefined;
    return this.refuse(offsetOf(node), `\`${field}\` is not a text`, fix) ?? '';
  }

  #number(node: Node, field: string): number {
    const value = this.#plain(node);
    if (typeof value === 'number' && value >= 0) return value;
    return this.refuse(offsetOf(node), `\`${field}\` is not a number from 0`) ?? 0;
  }

  #list(node: Node, field: string): Node[] {
    if (isSeq(node)) return node.items as Node[];
    this.refuse(offsetOf(node), `\`${field}\` is not a list`);
    return [];
  }

  #facts(node: Node | undefined): PolicyCase['facts'] {
    if (node === undefined) return [];
    return this.#list(node, 'facts').map((item) => {
      const fields = this.#fields(item, ['kind', 'value', 'age', 'untrusted'], 'a fact');
      const [kind, value, untrusted] = [fields?.get('kind'), fields?.get('value'), fields?.get('untrusted')];
      if (fields && (!kind || !value)) this.refuse(offsetOf(item), 'a fact has a kind and a value');
      return {
        kind: kind ? this.#text(kind, 'kind') : '',
        value: value ? this.#text(value, 'value') : '',
        ageMs: this.#duration(fields?.get('age'), 'age'),
        ...(untrusted && this.#flag(untrusted, 'untrusted') ? { untrusted: true } : {}),
      };
    });
  }

  #left(node: Node): PolicyCase['left'] {
    const units = ['usd', 'tokens', 'calls'] as const;
    const fields = this.#fields(node, units, 'what is left');
    return Object.fromEntries([...(fields ?? [])].map(([unit, value]) => [unit, this.#number(value, unit)]));
  }

  #flag(node: Node, field: string): boolean {
    if (isScalar(node) && typeof node.value === 'boolean') return node.value;
    return this.refuse(offsetOf(node), `\`${field}\` is neither true nor false`) ?? false;
  }

  #duration(node: Node | undefined, field: string): number {
    if (node === undefined) return 0;
    try {
      return parseDuration(this.#text(node, field));
    } catch {
      return this.refuse(offsetOf(node), `\`${field}\` is no duration`, 'write it as `90s`, `10m`, `2h`') ?? 0;
    }
  }

  #time(node: Node | undefined): number {
    if (node === undefined) return DEFAULT_AT_MS;
    const atMs = Date.parse(this.#text(node, 'at'));
    if (!Number.isNaN(atMs)) return atMs;
    return this.refuse(offsetOf(node), '`at` is no time', 'write it as `2026-11-24T09:30:00Z`') ?? 0;
  }

  #expectation(node: Node | undefined, at: number): PolicyCase['expect'] {
    const word = node === undefined ? undefined : this.#text(node, 'expect');
    const found = EXPECTATIONS.find((known) => known === word);
    if (found) return found;
    if (node === undefined) this.refuse(at, 'a case without `expect`', `it is one of ${EXPECTATIONS.join(', ')}`);
    else if (word) this.refuse(offsetOf(node), `nothing can be \`${word}\``, suggestion(word, EXPECTATIONS));
    return 'error';
  }

  /** A value as JSON; a whole number that JavaScript cannot hold exactly is refused. */
  #plain(node: Node): unknown {
    if (isAlias(node)) return null;
    if (isSeq(node)) return node.items.map((item) => this.#plain(item as Node));
    if (isMap(node)) {
      const entries = (node.items as Pair<Node, Node | null>[]).map(({ key, value }) => {
        const name = isScalar(key) && typeof key.value === 'string' ? key.value : null;
        if (name === null) this.refuse(offsetOf(key), 'a name that is no text', 'put it in quotes');
        return [name ?? '', value === null ? null : this.#plain(value)] as const;
      });
      return Object.fromEntries(entries);
    }
    const value: unknown = isScalar(node) ? node.value : null;
    if (typeof value !== 'bigint') return value;
    if (Number.isSafeInteger(Number(value))) return Number(value);
    return this.refuse(offsetOf(node), `\`${value}\` is larger than 2^53: it would not be this number any more`) ?? 0;
  }
}

function offsetOf(node: Node): number {
  return node.range?.[0] ?? 0;
}
