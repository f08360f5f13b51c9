/**
 * The policy engine: Cedar, default deny, decided in the activity and never in a workflow. A decision is a value: what
 * fails, fails as a deny with POLICY_ERROR. Cedar alone would skip a forbid that errs and allow; this does not.
 */
import type { SchemaJson } from '@cedar-policy/cedar-wasm/nodejs';
import type { Decision } from '../governance/decision.ts';
import { digestOf } from '../governance/digest.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import type { PolicyEngine, PolicyGate, PolicyRequest } from './deps.ts';
import { CedarSet } from './policy-cedar.ts';
import type { CedarAnswer } from './policy-cedar.ts';
import type { ParsedPolicy } from './policy-gates.ts';
import type { CheckedPolicies } from './policy-check.ts';
import { cedarRequest, PolicyValueError } from './policy-request.ts';
import { usedContext } from './policy-trim.ts';

/** A policy as a list shows it. */
export interface PolicySummary {
  readonly id: string;
  readonly effect: 'permit' | 'forbid';
  readonly file: string;
  readonly gate: PolicyGate | null;
}

/** The engine of a loaded set, with what `actguard policy` shows of it. */
export interface LoadedPolicies extends PolicyEngine {
  /** In order of files and lines. */
  readonly policies: readonly PolicySummary[];
  /** The generated Cedar schema. */
  readonly schema: SchemaJson<string>;
}

/** The engine of a checked set. */
export function policyEngine({ policies, builtin, world, schema, judgesModels }: CheckedPolicies): LoadedPolicies {
  const all = [...policies, ...builtin];
  const cedar = new CedarSet(
    schema,
    new Map(all.map(({ id, piece }) => [id, piece.text])),
    usedContext(all.map(({ json }) => json)),
  );
  const gates = new Map(all.flatMap((policy) => (policy.gate ? [[policy.id, gateOf(policy)] as const] : [])));
  const summaries = policies.map(({ id, json, piece }) => ({
    id,
    effect: json.effect,
    file: piece.file,
    gate: gates.get(id) ?? null,
  }));
  const hints = new Map(
    all.flatMap(({ id, json }) => (json.annotations?.['hint'] ? [[id, json.annotations['hint']] as const] : [])),
  );

  function evaluate(
    request: PolicyRequest,
    approved: readonly string[],
  ): CedarAnswer & { readonly request: JsonObject } {
    const asked = cedarRequest(world, request, approved);
    return { ...cedar.decide(asked), request: asked as unknown as JsonObject };
  }

  function decide(request: PolicyRequest): Decision {
    try {
      // A yes for a gate that is not in the set counts for nothing.
      const answer = evaluate(
        request,
        world.gates.filter((id) => request.approved.includes(id)),
      );
      if (answer.kind === 'error') return failed(answer.message, answer.request);
      if (answer.kind === 'allow') return { kind: 'allow', reasons: answer.reasons, request: answer.request };
      const { reasons } = answer;
      const gatesOnly = reasons.length > 0 && reasons.every((id) => gates.has(id));
      if (!gatesOnly)
        return denied(
          request,
          reasons,
          reasons.filter((id) => !gates.has(id)),
          answer.request,
        );
      const approvedAnswer = evaluate(request, world.gates);
      if (approvedAnswer.kind === 'error') return failed(approvedAnswer.message, answer.request);
      if (approvedAnswer.kind === 'allow') return { kind: 'ask', gates: reasons, request: answer.request };
      return denied(request, reasons, approvedAnswer.reasons, answer.request);
    } catch (error) {
      return failed(
        error instanceof PolicyValueError ? error.message : 'the request could not be put to the policies',
        {},
      );
    }
  }

  /** `reasons`: what denied; `deciding`: what would still deny after every approval. */
  function denied(
    request: PolicyRequest,
    reasons: readonly string[],
    deciding: readonly string[],
    asked: JsonObject,
  ): Decision {
    const permit = `do something else, or tell the user; whoever writes the policies could add: permit (principal, action == Action::"${request.tool.name}", resource);`;
    const said = deciding.flatMap((id) => hints.get(id) ?? []);
    const hint =
      deciding.length === 0 ? permit : said.length > 0 ? said.join('; ') : 'do something else, or tell the user that the policies do not allow it'; // prettier-ignore
    return { kind: 'deny', code: 'POLICY_DENIED', reasons, hint, request: asked };
  }

  // of what was written: the generated gates follow from the tools, which have digests of their own, and a set that is
  // active keeps its digest when a tool joins
  return {
    digest: digestOf(digestible(policies)),
    decide,
    gate: (id) => gates.get(id),
    policies: summaries,
    schema,
    judgesModels,
  };
}

function failed(message: string, request: JsonObject): Decision {
  return {
    kind: 'deny',
    code: 'POLICY_ERROR',
    reasons: [],
    hint: `the policies could not be evaluated: ${message}`,
    request,
  };
}

function gateOf({ id, piece, json, gate }: ParsedPolicy): PolicyGate {
  return {
    id,
    sha256: digestOf(contentOf(piece.text, json.annotations)),
    roles: gate?.roles ?? [],
    quorum: gate?.quorum ?? 1,
    key: gate?.key ?? 'any',
    text: piece.text,
  };
}

/** id -> text and annotations: what the digest of a set is made over. */
function digestible(policies: readonly ParsedPolicy[]): Json {
  return Object.fromEntries(policies.map(({ id, piece, json }) => [id, contentOf(piece.text, json.annotations)]));
}

function contentOf(text: string, annotations: { readonly [name: string]: string } | undefined): JsonObject {
  return { text, annotations: { ...annotations } };
}
