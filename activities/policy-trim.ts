/**
 * The part of a request's context that a set of policies can see. What no policy names cannot change its answer, and
 * parsing it costs more than deciding: Cedar is asked with a context, and a schema, of the named attributes only. The
 * recorded request stays whole, so that any Cedar, and another set, can repeat the decision.
 */
import type { Context, Expr, PolicyJson, SchemaJson } from '@cedar-policy/cedar-wasm/nodejs';
import { nodeOf, walk } from './policy-ast.ts';

/** Checked in every request, named or not: an agent that the schema does not list is an error. */
const ALWAYS = ['agent', 'approved'];

/** Names of attributes directly below `context`; null: some policy uses the context as a whole. */
export function usedContext(policies: readonly PolicyJson[]): ReadonlySet<string> | null {
  const names = new Set(ALWAYS);
  let whole = false;
  for (const { conditions } of policies) {
    for (const { body } of conditions) {
      walk(body, (node, parent) => {
        if (node.op !== 'Var' || node.body !== 'context') return;
        const name = parent && attributeOf(parent.op, parent.body);
        if (name === null) whole = true;
        else names.add(name);
      });
    }
  }
  return whole ? null : names;
}

/** `context.name` and `context has name`; null for every other use of `context`. */
function attributeOf(op: string, body: unknown): string | null {
  if (op !== '.' && op !== 'has') return null;
  const { left, attr } = body as { left: Expr; attr: unknown };
  const { op: leftOp, body: leftBody } = nodeOf(left);
  return leftOp === 'Var' && leftBody === 'context' && typeof attr === 'string' ? attr : null;
}

/** The schema whose actions take contexts of these attributes only. */
export function trimSchema(schema: SchemaJson<string>, used: ReadonlySet<string> | null): SchemaJson<string> {
  if (used === null) return schema;
  const namespaces = schema as unknown as { readonly [name: string]: { readonly actions: Actions } };
  return mapValues(namespaces, (namespace) => ({
    ...namespace,
    actions: mapValues(namespace.actions, (action) => {
      const context = action.appliesTo?.context;
      if (!context) return action;
      const trimmed = { ...context, attributes: pick(context.attributes, used) };
      return { ...action, appliesTo: { ...action.appliesTo, context: trimmed } };
    }),
  })) as unknown as SchemaJson<string>;
}

/** What policy-schema.ts writes of an action: its context is a record, written out. */
interface Actions {
  readonly [name: string]: {
    readonly appliesTo?: { readonly context: { readonly attributes: { readonly [name: string]: unknown } } };
  };
}

function mapValues<T, U>(from: { readonly [key: string]: T }, change: (value: T) => U): { [key: string]: U } {
  return Object.fromEntries(Object.entries(from).map(([key, value]) => [key, change(value)]));
}

/** The context with these attributes only. */
export function trimContext(context: Context, used: ReadonlySet<string> | null): Context {
  return used === null ? context : pick(context, used);
}

function pick<T extends object>(from: T, names: ReadonlySet<string>): T {
  return Object.fromEntries(Object.entries(from).filter(([name]) => names.has(name))) as T;
}
