/**
 * A recorded decision once more: under another set, or outside of everything of ours. What was kept is the complete
 * Cedar request, so neither needs the run, its facts or its budget.
 */
import { isAuthorized } from '@cedar-policy/cedar-wasm/nodejs';
import type { AuthorizationCall } from '@cedar-policy/cedar-wasm/nodejs';
import type { JsonObject } from '../governance/json.ts';
import { CedarSet } from './policy-cedar.ts';
import type { CedarAnswer } from './policy-cedar.ts';
import type { CheckedPolicies } from './policy-check.ts';
import { MODEL_ACTION } from './policy-models.ts';
import type { CedarRequest } from './policy-request.ts';

/** What a set says to a recorded request. `ask`: only gates deny, and their approval would allow. Reasons are policy ids. */
export interface Repeated {
  readonly kind: 'allow' | 'ask' | 'deny' | 'error';
  readonly reasons: readonly string[];
  /** Why it could not be evaluated: it does not fit the set's schema, say. */
  readonly message?: string;
}

/** Decides recorded requests under a set. The gates that a yes was given for count as far as the set has them. Never throws. */
export function repeater(checked: CheckedPolicies): (recorded: JsonObject) => Repeated {
  const { policies, builtin, world, schema } = checked;
  const cedar = new CedarSet(schema, new Map([...policies, ...builtin].map(({ id, piece }) => [id, piece.text])));
  const gates = new Set(world.gates);
  return (recorded) => {
    if (!isRequest(recorded)) return { kind: 'error', reasons: [], message: 'no request was kept' };
    // a set that does not name model calls leaves them to budgets
    if (actionOf(recorded) === MODEL_ACTION && !checked.judgesModels) return { kind: 'allow', reasons: [] };
    const given = approvedIn(recorded).filter((id) => gates.has(id));
    const answer = cedar.decide(withApproved(recorded, given, gates.size > 0));
    if (answer.kind !== 'deny') return repeated(answer);
    if (answer.reasons.length === 0 || !answer.reasons.every((id) => gates.has(id))) return repeated(answer);
    const lifted = cedar.decide(withApproved(recorded, world.gates, true));
    if (lifted.kind === 'error') return repeated(lifted);
    return { kind: lifted.kind === 'allow' ? 'ask' : 'deny', reasons: answer.reasons };
  };
}

/**
 * A recorded request put to Cedar with nothing but the texts of the set, as a stranger would: no schema, nothing
 * preparsed. Cedar skips a policy that errs; here that is an error.
 */
export function repeatPlainly(texts: ReadonlyMap<string, string>, recorded: JsonObject): Repeated {
  if (!isRequest(recorded)) return { kind: 'error', reasons: [], message: 'no request was kept' };
  try {
    const call = { ...recorded, policies: { staticPolicies: Object.fromEntries(texts) } };
    const answer = isAuthorized(call as unknown as AuthorizationCall);
    if (answer.type !== 'success')
      return { kind: 'error', reasons: [], message: answer.errors.map(({ message }) => message).join('; ') };
    const { decision, diagnostics } = answer.response;
    const [error] = diagnostics.errors;
    if (error) return { kind: 'error', reasons: [], message: `policy \`${error.policyId}\`: ${error.error.message}` };
    return { kind: decision, reasons: [...diagnostics.reason].sort() };
  } catch {
    return { kind: 'error', reasons: [], message: 'cedar cannot read the request' };
  }
}

function repeated(answer: CedarAnswer): Repeated {
  return answer.kind === 'error'
    ? { kind: 'error', reasons: [], message: answer.message }
    : { kind: answer.kind, reasons: answer.reasons };
}

function isRequest(recorded: JsonObject): boolean {
  const { context, entities } = recorded;
  return typeof context === 'object' && context !== null && !Array.isArray(context) && Array.isArray(entities);
}

function actionOf(recorded: JsonObject): unknown {
  return (recorded['action'] as { readonly id?: unknown } | null | undefined)?.id;
}

/** Gates that counted as approved when it was decided. */
export function approvedIn(recorded: JsonObject): string[] {
  const approved = (recorded['context'] as JsonObject | undefined)?.['approved'];
  if (!Array.isArray(approved)) return [];
  return approved.flatMap((entity) => {
    const id = ((entity as JsonObject)['__entity'] as JsonObject | undefined)?.['id'];
    return typeof id === 'string' ? [id] : [];
  });
}

/** The request with other approved gates; a set without gates knows no `context.approved`. */
function withApproved(recorded: JsonObject, gates: readonly string[], known: boolean): CedarRequest {
  const { approved: _was, ...context } = recorded['context'] as JsonObject;
  const approved = gates.map((id) => ({ __entity: { type: 'Gate', id } }));
  return { ...recorded, context: known ? { ...context, approved } : context } as unknown as CedarRequest;
}
