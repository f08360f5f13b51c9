/**
 * What an entry keeps of a decision: set, reasons and, under a salted commitment, the complete request, so that a
 * stranger's Cedar can repeat it (design, Policies). A shadow set's word stands beside it and changes nothing.
 */
import type { Decision } from '../governance/decision.ts';
import type { JsonObject } from '../governance/json.ts';
import { committed } from './call-entries.ts';
import type { PolicyEngine, PolicyRequest } from './deps.ts';

/** The entry's part and what lies beside it. */
export function recordedDecision(
  policy: PolicyEngine,
  decision: Decision,
  shadow: PolicyEngine | undefined,
  question: PolicyRequest,
): { readonly data: JsonObject; readonly content: JsonObject } {
  const request = committed('request', decision.request);
  const data: JsonObject = {
    policy: policy.digest,
    decision: decision.kind,
    reasons: reasonsOf(decision),
    ...request.data,
  };
  return {
    data: shadow === undefined ? data : { ...data, shadow: shadowed(shadow, question) },
    content: request.content,
  };
}

/** Policies that decided; of an ask its gates. */
export function reasonsOf(decision: Decision): readonly string[] {
  return decision.kind === 'ask' ? decision.gates : decision.reasons;
}

/**
 * A shadow set's word on the same question. The gates that a yes counts for are those of the set that decides: the shadow
 * says what it would have said to the same.
 */
export function shadowed(shadow: PolicyEngine, question: PolicyRequest): JsonObject {
  const decision = shadow.decide(question);
  const said = decision.kind === 'deny' && decision.code === 'POLICY_ERROR' ? 'error' : decision.kind;
  return { policy: shadow.digest, decision: said, reasons: reasonsOf(decision) };
}
