/**
 * Invitations: a mailed link makes a pending passkey and nothing more; an administrator countersigns its fingerprint,
 * and only that makes it count (trust.md, Keys and commands).
 */
import { randomBytes } from 'node:crypto';
import { ulid } from 'ulid';
import type { Database } from '../activities/deps.ts';
import { fromBase64, toBase64 } from '../governance/base64.ts';
import { sha256Hex } from '../governance/digest.ts';
import { fingerprintOf } from '../governance/dsse.ts';
import { makeEntry } from '../governance/entry.ts';
import { ActGuardError } from '../governance/errors.ts';
import { parseName } from '../governance/id.ts';
import type { Json } from '../governance/json.ts';
import { INVITATION_MS } from '../governance/limits.ts';
import { NAME_PATTERN } from '../governance/strict.ts';
import { storeEnrolment } from './directory.ts';
import { countersign, readEnrolment } from './enrolment.ts';
import type { SigningKey } from './keys.ts';

type Rows = Pick<Database, 'query'>;

/** An invitation as lists show it. */
export interface ListedInvitation {
  readonly invitation: string;
  readonly tenant: string;
  readonly person: string;
  readonly roles: readonly string[];
  readonly mail: string | null;
  readonly state: 'open' | 'pending' | 'confirmed' | 'revoked' | 'expired';
  /** Fingerprint of the passkey that was made; null before. */
  readonly keyId: string | null;
  readonly pending: Json | null;
  readonly invitedAtMs: number;
  readonly expiresAtMs: number;
}

/** Whom to invite. */
export interface InviteOptions {
  readonly tenant: string;
  readonly person: string;
  readonly roles: readonly string[];
  readonly mail: string | null;
  /** The administrator who will countersign. */
  readonly signer: Pick<SigningKey, 'publicKey' | 'keyId' | 'dev'>;
  readonly nowMs: number;
}

/**
 * Makes an invitation; the token goes into a link and is stored as a digest only.
 *
 * @throws ActGuardError ARGUMENTS_INVALID (names and roles that cannot be enrolled), BACKEND_UNAVAILABLE
 */
export async function invite(db: Rows, options: InviteOptions): Promise<{ invitation: string; token: string }> {
  parseName(options.tenant, 'tenant');
  for (const name of [options.person, ...options.roles]) {
    if (NAME_PATTERN.test(name)) continue;
    throw new ActGuardError('ARGUMENTS_INVALID', `\`${name.slice(0, 60)}\` is no name of a person or a role`, {
      hint: 'use letters, digits and `._:@+-`',
    });
  }
  const token = randomBytes(32).toString('base64url');
  const invitation = ulid(options.nowMs);
  const { tenant, person, roles, mail, signer, nowMs } = options;
  await db.query('select actguard.invite($1::jsonb)', [
    JSON.stringify({
      invitation,
      tokenSha256: sha256Hex(token),
      tenant,
      person,
      roles,
      mail,
      signer: toBase64(signer.publicKey),
      dev: signer.dev,
      lifeMs: INVITATION_MS,
      entries: [
        makeEntry({
          kind: 'person.invited',
          tenant,
          run: null,
          key: `invitation:${invitation}`,
          atMs: nowMs,
          data: { invitation, person, roles: [...roles], signer: signer.keyId, ...(signer.dev ? { dev: true } : {}) },
        }),
      ],
    }),
  ]);
  return { invitation, token };
}

/** Invitations of a tenant (null: of all), newest first. @throws BACKEND_UNAVAILABLE */
export async function listInvitations(db: Rows, tenant: string | null): Promise<ListedInvitation[]> {
  const rows = await db.query<{ i: ListedInvitation }>('select actguard.list_invitations($1) as i', [tenant]);
  return rows.map((row) => row.i);
}

/** The pending invitation whose passkey has this fingerprint. @throws ActGuardError NOT_FOUND */
export async function findPending(db: Rows, fingerprint: string): Promise<ListedInvitation & { pending: Json }> {
  const wanted = fingerprint.replaceAll(/[\s:-]/g, '').toLowerCase();
  const all = await listInvitations(db, null);
  // computed from what will be signed: a column of the database proves nothing
  const found = all.filter((i) => i.state === 'pending' && wanted.length >= 16 && pendingKeyId(i).startsWith(wanted));
  const [only, more] = found;
  if (only?.pending != null && !more) return { ...only, pending: only.pending };
  throw new ActGuardError('NOT_FOUND', 'no passkey with this fingerprint waits to be confirmed', {
    hint: 'give at least 16 characters of it, as its owner reads them to you; `actguard approver list` shows what waits',
  });
}

/**
 * Countersigns a pending passkey: from now on it counts where the signer's chain is trusted.
 *
 * @throws ActGuardError FORBIDDEN (another administrator invited), ARGUMENTS_INVALID (what was made is not what was
 * invited), CONFLICT (confirmed or revoked meanwhile)
 */
export async function confirmInvitation(
  db: Rows,
  invitation: ListedInvitation & { readonly pending: Json },
  signer: SigningKey,
  nowMs: number,
): Promise<void> {
  const enrolment = readEnrolment(invitation.pending);
  const { tenant, person, roles } = enrolment;
  const asInvited =
    tenant === invitation.tenant && person === invitation.person && roles.join(' ') === invitation.roles.join(' ');
  if (!asInvited) {
    throw new ActGuardError('ARGUMENTS_INVALID', 'the passkey was made for somebody else than was invited', {
      hint: 'revoke the invitation and invite again',
    });
  }
  await storeEnrolment(db, countersign(invitation.pending, signer), nowMs);
  await endInvitation(db, invitation.invitation, 'confirmed');
}

/** Ends an invitation. @throws ActGuardError CONFLICT when it has ended already */
export async function endInvitation(db: Rows, invitation: string, state: 'confirmed' | 'revoked'): Promise<void> {
  const [row] = await db.query<{ ended: boolean }>('select actguard.end_invitation($1, $2) as ended', [
    invitation,
    state,
  ]);
  if (row?.ended !== true) throw new ActGuardError('CONFLICT', `the invitation \`${invitation}\` has ended already`);
}

/** Fingerprint of the key that a pending enrolment is for; empty when it is none. */
export function pendingKeyId(invitation: Pick<ListedInvitation, 'pending'>): string {
  if (invitation.pending === null) return '';
  try {
    return fingerprintOf(fromBase64(readEnrolment(invitation.pending).publicKey) ?? new Uint8Array());
  } catch {
    return '';
  }
}

/** A fingerprint as people read it to each other: groups of four. */
export function spokenFingerprint(keyId: string): string {
  return (keyId.slice(0, 32).match(/.{4}/g) ?? []).join(' ');
}
