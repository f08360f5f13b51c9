/**
 * HashiCorp Vault and OpenBao over HTTP: KV version 2, signed in by AppRole. The token is renewed when two thirds of its
 * lease are over, and made again when it cannot be renewed or was taken away in the middle.
 */
import type { SecretFrom, SecretOwner } from '../define/secret-types.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { SecretOrigin } from './secret-cache.ts';
import { askSource, away, type SourceAnswer } from './secret-http.ts';

type VaultOptions = Extract<SecretFrom, { kind: 'vault' }>;

/** What AppRole signs in with: read from the environment when the worker started. */
export interface AppRole {
  readonly roleId: string | undefined;
  readonly secretId: string | undefined;
}

interface Token {
  readonly value: string;
  readonly renewable: boolean;
  /** Monotonic ms. */
  readonly renewAt: number;
  readonly endsAt: number;
}

const WHAT = 'Vault';

/** The field `value` of `<mount>/<prefix><name>`; of tenants and users below `tenants/<tenant>/` and `users/<user>/`. */
export function vaultSecrets(
  options: VaultOptions,
  role: AppRole,
  now: () => number = () => performance.now(),
): SecretOrigin {
  let token: Promise<Token> | undefined;
  let renewing: Promise<Token> | undefined;
  const call = (path: string, method: string, body: object | null, bearer: string | null): Promise<SourceAnswer> =>
    askSource(WHAT, `${options.address}/v1/${path}`, {
      method,
      headers: {
        'x-vault-request': 'true',
        ...(bearer === null ? {} : { 'x-vault-token': bearer }),
        ...(options.namespace === null ? {} : { 'x-vault-namespace': options.namespace }),
        ...(body === null ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === null ? {} : { body: JSON.stringify(body) }),
    });
  const signIn = async (): Promise<Token> => {
    if (!role.roleId || !role.secretId) {
      throw refused(`${options.roleIdEnv} or ${options.secretIdEnv} is not set`);
    }
    const credentials = { role_id: role.roleId, secret_id: role.secretId };
    const { status, body } = await call(`auth/${options.auth}/login`, 'POST', credentials, null);
    if (status !== 200) throw refused(`AppRole login answered ${status}`);
    return tokenOf(body, now(), options.address);
  };
  const current = async (): Promise<Token> => {
    const held = token && (await token);
    if (held && now() < held.renewAt) return held;
    if (held?.renewable && now() < held.endsAt) {
      const { status, body } = await call('auth/token/renew-self', 'POST', {}, held.value);
      if (status === 200) return tokenOf(body, now(), options.address);
    }
    return signIn();
  };
  const bearer = async (): Promise<Token> => {
    const held = await token?.catch(() => undefined);
    if (held && now() < held.renewAt) return held;
    // callers that come together renew once
    const mine = (renewing ??= current().finally(() => (renewing = undefined)));
    token = mine;
    mine.catch(() => (token = undefined));
    return mine;
  };
  const read = async (path: string): Promise<SourceAnswer> => {
    const first = await bearer();
    const answer = await call(path, 'GET', null, first.value);
    if (answer.status !== 403) return answer;
    // the lease may have ended early, or the token was revoked: once more with a new one
    token = undefined;
    return call(path, 'GET', null, (await bearer()).value);
  };
  return {
    async find(name, _env, owner) {
      const place = placeOf(name, owner);
      const { status, body } = await read(`${options.mount}/data/${options.prefix}${place}`);
      if (status === 404) return undefined;
      if (status !== 200) throw refused(`reading \`${name}\` answered ${status}`);
      const value = valueOf(body);
      if (value === undefined) throw refused(`\`${name}\` has no text in its field \`value\``);
      return { value };
    },
  };
}

/** Where a secret lies below the mount. Ids of tenants and users are one segment each, whatever they contain. */
function placeOf(name: string, { tenant, user }: SecretOwner): string {
  const segments = [
    ...(tenant === undefined ? [] : ['tenants', tenant]),
    ...(user === undefined ? [] : ['users', user]),
    ...name.split('/'),
  ];
  if (segments.some((segment) => segment === '' || segment === '.' || segment === '..')) {
    throw refused(`\`${name}\` has no place for this tenant or user`);
  }
  return segments.map(encodeURIComponent).join('/');
}

function tokenOf(body: SourceAnswer['body'], nowMs: number, address: string): Token {
  const auth = body?.['auth'] as { client_token?: unknown; lease_duration?: unknown; renewable?: unknown } | null;
  const seconds = auth?.lease_duration;
  if (typeof auth?.client_token !== 'string' || typeof seconds !== 'number' || !(seconds >= 0)) {
    throw away(WHAT, address, 'the answer to a login is not understood');
  }
  const leaseMs = seconds === 0 ? Infinity : seconds * 1000; // 0: a token that does not expire
  return {
    value: auth.client_token,
    renewable: auth.renewable === true,
    renewAt: nowMs + (leaseMs * 2) / 3,
    endsAt: nowMs + leaseMs,
  };
}

function valueOf(body: SourceAnswer['body']): string | undefined {
  const data = (body?.['data'] as { data?: { value?: unknown } | null } | null)?.data;
  return typeof data?.value === 'string' ? data.value : undefined;
}

function refused(why: string): ActGuardError {
  return new ActGuardError('CREDENTIAL_MISSING', `Vault gives no secret: ${why}`, {
    hint: 'check the role and the policy of this worker in Vault',
    details: { names: [] },
  });
}
