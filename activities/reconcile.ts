/**
 * Looking into an unknown outcome (EX5): the tool's own `reconcile` is asked what happened. "It will never happen"
 * counts only after the last possible send plus `settlesWithin`; until then, and on any nonsense, it stays unknown.
 */
import type { Reconciled } from '../define/types.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { LEASE_MS } from '../governance/limits.ts';
import type { CallInfo, CallShared, Prepared } from './prepared.ts';
import { renewClaim, type ClaimAnswer } from './claim.ts';
import type { Credential } from './credentials.ts';
import type { SecretUse } from './inject.ts';
import { judge, type Verdict } from './judge.ts';
import { recordReveal } from './reveal.ts';
import { runTool, type Attempt } from './run-tool.ts';

type Claimed = Extract<ClaimAnswer, { kind: 'claimed' }>;

export async function reconcileCall(
  shared: CallShared,
  prepared: Prepared,
  claimed: Claimed,
  credentials: readonly Credential[],
  info: CallInfo,
  claimAskedAt: number,
): Promise<{ verdict: Verdict; resolved: JsonObject | null; uses: readonly SecretUse[] }> {
  const { tool } = prepared;
  const { reconcile } = tool.code;
  if (!reconcile)
    return {
      verdict: unknown(prepared, `the worker of ${tool.name} stopped before it recorded an outcome`),
      resolved: null,
      uses: [],
    };
  const asking = {
    ...tool,
    code: { ...tool.code, execute: reconcile },
    manifest: { ...tool.manifest, effect: 'read' as const },
  };
  const attempt = await runTool({
    tool: asking,
    args: prepared.args,
    identity: { run: prepared.claim.run, call: prepared.claim.call, ...prepared.grant.principal },
    idempotencyKey: prepared.idempotencyKey,
    credentials,
    network: shared.network,
    recordReveal: (name) => recordReveal(shared.deps, prepared.frame, name, claimed.attempts),
    claimAskedAt,
    renew: () => renewClaim(shared.deps.db, prepared.claim.run, prepared.claim.call, prepared.claim.token, LEASE_MS),
    heartbeat: info.heartbeat,
    cancelled: info.cancelled,
    log: (message, data) =>
      shared.deps.log('info', shared.secrets.text(message), data === undefined ? undefined : shared.secrets.json(data)),
  });
  const answer = readAnswer(attempt);
  const { uses } = attempt;
  if (answer.kind === 'happened') {
    const verdict = judge(tool, { kind: 'returned', output: answer.result }, shared.secrets);
    return { verdict: { ...verdict, breaker: 'none' }, resolved: { resolvedBy: 'reconcile' }, uses };
  }
  const settledAtMs = claimed.lastClaimMs + tool.manifest.timeoutMs + tool.manifest.settlesWithinMs;
  if (answer.kind === 'neverWill' && claimed.nowMs >= settledAtMs) {
    const verdict = judge(
      tool,
      {
        kind: 'threw',
        error: new Error('the receiver says that it never happened'),
        trace: { nothingLeft: true, usedOther: false, onlyStatus: null },
      },
      shared.secrets,
    );
    return { verdict: { ...verdict, breaker: 'none' }, resolved: { resolvedBy: 'reconcile' }, uses };
  }
  return {
    verdict: unknown(prepared, `the receiver of ${tool.name} cannot say yet whether it happened`),
    resolved: null,
    uses,
  };
}

/** Anything that is not one of the three answers is `stillUnknown`. */
function readAnswer(attempt: Attempt): Reconciled {
  const said = attempt.kind === 'returned' ? (attempt.output as { kind?: unknown; result?: Json } | null) : null;
  if (said?.kind === 'happened' && said.result !== undefined) return { kind: 'happened', result: said.result };
  if (said?.kind === 'neverWill') return { kind: 'neverWill' };
  return { kind: 'stillUnknown' };
}

function unknown(prepared: Prepared, reason: string): Verdict {
  const spentMicros = prepared.tool.manifest.cost?.worstMicros ?? 0;
  return { state: 'unknown', result: null, failure: 'unknown', breaker: 'none', facts: [], spentMicros, reason };
}
