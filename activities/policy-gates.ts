/**
 * Which forbids an approval lifts, and that nothing else does. Checked on the parsed policy; the tokens only say where.
 * A gate is a forbid with @id, @gate("approval") and exactly one `unless`: `context.approved.contains(Gate::"<its id>")`.
 */
import type { Expr, PolicyJson } from '@cedar-policy/cedar-wasm/nodejs';
import { walk } from './policy-ast.ts';
import { closest, suggestion } from './policy-excerpt.ts';
import type { Finding, Piece, Token } from './policy-split.ts';

/** A policy that Cedar could parse. */
export interface ParsedPolicy {
  readonly id: string;
  readonly piece: Piece;
  readonly json: PolicyJson;
  readonly gate: {
    readonly roles: readonly string[];
    readonly quorum: number;
    readonly key: 'any' | 'webauthn';
  } | null;
  /** Its annotations are wrong, so what it was meant to be is not known. */
  readonly misread: boolean;
}

/** Annotations that mean something; any other one is a mistake, for nothing would enforce it. */
export const ANNOTATIONS = ['id', 'gate', 'roles', 'quorum', 'key', 'hint', 'description'] as const;
/** Who answers a gate that does not say. */
const DEFAULT_ROLE = 'approver';
/** More people than this do not answer one ask. */
const MAX_QUORUM = 100;
const ID = /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$/;
/** Gates that ActGuard generates itself (guards.md PV4). */
export const BUILTIN_PREFIX = 'builtin.';

/** A policy's id, its gate, and what is wrong with its annotations. */
export function readAnnotations(
  piece: Piece,
  json: PolicyJson,
): { id: string; gate: ParsedPolicy['gate']; findings: Finding[] } {
  const notes = new Map(
    Object.entries(json.annotations ?? {}).map(([name, value]) => [name, (value as string | null) ?? '']),
  );
  const findings: Finding[] = [];
  const refuse = (name: string, problem: string, fix?: string) =>
    findings.push(at(piece, annotationToken(piece, name), problem, fix));
  for (const name of notes.keys()) {
    if ((ANNOTATIONS as readonly string[]).includes(name)) continue;
    const near = closest(name, ANNOTATIONS);
    const known = `known are ${ANNOTATIONS.map((n) => `\`@${n}\``).join(', ')}`;
    refuse(name, `unknown annotation \`@${name}\``, near === undefined ? known : `did you mean \`@${near}\`?`);
  }
  const own = notes.get('id');
  if (own !== undefined && (!ID.test(own) || own.startsWith(BUILTIN_PREFIX))) {
    const problem = own.startsWith(BUILTIN_PREFIX)
      ? `ids that start with \`${BUILTIN_PREFIX}\` are reserved`
      : `\`${own}\` is not an id`;
    refuse('id', problem, 'use up to 100 letters, digits and `._:/-`');
  }
  const id = own ?? `${piece.file}#${piece.number}`;
  if (!notes.has('gate')) {
    for (const name of ['roles', 'quorum', 'key'])
      if (notes.has(name)) refuse(name, `\`@${name}\` without a gate`, 'add `@gate("approval")` or remove it');
    return { id, gate: null, findings };
  }
  if (notes.get('gate') !== 'approval')
    refuse('gate', `unknown gate \`${notes.get('gate') ?? ''}\``, 'did you mean `@gate("approval")`?');
  if (json.effect !== 'forbid')
    refuse('gate', 'a gate on a `permit`', 'an approval lifts a `forbid`: permit the call and forbid it with the gate');
  if (own === undefined) refuse('gate', 'a gate without `@id`', 'add `@id("...")`: approvals name the gate by it');
  const roles = (notes.get('roles') ?? DEFAULT_ROLE).split(',').map((role) => role.trim());
  if (!roles.every((role) => ID.test(role)) || new Set(roles).size !== roles.length) {
    refuse('roles', `\`${notes.get('roles') ?? ''}\` is not a list of roles`, 'write `@roles("finance,cfo")`');
  }
  const quorumText = notes.get('quorum') ?? '1';
  const quorum = /^[1-9][0-9]*$/.test(quorumText) ? Number(quorumText) : 0;
  if (quorum < 1 || quorum > MAX_QUORUM)
    refuse('quorum', `\`${quorumText}\` is not a number of people`, `write \`@quorum("1")\`, at most ${MAX_QUORUM}`);
  const kind = notes.get('key');
  if (kind !== undefined && kind !== 'webauthn')
    refuse('key', `unknown kind of key \`${kind}\``, 'write `@key("webauthn")`: answers count by passkey only');
  return { id, gate: { roles, quorum: Math.max(1, quorum), key: kind === undefined ? 'any' : 'webauthn' }, findings };
}

/** That `context.approved` stands in the one place of a gate where an approval is meant to count, and nowhere else. */
export function checkApproved(policy: ParsedPolicy, gates: readonly string[]): Finding[] {
  const { piece, json, gate, id } = policy;
  const clauses = clauseRanges(piece);
  const unless = json.conditions.filter(({ kind }) => kind === 'unless').length;
  const findings: Finding[] = [];
  const expected = `unless { context.approved.contains(Gate::"${id}") }`;
  if (gate && json.effect === 'forbid' && unless !== 1) {
    const place = unless === 0 ? headToken(piece) : nth(clauses, 'unless', 1);
    findings.push(
      at(
        piece,
        place,
        unless === 0 ? 'a gate without its `unless`' : 'a gate with more than one `unless`',
        `it ends in \`${expected}\``,
      ),
    );
  }
  json.conditions.forEach(({ kind, body }, index) => {
    const clause = clauses[index];
    const mayLift = gate !== null && json.effect === 'forbid' && kind === 'unless';
    if (mayLift && isLift(body, id)) return;
    const misuse = misuseOf(body);
    if (mayLift && unless === 1) {
      findings.push(wrongLift(piece, clause, body, gates, id, expected));
    } else if (misuse === 'approved') {
      const fix = gate
        ? `only \`${expected}\` may look at approvals`
        : 'only the `unless` of a gate may look at approvals: add `@gate("approval")` and `@id`';
      findings.push(
        at(piece, tokenIn(piece, clause, 'approved'), '`context.approved` outside the `unless` of a gate', fix),
      );
    } else if (misuse === 'whole') {
      findings.push(
        at(
          piece,
          tokenIn(piece, clause, 'context'),
          '`context` as a whole',
          'name what you look at: `context.args`, `context.left`, …',
        ),
      );
    }
  });
  return findings;
}

function wrongLift(
  piece: Piece,
  clause: Clause | undefined,
  body: Expr,
  gates: readonly string[],
  id: string,
  expected: string,
): Finding {
  const other = otherGate(body);
  if (other !== null) {
    const problem = gates.includes(other)
      ? `\`${id}\` is lifted by the approval of another gate, \`${other}\``
      : `unknown gate \`${other}\``;
    const token = tokenIn(piece, clause, JSON.stringify(other));
    return at(piece, token, problem, gates.includes(other) ? `write \`Gate::"${id}"\`` : suggestion(other, [id]));
  }
  return at(
    piece,
    clause?.keyword ?? headToken(piece),
    'the `unless` of a gate may say one thing only',
    `write \`${expected}\``,
  );
}

/** Exactly `context.approved.contains(Gate::"<id>")`. */
function isLift(body: Expr, id: string): boolean {
  return otherGate(body) === id;
}

/** The gate that a well-formed lift names; null when it is none. */
function otherGate(body: Expr): string | null {
  const contains = (body as { contains?: { left: Expr; right: Expr } }).contains;
  const id = (contains?.right as { Value?: { __entity?: { type?: unknown; id?: unknown } } } | undefined)?.Value
    ?.__entity?.id;
  if (typeof id !== 'string') return null;
  const lift = {
    contains: {
      left: { '.': { left: { Var: 'context' }, attr: 'approved' } },
      right: { Value: { __entity: { type: 'Gate', id } } },
    },
  };
  return sameJson(body, lift) ? id : null;
}

/** `context` may only stand before a dot or `has`, and never reach `approved`: no alias can smuggle approvals in. */
function misuseOf(body: Expr): 'approved' | 'whole' | null {
  let misuse: 'approved' | 'whole' | null = null;
  walk(body, ({ op, body: inner }, parent) => {
    if (op !== 'Var' || inner !== 'context') return;
    const attr =
      parent && (parent.op === '.' || parent.op === 'has')
        ? (parent.body as { attr: string | string[] }).attr
        : undefined;
    const first = Array.isArray(attr) ? attr[0] : attr;
    if (first === 'approved') misuse = 'approved';
    else if (first === undefined) misuse ??= 'whole';
  });
  return misuse;
}

/** A `when` or `unless` of a policy: its keyword and the tokens up to the next one. */
export interface Clause {
  readonly keyword: Token;
  readonly tokens: readonly Token[];
}

/** The clauses in order, found by their keywords outside all brackets. */
export function clauseRanges(piece: Piece): Clause[] {
  const clauses: { keyword: Token; tokens: Token[] }[] = [];
  let depth = 0;
  for (const token of piece.tokens) {
    if (token.kind === 'sign' && '([{'.includes(token.text)) depth += 1;
    if (token.kind === 'sign' && ')]}'.includes(token.text)) depth -= 1;
    if (depth === 0 && token.kind === 'word' && (token.text === 'when' || token.text === 'unless'))
      clauses.push({ keyword: token, tokens: [] });
    else clauses.at(-1)?.tokens.push(token);
  }
  return clauses;
}

/** A finding at a token of a policy. */
export function at(piece: Piece, token: Token | undefined, problem: string, fix?: string): Finding {
  const start = piece.start + (token?.start ?? 0);
  const place = { file: piece.file, start, end: start + (token?.text.length ?? 1), problem };
  return fix === undefined ? place : { ...place, fix };
}

/** The first token of a clause that reads so, as a word or as a string; else the clause's keyword. */
export function tokenIn(piece: Piece, clause: Clause | undefined, text: string): Token | undefined {
  const found = clause?.tokens.find((token) => token.text === text || token.text === `"${text}"`);
  return found ?? clause?.keyword ?? headToken(piece);
}

/** `permit` or `forbid`. */
export function headToken(piece: Piece): Token | undefined {
  return piece.tokens.find(
    ({ kind, text }, index) =>
      kind === 'word' && (text === 'permit' || text === 'forbid') && piece.tokens[index - 1]?.text !== '@',
  );
}

function annotationToken(piece: Piece, name: string): Token | undefined {
  return piece.tokens.find(({ text }, index) => text === name && piece.tokens[index - 1]?.text === '@');
}

function nth(clauses: readonly Clause[], keyword: string, index: number): Token | undefined {
  return clauses.filter((clause) => clause.keyword.text === keyword)[index]?.keyword;
}

function sameJson(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every(
    (key) =>
      Object.hasOwn(b, key) && sameJson((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]),
  );
}
