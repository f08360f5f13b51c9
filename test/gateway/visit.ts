/** Requests as a browser makes them, with a passkey in software; no network in between. */
import type { Hono } from 'hono';
import type { GatewayDeps } from '../../gateway/deps.ts';
import { makeApp } from '../../gateway/app.ts';
import { toBase64 } from '../../governance/base64.ts';
import { SESSION_PAYLOAD_TYPE, preAuthEncoding } from '../../governance/dsse.ts';
import { signInStatement } from '../../governance/sign-in.ts';
import { assertionOf, type Bent, type Passkey } from '../support/passkey.ts';

export interface Visit {
  readonly app: Hono;
  readonly origin: string;
  get(path: string, cookie?: string, headers?: Record<string, string>): Promise<Response>;
  post(path: string, body: unknown, cookie?: string, headers?: Record<string, string>): Promise<Response>;
  /** The body of a sign-in for a nonce. */
  signInBody(key: Passkey, nonce: string, bent?: Bent & { statementOrigin?: string; at?: string }): object;
  /** Signs in; the cookie. */
  signIn(key: Passkey): Promise<string>;
}

export function visit(deps: GatewayDeps): Visit {
  const app = makeApp(deps);
  const origin = deps.passkeys.origins[0] ?? '';
  const { host } = new URL(origin);
  const ask = (path: string, init: RequestInit) => Promise.resolve(app.request(`${origin}${path}`, init));
  const cookieOf = (cookie: string | undefined): Record<string, string> => (cookie === undefined ? {} : { cookie });
  const get: Visit['get'] = (path, cookie, headers = {}) =>
    ask(path, { headers: { host, ...cookieOf(cookie), ...headers } });
  const post: Visit['post'] = (path, body, cookie, headers = {}) =>
    ask(path, {
      method: 'POST',
      headers: { host, origin, 'content-type': 'application/json', ...cookieOf(cookie), ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  const signInBody: Visit['signInBody'] = (key, nonce, bent = {}) => {
    const statement = signInStatement(bent.statementOrigin ?? origin, nonce, bent.at ?? new Date().toISOString());
    const pae = preAuthEncoding(SESSION_PAYLOAD_TYPE, statement);
    const { assertion, sig } = assertionOf(pae, key, { origin, ...bent });
    return {
      statement: toBase64(statement),
      credentialId: toBase64(key.credentialId),
      authenticatorData: toBase64(assertion.authenticatorData),
      clientDataJSON: toBase64(assertion.clientDataJSON),
      signature: toBase64(sig),
    };
  };
  return {
    app,
    origin,
    get,
    post,
    signInBody,
    async signIn(key) {
      const { nonce } = (await (await get('/api/sign-in')).json()) as { nonce: string };
      const response = await post('/api/sign-in', signInBody(key, nonce));
      if (response.status !== 200) throw new Error(await response.text());
      return (response.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
    },
  };
}
