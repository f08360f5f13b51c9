/**
 * A yes, proven again right before it is used: chain, signatures, quorum and commitments from the stored evidence. A
 * row that says `granted` is not enough (P4).
 */
import { gatesAnswered, verifyAnswer, type KeyRow, type VerifiedAnswer } from '../governance/answer.ts';
import { type ApprovalContent, parseRequest } from '../governance/approval.ts';
import type { LiveFact } from '../governance/call.ts';
import { contentProblem } from '../governance/content.ts';
import { digestOf } from '../governance/digest.ts';
import type { Json } from '../governance/json.ts';
import type { Provenance } from '../governance/provenance.ts';
import type { Deps } from './deps.ts';
import { trustOf } from './trust.ts';

/** What was frozen while the ask waited, and the gates that the yes counts for. */
export interface GrantedApproval {
  readonly approvalId: string;
  readonly args: Json;
  /** digestOf(args) */
  readonly argsDigest: string;
  readonly toolDigest: string;
  readonly facts: readonly LiveFact[];
  readonly provenance: Provenance;
  /** A yes counts only for a gate with the same digest in the active set. */
  readonly gates: readonly { readonly id: string; readonly sha256: string }[];
  readonly people: readonly string[];
  /** Whether a dev key was among those that answered. */
  readonly dev: boolean;
}

interface GrantedContext {
  readonly nowMs: number;
  readonly request: string;
  readonly content: ApprovalContent | null;
  readonly answers: readonly { readonly keyId: string; readonly envelope: Json; readonly key: KeyRow }[] | null;
}

/**
 * The yes to this call, verified; null when there is none or its evidence does not hold.
 *
 * @throws BACKEND_UNAVAILABLE
 */
export async function loadGrantedApproval(
  deps: Deps,
  approvalId: string,
  run: string,
  call: string,
): Promise<GrantedApproval | null> {
  const [row] = await deps.db.query<{ c: GrantedContext | null }>('select actguard.granted_context($1, $2, $3) as c', [
    approvalId,
    run,
    call,
  ]);
  if (!row?.c) return null;
  const asked = parseRequest(row.c.request);
  // without its key the call waits: nothing was decided, the approval is unused
  const content = asked.kind === 'ok' ? deps.db.content.need('ask', asked.value.tenant, row.c.content) : row.c.content;
  const proven = proveGrant(deps, { ...row.c, content }, { approvalId, run, call });
  if (typeof proven === 'string') {
    deps.log('warn', 'an approval does not hold', { run, call, approvalId, reason: proven });
    return null;
  }
  return proven;
}

function proveGrant(
  deps: Deps,
  context: GrantedContext,
  expected: { readonly approvalId: string; readonly run: string; readonly call: string },
): GrantedApproval | string {
  const parsed = parseRequest(context.request);
  if (parsed.kind === 'invalid') return parsed.reason;
  const request = parsed.value;
  if (request.approvalId !== expected.approvalId || request.run !== expected.run || request.call !== expected.call) {
    return 'the request is of another call';
  }
  if (Date.parse(request.expiresAt) <= context.nowMs) return 'the approval has expired';

  const trust = trustOf(deps, context.nowMs);
  const answers: VerifiedAnswer[] = [];
  for (const answer of context.answers ?? []) {
    const verified = verifyAnswer(answer.envelope, context.request, answer.key, trust);
    if (verified.kind === 'invalid') return verified.reason;
    answers.push(verified.value);
  }
  if (!gatesAnswered(request, answers)) return 'too few people approved';

  const { content } = context;
  const problem = contentProblem(request, content);
  if (problem !== null || content === null) return problem ?? 'its content was erased';
  try {
    const { args, facts, provenance } = content;
    const expiresAtMs = Date.parse(request.expiresAt);
    return {
      approvalId: request.approvalId,
      args,
      argsDigest: digestOf(args),
      toolDigest: request.toolDigest,
      facts: facts.map((fact) => ({ ...fact, expiresAtMs })),
      provenance: provenance.judged,
      gates: request.gates.map(({ id, sha256 }) => ({ id, sha256 })),
      people: answers.map((a) => a.key.person),
      dev: answers.some((a) => a.key.dev),
    };
  } catch {
    return 'the content is damaged';
  }
}
