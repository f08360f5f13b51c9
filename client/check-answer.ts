/**
 * An answer looked at before it is sent: what can never count is refused here and leaves no trace in the run's history.
 * This only takes away; whether an answer counts is decided by a worker, again from the start.
 */
import type { Client } from '@temporalio/client';
import type { Database } from '../activities/deps.ts';
import { signatureChecks } from '../activities/signatures.ts';
import { signerOf, verifyAnswer, type KeyRow, type VerifiedAnswer } from '../governance/answer.ts';
import { APPROVAL_PAYLOAD_TYPE, ENROLMENT_PAYLOAD_TYPE, fingerprintOf, parseEnvelope } from '../governance/dsse.ts';
import { parseEnrolment } from '../governance/enrolment.ts';
import { fromBase64 } from '../governance/base64.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import { MAX_REJECTED_ANSWERS } from '../governance/limits.ts';
import type { RelyingParty } from '../governance/webauthn.ts';
import { sendAnswer } from './approvals.ts';

interface CheckContext {
  readonly nowMs: number;
  readonly request: string;
  readonly state: string;
  readonly answered: boolean;
  readonly invalidAnswers: number;
  readonly key: KeyRow | null;
}

/** What a sender trusts. Without roots the chain is followed to wherever it ends: workers know better. */
export interface SenderTrust {
  readonly roots?: readonly string[];
  readonly passkeys: RelyingParty | null;
}

/**
 * Checks an answer as a worker will: the ask is open, the envelope is for it, by an enrolled person with a role.
 *
 * @throws ActGuardError NOT_FOUND, CONFLICT (answered already, or over), APPROVAL_INVALID with the reason
 */
export async function checkAnswer(
  db: Pick<Database, 'query'>,
  approvalId: string,
  envelope: Json,
  trust: SenderTrust,
): Promise<VerifiedAnswer> {
  const signer = signerOf(envelope, APPROVAL_PAYLOAD_TYPE);
  if (signer.kind === 'invalid') throw invalid(signer.reason);
  const [row] = await db.query<{ c: CheckContext | null }>('select actguard.check_context($1, $2) as c', [
    approvalId,
    signer.value,
  ]);
  const context = row?.c;
  if (!context) throw new ActGuardError('NOT_FOUND', 'there is no such ask');
  const roots = trust.roots ?? rootOf(context.key);
  const checks = { roots, dev: true, nowMs: context.nowMs, passkeys: trust.passkeys, checks: signatureChecks };
  const verified = verifyAnswer(envelope, context.request, context.key, checks);
  if (verified.kind === 'invalid') throw invalid(verified.reason);
  if (context.answered) throw new ActGuardError('CONFLICT', 'you have answered this ask already');
  if (context.state !== 'open') throw new ActGuardError('CONFLICT', `the ask is ${context.state}`);
  if (context.invalidAnswers >= MAX_REJECTED_ANSWERS) {
    throw new ActGuardError(
      'CONFLICT',
      `${context.invalidAnswers} answers to this ask were invalid: its run takes no more`,
      {
        hint: 'somebody sends forgeries: tell an operator; cancel the run and start it again',
      },
    );
  }
  return verified.value;
}

/** {@link checkAnswer}, then the signal to the run. */
export async function submitAnswer(
  db: Pick<Database, 'query'>,
  client: Client,
  approvalId: string,
  envelope: Json,
  trust: SenderTrust,
): Promise<VerifiedAnswer> {
  const verified = await checkAnswer(db, approvalId, envelope, trust);
  const { request } = verified.statement;
  await sendAnswer(client, request, { approvalId, nonce: request.nonce, envelope });
  return verified;
}

/** The fingerprint at the end of a row's chain. */
function rootOf(row: KeyRow | null): readonly string[] {
  const chain = Array.isArray(row?.chain) ? row.chain : [];
  const opened = parseEnvelope(chain.at(-1) ?? row?.envelope, ENROLMENT_PAYLOAD_TYPE);
  const last = opened.kind === 'ok' ? parseEnrolment(opened.value.payload) : opened;
  return last.kind === 'ok' ? [fingerprintOf(fromBase64(last.value.signer) ?? new Uint8Array())] : [];
}

function invalid(reason: string): ActGuardError {
  return new ActGuardError('APPROVAL_INVALID', reason, { hint: 'read the ask again and sign that' });
}
