/**
 * Asks: opened when a decision is ask, answered by signed statements, ended by time or by the run. Nothing that comes
 * from a signal makes these throw; trouble with the database does (BACKEND_UNAVAILABLE), and Temporal tries again.
 */
import { verifyAnswer, type KeyRow } from '../governance/answer.ts';
import { parseRequest } from '../governance/approval.ts';
import { digestOf, sha256Hex } from '../governance/digest.ts';
import { makeEntry, type EntryKind } from '../governance/entry.ts';
import { canonicalize } from '../governance/canonical.ts';
import { escapeHidden } from '../governance/denial.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { MAX_REJECTED_ANSWERS } from '../governance/limits.ts';
import { APPROVAL_PAYLOAD_TYPE } from '../governance/dsse.ts';
import { signerOf } from '../governance/answer.ts';
import { deliveryId } from './delivery.ts';
import type { Deps } from './deps.ts';
import { trustOf } from './trust.ts';
import type { ExpireAskInput, RecordAnswerInput, RecordAnswerResult } from './types.ts';

export { openAsk, type OpenAskInput, type OpenAskResult } from './open-ask.ts';
export { loadGrantedApproval, type GrantedApproval } from './granted.ts';

/** What `actguard.answer_context` answers. */
interface AnswerContext {
  readonly nowMs: number;
  readonly runTenant: string | null;
  readonly approval: {
    readonly tenant: string;
    readonly call: string;
    readonly state: string;
    readonly request: string;
    readonly expired: boolean;
  } | null;
  readonly key: (KeyRow & { readonly tenant: string }) | null;
}

/** Why an answer of a known key does not count any more, for people. */
const REFUSALS: { readonly [problem: string]: string } = {
  unknown: 'there is no such ask in this run',
  answered: 'this person has answered already',
  expired: 'the ask has expired',
  role: 'the person has no role that this ask needs',
  counter: 'the count of the authenticator says that its key was copied; sign again or use another key',
  activated: 'nobody approves under a policy they activated',
  granted: 'the ask was granted already',
  rejected: 'the ask was rejected already',
  withdrawn: 'the ask was withdrawn',
  consumed: 'the approval was used already',
};

/**
 * Verifies an answer and records it; the last of the needed people completes the ask, one reject ends it. What does not
 * count is recorded as `approval.invalid` (at most MAX_REJECTED_ANSWERS an ask) and answered `rejected` with a reason.
 *
 * @throws BACKEND_UNAVAILABLE
 */
export async function recordAnswer(
  deps: Deps,
  input: RecordAnswerInput,
  delivery: string = deliveryId(),
): Promise<RecordAnswerResult> {
  const signer = signerOf(input.envelope, APPROVAL_PAYLOAD_TYPE);
  const keyId = signer.kind === 'ok' ? signer.value : '';
  const [row] = await deps.db.query<{ c: AnswerContext }>('select actguard.answer_context($1, $2, $3) as c', [
    idText(input.approvalId),
    input.run,
    keyId,
  ]);
  const context = row?.c ?? { nowMs: 0, runTenant: null, approval: null, key: null };
  const invalid = (reason: string): Promise<RecordAnswerResult> =>
    recordInvalid(deps, input, context, delivery, keyId, reason);
  const { approval, nowMs } = context;
  if (!approval) return invalid(REFUSALS['unknown'] ?? '');
  if (signer.kind === 'invalid') return invalid(signer.reason);

  const trust = trustOf(deps, nowMs);
  const verified = verifyAnswer(input.envelope, approval.request, context.key, trust);
  if (verified.kind === 'invalid') return invalid(verified.reason);
  const { statement, key, signCount } = verified.value;

  const about: JsonObject = {
    approvalId: input.approvalId,
    requestSha256: sha256Hex(approval.request),
    decision: statement.decision,
    person: key.person,
    key: key.keyId,
    ...(key.dev ? { dev: true } : {}),
  };
  const entry = (kind: EntryKind, name: string, data: JsonObject, content: JsonObject | null) =>
    makeEntry({
      kind,
      tenant: approval.tenant,
      run: input.run,
      key: `a:${input.approvalId}:${name}`,
      call: approval.call,
      atMs: nowMs,
      data,
      content,
    });
  const complete: EntryKind = statement.decision === 'reject' ? 'approval.rejected' : 'approval.granted';
  const envelope = { envelopeSha256: digestOf(input.envelope), signedAt: statement.at };
  const [recorded] = await deps.db.query<{
    r: { kind: 'accepted'; complete: boolean } | { kind: 'refused'; problem: string };
  }>('select actguard.record_answer($1::jsonb) as r', [
    JSON.stringify({
      approval: input.approvalId,
      run: input.run,
      person: key.person,
      keyId: key.keyId,
      keyTenant: context.key?.tenant ?? '',
      decision: statement.decision,
      roles: key.roles,
      envelope: input.envelope,
      delivery,
      signCount,
      signedAt: statement.at,
      entries: {
        answered: [
          entry('approval.answered', `answered:${key.person}`, { ...about, ...envelope }, { envelope: input.envelope }),
        ],
        complete: [entry(complete, 'complete', { ...about, gates: gateIds(approval.request) }, null)],
      },
    }),
  ]);
  const result = recorded?.r ?? { kind: 'refused', problem: 'unknown' };
  if (result.kind === 'refused') return invalid(REFUSALS[result.problem] ?? 'the ask is not open');
  return { kind: 'accepted', decision: statement.decision, complete: result.complete, person: key.person };
}

/** Ends an ask that expired or is not wanted any more. Harmless when it has ended already. @throws BACKEND_UNAVAILABLE */
export async function endAsk(deps: Deps, input: ExpireAskInput): Promise<void> {
  const [row] = await deps.db.query<{ c: AnswerContext }>('select actguard.answer_context($1, $2, $3) as c', [
    input.approvalId,
    input.run,
    '',
  ]);
  const approval = row?.c.approval;
  if (!row || !approval) return;
  const entry = makeEntry({
    kind: input.outcome === 'expired' ? 'approval.expired' : 'approval.withdrawn',
    tenant: approval.tenant,
    run: input.run,
    key: `a:${input.approvalId}:${input.outcome}`,
    call: approval.call,
    atMs: row.c.nowMs,
    data: { approvalId: input.approvalId, requestSha256: sha256Hex(approval.request) },
  });
  await deps.db.query('select actguard.end_approval($1::jsonb)', [
    JSON.stringify({ approval: input.approvalId, run: input.run, outcome: input.outcome, entries: [entry] }),
  ]);
}

/** Records what did not count: the reason and a digest of the envelope, never its text. */
async function recordInvalid(
  deps: Deps,
  input: RecordAnswerInput,
  context: AnswerContext,
  delivery: string,
  keyId: string,
  reason: string,
): Promise<RecordAnswerResult> {
  const tenant = context.approval?.tenant ?? context.runTenant;
  const bounded = escapeHidden(reason).slice(0, 300);
  if (tenant === null) {
    deps.log('warn', 'an answer for a run that was never opened', { run: input.run, reason: bounded });
    return { kind: 'rejected', reason: bounded };
  }
  const entry = makeEntry({
    kind: 'approval.invalid',
    tenant,
    run: input.run,
    key: `a:invalid:${sha256Hex(delivery)}`,
    call: context.approval?.call ?? null,
    atMs: context.nowMs,
    data: {
      approvalId: idText(input.approvalId),
      reason: bounded,
      envelopeSha256: digestOrNull(input.envelope),
      ...(keyId === '' ? {} : { key: keyId }),
      ...(deps.dev ? { dev: true } : {}),
    },
  });
  await deps.db.query('select actguard.record_invalid($1::jsonb)', [
    JSON.stringify({
      approval: idText(input.approvalId),
      run: input.run,
      kind: 'approval.invalid',
      max: MAX_REJECTED_ANSWERS,
      entries: [entry],
    }),
  ]);
  return { kind: 'rejected', reason: bounded };
}

/** An approval id as it may go into a query and an entry: hostile text is replaced, not repeated. */
function idText(value: unknown): string {
  return typeof value === 'string' && /^[A-Za-z0-9._:-]{1,128}$/.test(value) ? value : 'malformed';
}

function digestOrNull(value: Json): string | null {
  try {
    return sha256Hex(canonicalize(value));
  } catch {
    return null;
  }
}

function gateIds(request: string): JsonObject[] {
  const parsed = parseRequest(request);
  return parsed.kind === 'ok' ? parsed.value.gates.map(({ id, sha256 }) => ({ id, sha256 })) : [];
}
