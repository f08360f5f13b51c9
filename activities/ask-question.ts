/**
 * Asks about one unknown outcome whose run does not ask itself any more: it has ended, or was terminated. The same ways,
 * in the same order, under the same claim as in the run (EX5).
 */
import { randomUUID } from 'node:crypto';
import { digestOf } from '../governance/digest.ts';
import { isActGuardError } from '../governance/errors.ts';
import type { Amount } from '../governance/call.ts';
import type { JsonObject } from '../governance/json.ts';
import { FROZEN_ASK_MS, LEASE_MS } from '../governance/limits.ts';
import type { ClaimAnswer } from './claim.ts';
import { resolveCredentials } from './credentials.ts';
import { parseArguments } from './decide.ts';
import { effectKey, memoryOf } from './effect-key.ts';
import { pgJson } from './pg-json.ts';
import type { CallInfo, CallShared, Prepared } from './prepared.ts';
import { runClaimed } from './run-claimed.ts';
import type { CallToolInput } from './types.ts';

interface QuestionCall {
  readonly seq: number;
  readonly tool: string;
  readonly argsDigest: string;
  readonly approval: string | null;
  readonly reserved: Amount;
  readonly workflowId: string;
  readonly temporalRun: string;
  readonly runStatus: string;
  /** What lies beside the call's start; null: erased. */
  readonly content: JsonObject | null;
}

/** Whether the outcome is known now; the run is told where it lives. @throws what Temporal should try again */
export async function askQuestion(
  shared: CallShared,
  input: { readonly run: string; readonly call: string },
  info: CallInfo,
): Promise<{ readonly known: boolean }> {
  const { db } = shared.deps;
  const [row] = await db.query<{ q: QuestionCall | null }>('select actguard.question_call($1, $2) as q', [
    input.run,
    input.call,
  ]);
  const question = row?.q;
  if (!question) return { known: true };
  const giveUp = async (reason: string): Promise<{ readonly known: boolean }> => {
    await db.query('select actguard.give_up_question($1, $2, $3)', [input.run, input.call, reason]);
    return { known: false };
  };
  const prepared = await prepare(shared, input, question);
  if (typeof prepared === 'string') return giveUp(prepared);
  let credentials;
  try {
    credentials = await resolveCredentials(
      prepared.tool.code.credentials,
      shared.deps.secrets,
      shared.secrets,
      prepared.grant.principal,
    );
  } catch (error) {
    if (!isActGuardError(error) || error.code === 'BACKEND_UNAVAILABLE') throw error;
    return giveUp(error.message);
  }
  const claimAskedAt = performance.now();
  const [claimed] = await db.query<{ a: ClaimAnswer }>('select actguard.claim_question($1::jsonb) as a', [
    pgJson({ ...prepared.claim, frozenAskMs: FROZEN_ASK_MS }),
  ]);
  if (claimed?.a.kind === 'claimed') {
    const asked = prepared.frame.input as CallToolInput;
    const result = await runClaimed(shared, prepared, claimed.a, credentials, claimAskedAt, info, asked);
    if (result.kind === 'unknown') return { known: false };
  } else if (claimed?.a.kind !== 'own') return { known: false };
  if (question.runStatus === 'open') await info.tell(question.workflowId, input.call);
  return { known: true };
}

/** The call as its run prepared it, or why it cannot be asked about. */
async function prepare(
  shared: CallShared,
  input: { readonly run: string; readonly call: string },
  question: QuestionCall,
): Promise<Prepared | string> {
  const tool = shared.tools.get(question.tool);
  if (!tool) return `no worker has ${question.tool} any more`;
  const grant = await shared.grants.of(input.run, question.workflowId);
  const args = shared.deps.db.content.need('entry', grant.principal.tenant, question.content)?.['args'] ?? null;
  if (args === null) return 'the arguments were erased: only a person can find out';
  const parsed = parseArguments(tool, args);
  if ('code' in parsed || digestOf(parsed.args) !== question.argsDigest) {
    return `${question.tool} takes other arguments than when it was called`;
  }
  const asked: CallToolInput = {
    v: 1,
    ...input,
    entries: [],
    seq: question.seq,
    tool: tool.name,
    args,
    facts: [],
    reserved: question.reserved,
    left: {},
    approvalId: question.approval,
    deadlineMs: 0, // no retries beyond this one: the question itself is asked again
    inline: false,
  };
  const key = effectKey(tool, parsed.args, asked);
  if ('code' in key) return `${question.tool} makes no key of these arguments any more`;
  return {
    tool,
    grant,
    frame: { input: asked, grant, dev: shared.deps.dev },
    args: parsed.args,
    policy: shared.deps.policy(grant.principal.tenant),
    idempotencyKey: key.receiver,
    claim: {
      run: input.run,
      temporalRun: question.temporalRun,
      continuedFrom: null,
      tenant: grant.principal.tenant,
      call: input.call,
      after: null,
      seq: question.seq,
      tool: tool.name,
      effect: tool.manifest.effect,
      argsDigest: question.argsDigest,
      token: randomUUID(),
      leaseMs: LEASE_MS,
      settlesWithinMs: tool.manifest.settlesWithinMs,
      key: key.claim,
      rate: null,
      breaker: null,
      policy: null,
      approval: null,
      label: null,
      ...memoryOf(tool),
      reserved: question.reserved,
      before: [],
      entries: [],
    },
  };
}
