/**
 * One governed call, in the order of guards.md O1: arguments, facts, rules, policy, this effect already done, rate
 * limit and breaker, ask, credentials, claim, tool, outcome. It answers a value; it throws only what Temporal should
 * try again (the database is away, the tool's own retries, a claim that is still held).
 */
import { randomUUID } from 'node:crypto';
import type { Tool } from '../define/types.ts';
import { deny } from '../governance/denial.ts';
import { digestOf, sha256Hex } from '../governance/digest.ts';
import { isActGuardError, type Denial } from '../governance/errors.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { LEASE_MS, MAX_EFFECT_KEY_BYTES } from '../governance/limits.ts';
import { bucketOf } from '../governance/rate-limit.ts';
import { loadGrantedApproval, openAsk, type GrantedApproval } from './approvals.ts';
import { callEntry, committed, deniedEntry, workflowEntryRows, type CallFrame } from './call-entries.ts';
import { claim, type ClaimAnswer, type ClaimRequest, type StoredResult } from './claim.ts';
import { resolveCredentials, type Credential } from './credentials.ts';
import { checkGuards, decidePolicy, parseArguments } from './decide.ts';
import type { Deps } from './deps.ts';
import type { Grant, Grants } from './grant.ts';
import { appendEntries } from './ledger.ts';
import { doneResult, refusalOf } from './refusals.ts';
import { runClaimed } from './run-claimed.ts';
import type { SecretSet } from './scrub.ts';
import type { CallToolInput, CallToolResult } from './types.ts';

/** Which Temporal activity this is, and how it reports. */
export interface CallInfo {
  readonly workflowId: string;
  readonly temporalRun: string;
  /** Temporal's attempt, from 1. */
  readonly attempt: number;
  readonly cancelled: AbortSignal;
  readonly heartbeat: () => void;
}

/** What one worker shares between calls. */
export interface CallShared {
  readonly deps: Deps;
  readonly grants: Grants;
  readonly tools: ReadonlyMap<string, Tool>;
  readonly secrets: SecretSet;
  /** Tools that prove a kind, for hints. */
  readonly provers: (kind: string) => readonly string[];
}

/** Everything known of a call once it was decided. */
export interface Prepared {
  readonly tool: Tool;
  readonly grant: Grant;
  readonly frame: CallFrame;
  readonly args: JsonObject;
  readonly claim: ClaimRequest;
  readonly idempotencyKey: string;
}

export async function callTool(shared: CallShared, input: CallToolInput, info: CallInfo): Promise<CallToolResult> {
  const { deps } = shared;
  const grant = await shared.grants.of(input.run, info.workflowId);
  const frame: CallFrame = { input, grant, dev: deps.dev };
  const before = workflowEntryRows(input.run, grant, input.entries);
  const refuse = async (denial: Denial, more: JsonObject = {}): Promise<CallToolResult> => {
    await appendEntries(deps.db, [...before, deniedEntry(frame, denial, input.args, more)]);
    return { kind: 'denied', denial };
  };

  const tool = grant.tools[input.tool] === undefined ? undefined : shared.tools.get(input.tool);
  if (!tool)
    return refuse(
      deny(
        'TOOL_UNKNOWN',
        `this run has no tool \`${input.tool}\``,
        `use one of: ${Object.keys(grant.tools).join(', ')}`,
        { tool: input.tool },
      ),
    );
  const parsed = parseArguments(tool, input.args);
  if ('code' in parsed) return refuse(parsed);
  const { args } = parsed;

  const token = randomUUID();
  const key = effectKey(tool, args, input);
  if ('code' in key) return refuse(key);
  const request: ClaimRequest = {
    run: input.run,
    temporalRun: info.temporalRun,
    continuedFrom: input.continuedFrom ?? null,
    tenant: grant.principal.tenant,
    call: input.call,
    seq: input.seq,
    tool: tool.name,
    effect: tool.manifest.effect,
    argsDigest: digestOf(args),
    token,
    leaseMs: LEASE_MS,
    settlesWithinMs: tool.manifest.settlesWithinMs,
    key: key.claim,
    rate: rateOf(tool, args, grant, input),
    breaker: tool.manifest.circuitBreaker
      ? {
          key: JSON.stringify([grant.principal.tenant, tool.manifest.circuitBreaker.name]),
          resetMs: tool.manifest.circuitBreaker.resetTimeoutMs,
        }
      : null,
    approval: input.approvalId,
    reserved: input.reserved,
    before,
    entries: [],
  };
  const prepared: Prepared = { tool, grant, frame, args, claim: request, idempotencyKey: key.receiver };

  // A later attempt of this activity: its claim may stand already. The same (run, call) gets its own result (D3).
  if (info.attempt > 1 || input.again === true) {
    const own = await ownCall(shared, prepared, info);
    if (own) return own;
  }

  const approval =
    input.approvalId === null ? null : await loadGrantedApproval(deps, input.approvalId, input.run, input.call);
  if (input.approvalId !== null && !approval) {
    return refuse(
      deny('APPROVAL_INVALID', 'the approval does not belong to this call or was not granted', 'ask again', {
        approvalId: input.approvalId,
      }),
    );
  }
  if (approval && (approval.argsDigest !== request.argsDigest || approval.toolDigest !== tool.manifest.digest)) {
    return refuse(
      deny('APPROVAL_INVALID', 'the approval is for other arguments or another version of the tool', 'ask again', {
        approvalId: input.approvalId,
      }),
    );
  }
  const nowMs = Date.now();
  // while an ask waits, the facts it was made with count until it expires (FA5)
  const facts = approval ? approval.facts : input.facts;
  const refusal = checkGuards(tool, args, facts, nowMs, shared.provers);
  if (refusal) return refuse(refusal);

  const policy = deps.policy();
  const { decision, denial } = decidePolicy(policy, {
    principal: grant.principal,
    run: input.run,
    tool: tool.manifest,
    args,
    facts,
    left: input.left,
    callsSoFar: input.seq - 1,
    nowMs,
    approved: approval ? approvedGates(approval, policy.gate.bind(policy)) : [],
  });
  const decided: JsonObject = {
    policy: policy.digest,
    reasons: decision.kind === 'ask' ? decision.gates : decision.reasons,
  };
  if (denial) return refuse(denial, decided);
  const leak = (): Denial | null =>
    shared.secrets.found(parsed.text)
      ? deny(
          'ARGUMENTS_INVALID',
          'an argument contains a secret',
          'never put secrets into arguments: tools get their own',
          { tool: tool.name },
        )
      : null;
  const leaked = leak();
  if (leaked) return refuse(leaked, decided);
  if (decision.kind === 'ask') {
    return ask(shared, prepared, decision.gates, decision.request, decided, facts, refuse);
  }

  let credentials: Credential[];
  try {
    credentials = await resolveCredentials(tool.code.credentials, deps.secrets, shared.secrets);
  } catch (error) {
    if (!isActGuardError(error) || error.code === 'BACKEND_UNAVAILABLE') throw error;
    // what stands before credentials in O1 names the code
    const looked = await claim(deps.db, request, true);
    const earlier = looked.kind === 'ok' ? null : await answerOf(shared, prepared, looked, refuse, decided);
    return (
      earlier ??
      refuse(
        deny(error.code, error.message, error.hint ?? 'tell the user that a credential is missing', error.details),
        decided,
      )
    );
  }
  const leakedNow = leak(); // the tool's own secrets are known only now
  if (leakedNow) return refuse(leakedNow, decided);
  const started = committed('args', args);
  const claimAskedAt = performance.now();
  const answer = await claim(deps.db, {
    ...request,
    entries: [
      callEntry(
        frame,
        'call.started',
        'started',
        {
          effect: tool.manifest.effect,
          toolDigest: tool.manifest.digest,
          authorization: approval ? 'approved' : 'autonomous',
          ...(input.approvalId === null ? {} : { approval: input.approvalId }),
          ...decided,
          ...started.data,
          reserved: { usdMicros: input.reserved.usdMicros, tokens: input.reserved.tokens, calls: input.reserved.calls },
          credentials: credentials.map((c) => c.ref.name),
        },
        { ...started.content, request: decision.request },
      ),
    ],
  });
  if (answer.kind === 'claimed') return runClaimed(shared, prepared, answer, credentials, claimAskedAt, info, input);
  return (await answerOf(shared, prepared, answer, refuse, decided)) ?? unreachable(answer);
}

/** The effect key (EX1, EX3, EX7): the tool's own, or the arguments within the run, or run + call for a repeatable tool. */
function effectKey(
  tool: Tool,
  args: JsonObject,
  input: CallToolInput,
): { claim: ClaimRequest['key']; receiver: string } | Denial {
  const own = `${input.run}:${input.call}`;
  if (tool.manifest.effect === 'read') return { claim: null, receiver: own };
  if (!tool.code.key) {
    const text = tool.manifest.repeatable ? `call:${own}` : `args:${digestOf(args)}`;
    return { claim: { hash: sha256Hex(text), scope: input.run, onDuplicate: 'deny' }, receiver: own };
  }
  const { idempotency } = tool.manifest;
  let key: unknown;
  try {
    key = tool.code.key(args as never);
  } catch (error) {
    key = error;
  }
  const header = idempotency?.receiver != null;
  if (
    typeof key !== 'string' ||
    key === '' ||
    Buffer.byteLength(key) > MAX_EFFECT_KEY_BYTES ||
    (header && /[^\x20-\x7e]/.test(key))
  ) {
    return deny(
      'ARGUMENTS_INVALID',
      `${tool.name} makes no usable idempotency key of these arguments`,
      `a key is text of 1 to ${MAX_EFFECT_KEY_BYTES} bytes${header ? ', printable ASCII' : ''}; use other arguments or tell the user`,
      { tool: tool.name },
    );
  }
  return {
    claim: {
      hash: sha256Hex(`key:${key}`),
      scope: idempotency?.scope === 'run' ? input.run : '',
      onDuplicate: idempotency?.onDuplicate ?? 'return',
    },
    receiver: key,
  };
}

function rateOf(tool: Tool, args: JsonObject, grant: Grant, input: CallToolInput): ClaimRequest['rate'] {
  const limit = tool.manifest.rateLimit;
  if (!limit) return null;
  const bucket = bucketOf(limit.scope, { ...grant.principal, run: input.run, tool: tool.name, args });
  return { bucket, maxCalls: limit.maxCalls, periodMs: limit.periodMs };
}

/** Gates that a yes counts for: those whose text is the same in the active set. */
function approvedGates(approval: GrantedApproval, gate: (id: string) => { sha256: string } | undefined): string[] {
  return approval.gates.filter((g) => gate(g.id)?.sha256 === g.sha256).map((g) => g.id);
}

/** This call's own row, where an earlier attempt left one; null when there is none. */
async function ownCall(shared: CallShared, prepared: Prepared, info: CallInfo): Promise<CallToolResult | null> {
  const [row] = await shared.deps.db.query<{ state: string | null }>('select actguard.call_state($1, $2) as state', [
    prepared.claim.run,
    prepared.claim.call,
  ]);
  if (!row?.state) return null;
  const claimAskedAt = performance.now();
  const answer = await claim(shared.deps.db, prepared.claim);
  if (answer.kind === 'claimed') {
    const credentials = await resolveCredentials(prepared.tool.code.credentials, shared.deps.secrets, shared.secrets);
    return runClaimed(shared, prepared, answer, credentials, claimAskedAt, info, prepared.frame.input as CallToolInput);
  }
  if (answer.kind === 'frozen') {
    // whatever that attempt did stands: a freeze does not make it known
    return row.state === 'retrying'
      ? answerOf(shared, prepared, answer, (denial) => Promise.resolve({ kind: 'denied', denial }), {})
      : {
          kind: 'unknown',
          reason: 'the run is frozen while the outcome of this call is not known',
          spentMicros: prepared.tool.manifest.cost?.worstMicros ?? 0,
        };
  }
  return answerOf(shared, prepared, answer, (denial) => Promise.resolve({ kind: 'denied', denial }), {});
}

type Refuse = (denial: Denial, more?: JsonObject) => Promise<CallToolResult>;

/** An answer other than the claim itself, as the caller gets it. */
async function answerOf(
  shared: CallShared,
  prepared: Prepared,
  answer: ClaimAnswer,
  refuse: Refuse,
  decided: JsonObject,
): Promise<CallToolResult | null> {
  if (answer.kind === 'own') return doneResult(answer.result, prepared, null);
  if (
    answer.kind === 'duplicate' &&
    answer.state === 'succeeded' &&
    prepared.claim.key?.onDuplicate === 'return' &&
    answer.result
  ) {
    return doneResult(answer.result as StoredResult, prepared, `${answer.run}:${answer.call}`);
  }
  const denial = refusalOf(answer, prepared, shared.deps);
  if (!denial) return null;
  // the workflow waits and asks again: not the last word on this call
  if (answer.kind === 'rate' && prepared.tool.manifest.rateLimit?.onLimit === 'wait') return { kind: 'denied', denial };
  return refuse(denial, decided);
}

/** Opens an ask after everything that stands before it in O1 was looked at; nothing is held. */
async function ask(
  shared: CallShared,
  prepared: Prepared,
  gates: readonly string[],
  request: JsonObject,
  decided: JsonObject,
  facts: CallToolInput['facts'],
  refuse: Refuse,
): Promise<CallToolResult> {
  const { deps } = shared;
  const looked = await claim(deps.db, prepared.claim, true);
  if (looked.kind !== 'ok') {
    const earlier = await answerOf(shared, prepared, looked, refuse, decided);
    if (earlier) return earlier;
  }
  await appendEntries(deps.db, prepared.claim.before);
  const opened = await openAsk(deps, {
    frame: prepared.frame,
    tool: prepared.tool,
    args: prepared.args as Json as JsonObject,
    argsDigest: prepared.claim.argsDigest,
    gates,
    policy: deps.policy(),
    request,
    facts,
    reserved: prepared.claim.reserved,
  });
  if (opened.kind === 'denied') return refuse(opened.denial, decided);
  return { kind: 'ask', ask: opened.ask };
}

function unreachable(answer: ClaimAnswer): never {
  throw new Error(`claim answered ${answer.kind} where it cannot`);
}
