/** Where secrets come from, as a configuration says it: the first source that has one gives it. */
import { SECRET_CACHE_MS } from '../governance/limits.ts';
import { isOptions, quote } from './check.ts';
import type { Checks, Options } from './check.ts';
import type { SecretFrom, Secrets } from './secret-types.ts';

const KINDS = ['environment', 'file', 'vault', 'oauth'] as const;
const ENV = /^[A-Za-z_][A-Za-z0-9_]*$/;
const NAME = /^[a-z0-9][a-z0-9_.-]*(\/[a-z0-9_.-]+)*$/;

/** `secrets` of a configuration. Default: the environment alone, kept in memory for five minutes. */
export function checkSecrets(checks: Checks, value: unknown): Secrets {
  const given = checks.options('secrets', value, ['from', 'cacheFor']) ?? {};
  const cacheMs = checks.duration('secrets.cacheFor', given.cacheFor, SECRET_CACHE_MS);
  if (given.from === undefined) return { from: [{ kind: 'environment' }], cacheMs };
  if (!Array.isArray(given.from) || given.from.length === 0) {
    checks.add('secrets.from', `must be a list of sources, not ${quote(given.from)}`, "e.g. [{ kind: 'environment' }]");
    return { from: [], cacheMs };
  }
  return {
    from: (given.from as unknown[]).map((source, i) => checkSource(checks, `secrets.from.${i}`, source)),
    cacheMs,
  };
}

function checkSource(checks: Checks, field: string, value: unknown): SecretFrom {
  if (typeof value === 'function') return value as SecretFrom;
  if (!isOptions(value)) {
    checks.add(field, 'must be a source or a function', `a source has a kind: ${KINDS.join(', ')}`);
    return { kind: 'environment' };
  }
  const kind = checks.oneOf(`${field}.kind`, value.kind ?? null, 'environment', KINDS);
  switch (kind) {
    case 'environment':
      checks.unknownKeys(field, value, ['kind']);
      return { kind };
    case 'file':
      return checkFile(checks, field, value);
    case 'vault':
      return checkVault(checks, field, value);
    case 'oauth':
      return checkOauth(checks, field, value);
    default:
      return kind satisfies never;
  }
}

function checkFile(checks: Checks, field: string, value: Options): SecretFrom {
  checks.unknownKeys(field, value, ['kind', 'path', 'identityFile', 'identityEnv']);
  return {
    kind: 'file',
    path: text(checks, `${field}.path`, value.path ?? 'secrets.age'),
    identityFile: text(checks, `${field}.identityFile`, value.identityFile ?? '.actguard/age-identity'),
    identityEnv: env(checks, `${field}.identityEnv`, value.identityEnv ?? 'ACTGUARD_AGE_IDENTITY'),
  };
}

function checkVault(checks: Checks, field: string, value: Options): SecretFrom {
  checks.unknownKeys(field, value, [
    'kind',
    'address',
    'mount',
    'prefix',
    'auth',
    'namespace',
    'roleIdEnv',
    'secretIdEnv',
  ]);
  return {
    kind: 'vault',
    address: url(checks, `${field}.address`, value.address),
    mount: path(checks, `${field}.mount`, value.mount ?? 'secret'),
    prefix: value.prefix === undefined ? '' : `${path(checks, `${field}.prefix`, value.prefix)}/`,
    auth: path(checks, `${field}.auth`, value.auth ?? 'approle'),
    namespace: value.namespace === undefined ? null : path(checks, `${field}.namespace`, value.namespace),
    roleIdEnv: env(checks, `${field}.roleIdEnv`, value.roleIdEnv ?? 'VAULT_ROLE_ID'),
    secretIdEnv: env(checks, `${field}.secretIdEnv`, value.secretIdEnv ?? 'VAULT_SECRET_ID'),
  };
}

function checkOauth(checks: Checks, field: string, value: Options): SecretFrom {
  checks.unknownKeys(field, value, ['kind', 'name', 'tokenUrl', 'clientId', 'clientSecret', 'scope', 'auth']);
  const { name, clientSecret } = value;
  for (const [key, given] of Object.entries({ name, clientSecret })) {
    if (typeof given !== 'string' || !NAME.test(given)) {
      checks.add(`${field}.${key}`, 'must be the name of a secret, not the secret itself', 'e.g. crm/client-secret');
    }
  }
  return {
    kind: 'oauth',
    name: String(name),
    tokenUrl: url(checks, `${field}.tokenUrl`, value.tokenUrl),
    clientId: text(checks, `${field}.clientId`, value.clientId),
    clientSecret: String(clientSecret),
    scope: value.scope === undefined ? null : text(checks, `${field}.scope`, value.scope),
    auth: checks.oneOf(`${field}.auth`, value.auth, 'basic', ['basic', 'body']),
  };
}

function text(checks: Checks, field: string, value: unknown): string {
  if (typeof value === 'string' && value.trim() !== '' && !/\p{Cc}/u.test(value)) return value;
  checks.add(field, value === undefined ? 'is required' : `must be text, not ${quote(value)}`);
  return '';
}

function path(checks: Checks, field: string, value: unknown): string {
  if (typeof value === 'string' && /^[\w-][\w.-]*(\/[\w-][\w.-]*)*$/.test(value)) return value;
  checks.add(field, `${quote(value)} is not a path`, 'use letters, digits, _ . - and / between them');
  return '';
}

/** The value is not repeated: somebody may have put the secret itself there. */
function env(checks: Checks, field: string, value: unknown): string {
  if (typeof value === 'string' && ENV.test(value)) return value;
  checks.add(field, 'must be the name of an environment variable, not the value itself');
  return '';
}

/** https, or http on loopback; without user, query and fragment, where secrets hide. */
function url(checks: Checks, field: string, value: unknown): string {
  const parsed = typeof value === 'string' ? URL.parse(value) : null;
  const loopback = parsed !== null && /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(parsed.hostname);
  const fine = parsed?.protocol === 'https:' || (parsed?.protocol === 'http:' && loopback);
  if (!fine || !parsed || parsed.username || parsed.password || parsed.search || parsed.hash) {
    checks.add(field, 'must be an https address without user, query and fragment', 'http works on loopback only');
    return '';
  }
  return parsed.href.replace(/\/$/, '');
}
