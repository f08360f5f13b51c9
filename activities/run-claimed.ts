/** From the claim to the outcome: the tool runs, or an unknown outcome of an earlier attempt is looked into. */
import type { JsonObject, Json } from '../governance/json.ts';
import type { CallError } from '../governance/errors.ts';
import { LEASE_MS } from '../governance/limits.ts';
import { callEntry, committed } from './call-entries.ts';
import type { CallInfo, CallShared, Prepared } from './prepared.ts';
import { renewClaim, writeLateOutcome, writeOutcome, type ClaimAnswer, type StoredResult } from './claim.ts';
import type { Credential } from './credentials.ts';
import { retryLater } from './failures.ts';
import type { SecretUse } from './inject.ts';
import { judge, type Verdict } from './judge.ts';
import { reconcileCall } from './reconcile.ts';
import { recordReveal, usedEntries } from './reveal.ts';
import { doneResult } from './refusals.ts';
import { runTool } from './run-tool.ts';
import type { CallToolInput, CallToolResult } from './types.ts';

type Claimed = Extract<ClaimAnswer, { kind: 'claimed' }>;

/** Runs a claimed call. An ambiguous earlier attempt is sent again only where the receiver makes that harmless (P2). */
export async function runClaimed(
  shared: CallShared,
  prepared: Prepared,
  claimed: Claimed,
  credentials: readonly Credential[],
  claimAskedAt: number,
  info: CallInfo,
  input: CallToolInput,
): Promise<CallToolResult> {
  const { tool } = prepared;
  const ambiguous = tool.manifest.effect === 'write' && (claimed.again === 'claimed' || claimed.again === 'unknown');
  if (ambiguous && !receiverStillKnows(prepared, claimed)) {
    const reconciled = await reconcileCall(shared, prepared, claimed, credentials, info, claimAskedAt);
    return finish(shared, prepared, claimed, reconciled.verdict, reconciled.resolved, input, reconciled.uses);
  }
  const { deps } = shared;
  const attempt = await runTool({
    tool,
    args: prepared.args,
    identity: { run: input.run, call: input.call, ...prepared.grant.principal },
    idempotencyKey: prepared.idempotencyKey,
    credentials,
    network: shared.network,
    recordReveal: (name) => recordReveal(deps, prepared.frame, name, claimed.attempts),
    claimAskedAt,
    renew: () => renewClaim(deps.db, input.run, input.call, prepared.claim.token, LEASE_MS),
    heartbeat: info.heartbeat,
    cancelled: info.cancelled,
    log: (message, data) =>
      deps.log('info', shared.secrets.text(message), data === undefined ? undefined : shared.secrets.json(data)),
  });
  const verdict = judge(tool, attempt, shared.secrets);
  const delayMs = retryDelay(prepared, claimed, verdict, input, info);
  if (delayMs !== null) {
    const used = usedEntries(prepared.frame, attempt.uses, claimed.attempts);
    await write(shared, prepared, verdict, verdict.state === 'failed' ? 'retrying' : 'unknown', null, used);
    throw retryLater(errorOf(verdict)?.message ?? 'the tool failed', delayMs, 'TOOL_FAILED');
  }
  return finish(shared, prepared, claimed, verdict, null, input, attempt.uses);
}

/** The receiver honours our key, and its memory of the first send has not run out. */
function receiverStillKnows(prepared: Prepared, claimed: Claimed): boolean {
  const receiver = prepared.tool.manifest.idempotency?.receiver;
  if (!receiver) return false;
  const { timeoutMs } = prepared.tool.manifest;
  return receiver.keyTtlMs === null || claimed.nowMs + timeoutMs < claimed.claimedAtMs + receiver.keyTtlMs;
}

/** RT1: Temporal's retries, only for kinds in `retry.on`, never for a write that may have landed without a receiver's key. */
function retryDelay(
  prepared: Prepared,
  claimed: Claimed,
  verdict: Verdict,
  input: CallToolInput,
  info: CallInfo,
): number | null {
  const { retry, effect, idempotency } = prepared.tool.manifest;
  if (!retry || verdict.state === 'succeeded' || verdict.failure === null || info.cancelled.aborted) return null;
  if (effect === 'write' && !idempotency?.receiver) return null;
  if (!retry.on.includes(verdict.failure)) return null;
  const failures = claimed.failures + 1;
  if (failures >= retry.maximumAttempts) return null;
  const delayMs = Math.min(
    retry.initialIntervalMs * retry.backoffCoefficient ** (failures - 1),
    retry.maximumIntervalMs,
  );
  return Date.now() + delayMs < input.deadlineMs ? delayMs : null;
}

/** Writes the outcome and answers it. */
async function finish(
  shared: CallShared,
  prepared: Prepared,
  claimed: Claimed,
  verdict: Verdict,
  resolved: JsonObject | null,
  input: CallToolInput,
  uses: readonly SecretUse[],
): Promise<CallToolResult> {
  const provedAtMs = Date.now();
  const facts = verdict.facts.map((f) => ({ ...f, ttlMs: prepared.tool.manifest.facts.ttlMs }));
  const result: StoredResult | null = verdict.result && {
    ...verdict.result,
    facts: facts as unknown as Json,
    provedAtMs,
  };
  const shown = result?.output === undefined ? { data: {}, content: null } : committed('output', result.output);
  const error = errorOf(verdict);
  const entry = callEntry(
    prepared.frame,
    verdict.state === 'succeeded' ? 'call.succeeded' : verdict.state === 'failed' ? 'call.failed' : 'call.unknown',
    verdict.state,
    {
      attempts: claimed.attempts,
      spentMicros: verdict.spentMicros,
      ...(verdict.failure === null ? {} : { failure: verdict.failure }),
      ...(error ? { code: error.code } : {}),
      ...(facts.length > 0 ? { facts: facts.length } : {}),
      ...(resolved ?? {}),
      ...(uses.length > 0 ? { uses: uses.map((use) => ({ ...use })) } : {}),
      ...shown.data,
    },
    error ? { ...shown.content, error: error as unknown as Json } : shown.content,
  );
  const stored =
    verdict.state === 'unknown'
      ? { ...result, kind: 'failed' as const, spentMicros: verdict.spentMicros, bytes: 0 }
      : result;
  const answer = await write(shared, prepared, verdict, verdict.state, stored, [entry], resolved);
  if (answer.kind === 'late') return late(shared, prepared, verdict, stored, answer);
  if (verdict.state === 'unknown') return { kind: 'unknown', reason: verdict.reason, spentMicros: verdict.spentMicros };
  return doneResult(
    stored ?? { kind: 'done', output: null, spentMicros: 0, bytes: 4 },
    { ...prepared, frame: { ...prepared.frame, input } },
    null,
  );
}

function write(
  shared: CallShared,
  prepared: Prepared,
  verdict: Verdict,
  state: 'retrying' | 'succeeded' | 'failed' | 'unknown',
  result: StoredResult | null,
  entries: Parameters<typeof writeOutcome>[1]['entries'],
  resolved: JsonObject | null = null,
): ReturnType<typeof writeOutcome> {
  const { manifest } = prepared.tool;
  return writeOutcome(shared.deps.db, {
    run: prepared.claim.run,
    call: prepared.claim.call,
    token: prepared.claim.token,
    state,
    result,
    failed: verdict.state === 'succeeded' ? 0 : 1,
    keyTtlMs: manifest.idempotency?.ttlMs ?? null,
    breakerVerdict: verdict.breaker,
    maxFails: manifest.circuitBreaker?.maxFails ?? 1,
    resolved,
    entries,
  });
}

/** This attempt was taken over: its outcome is kept, and answers the question where it can. */
async function late(
  shared: CallShared,
  prepared: Prepared,
  verdict: Verdict,
  stored: StoredResult | null,
  answer: { state: string; result: StoredResult | null },
): Promise<CallToolResult> {
  const entry = callEntry(prepared.frame, 'call.late', `late:${prepared.claim.token}`, {
    state: verdict.state,
    found: answer.state,
    spentMicros: verdict.spentMicros,
  });
  const kept = await writeLateOutcome(shared.deps.db, {
    run: prepared.claim.run,
    call: prepared.claim.call,
    state: verdict.state,
    result: stored,
    entries: [entry],
  });
  if (kept.contradicts) {
    shared.deps.log('error', 'a late outcome contradicts what was recorded: the effect happened', {
      run: prepared.claim.run,
      call: prepared.claim.call,
    });
  }
  throw retryLater('this attempt was taken over; the call has another outcome', 1_000);
}

function errorOf(verdict: Verdict): CallError | null {
  return verdict.result?.kind === 'failed' ? ((verdict.result.error ?? null) as unknown as CallError | null) : null;
}
