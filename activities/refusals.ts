/** What the claim's answers mean to the caller: denials with details (guards.md), or a stored result. */
import type { CallError, Denial } from '../governance/errors.ts';
import { circuitOpen, deny, frozen, rateLimited } from '../governance/denial.ts';
import type { Fact } from '../governance/call.ts';
import { accountRefused } from './accounts.ts';
import type { Prepared } from './prepared.ts';
import type { ClaimAnswer, StoredResult } from './claim.ts';
import type { Deps } from './deps.ts';
import { retryLater } from './failures.ts';
import { PoliciesMoved } from './policy-moves.ts';
import type { CallToolInput, CallToolResult } from './types.ts';

/** The denial for an answer that refuses; null for one that does not. @throws what Temporal should try again */
export function refusalOf(answer: ClaimAnswer, prepared: Prepared, deps: Deps): Denial | null {
  const { tool } = prepared;
  switch (answer.kind) {
    case 'claimed':
    case 'ok':
    case 'own':
      return null;
    case 'busy':
      throw retryLater('an earlier attempt of this call still holds its claim', answer.leaseLeftMs);
    case 'run':
      return runRefusal(answer.problem, prepared.claim.run);
    case 'frozen':
      return frozen(answer.freeze);
    case 'policies':
      throw new PoliciesMoved();
    case 'conflict':
      return deny(
        'IDEMPOTENCY_CONFLICT',
        `${tool.name} was already called under the same key with other arguments`,
        'use the arguments of the first call, or make it a different request',
        { tool: tool.name, run: answer.run, call: answer.call },
      );
    case 'duplicate':
      return duplicateRefusal(answer, prepared);
    case 'rate':
      return rateRefusal(prepared, answer.retryAfterMs);
    case 'open': {
      const name = tool.manifest.circuitBreaker?.name ?? tool.name;
      return circuitOpen(name, answer.resetAtMs, answer.nowMs);
    }
    case 'budget':
      return accountRefused(answer, deps.config.budgetWaitMs).denial;
    case 'approval':
      deps.log('warn', 'approval not usable', { run: prepared.claim.run, problem: answer.problem });
      return deny('APPROVAL_INVALID', `the approval cannot be used: ${answer.problem}`, 'ask again', {
        approvalId: prepared.claim.approval,
      });
    default:
      return answer satisfies never;
  }
}

/** Why a run may not act: it ended, was reset, or is not known. */
export function runRefusal(problem: 'unknown' | 'closed' | 'reset' | 'restored', run: string): Denial {
  if (problem === 'closed') return deny('CONFLICT', 'the run has ended', 'start a new run', { run });
  const why = {
    reset: 'this run was reset in Temporal: what it did before stands in the database and is not done again',
    restored: 'the database was restored from an older copy: calls that this run has made are missing from it',
    unknown: 'this run is not in the database: it was restored from an older copy',
  };
  const hint =
    problem === 'unknown'
      ? 'stop; an operator has to look at the ledger and start a new run'
      : `stop; an operator has to look at the ledger, then: actguard recover ${run} --reason "..."`;
  return deny('FROZEN', why[problem], hint, { scope: 'run', value: run, by: 'actguard', reason: problem });
}

function duplicateRefusal(answer: Extract<ClaimAnswer, { kind: 'duplicate' }>, prepared: Prepared): Denial {
  const details = { tool: prepared.tool.name, run: answer.run, call: answer.call };
  switch (answer.state) {
    case 'succeeded':
      return deny(
        'DUPLICATE_EFFECT',
        `${prepared.tool.name} was already done with these arguments`,
        'use firstResult; do not call it again',
        details,
        { firstResult: answer.result?.output ?? null },
      );
    case 'claimed':
    case 'retrying':
      return deny(
        'IN_PROGRESS',
        `${prepared.tool.name} is being done with these arguments by another call`,
        'wait for that call',
        details,
      );
    case 'unknown':
    case 'failed':
      return deny(
        'OUTCOME_UNKNOWN',
        `whether ${prepared.tool.name} happened with these arguments is not known yet`,
        'do not repeat it; a person has to find out what happened',
        details,
      );
    default:
      return answer.state satisfies never;
  }
}

function rateRefusal({ tool, grant, args, claim }: Prepared, retryAfterMs: number): Denial {
  const limit = tool.manifest.rateLimit;
  if (!limit) throw new Error('rate limited without a rate limit');
  const { scope } = limit;
  const value =
    typeof scope === 'object'
      ? JSON.stringify(args[scope.argument] ?? null)
      : {
          run: claim.run,
          user: grant.principal.user,
          tenant: grant.principal.tenant,
          agent: grant.principal.agent,
          tool: tool.name,
        }[scope];
  return rateLimited({
    tool: tool.name,
    scope: typeof scope === 'object' ? scope.argument : scope,
    value: typeof scope === 'object' && typeof args[scope.argument] === 'string' ? String(args[scope.argument]) : value,
    maxCalls: limit.maxCalls,
    periodMs: limit.periodMs,
    retryAfterMs,
  });
}

/** A stored result as this call gets it. `repeats`: the other call whose result it is; costs nothing then. */
export function doneResult(stored: StoredResult, prepared: Prepared, repeats: string | null): CallToolResult {
  const spentMicros = repeats === null ? stored.spentMicros : 0;
  if (stored.kind === 'failed') {
    const error = stored.error as unknown as CallError;
    return { kind: 'failed', error, spentMicros, ...(repeats === null ? {} : { repeats }) };
  }
  const { inline } = prepared.frame.input as CallToolInput;
  return {
    kind: 'done',
    ...(inline ? { output: stored.output ?? null } : {}),
    facts: repeats === null ? ((stored.facts ?? []) as unknown as (Fact & { ttlMs: number })[]) : [],
    provedAtMs: stored.provedAtMs ?? Date.now(),
    spentMicros,
    bytes: stored.bytes,
    ...(repeats === null ? {} : { repeats }),
  };
}
