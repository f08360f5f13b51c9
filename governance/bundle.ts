/**
 * An answered ask as a file that a stranger checks offline: the request's bytes, the openings of its commitments, every
 * answer with its signature, the key's enrolment and the chain to a root. What only a ledger can show (that nothing
 * is missing, that a key was revoked before) is not claimed here.
 */
import { gatesAnswered, verifyAnswer, type VerifiedAnswer } from './answer.ts';
import { type ApprovalContent, type ApprovalRequest, parseRequest } from './approval.ts';
import { fromBase64, toBase64 } from './base64.ts';
import { type Gone, contentProblem, goneKey } from './content.ts';
import { APPROVAL_PAYLOAD_TYPE, ENROLMENT_PAYLOAD_TYPE, fingerprintOf, parseEnvelope } from './dsse.ts';
import { type Enrolment, parseEnrolment } from './enrolment.ts';
import type { Json, JsonObject } from './json.ts';
import { MAX_CHAIN_LINKS } from './limits.ts';
import type { SignatureChecks } from './signature.ts';
import { type Parsed, exactObject, listOf, parsing, refuse, textOf, timeOf, valueOf } from './strict.ts';
import type { RelyingParty } from './webauthn.ts';

/** Answers of one bundle: more people than any quorum asks for. */
const MAX_ANSWERS = 200;
const MAX_ORIGINS = 16;
const MAX_REQUEST_CHARS = 64 * 1024;

/** One answer and the evidence for its key. */
export interface BundledAnswer {
  readonly envelope: Json;
  /** The database's clock; a claim, as long as no ledger proof stands beside it. */
  readonly answeredAt: string;
  readonly key: { readonly envelope: Json; readonly chain: Json; readonly revokedAt: string | null };
}

/** The file. */
export interface ApprovalBundle {
  readonly v: 1;
  readonly kind: 'actguard.approval';
  /** Canonical text of the request. */
  readonly request: string;
  /** null: erased; or what it was sealed with, where that key is gone. The signatures still hold. */
  readonly content: ApprovalContent | Gone | null;
  readonly answers: readonly BundledAnswer[];
  /** Where passkeys counted, when it was made. */
  readonly passkeys: RelyingParty | null;
}

/** What a verified bundle says. */
export interface VerifiedBundle {
  readonly request: ApprovalRequest;
  readonly answers: readonly VerifiedAnswer[];
  /** Fingerprints at the ends of the chains: compare them with those you trust. */
  readonly roots: readonly string[];
  /** Whether every gate has its quorum of different people and nobody rejected. */
  readonly approved: boolean;
  readonly rejected: boolean;
  readonly contentErased: boolean;
  /** The key that is gone with its content; null: none. */
  readonly contentUnreadable: string | null;
  /** People whose key was revoked later, and when. */
  readonly revoked: readonly { readonly person: string; readonly at: string }[];
}

/** Reads a bundle strictly. */
export function parseBundle(value: unknown): Parsed<ApprovalBundle> {
  return parsing(() => {
    const b = exactObject(value, ['v', 'kind', 'request', 'content', 'answers', 'passkeys'], 'the bundle');
    if (b.v !== 1 || b.kind !== 'actguard.approval') return refuse('this is no bundle of an approval');
    return {
      v: 1,
      kind: 'actguard.approval',
      request: textOf(b.request, 'the request', MAX_REQUEST_CHARS),
      content: b.content as ApprovalContent | null,
      answers: listOf(b.answers, 'the answers', MAX_ANSWERS, readAnswer),
      passkeys: b.passkeys === null ? null : readRelyingParty(b.passkeys),
    };
  });
}

/**
 * Verifies a bundle offline: every answer as a worker does, at the time it was answered, each chain to a root.
 *
 * @param roots fingerprints that are trusted; null: any, and {@link VerifiedBundle.roots} says which they are
 */
export function verifyBundle(
  bundle: ApprovalBundle,
  roots: readonly string[] | null,
  checks: SignatureChecks,
): Parsed<VerifiedBundle> {
  return parsing(() => {
    const request = valueOf(parseRequest(bundle.request));
    const unreadable = goneKey(bundle.content)?.unreadable ?? null;
    const lacks = bundle.content === null || unreadable !== null;
    const problem = lacks ? null : contentProblem(request, bundle.content as ApprovalContent);
    if (problem !== null) return refuse(problem);
    if (bundle.answers.length === 0) return refuse('nobody answered');
    const ends = bundle.answers.map((answer) => rootOfKey(answer.key));
    const answers = bundle.answers.map((answer, i) => {
      const nowMs = Date.parse(answer.answeredAt);
      if (nowMs >= Date.parse(request.expiresAt)) return refuse('an answer came after the request had expired');
      const revoked = answer.key.revokedAt !== null && Date.parse(answer.key.revokedAt) <= nowMs;
      const trust = { roots: roots ?? [ends[i] ?? ''], dev: true, nowMs, passkeys: bundle.passkeys, checks };
      return valueOf(verifyAnswer(answer.envelope, bundle.request, { ...answer.key, revoked }, trust));
    });
    if (new Set(answers.map((a) => a.key.person)).size !== answers.length) return refuse('somebody answered twice');
    return {
      request,
      answers,
      roots: [...new Set(ends)],
      approved: gatesAnswered(request, answers),
      rejected: answers.some((a) => a.statement.decision === 'reject'),
      contentErased: bundle.content === null,
      contentUnreadable: unreadable,
      revoked: bundle.answers.flatMap(({ key }, i) =>
        key.revokedAt === null ? [] : [{ person: answers[i]?.key.person ?? '', at: key.revokedAt }],
      ),
    };
  });
}

/**
 * The same evidence for other people's verifiers: assertions as W3C WebAuthn, envelopes as DSSE, in the input form of
 * `tlogverify`. Every signature of the bundle is in it: answers, enrolments, chains.
 */
export function foreignChecks(bundle: ApprovalBundle): JsonObject {
  const webauthn: Json[] = [];
  const dsse: Json[] = [];
  const add = (envelope: Json, type: string, keys: readonly KnownKey[]): void => {
    const opened = parseEnvelope(envelope, type);
    if (opened.kind === 'invalid') return;
    const { payload, signatures } = opened.value;
    const plain = signatures.filter((s) => s.assertion === null);
    const used = keys.filter((k) => k.kind === 'ed25519' && plain.some((s) => s.keyid === k.keyId));
    if (used.length > 0) {
      dsse.push({
        envelope: {
          payloadType: type,
          payload: toBase64(payload),
          signatures: plain.map((s) => ({ keyid: s.keyid, sig: toBase64(s.sig) })),
        },
        payload_type: type,
        keys: used.map((k) => ({ keyid: k.keyId, ed25519: k.publicKey })),
        threshold: used.length,
      });
    }
    for (const { keyid, sig, assertion } of signatures) {
      const key = keys.find((k) => k.keyId === keyid && k.kind === 'webauthn');
      if (!assertion || !key) continue;
      webauthn.push({
        request: toBase64(payload),
        payload_type: type,
        credential_id: key.credentialId,
        public_key: key.publicKey,
        rp_id: bundle.passkeys?.id ?? '',
        origins: [...(bundle.passkeys?.origins ?? [])],
        authenticator_data: toBase64(assertion.authenticatorData),
        client_data_json: toBase64(assertion.clientDataJSON),
        signature: toBase64(sig),
      });
    }
  };
  for (const { envelope, key } of bundle.answers) {
    const links = [key.envelope, ...(Array.isArray(key.chain) ? (key.chain as Json[]) : [])];
    links.forEach((link) => {
      const enrolment = enrolmentIn(link);
      if (enrolment) add(link, ENROLMENT_PAYLOAD_TYPE, [keyIn(enrolment), signerIn(enrolment)]);
    });
    const own = enrolmentIn(key.envelope);
    if (own) add(envelope, APPROVAL_PAYLOAD_TYPE, [keyIn(own)]);
  }
  return { ...(webauthn.length > 0 ? { webauthn } : {}), ...(dsse.length > 0 ? { dsse } : {}) };
}

interface KnownKey {
  readonly keyId: string;
  readonly kind: 'ed25519' | 'webauthn';
  readonly publicKey: string;
  readonly credentialId: string;
}

function keyIn({ kind, publicKey, passkey }: Enrolment): KnownKey {
  return { keyId: idOf(publicKey), kind, publicKey, credentialId: passkey?.credentialId ?? '' };
}

function signerIn({ signer }: Enrolment): KnownKey {
  return { keyId: idOf(signer), kind: 'ed25519', publicKey: signer, credentialId: '' };
}

function idOf(publicKey: string): string {
  return fingerprintOf(fromBase64(publicKey) ?? new Uint8Array());
}

function enrolmentIn(envelope: Json): Enrolment | null {
  const opened = parseEnvelope(envelope, ENROLMENT_PAYLOAD_TYPE);
  const enrolment = opened.kind === 'ok' ? parseEnrolment(opened.value.payload) : opened;
  return enrolment.kind === 'ok' ? enrolment.value : null;
}

/** The fingerprint at the end of a key's chain; ends the enclosing `parsing` where that cannot be read. */
export function rootOfKey(key: Pick<BundledAnswer['key'], 'envelope' | 'chain'>): string {
  const chain = listOf(key.chain, 'the chain', MAX_CHAIN_LINKS, (item) => item as Json);
  const last = enrolmentIn(chain.at(-1) ?? key.envelope);
  return last === null ? refuse('an enrolment is damaged') : idOf(last.signer);
}

function readAnswer(item: unknown): BundledAnswer {
  const a = exactObject(item, ['envelope', 'answeredAt', 'key'], 'an answer');
  const key = exactObject(a.key, ['envelope', 'chain', 'revokedAt'], 'a key');
  return {
    envelope: a.envelope as Json,
    answeredAt: timeOf(a.answeredAt, 'the time of an answer'),
    key: {
      envelope: key.envelope as Json,
      chain: key.chain as Json,
      revokedAt: key.revokedAt === null ? null : timeOf(key.revokedAt, 'the time of a revocation'),
    },
  };
}

function readRelyingParty(value: unknown): RelyingParty {
  const p = exactObject(value, ['id', 'origins'], 'the relying party');
  const text = (item: unknown) => textOf(item, 'an origin', MAX_ORIGINS * 100);
  return { id: text(p.id), origins: listOf(p.origins, 'the origins', MAX_ORIGINS, text) };
}
