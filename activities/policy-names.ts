/**
 * Names that Cedar's validator lets pass although they can never be: `has` of something that no call has, a text that
 * an argument cannot be, a tool that does not exist. In a forbid each of them would silently allow.
 */
import type { Expr, PolicyJson } from '@cedar-policy/cedar-wasm/nodejs';
import { entitiesIn, pathOf, textsOf, walk } from './policy-ast.ts';
import type { Path } from './policy-ast.ts';
import { suggestion } from './policy-excerpt.ts';
import type { Field } from './policy-fields.ts';
import { MAX_POLICY_PATTERN_CHARS } from '../governance/limits.ts';
import { at, clauseRanges, headToken, tokenIn } from './policy-gates.ts';
import type { Clause } from './policy-gates.ts';
import { ACTION_GROUPS } from './policy-schema.ts';
import type { PolicyWorld, ToolFields } from './policy-schema.ts';
import type { Finding, Piece } from './policy-split.ts';

/** Findings about names in one parsed policy. */
export function checkNames(piece: Piece, json: PolicyJson, world: PolicyWorld): Finding[] {
  const tools = applicable(json, world);
  const findings = unknownTools(piece, json, world);
  const clauses = clauseRanges(piece);
  json.conditions.forEach(({ body }, index) => {
    const clause = clauses[index];
    walk(body, (node) => {
      const found =
        node.op === 'has'
          ? checkHas(node.body as HasBody, tools)
          : node.op === '==' || node.op === '!=' || node.op === 'contains'
            ? checkTexts(node.body as Sides, tools)
            : node.op === 'like'
              ? checkPattern(node.body as PatternBody)
              : null;
      if (found) findings.push(place(piece, clause, found));
    });
  });
  return findings;
}

/** The tools that a policy's head lets it apply to. */
export function applicable(json: PolicyJson, world: PolicyWorld): ToolFields[] {
  const all = [...world.tools.values()];
  if (json.action.op === 'All') return all;
  const named = 'entities' in json.action ? json.action.entities : 'entity' in json.action ? [json.action.entity] : [];
  const ids = new Set(named.map((entity) => ('__entity' in entity ? entity.__entity.id : entity.id)));
  const groups = json.action.op === 'in' ? ACTION_GROUPS.filter((group) => ids.has(group)) : [];
  return all.filter(({ tool }) => ids.has(tool.name) || groups.includes(tool.effect));
}

interface HasBody {
  readonly left: Expr;
  readonly attr: string | readonly string[];
}
interface Sides {
  readonly left: Expr;
  readonly right: Expr;
}
interface PatternBody {
  /** Characters and wildcards in order, as Cedar's JSON has them. */
  readonly pattern: readonly unknown[];
}
interface Found {
  readonly word: string;
  readonly problem: string;
  readonly fix: string;
}

function place(piece: Piece, clause: Clause | undefined, { word, problem, fix }: Found): Finding {
  return at(piece, tokenIn(piece, clause, word), problem, fix);
}

/** Matching takes steps by the pattern's length times the text's: a pattern of bounded length cannot hold a worker up. */
function checkPattern({ pattern }: PatternBody): Found | null {
  const chars = pattern.reduce((sum: number, part) => sum + literalOf(part).length, 0);
  if (chars <= MAX_POLICY_PATTERN_CHARS) return null;
  return {
    word: 'like',
    problem: `a pattern of ${chars} characters`,
    fix: `write at most ${MAX_POLICY_PATTERN_CHARS}: what is longer is no pattern of something that agents may say`,
  };
}

function literalOf(part: unknown): string {
  const text = (part as { readonly Literal?: unknown } | null)?.Literal;
  return typeof text === 'string' ? text : '*';
}

function unknownTools(piece: Piece, json: PolicyJson, world: PolicyWorld): Finding[] {
  const names = [...world.tools.keys()];
  return entitiesIn(json)
    .filter(({ type, id }) => type === 'Tool' && !world.tools.has(id))
    .map(({ id }) => {
      const token = piece.tokens.find(({ text }) => text === JSON.stringify(id)) ?? headToken(piece);
      return at(piece, token, `unknown tool \`${id}\``, suggestion(id, names));
    });
}

/** `context.args has amount`: refused when no call that the policy applies to can have it. */
function checkHas({ left, attr }: HasBody, tools: readonly ToolFields[]): Found | null {
  const path = pathOf(left);
  if (path === null || tools.length === 0) return null;
  let names = path.names;
  for (const name of typeof attr === 'string' ? [attr] : attr) {
    const known = namesAt({ of: path.of, names }, tools);
    if (known === null) return null;
    names = [...names, name];
    if (known.visible.includes(name)) continue;
    const reason = known.leftOut.get(name);
    const full = [path.of, ...names].join('.');
    if (reason !== undefined)
      return {
        word: name,
        problem: `\`${full}\` is not visible to policies: ${reason}`,
        fix: 'guard it with a rule of the tool, or give it one plain type',
      };
    return { word: name, problem: `nothing has \`${full}\``, fix: suggestion(name, known.visible) };
  }
  return null;
}

/** Names that a record has in at least one of the tools; null where a path leads to no record. */
function namesAt(path: Path, tools: readonly ToolFields[]): { visible: string[]; leftOut: Map<string, string> } | null {
  const records = fieldsAt(path, tools).filter((field) => field.kind === 'record');
  if (records.length === 0) return null;
  return {
    visible: [...new Set(records.flatMap((record) => [...record.attributes.keys()]))],
    leftOut: new Map(records.flatMap((record) => [...record.leftOut])),
  };
}

/** `context.args.currency == "UDS"`: refused when the schema lists the texts and this is none of them. */
function checkTexts({ left, right }: Sides, tools: readonly ToolFields[]): Found | null {
  const path = pathOf(left) ?? pathOf(right);
  const texts = pathOf(left) ? textsOf(right) : textsOf(left);
  if (path === null || texts === null) return null;
  const fields = fieldsAt(path, tools).map((field) => (field.kind === 'set' ? field.element : field));
  const values = fields.flatMap((field) => (field.kind === 'string' && field.values ? field.values : []));
  if (fields.length === 0 || !fields.every((field) => field.kind === 'string' && field.values)) return null;
  const unknown = texts.find((candidate) => !values.includes(candidate));
  if (unknown === undefined) return null;
  const full = [path.of, ...path.names].join('.');
  return {
    word: unknown,
    problem: `\`${full}\` is never \`${unknown}\``,
    fix: suggestion(unknown, [...new Set(values)]),
  };
}

function fieldsAt(path: Path, tools: readonly ToolFields[]): Field[] {
  const found: Field[] = [];
  for (const { context, resource, principal } of tools) {
    const roots: { readonly [name: string]: Field } = { context, resource, principal };
    let field: Field | undefined = Object.hasOwn(roots, path.of) ? roots[path.of] : undefined;
    for (const name of path.names) field = field?.kind === 'record' ? field.attributes.get(name)?.field : undefined;
    if (field) found.push(field);
  }
  return found;
}
