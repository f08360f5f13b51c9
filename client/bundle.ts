/** Bundles of approvals: exported from the database, verified from a file with nothing else at hand. */
import type { ContentDatabase } from '../activities/deps.ts';
import { signatureChecks } from '../activities/signatures.ts';
import { type ApprovalContent, parseRequest } from '../governance/approval.ts';
import {
  type ApprovalBundle,
  type BundledAnswer,
  type VerifiedBundle,
  parseBundle,
  verifyBundle,
} from '../governance/bundle.ts';
import { ENROLMENT_PAYLOAD_TYPE, parseEnvelope } from '../governance/dsse.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import type { RelyingParty } from '../governance/webauthn.ts';
import { readEnrolment } from './enrolment.ts';

/** The bundle of an ask that somebody answered. @throws ActGuardError NOT_FOUND, CONFLICT (nobody answered), BACKEND_UNAVAILABLE */
export async function exportBundle(db: ContentDatabase, approvalId: string): Promise<ApprovalBundle> {
  const [row] = await db.query<{
    e: { request: string; content: ApprovalContent | null; answers: BundledAnswer[] } | null;
  }>('select actguard.approval_evidence($1) as e', [approvalId]);
  if (!row?.e) throw new ActGuardError('NOT_FOUND', `there is no ask \`${approvalId}\``);
  const { request, answers } = row.e;
  if (answers.length === 0) throw new ActGuardError('CONFLICT', `nobody has answered \`${approvalId}\``);
  const asked = parseRequest(request);
  const content = asked.kind === 'ok' ? db.content.open('ask', asked.value.tenant, row.e.content) : row.e.content;
  return { v: 1, kind: 'actguard.approval', request, content, answers, passkeys: relyingPartyOf(answers) };
}

/**
 * Verifies what stands in a bundle's text, offline.
 *
 * @param roots fingerprints that are trusted; null: any
 * @throws ActGuardError APPROVAL_INVALID with the reason
 */
export function verifyBundleText(
  text: string,
  roots: readonly string[] | null,
): { bundle: ApprovalBundle; verified: VerifiedBundle } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid('the file is not JSON');
  }
  const bundle = parseBundle(value);
  if (bundle.kind === 'invalid') throw invalid(bundle.reason);
  const verified = verifyBundle(bundle.value, roots, signatureChecks);
  if (verified.kind === 'invalid') throw invalid(verified.reason);
  return { bundle: bundle.value, verified: verified.value };
}

/** Where the passkeys of the answers were used: what their enrolments and their client data say. */
function relyingPartyOf(answers: readonly BundledAnswer[]): RelyingParty | null {
  const origins = new Set<string>();
  let id: string | undefined;
  for (const { envelope, key } of answers) {
    id ??= readEnrolment(key.envelope).passkey?.rpId;
    for (const [item, type] of [
      [envelope, undefined],
      [key.envelope, ENROLMENT_PAYLOAD_TYPE],
    ] as const) {
      const payloadType = type ?? String((item as { payloadType?: Json }).payloadType);
      const opened = parseEnvelope(item, payloadType);
      if (opened.kind === 'invalid') continue;
      for (const { assertion } of opened.value.signatures) {
        if (assertion) origins.add(originIn(assertion.clientDataJSON));
      }
    }
  }
  return id === undefined ? null : { id, origins: [...origins].filter((origin) => origin !== '') };
}

function originIn(clientDataJSON: Uint8Array): string {
  try {
    const { origin } = JSON.parse(new TextDecoder().decode(clientDataJSON)) as { origin?: unknown };
    return typeof origin === 'string' ? origin : '';
  } catch {
    return '';
  }
}

function invalid(reason: string): ActGuardError {
  return new ActGuardError('APPROVAL_INVALID', `the bundle proves nothing: ${reason}`, {
    hint: 'docs/approvals.md says how to check it by hand',
  });
}
