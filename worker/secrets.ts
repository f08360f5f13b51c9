/** Secrets of a deployment: its sources as the configuration names them, and the names that leave the environment. */
import { resolve } from 'node:path';
import { environmentSecrets } from '../activities/credentials.ts';
import type { SecretSource } from '../activities/deps.ts';
import type { SecretSet } from '../activities/scrub.ts';
import { cachedSecrets, type SecretOrigin } from '../activities/secret-cache.ts';
import { secretProblem } from '../activities/secret-problem.ts';
import { fileSecrets, type SecretFilePlace } from '../activities/secret-file.ts';
import { functionSecrets } from '../activities/secret-function.ts';
import { oauthSecrets } from '../activities/secret-oauth.ts';
import { vaultSecrets } from '../activities/secret-vault.ts';
import type { SecretFrom } from '../define/secret-types.ts';
import type { Config } from '../define/types.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** The one source that activities ask. */
export function openSecrets(
  config: Pick<Config, 'secrets'>,
  directory: string,
  environment: Environment,
  known: SecretSet,
): SecretSource {
  const { from, cacheMs } = config.secrets;
  const origin = (source: SecretFrom): SecretOrigin => {
    if (typeof source === 'function') return functionSecrets(source);
    switch (source.kind) {
      case 'environment':
        return environmentSecrets(environment);
      case 'file':
        return fileSecrets(secretFilePlace(source, directory, environment));
      case 'vault':
        return vaultSecrets(source, {
          roleId: environment[source.roleIdEnv],
          secretId: environment[source.secretIdEnv],
        });
      case 'oauth': {
        const others = from.filter((s) => typeof s === 'function' || s.kind !== 'oauth').map(origin);
        return oauthSecrets(source, cachedSecrets(others, cacheMs), known);
      }
      default:
        return source satisfies never;
    }
  };
  // tokens first: no other source has a secret of that name on purpose
  const ordered = [...from].sort((a, b) => Number(isOauth(b)) - Number(isOauth(a)));
  return cachedSecrets(ordered.map(origin), cacheMs);
}

/** Where a secrets file lies; relative paths begin at the configuration. */
export function secretFilePlace(
  source: Extract<SecretFrom, { kind: 'file' }>,
  directory: string,
  environment: Environment,
): SecretFilePlace {
  return {
    path: resolve(directory, source.path),
    identityFile: resolve(directory, source.identityFile),
    identity: environment[source.identityEnv],
  };
}

/** Variables that hold a secret, a key, or an address with a password: gone once the worker has read them. */
export function secretVariables(config: Pick<Config, 'tools' | 'providers' | 'secrets'>): ReadonlySet<string> {
  const names = new Set<string>(ALWAYS);
  for (const tool of config.tools) for (const ref of Object.values(tool.code.credentials)) names.add(ref.env);
  for (const [name, provider] of Object.entries(config.providers)) {
    names.add(provider.apiKeyEnv ?? `${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}_API_KEY`);
  }
  for (const source of config.secrets.from) {
    if (typeof source === 'function') continue;
    if (source.kind === 'file') names.add(source.identityEnv);
    if (source.kind === 'vault') for (const name of [source.roleIdEnv, source.secretIdEnv]) names.add(name);
    if (source.kind === 'oauth') names.add(source.clientSecret.toUpperCase().replace(/[^A-Z0-9]/g, '_'));
  }
  return names;
}

/** Values of those variables: scrubbed from the start, whether anything has used them or not. Addresses without a password are none. */
export function secretsOfEnvironment(
  config: Pick<Config, 'tools' | 'providers' | 'secrets'>,
  environment: Environment,
): readonly string[] {
  return [...secretVariables(config)].flatMap((name) => {
    const value = environment[name];
    if (value === undefined || secretProblem(value) !== null) return [];
    const url = URL.parse(value);
    return url !== null && url.host !== '' && url.password === '' ? [] : [value];
  });
}

const ALWAYS = [
  'ACTGUARD_DATABASE_URL',
  'ACTGUARD_SMTP_URL',
  'ACTGUARD_PASSPHRASE',
  'ACTGUARD_AGE_IDENTITY',
  'ACTGUARD_SEALING_PASSPHRASE',
  'ACTGUARD_TOKEN',
  'ACTGUARD_CODEC_TOKEN',
  'DATABASE_URL',
  'SMTP_URL',
  'PGPASSWORD',
  'TEMPORAL_API_KEY',
  'TEMPORAL_TLS_CLIENT_KEY_DATA',
  'OPENAI_API_KEY',
  'ANTHROPIC_API_KEY',
  'VAULT_TOKEN',
  'VAULT_SECRET_ID',
];

function isOauth(source: SecretFrom): boolean {
  return typeof source !== 'function' && source.kind === 'oauth';
}
