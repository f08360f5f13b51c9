/** The two doors: signing in, and making a passkey for an invitation. */
import { toBase64 } from '../../governance/base64.ts';
import { ENROLMENT_PAYLOAD_TYPE, SESSION_PAYLOAD_TYPE, fingerprintOf } from '../../governance/dsse.ts';
import { enrolmentStatement } from '../../governance/enrolment.ts';
import { signInStatement } from '../../governance/sign-in.ts';
import { get, type InvitationData, post } from './api.ts';
import { announce, el, foreign, terms } from './dom.ts';
import { envelopeOf, madeBy, register, sign } from './passkey.ts';

/** Signing in: the statement is made here, so that its challenge can never be an approval. */
export function signInView(done: () => void, failed: (error: unknown) => void): HTMLElement {
  const enter = async (): Promise<void> => {
    announce('waiting for your passkey');
    try {
      const { nonce, rpId } = await get<{ nonce: string; rpId: string }>('/api/sign-in');
      const statement = signInStatement(location.origin, nonce, new Date().toISOString());
      const by = await sign(SESSION_PAYLOAD_TYPE, statement, rpId, null);
      await post('/api/sign-in', {
        statement: toBase64(statement),
        credentialId: by.credentialId,
        authenticatorData: toBase64(by.authenticatorData),
        clientDataJSON: toBase64(by.clientDataJSON),
        signature: toBase64(by.signature),
      });
      announce('signed in');
      done();
    } catch (error) {
      failed(error);
    }
  };
  return el(
    'div',
    { class: 'door' },
    el('h1', { tabindex: '-1' }, 'Sign in to approve'),
    el('p', {}, 'What waits for you is shown after you sign in. Signing in approves nothing.'),
    el(
      'button',
      { type: 'button', class: 'primary', id: 'sign-in', click: () => void enter() },
      'Sign in with your passkey',
    ),
  );
}

/** Making a passkey. `token` stands behind the # of the link: it reaches no log. */
export function invitationView(
  token: string,
  invitation: InvitationData,
  failed: (error: unknown) => void,
): HTMLElement {
  const place = el('div', { class: 'door' });
  const make = async (): Promise<void> => {
    announce('making your passkey');
    try {
      const registration = await register(invitation);
      const { publicKey, credentialId } = madeBy(registration);
      announce('now sign your enrolment with it');
      const payload = enrolmentStatement({
        v: 1,
        tenant: invitation.tenant,
        person: invitation.person,
        roles: invitation.roles,
        kind: 'webauthn',
        publicKey: toBase64(publicKey),
        passkey: { credentialId, rpId: invitation.rpId },
        validFrom: new Date(invitation.nowMs).toISOString(),
        validUntil: null,
        dev: invitation.dev,
        signer: invitation.signer,
      });
      const by = await sign(ENROLMENT_PAYLOAD_TYPE, payload, invitation.rpId, credentialId);
      const keyId = fingerprintOf(publicKey);
      const envelope = envelopeOf(ENROLMENT_PAYLOAD_TYPE, payload, keyId, by);
      await post('/api/invitation/passkey', { token, registration, envelope });
      announce('your passkey was made');
      place.replaceChildren(...madeWords(keyId));
      place.querySelector('h1')?.focus();
    } catch (error) {
      failed(error);
    }
  };
  place.append(
    el('h1', { tabindex: '-1' }, 'You are invited to approve'),
    terms(
      ['Person', foreign(invitation.person)],
      ['Tenant', foreign(invitation.tenant)],
      ['Roles', invitation.roles.map(foreign).join(', ')],
    ),
    el(
      'p',
      {},
      'You make a passkey on this device and sign your enrolment with it. An administrator confirms it before it counts.',
    ),
    el('button', { type: 'button', class: 'primary', id: 'make', click: () => void make() }, 'Make my passkey'),
  );
  return place;
}

function madeWords(keyId: string): HTMLElement[] {
  const spoken = (keyId.slice(0, 32).match(/.{4}/g) ?? []).join(' ');
  return [
    el('h1', { tabindex: '-1' }, 'Read this to your administrator'),
    el('p', {}, el('code', { class: 'digest', id: 'fingerprint' }, spoken)),
    el(
      'p',
      {},
      'Your passkey counts once an administrator has confirmed these characters, by phone or in person. Then sign in.',
    ),
    el('p', {}, el('a', { href: '/' }, 'To the approvals')),
  ];
}
