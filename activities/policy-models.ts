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
import { decidePolicy } from './decide.ts';
import type { PolicyEngine } from './deps.ts';
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

/** The word of the policies on a model call. */
export function decideModel(policy: PolicyEngine, grant: Grant, asked: ModelQuestion): DecidedModel {
  if (policy.judgesModels !== true) return { denial: null, data: {}, content: null };
  const { usdMicros, tokens } = asked.reserved;
  const { decision, denial } = decidePolicy(policy, {
    principal: grant.principal,
    groups: grant.groups ?? [],
    run: asked.run,
    tool: MODEL_CALL,
    args: {
      model: asked.model,
      provider: asked.model.split('/')[0] ?? '',
      maxUsdCents: Math.ceil(usdMicros / MICROS_PER_CENT),
      maxTokens: tokens,
      turn: asked.turn,
    },
    facts: [],
    left: {},
    callsSoFar: Math.max(0, asked.seq - 1),
    nowMs: Date.now(),
    openedAtMs: grant.openedAtMs,
    approved: [],
  });
  const reasons = decision.kind === 'ask' ? decision.gates : decision.reasons;
  const data = { policy: policy.digest, reasons };
  const content = { request: decision.request };
  if (decision.kind !== 'ask') return { denial, data, content };
  // nobody is asked for a turn of a model: a gate that would ask denies
  const why = `${quote(asked.model)} needs an approval by ${reasons.map(quote).join(', ')}, and a model call cannot wait for one`;
  return {
    denial: deny('POLICY_DENIED', why, 'stop and tell the user', { tool: MODEL_ACTION, reasons }),
    data,
    content,
  };
}
