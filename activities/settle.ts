/** How a call's attempt is recorded: its outcome, its question, and what comes too late. */
import type { Fact } from '../governance/call.ts';
import { askAgainMs } from '../governance/effect.ts';
import { isActGuardError, type CallError } from '../governance/errors.ts';
import type { EntryRow } from '../governance/entry.ts';
import type { JsonObject, Json } from '../governance/json.ts';
import { OUTCOME_AGAIN_WITHIN_MS } from '../governance/limits.ts';
import { noticesOf, reportMarks } from './accounts.ts';
import { callEntry, committed } from './call-entries.ts';
import {
  writeLateOutcome,
  writeOutcome,
  type ClaimAnswer,
  type OutcomeAnswer,
  type OutcomeRequest,
  type Question,
  type StoredResult,
} from './claim.ts';
import { retryLater } from './failures.ts';
import { judge, type Verdict } from './judge.ts';
import { commitWith } from './transaction.ts';
import { nowOf } from './clock.ts';
import type { OpenTransaction } from './deps.ts';
import type { CallInfo, CallShared, Prepared } from './prepared.ts';
import { outcomeProvenance } from './outcome-provenance.ts';
import { freezeOverrun } from './overrun.ts';
import type { SecretUse } from './inject.ts';
import { doneResult } from './refusals.ts';
import { usedEntries } from './reveal.ts';
import type { CallToolResult } from './types.ts';

type Claimed = Extract<ClaimAnswer, { kind: 'claimed' }>;

/** What an attempt has found out. */
export interface Finding {
  readonly verdict: Verdict;
  /** How an unknown outcome became known; null: it was not. */
  readonly resolved: JsonObject | null;
  /** `no`: this attempt itself certainly did not happen. */
  readonly landed: 'no' | 'maybe';
  /** Whether the receiver was asked and could say: `nothing` where it was not asked or did not answer. */
  readonly said: 'cannot-say' | 'nothing';
  /** Secrets that went out with it. */
  readonly uses: readonly SecretUse[];
  /** What the tool did in `ctx.transaction`, not committed yet. */
  readonly transaction?: OpenTransaction | null;
}

const AGAIN_AFTER_MS = 500;
/** The database is away; a statement took too long or waited for a lock; it gave way to another one. */
const AGAIN: readonly string[] = ['BACKEND_UNAVAILABLE', '57014', '55P03', '40001', '40P01'];

/** Writes the outcome and answers it. @throws what Temporal should try again: an attempt that was taken over */
export async function finish(
  shared: CallShared,
  prepared: Prepared,
  claimed: Claimed,
  finding: Finding,
  info: CallInfo,
): Promise<CallToolResult> {
  const { verdict } = finding;
  const question = verdict.state === 'unknown' ? questionOf(prepared, claimed, finding) : null;
  const above = verdict.spentMicros > prepared.claim.reserved.usdMicros;
  const overran = above
    ? await persistently(info, () => freezeOverrun(shared.deps, prepared, verdict.spentMicros))
    : [];
  const traced = await persistently(info, () => outcomeProvenance(shared, prepared, verdict));
  const { stored, entry } = outcomeEntry(prepared, claimed, finding, traced.facts, nowOf(shared.deps));
  const outcome = outcomeOf(prepared, finding, verdict.state, stored);
  const request = { ...outcome, question, provenance: traced.rows, entries: [entry] };
  const open = finding.transaction ?? null;
  let answer: OutcomeAnswer;
  try {
    answer = open
      ? await commitWith(open, (db) => writeOutcome(db, request))
      : await persistently(info, () => writeOutcome(shared.deps.db, request));
  } catch (error) {
    if (!open || (isActGuardError(error) && error.code === 'BACKEND_UNAVAILABLE')) throw error;
    return finish(shared, prepared, claimed, brokenTransaction(shared, prepared, finding, error), info);
  }
  if (answer.kind === 'late') {
    // undone: this attempt did nothing
    const undone = open ? { ...request, state: 'failed' as const, landed: 'no' as const } : request;
    return late(shared, prepared, undone, answer, info);
  }
  const told = answer.kind === 'ok' ? await reportMarks(shared.deps, answer.marks) : [];
  const notices = noticesOf([...overran, ...told]);
  if (verdict.state === 'unknown') return { ...unknownResult(verdict, question), ...notices };
  return {
    ...doneResult(stored ?? { kind: 'done', output: null, spentMicros: 0, bytes: 4 }, prepared, null),
    ...notices,
  };
}

/** The tool swallowed a statement that broke its transaction: nothing of it was committed. */
function brokenTransaction(shared: CallShared, prepared: Prepared, finding: Finding, error: unknown): Finding {
  const trace = { nothingLeft: true, usedOther: false, onlyStatus: null };
  const verdict = judge(prepared.tool, { kind: 'threw', error, trace }, shared.secrets);
  return { ...finding, verdict, landed: 'no', transaction: null };
}

/** Records an attempt that is followed by another one. `null`: it did not even begin. */
export async function writeRetry(
  shared: CallShared,
  prepared: Prepared,
  claimed: Claimed,
  finding: Finding | null,
  info: CallInfo,
): Promise<void> {
  const began = finding !== null;
  const state =
    (finding?.verdict.state ?? (claimed.mayHaveLanded ? 'unknown' : 'failed')) === 'failed' ? 'retrying' : 'unknown';
  const request: OutcomeRequest = {
    ...outcomeOf(prepared, finding ?? NOT_BEGUN, state, null),
    failed: began ? 1 : 0,
    entries: usedEntries(prepared.frame, finding?.uses ?? [], claimed.attempts),
    // Temporal's retry is the next to look; should it never come, the janitor is
    question: state === 'unknown' ? { reason: finding?.verdict.reason ?? '', askAgainMs: 0, needsPerson: false } : null,
  };
  const answer = await persistently(info, () => writeOutcome(shared.deps.db, request));
  if (answer.kind === 'late') await late(shared, prepared, request, answer, info);
}

const NOT_BEGUN: Finding = {
  verdict: { state: 'failed', result: null, failure: null, breaker: 'none', facts: [], spentMicros: 0, reason: '' },
  resolved: null,
  landed: 'no',
  said: 'nothing',
  uses: [],
};

/** What is open, and when it is asked again: by the receiver's key, by `reconcile`, or by nobody (EX5). */
function questionOf({ tool }: Prepared, claimed: Claimed, finding: Finding): Question {
  const { settlesWithinMs, idempotency } = tool.manifest;
  const way = claimed.sends && idempotency?.receiver ? 'send' : tool.code.reconcile ? 'ask' : 'none';
  const settledAtMs = (claimed.sends ? Date.now() : (claimed.lastSendMs ?? claimed.nowMs)) + settlesWithinMs;
  const nowMs = claimed.sends ? Date.now() : claimed.nowMs;
  const final = !claimed.sends && finding.said === 'cannot-say' && nowMs >= settledAtMs;
  return {
    reason: finding.verdict.reason.slice(0, MAX_REASON_CHARS),
    askAgainMs: askAgainMs({ way, asked: claimed.asked + (claimed.mayHaveLanded ? 1 : 0), nowMs, settledAtMs }),
    needsPerson: way === 'none' || final,
  };
}

const MAX_REASON_CHARS = 500;

/** An unknown outcome as the workflow gets it. */
export function unknownResult(
  verdict: Pick<Verdict, 'reason' | 'spentMicros'>,
  question: Question | null,
): CallToolResult {
  return {
    kind: 'unknown',
    reason: verdict.reason,
    spentMicros: verdict.spentMicros,
    askAgainMs: question?.askAgainMs ?? null,
    needsPerson: question?.needsPerson ?? true,
  };
}

function outcomeEntry(
  prepared: Prepared,
  claimed: Claimed,
  { verdict, resolved, uses }: Finding,
  proved: readonly Fact[],
  provedAtMs: number,
): { stored: StoredResult | null; entry: EntryRow } {
  const facts = proved.map((f) => ({ ...f, ttlMs: prepared.tool.manifest.facts.ttlMs }));
  const result: StoredResult | null = verdict.result && {
    ...verdict.result,
    facts: facts as unknown as Json,
    provedAtMs,
  };
  const shown = result?.output === undefined ? { data: {}, content: null } : committed('output', result.output);
  const error =
    verdict.result?.kind === 'failed' ? (verdict.result.error as unknown as CallError | undefined) : undefined;
  const entry = callEntry(
    prepared.frame,
    verdict.state === 'succeeded' ? 'call.succeeded' : verdict.state === 'failed' ? 'call.failed' : 'call.unknown',
    verdict.state,
    {
      attempts: claimed.attempts,
      spentMicros: verdict.spentMicros,
      ...(verdict.spentMicros > prepared.claim.reserved.usdMicros ? { aboveMaximum: true } : {}),
      ...(verdict.flagged ? { flagged: true } : {}),
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
  return { stored, entry };
}

function outcomeOf(
  prepared: Prepared,
  { verdict, resolved, landed }: Finding,
  state: OutcomeRequest['state'],
  result: StoredResult | null,
): OutcomeRequest {
  return {
    tenant: prepared.claim.tenant,
    run: prepared.claim.run,
    call: prepared.claim.call,
    token: prepared.claim.token,
    state,
    result,
    spentMicros: verdict.spentMicros,
    failed: verdict.state === 'succeeded' ? 0 : 1,
    landed,
    question: null,
    breakerVerdict: verdict.breaker,
    maxFails: prepared.tool.manifest.circuitBreaker?.maxFails ?? 1,
    resolved,
    provenance: [],
    entries: [],
  };
}

/** The database may be away just now: what is known is not let go. Heartbeats keep the call from being taken over. */
async function persistently<T>(info: CallInfo, write: () => Promise<T>): Promise<T> {
  const until = performance.now() + OUTCOME_AGAIN_WITHIN_MS;
  for (;;) {
    try {
      return await write();
    } catch (error) {
      const away = error instanceof Error && 'code' in error && AGAIN.includes(String(error.code));
      if (!away || info.cancelled.aborted || performance.now() >= until) throw error;
      info.heartbeat();
      await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER_MS));
    }
  }
}

/** This attempt was taken over: its outcome is kept, and answers the question where it can. */
async function late(
  shared: CallShared,
  prepared: Prepared,
  request: OutcomeRequest,
  answer: Extract<OutcomeAnswer, { kind: 'late' }>,
  info: CallInfo,
): Promise<never> {
  const { tenant, run, call, token } = request;
  // what this attempt says of itself, whatever became of earlier ones
  const state = request.state === 'unknown' && request.landed === 'no' ? 'failed' : request.state;
  const result = state === 'failed' || state === 'retrying' ? failureOf(prepared, request.result) : request.result;
  const data = { state, found: answer.state, spentMicros: result?.spentMicros ?? 0 };
  const kept = await persistently(info, () =>
    writeLateOutcome(shared.deps.db, {
      tenant,
      run,
      call,
      token,
      state,
      result,
      provenance: request.provenance,
      entries: [callEntry(prepared.frame, 'call.late', `late:${token}`, data)],
      failed: [
        callEntry(prepared.frame, 'call.failed', `failed:${token}`, {
          late: true,
          spentMicros: data.spentMicros,
          code: (result?.error as CallError | undefined)?.code ?? 'TOOL_FAILED',
        }),
      ],
      alarm: [callEntry(prepared.frame, 'call.contradicted', 'contradicted', data)],
    }),
  );
  if (kept.contradicts) {
    const message = `a late outcome contradicts what was recorded: the call ${state}, its record says ${answer.state}`;
    shared.deps.log('error', message, { run, call });
  }
  // whoever waits for the question hears of it now; the janitor tells it where this fails
  if (kept.kind === 'resolved') await info.tell(prepared.grant.workflowId, call).catch(() => undefined);
  throw retryLater('this attempt was taken over; the call has another outcome', 1_000);
}

/** The result of an attempt that did nothing: also of one whose transaction was undone after it had answered. */
function failureOf({ tool }: Prepared, result: StoredResult | null): StoredResult {
  if (result?.kind === 'failed' && result.error !== undefined) return result;
  const message = `${tool.name} did not happen: its attempt was over before it began, or was undone`;
  const error: CallError = { code: 'TOOL_FAILED', message, details: { tool: tool.name } };
  return { kind: 'failed', error: error as unknown as Json, spentMicros: 0, bytes: 0 };
}
