/** Passkeys in this browser: the challenge of every signature is computed here, from the bytes that are signed. */
import {
  startAuthentication,
  startRegistration,
  base64URLStringToBuffer,
  type RegistrationResponseJSON,
} from '@simplewebauthn/browser';
import { fromBase64, toBase64 } from '../../governance/base64.ts';
import { makeEnvelope, preAuthEncoding } from '../../governance/dsse.ts';
import type { Json } from '../../governance/json.ts';
import { challengeOf, toBase64Url } from '../../governance/webauthn.ts';
import type { InvitationData } from './api.ts';
import { Refused } from './api.ts';

/** A passkey's signature over a statement. */
export interface Signature {
  readonly credentialId: string;
  readonly authenticatorData: Uint8Array;
  readonly clientDataJSON: Uint8Array;
  readonly signature: Uint8Array;
}

/** Signs a statement; `credential` (base64) names the passkey, null lets the person choose. @throws Refused */
export async function sign(
  payloadType: string,
  payload: Uint8Array,
  rpId: string,
  credential: string | null,
): Promise<Signature> {
  const challenge = challengeOf(preAuthEncoding(payloadType, payload));
  const allow = credential === null ? [] : [{ id: urlOf(credential), type: 'public-key' as const }];
  try {
    const { rawId, response } = await startAuthentication({
      optionsJSON: { challenge, rpId, allowCredentials: allow, userVerification: 'required' },
    });
    return {
      credentialId: toBase64(bytesOf(rawId)),
      authenticatorData: bytesOf(response.authenticatorData),
      clientDataJSON: bytesOf(response.clientDataJSON),
      signature: bytesOf(response.signature),
    };
  } catch (error) {
    throw new Refused('UNAUTHENTICATED', sentenceFor(error));
  }
}

/** The envelope of a statement that a passkey signed. */
export function envelopeOf(payloadType: string, payload: Uint8Array, keyId: string, by: Signature): Json {
  const { authenticatorData, clientDataJSON, signature } = by;
  return makeEnvelope(payloadType, payload, [
    { keyid: keyId, sig: signature, assertion: { authenticatorData, clientDataJSON } },
  ]);
}

/** Makes a passkey for an invitation. @throws Refused */
export async function register(invitation: InvitationData): Promise<RegistrationResponseJSON> {
  const { tenant, person, rpId, challenge } = invitation;
  const id = toBase64Url(new TextEncoder().encode(`${tenant}/${person}`).slice(0, 64));
  try {
    return await startRegistration({
      optionsJSON: {
        rp: { id: rpId, name: 'ActGuard approvals' },
        user: { id, name: `${person} (${tenant})`, displayName: person },
        challenge,
        pubKeyCredParams: [-7, -8, -257].map((alg) => ({ alg, type: 'public-key' as const })),
        authenticatorSelection: { residentKey: 'required', requireResidentKey: true, userVerification: 'required' },
        attestation: 'none',
      },
    });
  } catch (error) {
    throw new Refused('UNAUTHENTICATED', sentenceFor(error));
  }
}

/** The COSE key inside a registration's authenticator data, base64, and its credential id. */
export function madeBy(registration: RegistrationResponseJSON): { publicKey: Uint8Array; credentialId: string } {
  const data = bytesOf(registration.response.authenticatorData ?? '');
  const length = ((data[53] ?? 0) << 8) | (data[54] ?? 0);
  // after 37 bytes of header: aaguid (16), length (2), id, then the key to the end: no extensions were asked for
  return { publicKey: data.slice(55 + length), credentialId: toBase64(data.slice(55, 55 + length)) };
}

function bytesOf(text: string): Uint8Array {
  return new Uint8Array(base64URLStringToBuffer(text));
}

function urlOf(base64: string): string {
  return toBase64Url(fromBase64(base64) ?? new Uint8Array());
}

function sentenceFor(error: unknown): string {
  const name = error instanceof Error ? (error.cause instanceof Error ? error.cause.name : error.name) : '';
  if (name === 'NotAllowedError' || name === 'AbortError') return 'the passkey was not used; nothing was sent';
  if (name === 'SecurityError') return 'this page is not where the passkey belongs; nothing was sent';
  if (name === 'InvalidStateError') return 'this device has a passkey for this invitation already';
  return 'this browser could not use a passkey; nothing was sent';
}
