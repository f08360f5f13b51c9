/**
 * One governed call, in the order of guards.md O1: arguments, facts, provenance, rules, policy, this effect already done, rate
 * limit and breaker, ask, credentials, claim, tool, outcome. It answers a value; it throws only what Temporal should
 * try again (the database is away, the tool's own retries, a claim that is still held).
 */
import { randomUUID } from 'node:crypto';
import type { Agent } from '../define/types.ts';
import { deny, quote } from '../governance/denial.ts';
import { digestOf } from '../governance/digest.ts';
import { isActGuardError, type Denial } from '../governance/errors.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { LEASE_MS } from '../governance/limits.ts';
import { answerOf, ask, ownCall, unreachable } from './answers.ts';
import { loadGrantedApproval, type GrantedApproval } from './approvals.ts';
import { recordedDecision } from './decision-record.ts';
import { callEntry, committed, deniedEntry, workflowEntryRows, type CallFrame } from './call-entries.ts';
import { claim, type ClaimRequest } from './claim.ts';
import { nowOf } from './clock.ts';
import { credentialNames, resolveCredentials, type Credential } from './credentials.ts';
import { checkFacts, checkRules, decidePolicy, parseArguments } from './decide.ts';
import { effectKey, memoryOf, rateOf } from './effect-key.ts';
import { appendEntries } from './ledger.ts';
import { comparedDigest, underActivePolicies } from './policy-moves.ts';
import type { CallInfo, CallShared, Prepared } from './prepared.ts';
import { provenanceOf } from './provenance.ts';
import { runClaimed } from './run-claimed.ts';
import type { PolicyRequest } from './deps.ts';
import type { CallToolInput, CallToolResult } from './types.ts';

/** One governed call. @throws FORBIDDEN for a run that this workflow did not open; failures that Temporal retries */
export function callTool(shared: CallShared, input: CallToolInput, info: CallInfo): Promise<CallToolResult> {
  return underActivePolicies(shared.deps, () => decideAndCall(shared, input, info));
}

/** @throws PoliciesMoved when another set became active before its claim: nothing was spent */
async function decideAndCall(shared: CallShared, input: CallToolInput, info: CallInfo): Promise<CallToolResult> {
  const { deps } = shared;
  const grant = await shared.grants.of(input.run, info.workflowId);
  const frame: CallFrame = { input, grant, dev: deps.dev };
  const before = workflowEntryRows(input.run, grant, input.entries);
  let kept: JsonObject = {}; // the decision's request, once there is one
  const refuse = async (refusal: Denial, more: JsonObject = {}): Promise<CallToolResult> => {
    const { denial, args } = withoutSecrets(shared.secrets, refusal, input.args);
    await appendEntries(deps.db, [...before, deniedEntry(frame, denial, args, more, kept)]);
    return { kind: 'denied', denial };
  };

  const tool = grant.tools[input.tool] === undefined ? undefined : shared.tools.get(input.tool);
  if (!tool)
    return refuse(
      deny(
        'TOOL_UNKNOWN',
        `this run has no tool ${quote(input.tool)}`,
        `use one of: ${Object.keys(grant.tools).join(', ')}`,
        { tool: input.tool },
      ),
    );
  const parsed = parseArguments(tool, input.args);
  if ('code' in parsed) return refuse(parsed);
  const { args } = parsed;

  const policy = deps.policy(grant.principal.tenant);
  const token = randomUUID();
  const key = effectKey(tool, args, input);
  if ('code' in key) return refuse(key);
  const request: ClaimRequest = {
    run: input.run,
    temporalRun: info.temporalRun,
    continuedFrom: input.continuedFrom ?? null,
    tenant: grant.principal.tenant,
    call: input.call,
    after: input.after ?? null,
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
    ...memoryOf(tool),
    policy: comparedDigest(policy),
    reserved: { usdMicros: tool.manifest.cost?.worstMicros ?? 0, tokens: 0, calls: 1 },
    label: input.label ?? null,
    before,
    entries: [],
  };
  const unjudged: Prepared = { tool, grant, frame, args, policy, claim: request, idempotencyKey: key.receiver };

  // A later attempt of this activity: its claim may stand already. The same (run, call) gets its own result (D3).
  if (info.attempt > 1 || input.again === true) {
    const own = await ownCall(shared, unjudged, info);
    if (own) return own;
  }

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
  if (leaked) return refuse(leaked);
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
  const nowMs = nowOf(deps);
  // while an ask waits, the facts it was made with count until it expires (FA5)
  const facts = approval ? approval.facts : input.facts;
  const provers = (kind: string): readonly string[] => shared.provers(kind).filter((name) => name in grant.tools);
  const missing = checkFacts(tool, args, facts, nowMs, provers);
  if (missing) return refuse(missing);
  // frozen while an ask waits, like the facts
  const provenance = approval?.provenance ?? (await provenanceOf(shared, grant, input.run, tool, args, facts, nowMs));
  const prepared: Prepared = { ...unjudged, provenance };
  // a destination that is denied comes before the rules; it is the policies that say so (PV4)
  const broken = checkRules(tool, args);
  if (broken && provenance.verdict !== 'deny') return refuse(broken);

  const question: PolicyRequest = {
    principal: grant.principal,
    groups: grant.groups ?? [],
    attributes: grant.attributes ?? {},
    run: input.run,
    tool: tool.manifest,
    args,
    facts,
    provenance,
    left: input.left,
    callsSoFar: input.seq - 1,
    ...modelOf(deps.config.agents, grant.principal.agent),
    nowMs,
    openedAtMs: grant.openedAtMs,
    approved: approval ? approvedGates(approval, policy.gate.bind(policy)) : [],
  };
  const { decision, denial } = decidePolicy(policy, question);
  const recorded = recordedDecision(policy, decision, deps.policySets?.shadow(grant.principal.tenant), question);
  const decided = recorded.data;
  kept = recorded.content;
  if (denial) return refuse(denial, decided);
  if (broken) return refuse(broken, decided);
  // the request holds the arguments: it is not kept of a call whose arguments hold a secret
  const refuseLeak = (leaked: Denial): Promise<CallToolResult> => {
    const { requestCommitment: _, ...rest } = decided;
    kept = {};
    return refuse(leaked, rest);
  };
  if (decision.kind === 'ask') {
    // what a person is shown holds no secret of this tool's either; one that is missing says so after the yes
    const { credentials } = tool.code;
    await resolveCredentials(credentials, deps.secrets, shared.secrets, grant.principal).catch(() => undefined);
    const leaked = leak();
    if (leaked) return refuseLeak(leaked);
    return ask(shared, prepared, decision.gates, decision.request, decided, facts, refuse);
  }

  let credentials: Credential[];
  try {
    credentials = await resolveCredentials(tool.code.credentials, deps.secrets, shared.secrets, grant.principal);
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
  if (leakedNow) return refuseLeak(leakedNow);
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
          reserved: { ...request.reserved },
          ...credentialNames(credentials),
        },
        { ...started.content, ...kept },
      ),
    ],
  });
  if (answer.kind === 'claimed') return runClaimed(shared, prepared, answer, credentials, claimAskedAt, info, input);
  return (await answerOf(shared, prepared, answer, refuse, decided)) ?? unreachable(answer);
}

function modelOf(agents: readonly Agent[], name: string): { readonly model?: string } {
  const model = agents.find((agent) => agent.name === name)?.model;
  return model ? { model } : {};
}

/** A denial and its arguments as they are kept: what is refused is quoted, and no secret of it. */
function withoutSecrets(secrets: CallShared['secrets'], denial: Denial, args: Json): { denial: Denial; args: Json } {
  const said = { ...denial, reason: secrets.text(denial.reason), details: secrets.json(denial.details) as JsonObject };
  try {
    return { denial: said, args: secrets.json(args) };
  } catch {
    return { denial: said, args: { notKept: 'no canonical JSON' } };
  }
}

/** Gates that a yes counts for: those whose text is the same in the active set. */
function approvedGates(approval: GrantedApproval, gate: (id: string) => { sha256: string } | undefined): string[] {
  return approval.gates.filter((g) => gate(g.id)?.sha256 === g.sha256).map((g) => g.id);
}
