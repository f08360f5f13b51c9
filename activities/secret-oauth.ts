/** Access tokens by OAuth 2.0 client credentials (RFC 6749, 4.4): made when they are needed, kept until shortly before their end. */
import type { SecretFrom } from '../define/secret-types.ts';
import { ActGuardError } from '../governance/errors.ts';
import { TOKEN_MARGIN_MS } from '../governance/limits.ts';
import type { SecretSource } from './deps.ts';
import type { SecretOrigin } from './secret-cache.ts';
import { askSource } from './secret-http.ts';
import { secretProblem, unfitSecrets } from './secret-problem.ts';
import type { SecretSet } from './scrub.ts';

type OauthOptions = Extract<SecretFrom, { kind: 'oauth' }>;

/** @param others gives the client's secret; @param known learns it, so that it is scrubbed like every other */
export function oauthSecrets(options: OauthOptions, others: SecretSource, known: SecretSet): SecretOrigin {
  return {
    async find(name, _env, owner) {
      if (name !== options.name || owner.tenant !== undefined) return undefined;
      const env = options.clientSecret.toUpperCase().replace(/[^A-Z0-9]/g, '_');
      const secret = await others.read(options.clientSecret, env);
      if (secret === undefined)
        throw refused(options, `the secret \`${options.clientSecret}\` of its client is missing`);
      const problem = secretProblem(secret);
      if (problem !== null) throw unfitSecrets([{ name: options.clientSecret, problem }]);
      known.add(secret);
      const { status, body } = await askSource('the token endpoint', options.tokenUrl, request(options, secret));
      const token = body?.['access_token'];
      const type = body?.['token_type'];
      if (status !== 200 || typeof token !== 'string' || token === '') throw refused(options, `status ${status}`);
      if (typeof type === 'string' && type.toLowerCase() !== 'bearer') throw refused(options, 'no bearer token');
      const seconds = body?.['expires_in'];
      if (typeof seconds !== 'number') return { value: token };
      return { value: token, goodForMs: Math.max(0, seconds * 1000 - TOKEN_MARGIN_MS) };
    },
  };
}

function request({ clientId, scope, auth }: OauthOptions, secret: string): RequestInit {
  const form = new URLSearchParams({ grant_type: 'client_credentials', ...(scope === null ? {} : { scope }) });
  const headers: { [name: string]: string } = { accept: 'application/json' };
  if (auth === 'body') {
    form.set('client_id', clientId);
    form.set('client_secret', secret);
  } else {
    // RFC 6749, 2.3.1: both are form-encoded before they are joined
    const pair = [clientId, secret].map((text) => new URLSearchParams({ x: text }).toString().slice(2)).join(':');
    headers['authorization'] = `Basic ${Buffer.from(pair).toString('base64')}`;
  }
  return { method: 'POST', headers, body: form };
}

function refused(options: OauthOptions, why: string): ActGuardError {
  return new ActGuardError('CREDENTIAL_MISSING', `no token for \`${options.name}\`: ${why}`, {
    hint: 'check the client, its secret and its scope at the token endpoint',
    details: { names: [options.name] },
  });
}
