/**
 * Signing in on the approval page: the passkey signs a session statement that the page itself computes, under a payload
 * type of its own, so that no challenge of a sign-in can ever be an approval (trust.md, Approvals).
 */
import { type KeyRow } from './answer.ts';
import { fromBase64 } from './base64.ts';
import { canonicalize } from './canonical.ts';
import { utf8Bytes } from './digest.ts';
import {
  ENROLMENT_PAYLOAD_TYPE,
  SESSION_PAYLOAD_TYPE,
  base64Of,
  fingerprintOf,
  parseEnvelope,
  preAuthEncoding,
} from './dsse.ts';
import { type EnrolledKey, type Trust, parseEnrolment, verifyEnrolment } from './enrolment.ts';
import { MAX_ASK_CLOCK_SKEW_MS, MAX_STATEMENT_TEXT_CHARS } from './limits.ts';
import { checkSignature } from './signature.ts';
import {
  type Parsed,
  canonicalJsonOf,
  exactObject,
  hexOf,
  parsing,
  refuse,
  textOf,
  timeOf,
  valueOf,
} from './strict.ts';
import { signCountOf } from './webauthn.ts';

/** What a sign-in signs. */
export interface SignInStatement {
  readonly v: 1;
  readonly origin: string;
  /** The server's, hex: used once. */
  readonly nonce: string;
  /** The page's clock. */
  readonly at: string;
}

/** A sign-in as the page sends it; bytes as base64. */
export interface SignIn {
  readonly statement: Uint8Array;
  readonly credentialId: string;
  readonly authenticatorData: Uint8Array;
  readonly clientDataJSON: Uint8Array;
  readonly signature: Uint8Array;
}

/** The bytes of a session statement: their PAE with SESSION_PAYLOAD_TYPE makes the challenge. */
export function signInStatement(origin: string, nonce: string, at: string): Uint8Array {
  return utf8Bytes(canonicalize({ v: 1, origin, nonce, at }));
}

/** Reads what a page sent. */
export function parseSignIn(value: unknown): Parsed<SignIn> {
  return parsing(() => {
    const f = exactObject(value, ['statement', 'credentialId', 'authenticatorData', 'clientDataJSON', 'signature'], 'the sign-in'); // prettier-ignore
    base64Of(f.credentialId, 'the credential id');
    return {
      statement: base64Of(f.statement, 'the statement'),
      credentialId: f.credentialId as string,
      authenticatorData: base64Of(f.authenticatorData, 'the authenticator data'),
      clientDataJSON: base64Of(f.clientDataJSON, 'the client data'),
      signature: base64Of(f.signature, 'the signature'),
    };
  });
}

/** The statement of a sign-in, strictly. */
export function parseSignInStatement(payload: Uint8Array): Parsed<SignInStatement> {
  return parsing(() => {
    const s = exactObject(canonicalJsonOf(payload, 'the statement'), ['v', 'origin', 'nonce', 'at'], 'the statement');
    if (s.v !== 1) return refuse('the statement is of an unknown version');
    return {
      v: 1,
      origin: textOf(s.origin, 'the origin', MAX_STATEMENT_TEXT_CHARS),
      nonce: hexOf(s.nonce, 'the nonce', 32),
      at: timeOf(s.at, 'the time'),
    };
  });
}

/** Verifies a sign-in: nonce and origin are ours, the key is enrolled under a root, its passkey signed this statement. */
export function verifySignIn(
  signIn: SignIn,
  expected: { readonly origin: string; readonly nonce: string },
  row: KeyRow | null,
  trust: Trust,
): Parsed<{ readonly key: EnrolledKey; readonly signCount: number; readonly at: string }> {
  return parsing(() => {
    const statement = valueOf(parseSignInStatement(signIn.statement));
    if (statement.origin !== expected.origin) return refuse('the sign-in is for another page');
    if (statement.nonce !== expected.nonce) return refuse('the sign-in is not the one that was asked for');
    if (Math.abs(Date.parse(statement.at) - trust.nowMs) > MAX_ASK_CLOCK_SKEW_MS)
      return refuse('the clock of this device is off by more than ten minutes');
    if (!row) return refuse('this passkey is not enrolled here, or not confirmed yet');
    if (row.revoked) return refuse('this passkey was revoked');
    const key = valueOf(verifyEnrolment(row.envelope, row.chain, trust));
    const enrolment = valueOf(parseEnrolment(valueOf(parseEnvelope(row.envelope, ENROLMENT_PAYLOAD_TYPE)).payload));
    if (enrolment.passkey?.credentialId !== signIn.credentialId)
      return refuse('this passkey is not enrolled here, or not confirmed yet');
    const keyid = fingerprintOf(fromBase64(enrolment.publicKey) ?? new Uint8Array());
    const { authenticatorData, clientDataJSON, signature } = signIn;
    const assertion = { authenticatorData, clientDataJSON };
    checkSignature(
      key,
      preAuthEncoding(SESSION_PAYLOAD_TYPE, signIn.statement),
      { keyid, sig: signature, assertion },
      trust,
    );
    return { key, signCount: signCountOf(authenticatorData), at: statement.at };
  });
}
