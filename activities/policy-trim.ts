/**
 * The part of a request's context that a set of policies can see. What no policy names cannot change its answer, and
 * parsing it costs more than deciding: Cedar is asked with a context, and a schema, of the named attributes only, and with
 * the named arguments only. The recorded request stays whole, so that any Cedar, and another set, can repeat the decision.
 */
import type { Context, Expr, PolicyJson, SchemaJson } from '@cedar-policy/cedar-wasm/nodejs';
import { childrenOf, nodeOf, pathOf } from './policy-ast.ts';

/** Checked in every request, named or not: an agent that the schema does not list is an error. */
const ALWAYS = ['agent', 'approved'];
/** The one attribute that is trimmed inside as well: texts of arguments are long, and policies name few of them. */
const ARGS = 'args';

/** What policies name of the context. */
export interface UsedContext {
  /** Attributes directly below `context`. */
  readonly names: ReadonlySet<string>;
  /** Attributes directly below `context.args`; null: all of them. */
  readonly args: ReadonlySet<string> | null;
}

/** What these policies name; null: some policy uses the context as a whole. */
export function usedContext(policies: readonly PolicyJson[]): UsedContext | null {
  const names = new Set(ALWAYS);
  const args = new Set<string>();
  let whole = false;
  let wholeArgs = false;
  const look = (expr: Expr): void => {
    const node = nodeOf(expr);
    const { of, below, attr } = attributeOf(node.op, node.body);
    if (of === 'context' && below === '') {
      names.add(attr);
      wholeArgs ||= attr === ARGS && node.op === '.';
    } else if (of === 'context' && below === ARGS) {
      names.add(ARGS);
      args.add(attr);
    } else if (node.op === 'Var' && node.body === 'context') {
      whole = true;
    } else {
      for (const child of childrenOf(node)) look(child);
    }
  };
  for (const { conditions } of policies) for (const { body } of conditions) look(body);
  return whole ? null : { names, args: wholeArgs ? null : args };
}

/** `context.name` and `context has name`, and the same one level below (`context.args.name`); `of` is empty for all else. */
function attributeOf(op: string, body: unknown): { of: string; below: string; attr: string } {
  const { left, attr } = (op === '.' || op === 'has' ? body : {}) as { left?: Expr; attr?: unknown };
  const path = left === undefined || typeof attr !== 'string' ? null : pathOf(left);
  if (path === null || path.names.length > 1) return { of: '', below: '', attr: '' };
  return { of: path.of, below: path.names[0] ?? '', attr: attr as string };
}

/** The schema whose actions take contexts of these attributes only. */
export function trimSchema(schema: SchemaJson<string>, used: UsedContext | null): SchemaJson<string> {
  if (used === null) return schema;
  const namespaces = schema as unknown as { readonly [name: string]: { readonly actions: Actions } };
  return mapValues(namespaces, (namespace) => ({
    ...namespace,
    actions: mapValues(namespace.actions, (action) => {
      const context = action.appliesTo?.context;
      if (!context) return action;
      const trimmed = { ...context, attributes: pickUsed(context.attributes, used, pickAttributes) };
      return { ...action, appliesTo: { ...action.appliesTo, context: trimmed } };
    }),
  })) as unknown as SchemaJson<string>;
}

/** A record type of the schema, written out. */
interface RecordType {
  readonly attributes: { readonly [name: string]: unknown };
}

/** What policy-schema.ts writes of an action: its context is a record, and so is `args` in it. */
interface Actions {
  readonly [name: string]: {
    readonly appliesTo?: { readonly context: RecordType };
  };
}

function mapValues<T, U>(from: { readonly [key: string]: T }, change: (value: T) => U): { [key: string]: U } {
  return Object.fromEntries(Object.entries(from).map(([key, value]) => [key, change(value)]));
}

/** The context with these attributes only. */
export function trimContext(context: Context, used: UsedContext | null): Context {
  return used === null ? context : pickUsed(context, used, (args, names) => pick(args as object, names));
}

/** The named attributes, `args` with its own named ones. */
function pickUsed<T extends object>(
  from: T,
  { names, args }: UsedContext,
  inside: (args: unknown, names: ReadonlySet<string>) => unknown,
): T {
  const picked = pick(from, names) as { [ARGS]?: unknown };
  return (args === null || !(ARGS in picked) ? picked : { ...picked, [ARGS]: inside(picked[ARGS], args) }) as T;
}

function pickAttributes(record: unknown, names: ReadonlySet<string>): unknown {
  const { attributes, ...rest } = record as RecordType;
  return { ...rest, attributes: pick(attributes, names) };
}

function pick<T extends object>(from: T, names: ReadonlySet<string>): T {
  return Object.fromEntries(Object.entries(from).filter(([name]) => names.has(name))) as T;
}
