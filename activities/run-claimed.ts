/** From the claim to the outcome: the tool runs, or an unknown outcome of an earlier attempt is looked into. */
import { withEarlier } from '../governance/effect.ts';
import type { CallError } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import { LEASE_MS } from '../governance/limits.ts';
import type { CallInfo, CallShared, Prepared } from './prepared.ts';
import { renewClaim, type ClaimAnswer } from './claim.ts';
import type { Credential } from './credentials.ts';
import { retryLater } from './failures.ts';
import { judge, type Verdict } from './judge.ts';
import { boundedProgress } from './progress.ts';
import { reconcileCall } from './reconcile.ts';
import { recordReveal } from './reveal.ts';
import { withSecondNet } from './second-net.ts';
import { AttemptTransaction } from './transaction.ts';
import { runTool, type Ran } from './run-tool.ts';
import { finish, writeRetry, type Finding } from './settle.ts';
import type { CallToolInput, CallToolResult } from './types.ts';

export type Claimed = Extract<ClaimAnswer, { kind: 'claimed' }>;

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
  const transaction = new AttemptTransaction(shared.deps.db);
  const attempt = (tool = prepared.tool): Promise<Ran> =>
    runTool({
      tool,
      args: prepared.args,
      identity: { run: input.run, call: input.call, ...prepared.grant.principal },
      idempotencyKey: prepared.idempotencyKey,
      credentials,
      network: shared.network,
      known: shared.secrets,
      recordReveal: (name) => recordReveal(shared.deps, prepared.frame, name, claimed.attempts),
      claimAskedAt,
      transaction,
      renew: () => renewClaim(shared.deps.db, input.run, input.call, prepared.claim.token, LEASE_MS),
      heartbeat: (progress) =>
        info.heartbeat(progress === undefined ? undefined : boundedProgress(progress, shared.secrets)),
      cancelled: info.cancelled,
      log: (message, data) =>
        shared.deps.log(
          'info',
          shared.secrets.text(message),
          data === undefined ? undefined : shared.secrets.json(data),
        ),
    });
  const finding = claimed.sends
    ? await send(shared, prepared, claimed, attempt, transaction)
    : await reconcileCall(shared, prepared, claimed, attempt).finally(() => transaction.rollback());
  if (finding === 'not-started') {
    await writeRetry(shared, prepared, claimed, null, info);
    throw retryLater('the claim ran out before the tool began', 1);
  }
  const delayMs = claimed.sends ? retryDelay(prepared, claimed, finding.verdict, input, info) : null;
  if (delayMs !== null) {
    await writeRetry(shared, prepared, claimed, finding, info);
    throw retryLater(errorOf(finding.verdict)?.message ?? 'the tool failed', delayMs, 'TOOL_FAILED');
  }
  return finish(shared, prepared, claimed, finding, info);
}

/** The tool's own attempt. What it says for certain of itself, it does not say of an earlier one that may have landed. */
async function send(
  shared: CallShared,
  prepared: Prepared,
  claimed: Claimed,
  run: () => Promise<Ran>,
  transaction: AttemptTransaction,
): Promise<Finding | 'not-started'> {
  const attempt = await run();
  if (attempt.kind === 'not-started') return 'not-started';
  let own = judge(prepared.tool, attempt, await withSecondNet(shared.secrets, attempt));
  if (own.state !== 'succeeded') {
    await transaction.rollback();
    // what was only in the transaction did not happen, however the attempt ended
    const onlyThere = (transaction.used || prepared.tool.manifest.transactional) && 'trace' in attempt;
    if (onlyThere && attempt.trace.nothingLeft) own = { ...own, state: 'failed', spentMicros: 0 };
  }
  const state = withEarlier(own.state, claimed.mayHaveLanded);
  const verdict: Verdict =
    state === own.state
      ? own
      : {
          ...own,
          state,
          spentMicros: prepared.tool.manifest.cost?.worstMicros ?? 0,
          reason: `an earlier attempt of ${prepared.tool.name} may have happened, and the receiver has not said so yet`,
        };
  return {
    verdict,
    resolved: null,
    landed: own.state === 'failed' ? 'no' : 'maybe',
    said: 'nothing',
    uses: attempt.uses,
    transaction: await transaction.close(),
  };
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

function errorOf(verdict: Verdict): CallError | null {
  return verdict.result?.kind === 'failed'
    ? ((verdict.result.error ?? null) as Json as unknown as CallError | null)
    : null;
}
