/**
 * Model calls as an action: a set that names `Action::"model.call"` decides them like calls of a tool of that name, with
 * the model and what it may cost as arguments. A set that does not name it leaves them to budgets.
 */
import type { Grant } from './grant.ts';
import type { Amount } from '../governance/call.ts';
import { deny, quote } from '../governance/denial.ts';
import type { Denial } from '../governance/errors.ts';
import type { JsonObject } from '../governance/json.ts';
import type { ToolManifest } from '../governance/tool.ts';
import { nowOf } from './clock.ts';
import { decidePolicy } from './decide.ts';
import { recordedDecision, shadowed } from './decision-record.ts';
import type { Deps, PolicyEngine, PolicyRequest } from './deps.ts';
import type { ParsedPolicy } from './policy-gates.ts';

/** The action's name; no tool may have it. */
export const MODEL_ACTION = 'model.call';
/** Micro-dollars in a cent: what a call may cost is rounded up for policies. */
const MICROS_PER_CENT = 10_000;

const whole = { type: 'integer' };
/** What a set sees of a model call: a read that leaves the house. */
export const MODEL_CALL: ToolManifest = {
  v: 1,
  name: MODEL_ACTION,
  modelName: 'model_call',
  description: 'A call of a model',
  tags: {},
  effect: 'read',
  reach: 'external',
  inputJsonSchema: {
    type: 'object',
    properties: {
      model: { type: 'string' },
      provider: { type: 'string' },
      maxUsdCents: whole,
      maxTokens: whole,
      turn: whole,
    },
    required: ['model', 'provider', 'maxUsdCents', 'maxTokens', 'turn'],
  },
  timeoutMs: 0,
  settlesWithinMs: 0,
  retry: null,
  maxCallsPerRun: null,
  rateLimit: null,
  circuitBreaker: null,
  requires: {},
  proves: [],
  facts: { ttlMs: 0, max: 0, onTooMany: 'deny' },
  trust: { output: 'trusted', fields: {}, private: [], declassify: {}, arguments: {} },
  idempotency: null,
  repeatable: true,
  cost: null,
  definiteStatuses: [],
  credentials: [],
  canReconcile: false,
  digest: '',
};

/** Whether a policy names the action. */
export function namesModels({ json }: ParsedPolicy): boolean {
  return JSON.stringify(json).includes(`"id":"${MODEL_ACTION}"`);
}

/** A model call that is about to be made. */
export interface ModelQuestion {
  readonly run: string;
  readonly seq: number;
  readonly model: string;
  readonly turn: number;
  /** The worst case. */
  readonly reserved: Amount;
}

/** What the policies said of a model call: a denial or null, and what its entry says of the decision. */
export interface DecidedModel {
  readonly denial: Denial | null;
  readonly data: JsonObject;
  /** null: nothing was asked. */
  readonly content: JsonObject | null;
}

/** The word of the policies on a model call, and of a shadow set beside it. */
export function decideModel(
  deps: Pick<Deps, 'policySets' | 'now'>,
  policy: PolicyEngine,
  grant: Grant,
  asked: ModelQuestion,
): DecidedModel {
  const found = deps.policySets?.shadow(grant.principal.tenant);
  const shadow = found?.judgesModels === true ? found : undefined;
  const question = questionOf(grant, asked, nowOf(deps));
  if (policy.judgesModels !== true) {
    return { denial: null, data: shadow ? { shadow: shadowed(shadow, question) } : {}, content: null };
  }
  const { decision, denial } = decidePolicy(policy, question);
  const recorded = recordedDecision(policy, decision, shadow, question);
  if (decision.kind !== 'ask') return { denial, ...recorded };
  // nobody is asked for a turn of a model: a gate that would ask denies
  const reasons = decision.gates;
  const why = `${quote(asked.model)} needs an approval by ${reasons.map(quote).join(', ')}, and a model call cannot wait for one`;
  return {
    denial: deny('POLICY_DENIED', why, 'stop and tell the user', { tool: MODEL_ACTION, reasons }),
    ...recorded,
  };
}

function questionOf(grant: Grant, { run, seq, model, turn, reserved }: ModelQuestion, nowMs: number): PolicyRequest {
  return {
    principal: grant.principal,
    groups: grant.groups ?? [],
    attributes: grant.attributes ?? {},
    run,
    tool: MODEL_CALL,
    args: {
      model,
      provider: model.split('/')[0] ?? '',
      maxUsdCents: Math.ceil(reserved.usdMicros / MICROS_PER_CENT),
      maxTokens: reserved.tokens,
      turn,
    },
    facts: [],
    left: {},
    callsSoFar: Math.max(0, seq - 1),
    nowMs,
    openedAtMs: grant.openedAtMs,
    approved: [],
  };
}
