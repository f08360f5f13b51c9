/** Whether a signed answer counts, and whether enough people said yes: pure, the same at the answer and at the claim. */
import { canonicalize } from './canonical.ts';
import { APPROVAL_PAYLOAD_TYPE, parseEnvelope } from './dsse.ts';
import { type EnrolledKey, type Trust, coversTenant, hasRole, verifyEnrolment } from './enrolment.ts';
import { checkSignature } from './signature.ts';
import { type ApprovalRequest, type ApprovalStatement, type AskedGate, parseStatement } from './approval.ts';
import type { Json } from './json.ts';
import { type Parsed, parsing, refuse, valueOf } from './strict.ts';
import { signCountOf } from './webauthn.ts';

/** A key as the directory keeps it: enrolment and chain are evidence, everything else there is a convenience. */
export interface KeyRow {
  readonly envelope: Json;
  readonly chain: Json;
  readonly revoked: boolean;
}

/** An answer that was verified. */
export interface VerifiedAnswer {
  readonly statement: ApprovalStatement;
  readonly key: EnrolledKey;
  /** Of a passkey's authenticator; 0: it keeps none. */
  readonly signCount: number;
}

/** The key id that an answer names, before anything is verified: to look the key up. */
export function signerOf(envelope: unknown, payloadType: string): Parsed<string> {
  return parsing(() => {
    const { signatures } = valueOf(parseEnvelope(envelope, payloadType));
    const [only, more] = signatures;
    return only && !more ? only.keyid : refuse('the envelope has more than one signature');
  });
}

/**
 * Verifies an answer against the stored request: known key with a chain to a root, in the request's tenant; a
 * signature by it; the request byte for byte; the key's owner; a role that one of the gates asks for; not the requester.
 *
 * @param storedRequest the request's canonical text as it was stored when the ask was opened
 */
export function verifyAnswer(
  envelope: unknown,
  storedRequest: string,
  keyRow: KeyRow | null,
  trust: Trust,
): Parsed<VerifiedAnswer> {
  return parsing(() => {
    const keyId = valueOf(signerOf(envelope, APPROVAL_PAYLOAD_TYPE));
    const { payload, pae, signatures } = valueOf(parseEnvelope(envelope, APPROVAL_PAYLOAD_TYPE));
    const statement = valueOf(parseStatement(payload));
    if (canonicalize(statement.request as unknown as Json) !== storedRequest) {
      return refuse('the answer is for another request');
    }
    const key = valueOf(verifyKey(keyId, keyRow, statement.request.tenant, trust));
    const signature = signatures[0];
    if (!signature) return refuse('the envelope has no signature');
    checkSignature(key, pae, signature, trust);
    if (statement.key !== keyId) return refuse('the statement names another key than the one that signed');
    if (statement.person !== key.person) return refuse('the key belongs to another person');
    if (statement.person === statement.request.requester.user) return refuse('nobody approves what they asked for');
    const { gates } = statement.request;
    if (!gates.some((gate) => hasRole(key, gate.roles))) return refuse('the person has no role that this ask needs');
    if (!gates.some((gate) => answersGate(key, gate))) return refuse('this ask is answered with a passkey only');
    const signCount = signature.assertion === null ? 0 : signCountOf(signature.assertion.authenticatorData);
    return { statement, key, signCount };
  });
}

/** Whether a key counts for a gate: a role it asks for, and the kind of key it asks for. */
export function answersGate(key: EnrolledKey, gate: AskedGate): boolean {
  return hasRole(key, gate.roles) && (gate.key === 'any' || gate.key === key.kind);
}

/** A directory row's key, followed to a root and valid in a tenant now. */
export function verifyKey(keyId: string, row: KeyRow | null, tenant: string, trust: Trust): Parsed<EnrolledKey> {
  return parsing(() => {
    if (!row) return refuse('the key is unknown');
    if (row.revoked) return refuse('the key was revoked');
    const key = valueOf(verifyEnrolment(row.envelope, row.chain, trust));
    if (key.keyId !== keyId) return refuse('the enrolment is of another key');
    if (!coversTenant(key, tenant)) return refuse('the key belongs to another tenant');
    return key;
  });
}

/** Whether every gate has as many different people with one of its roles as it asks for, and nobody rejected. */
export function gatesAnswered(request: ApprovalRequest, answers: readonly VerifiedAnswer[]): boolean {
  if (request.gates.length === 0 || answers.some((a) => a.statement.decision !== 'approve')) return false;
  return request.gates.every((gate) => {
    const people = new Set(answers.filter((a) => answersGate(a.key, gate)).map((a) => a.key.person));
    return people.size >= gate.quorum;
  });
}
