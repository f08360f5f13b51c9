/** Walks a parsed policy (Cedar's JSON format of expressions). */
import type { CedarValueJson, Expr, PolicyJson } from '@cedar-policy/cedar-wasm/nodejs';

/** An expression as its one operator and that operator's body. */
export interface Node {
  readonly op: string;
  readonly body: unknown;
}

/** A name reached by dots from `context`, `resource` or `principal`; `of` says which. */
export interface Path {
  readonly of: string;
  readonly names: readonly string[];
}

/** The operator of an expression; every expression has exactly one. */
export function nodeOf(expr: Expr): Node {
  const entries = Object.entries(expr as Record<string, unknown>);
  const [only] = entries;
  if (only === undefined || entries.length !== 1) throw new Error('an expression has one operator');
  return { op: only[0], body: only[1] };
}

/** The expressions directly inside an expression. */
export function childrenOf({ op, body }: Node): Expr[] {
  if (op === 'Value' || op === 'Var' || op === 'Slot') return [];
  if (op === 'Set') return body as Expr[];
  if (op === 'Record') return Object.values(body as Record<string, Expr>);
  // A function call: its arguments. Everything else: the operands among the parts of its body.
  if (Array.isArray(body)) return body as Expr[];
  return Object.entries(body as Record<string, unknown>)
    .filter(
      ([part, value]) => part !== 'pattern' && typeof value === 'object' && value !== null && !Array.isArray(value),
    )
    .map(([, value]) => value as Expr);
}

/** Calls `visit` for an expression and everything inside it, parents first. */
export function walk(expr: Expr, visit: (node: Node, parent: Node | null) => void, parent: Node | null = null): void {
  const node = nodeOf(expr);
  visit(node, parent);
  for (const child of childrenOf(node)) walk(child, visit, node);
}

/** `context.args.amountCents` as a path; null for anything else. */
export function pathOf(expr: Expr): Path | null {
  const { op, body } = nodeOf(expr);
  if (op === 'Var') return { of: body as string, names: [] };
  if (op !== '.') return null;
  const { left, attr } = body as { left: Expr; attr: string };
  const inner = pathOf(left);
  return inner && { of: inner.of, names: [...inner.names, attr] };
}

/** The texts of `"a"` or of `["a", "b"]`; null when it is anything else. */
export function textsOf(expr: Expr): string[] | null {
  const { op, body } = nodeOf(expr);
  if (op === 'Value' && typeof body === 'string') return [body];
  const elements =
    op === 'Set'
      ? (body as Expr[]).map((e) => valueOf(e))
      : op === 'Value' && Array.isArray(body)
        ? (body as CedarValueJson[])
        : [];
  return elements.length > 0 && elements.every((e) => typeof e === 'string') ? elements : null;
}

function valueOf(expr: Expr): unknown {
  const { op, body } = nodeOf(expr);
  return op === 'Value' ? body : undefined;
}

/** Every entity that a policy names, in its head and in its conditions. */
export function entitiesIn(policy: PolicyJson): { type: string; id: string }[] {
  const found: { type: string; id: string }[] = [];
  const look = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    const { type, id } = value as { type?: unknown; id?: unknown };
    if (typeof type === 'string' && typeof id === 'string') found.push({ type, id });
    for (const inner of Object.values(value)) look(inner);
  };
  look([policy.principal, policy.action, policy.resource]);
  for (const { body } of policy.conditions) {
    walk(body, (node) => {
      if (node.op === 'Value') look(node.body);
    });
  }
  return found;
}
