/**
 * An invited person makes a passkey: the page registers it and has it sign the enrolment that an administrator will
 * countersign. What is kept is pending and counts for nothing.
 */
import type { Hono } from 'hono';
import { verifyRegistrationResponse, type RegistrationResponseJSON } from '@simplewebauthn/server';
import { signatureChecks } from '../activities/signatures.ts';
import { fromBase64, toBase64 } from '../governance/base64.ts';
import { digestOf, sha256Hex, utf8Bytes, sha256 } from '../governance/digest.ts';
import { ENROLMENT_PAYLOAD_TYPE, fingerprintOf, parseEnvelope } from '../governance/dsse.ts';
import { type Enrolment, parseEnrolment } from '../governance/enrolment.ts';
import { makeEntry } from '../governance/entry.ts';
import type { Json } from '../governance/json.ts';
import { MAX_ASK_CLOCK_SKEW_MS } from '../governance/limits.ts';
import { checkSignature } from '../governance/signature.ts';
import { type Parsed, exactObject, parsing, refuse, valueOf } from '../governance/strict.ts';
import { toBase64Url } from '../governance/webauthn.ts';
import type { GatewayDeps } from './deps.ts';
import { problem, readBody } from './guard.ts';

interface Invitation {
  readonly invitation: string;
  readonly tenant: string;
  readonly person: string;
  readonly roles: readonly string[];
  readonly signer: string;
  readonly dev: boolean;
  readonly nowMs: number;
}

const TOKEN = /^[A-Za-z0-9_-]{43}$/;

/** Adds `/api/invitation` and `/api/invitation/passkey`. A link that is opened changes nothing: both are posts. */
export function enrolRoutes(app: Hono, deps: GatewayDeps): void {
  app.post('/api/invitation', async (c) => {
    const token = tokenOf(await readBody(c), ['token']);
    const invitation = token === null ? null : await readInvitation(deps, token);
    if (!invitation || token === null) return gone(c);
    const { tenant, person, roles, signer, dev, nowMs } = invitation;
    return c.json({
      tenant,
      person,
      roles,
      signer,
      dev,
      nowMs,
      rpId: deps.passkeys.id,
      challenge: challengeFor(token),
    });
  });
  app.post('/api/invitation/passkey', async (c) => {
    const body = await readBody(c);
    const token = tokenOf(body, ['token', 'registration', 'envelope']);
    const invitation = token === null ? null : await readInvitation(deps, token);
    if (!invitation || token === null) return gone(c);
    const { registration, envelope } = body as { registration: unknown; envelope: Json };
    const made = await registered(deps, registration, challengeFor(token));
    if (made.kind === 'invalid') return problem(c, 400, 'ARGUMENTS_INVALID', made.reason);
    const checked = checkPending(deps, envelope, invitation, made.value);
    if (checked.kind === 'invalid') return problem(c, 400, 'ARGUMENTS_INVALID', checked.reason);
    const keyId = checked.value;
    const [row] = await deps.db.query<{ r: string }>('select actguard.accept_invitation($1::jsonb) as r', [
      JSON.stringify({
        tokenSha256: sha256Hex(token),
        envelope,
        keyId,
        entries: [pendingEntry(invitation, envelope, keyId)],
      }),
    ]);
    return row?.r === 'pending' ? c.json({ keyId }) : gone(c);
  });
}

const gone = (c: Parameters<typeof problem>[0]) =>
  problem(c, 404, 'NOT_FOUND', 'this invitation was used, has expired or was revoked; ask for a new one');

/** The registration's challenge: bound to the link, so that a passkey of another invitation does not fit. */
function challengeFor(token: string): string {
  return toBase64Url(sha256(utf8Bytes(`actguard registration ${token}`)));
}

async function registered(
  deps: GatewayDeps,
  registration: unknown,
  expectedChallenge: string,
): Promise<Parsed<{ publicKey: string; credentialId: string }>> {
  try {
    const { verified, registrationInfo } = await verifyRegistrationResponse({
      response: registration as RegistrationResponseJSON,
      expectedChallenge,
      expectedOrigin: [...deps.passkeys.origins],
      expectedRPID: deps.passkeys.id,
      requireUserVerification: true,
    });
    if (!verified || !registrationInfo) return { kind: 'invalid', reason: 'the passkey could not be verified' };
    const { publicKey, id } = registrationInfo.credential;
    return {
      kind: 'ok',
      value: { publicKey: toBase64(publicKey), credentialId: toBase64(Buffer.from(id, 'base64url')) },
    };
  } catch (error) {
    deps.log('warn', 'a registration was refused', { reason: error instanceof Error ? error.message : String(error) });
    return { kind: 'invalid', reason: 'the passkey could not be verified' };
  }
}

/** That the page made what was invited: these words, this key, signed by it. Answers the key's fingerprint. */
function checkPending(
  deps: GatewayDeps,
  envelope: unknown,
  invitation: Invitation,
  made: { readonly publicKey: string; readonly credentialId: string },
): Parsed<string> {
  return parsing(() => {
    const opened = valueOf(parseEnvelope(envelope, ENROLMENT_PAYLOAD_TYPE));
    const e = valueOf(parseEnrolment(opened.payload));
    const asInvited =
      e.tenant === invitation.tenant &&
      e.person === invitation.person &&
      e.roles.join('\n') === invitation.roles.join('\n') &&
      e.signer === invitation.signer &&
      e.dev === invitation.dev &&
      e.validUntil === null;
    if (!asInvited) return refuse('the enrolment is not what was invited');
    if (!fits(e, made)) return refuse('the enrolment is of another passkey');
    if (Math.abs(Date.parse(e.validFrom) - invitation.nowMs) > MAX_ASK_CLOCK_SKEW_MS)
      return refuse('the clock of this device is off by more than ten minutes');
    const publicKey = fromBase64(e.publicKey) ?? new Uint8Array();
    const [signature, more] = opened.signatures;
    if (!signature || more || signature.keyid !== fingerprintOf(publicKey))
      return refuse('the passkey did not sign alone');
    checkSignature({ kind: 'webauthn', publicKey }, opened.pae, signature, {
      passkeys: deps.passkeys,
      checks: signatureChecks,
    });
    return signature.keyid;
  });
}

function fits(e: Enrolment, made: { readonly publicKey: string; readonly credentialId: string }): boolean {
  return e.publicKey === made.publicKey && e.passkey?.credentialId === made.credentialId;
}

function pendingEntry(invitation: Invitation, envelope: Json, keyId: string) {
  const { tenant, person, nowMs, dev } = invitation;
  return makeEntry({
    kind: 'key.pending',
    tenant,
    run: null,
    key: `pending:${invitation.invitation}`,
    atMs: nowMs,
    data: {
      invitation: invitation.invitation,
      person,
      key: keyId,
      envelopeSha256: digestOf(envelope),
      ...(dev ? { dev: true } : {}),
    },
    content: { envelope },
  });
}

function tokenOf(body: unknown, fields: readonly string[]): string | null {
  const parsed = parsing(() => exactObject(body, fields, 'the body'));
  const token = parsed.kind === 'ok' ? (parsed.value as { token?: unknown }).token : undefined;
  return typeof token === 'string' && TOKEN.test(token) ? token : null;
}

async function readInvitation(deps: GatewayDeps, token: string): Promise<Invitation | null> {
  const [row] = await deps.db.query<{ i: Invitation | null }>('select actguard.read_invitation($1) as i', [
    sha256Hex(token),
  ]);
  return row?.i ?? null;
}
