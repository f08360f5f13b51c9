/**
 * Tokens of callers. A token is the seed of a signing key: the client signs for each run it opens, so that the token
 * stands in no message, no history and no database; the directory holds the key's enrolment and fingerprint.
 */
import { randomBytes } from 'node:crypto';
import type { Database } from '../activities/deps.ts';
import { OPENING_PAYLOAD_TYPE } from '../governance/dsse.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import { CALLER_FOR_USERS_ROLE, CALLER_ROLE, type Opening, openingStatement } from '../governance/opening.ts';
import { addKey, listKeys } from './directory.ts';
import { type SigningKey, keyOfSeed, signEnvelope } from './keys.ts';

const PREFIX = 'agt_';
const SEED_BYTES = 32;

/** A token as `actguard token list` shows it. */
export interface ListedToken {
  readonly tenant: string;
  readonly caller: string;
  readonly actsForUsers: boolean;
  readonly keyId: string;
  readonly revoked: boolean;
  readonly enrolledAtMs: number;
}

/**
 * Makes a token and enrols its key, signed by an administrator. The token is shown once and kept nowhere.
 * @throws ARGUMENTS_INVALID, FORBIDDEN, BACKEND_UNAVAILABLE
 */
export async function createToken(
  db: Pick<Database, 'query'>,
  signer: SigningKey,
  about: {
    readonly tenant: string;
    readonly caller: string;
    readonly actsForUsers: boolean;
    readonly nowMs: number;
    readonly validForMs?: number;
  },
): Promise<{ readonly token: string; readonly keyId: string }> {
  const token = PREFIX + randomBytes(SEED_BYTES).toString('base64url');
  const key = { ...readToken(token), person: about.caller };
  await addKey(db, key, signer, {
    tenant: about.tenant,
    roles: [about.actsForUsers ? CALLER_FOR_USERS_ROLE : CALLER_ROLE],
    nowMs: about.nowMs,
    ...(about.validForMs === undefined ? {} : { validUntilMs: about.nowMs + about.validForMs }),
  });
  return { token, keyId: key.keyId };
}

/** The key of a token. @throws UNAUTHENTICATED when it is none; the text itself is not repeated */
export function readToken(token: string): SigningKey {
  const seed = token.startsWith(PREFIX) ? Buffer.from(token.slice(PREFIX.length), 'base64url') : Buffer.alloc(0);
  if (seed.length !== SEED_BYTES || PREFIX + seed.toString('base64url') !== token) {
    throw new ActGuardError('UNAUTHENTICATED', 'the token cannot be read', {
      hint: 'it begins with `agt_` and has 47 characters: copy all of it, or make one with `actguard token create`',
    });
  }
  return keyOfSeed(seed, '');
}

/** A caller's signature for one run. */
export function signOpening(key: SigningKey, opening: Omit<Opening, 'v'>): Json {
  const { run, tenant, user, agent } = opening;
  return signEnvelope(OPENING_PAYLOAD_TYPE, openingStatement({ v: 1, run, tenant, user, agent }), [key]);
}

/** Tokens, newest first; null: of every tenant. @throws BACKEND_UNAVAILABLE */
export async function listTokens(db: Pick<Database, 'query'>, tenant: string | null): Promise<ListedToken[]> {
  return (await listKeys(db, tenant))
    .filter(({ roles }) => roles.includes(CALLER_ROLE) || roles.includes(CALLER_FOR_USERS_ROLE))
    .map(({ person, roles, keyId, revoked, enrolledAtMs, tenant: of }) => ({
      tenant: of,
      caller: person,
      actsForUsers: roles.includes(CALLER_FOR_USERS_ROLE),
      keyId,
      revoked,
      enrolledAtMs,
    }));
}
