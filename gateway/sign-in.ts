/** Signing in and out: a passkey signs a session statement; the cookie holds a token whose digest is kept. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Context, Hono } from 'hono';
import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import { signatureChecks } from '../activities/signatures.ts';
import type { KeyRow } from '../governance/answer.ts';
import { sha256Hex } from '../governance/digest.ts';
import { PAGE_SESSION_MS, SIGN_IN_NONCE_MS } from '../governance/limits.ts';
import { parseSignIn, parseSignInStatement, verifySignIn } from '../governance/sign-in.ts';
import { type GatewayDeps, originOf } from './deps.ts';
import { problem, readBody } from './guard.ts';

const COOKIE = 'actguard-session';

/** Who is signed in, as the database knows it. */
export interface PageSession {
  readonly tenant: string;
  readonly person: string;
  readonly keyId: string;
  /** Credential id, base64. */
  readonly credential: string | null;
  readonly dev: boolean;
  readonly roles: readonly string[];
  readonly expiresAtMs: number;
  readonly nowMs: number;
}

/** A session with the digest of its token: what every reading function takes. */
export interface SignedIn {
  readonly tokenSha256: string;
  readonly session: PageSession;
}

/** Nonces of sign-ins: a time and a random part under a key of this process; used once (the database keeps those). */
class Nonces {
  readonly #key = randomBytes(32);

  make(nowMs: number): string {
    const head = Buffer.alloc(16);
    head.writeBigUInt64BE(BigInt(nowMs));
    randomBytes(8).copy(head, 8);
    return `${head.toString('hex')}${this.#seal(head)}`;
  }

  holds(nonce: string, nowMs: number): boolean {
    const head = Buffer.from(nonce.slice(0, 32), 'hex');
    if (head.length !== 16) return false;
    const ageMs = nowMs - Number(head.readBigUInt64BE());
    const [given, own] = [Buffer.from(nonce.slice(32)), Buffer.from(this.#seal(head))];
    return given.length === own.length && timingSafeEqual(given, own) && ageMs >= 0 && ageMs <= SIGN_IN_NONCE_MS;
  }

  #seal(head: Buffer): string {
    return createHmac('sha256', this.#key).update(head).digest('hex').slice(0, 32);
  }
}

/** Adds `/api/sign-in`, `/api/sign-out`, `/api/me`. */
export function signInRoutes(app: Hono, deps: GatewayDeps): void {
  const nonces = new Nonces();
  const origin = originOf(deps);
  app.get('/api/sign-in', (c) => c.json({ nonce: nonces.make(deps.now()), rpId: deps.passkeys.id, origin }));
  app.post('/api/sign-in', async (c) => {
    const signIn = parseSignIn(await readBody(c));
    if (signIn.kind === 'invalid') return problem(c, 400, 'ARGUMENTS_INVALID', signIn.reason);
    const statement = parseSignInStatement(signIn.value.statement);
    if (statement.kind === 'invalid') return problem(c, 400, 'ARGUMENTS_INVALID', statement.reason);
    const { nonce } = statement.value;
    if (!nonces.holds(nonce, deps.now()))
      return problem(c, 401, 'UNAUTHENTICATED', 'this sign-in took too long; try again');
    const row = await findPasskey(deps, signIn.value.credentialId);
    const nowMs = row?.nowMs ?? deps.now();
    const trust = { roots: deps.roots, dev: deps.dev, nowMs, passkeys: deps.passkeys, checks: signatureChecks };
    const verified = verifySignIn(signIn.value, { origin, nonce }, row, trust);
    if (verified.kind === 'invalid' || !row) {
      const reason =
        verified.kind === 'invalid' ? verified.reason : 'this passkey is not enrolled here, or not confirmed yet';
      deps.log('warn', 'a sign-in was refused', { reason });
      return problem(c, 401, 'UNAUTHENTICATED', reason);
    }
    const { key, signCount, at } = verified.value;
    const token = randomBytes(32).toString('base64url');
    const [opened] = await deps.db.query<{ r: string }>('select actguard.open_page_session($1::jsonb) as r', [
      JSON.stringify({
        tokenSha256: sha256Hex(token),
        nonce,
        tenant: row.tenant,
        person: key.person,
        keyId: key.keyId,
        signCount,
        signedAt: at,
        lifeMs: PAGE_SESSION_MS,
      }),
    ]);
    if (opened?.r !== 'ok') return problem(c, 401, 'UNAUTHENTICATED', REFUSALS[opened?.r ?? ''] ?? 'sign in again');
    setCookie(c, COOKIE, token, cookieOf(origin));
    return c.json({ ok: true });
  });
  app.post('/api/sign-out', async (c) => {
    const token = getCookie(c, COOKIE);
    if (token !== undefined) await deps.db.query('select actguard.end_page_session($1)', [sha256Hex(token)]);
    deleteCookie(c, COOKIE, cookieOf(origin));
    return c.json({ ok: true });
  });
  app.get('/api/me', async (c) => {
    const who = await signedIn(deps, c);
    return who ? c.json(who.session) : notSignedIn(c);
  });
}

/** The session of a request; null: not signed in. */
export async function signedIn(deps: GatewayDeps, c: Context): Promise<SignedIn | null> {
  const token = getCookie(c, COOKIE);
  if (token === undefined || token.length > 100) return null;
  const tokenSha256 = sha256Hex(token.toWellFormed());
  const [row] = await deps.db.query<{ s: PageSession | null }>('select actguard.page_session($1) as s', [tokenSha256]);
  return row?.s ? { tokenSha256, session: row.s } : null;
}

/** The answer to whoever is not signed in. */
export function notSignedIn(c: Context) {
  return problem(c, 401, 'UNAUTHENTICATED', 'sign in with your passkey');
}

const REFUSALS: { readonly [problem: string]: string } = {
  used: 'this sign-in was used already; try again',
  counter: 'the count of your authenticator says that its key was copied; tell an administrator',
  revoked: 'this passkey was revoked',
};

async function findPasskey(deps: GatewayDeps, credential: string) {
  const [row] = await deps.db.query<{ k: (KeyRow & { tenant: string; nowMs: number }) | null }>(
    'select actguard.page_passkey($1) as k',
    [credential],
  );
  return row?.k ?? null;
}

function cookieOf(origin: string) {
  const secure = origin.startsWith('https:');
  return { path: '/', httpOnly: true, sameSite: 'Strict' as const, secure, maxAge: PAGE_SESSION_MS / 1000 };
}
