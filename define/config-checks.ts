/** Checks that need the whole configuration: facts, breakers, providers. */
import { isOptions, quote } from './check.ts';
import type { Checks } from './check.ts';
import type { Agent, ProviderOptions, Tool } from './types.ts';

/** Providers that need no configuration. */
const BUILT_IN = ['openai', 'anthropic'];

/** D4: a fact kind that some tool requires and none proves can never be there. */
export function checkFactKinds(checks: Checks, tools: readonly Tool[]): void {
  const proved = new Set(tools.flatMap((tool) => tool.manifest.proves));
  for (const { name, manifest } of tools) {
    for (const [argument, kind] of Object.entries(manifest.requires)) {
      if (proved.has(kind)) continue;
      const fix = `add a tool with proves: { field: '${kind}' }`;
      checks.add(
        'tools',
        `${quote(name)} requires a fact ${quote(kind)} for ${quote(argument)}, but no tool proves it`,
        fix,
      );
    }
  }
}

/** CB4, D6: the name is the breaker, so its options must be the same wherever it is named. */
export function checkBreakerNames(checks: Checks, tools: readonly Tool[]): void {
  const byName = new Map<string, { tool: string; text: string }>();
  for (const { name, manifest } of tools) {
    const breaker = manifest.circuitBreaker;
    if (breaker === null) continue;
    const text = JSON.stringify([breaker.maxFails, breaker.resetTimeoutMs, breaker.failOn, breaker.ignoreOn]);
    const other = byName.get(breaker.name);
    if (other === undefined) byName.set(breaker.name, { tool: name, text });
    else if (other.text !== text) {
      const who = `${quote(other.tool)} and ${quote(name)}`;
      checks.add('tools', `${who} share the breaker ${quote(breaker.name)} with different options`, 'make them equal');
    }
  }
}

/** Where models are reached; every agent's provider must be known. */
export function checkProviders(
  checks: Checks,
  value: unknown,
  agents: readonly Agent[],
): { readonly [name: string]: ProviderOptions } {
  if (value !== undefined && !isOptions(value)) {
    checks.add('providers', `must be an object of providers by name, not ${quote(value)}`);
    return {};
  }
  const found: { [name: string]: ProviderOptions } = {};
  for (const [name, given] of Object.entries(value ?? {})) {
    const provider = checkProvider(checks, name, given);
    if (provider !== null) found[name] = provider;
  }
  const known = [...BUILT_IN, ...Object.keys(value ?? {})];
  for (const agent of agents) {
    const provider = agent.model?.split('/')[0];
    if (provider === undefined || known.includes(provider)) continue;
    const fix = `add it to providers; known are ${known.join(', ')}`;
    checks.add('agents', `the provider ${quote(provider)} of agent ${quote(agent.name)} is not configured`, fix);
  }
  return Object.freeze(found);
}

function checkProvider(checks: Checks, name: string, value: unknown): ProviderOptions | null {
  const field = `providers.${name}`;
  if (!/^[a-z0-9][a-z0-9_.-]*$/.test(name)) checks.add(field, `${quote(name)} is not the name of a provider`);
  const given = checks.options(field, value ?? null, ['kind', 'baseUrl', 'apiKeyEnv']);
  if (given === undefined) return null;
  const kinds = ['openai', 'anthropic', 'openai-compatible'] as const;
  const kind = checks.oneOf(`${field}.kind`, given.kind ?? null, 'openai-compatible', kinds);
  if (given.kind === 'openai-compatible' && given.baseUrl === undefined) {
    checks.add(`${field}.baseUrl`, 'is required for `openai-compatible`');
  }
  return {
    kind,
    ...(given.baseUrl === undefined ? {} : { baseUrl: checkUrl(checks, `${field}.baseUrl`, given.baseUrl) }),
    ...(given.apiKeyEnv === undefined ? {} : { apiKeyEnv: checkEnv(checks, `${field}.apiKeyEnv`, given.apiKeyEnv) }),
  };
}

/** A key in a URL would stand in logs: it is refused, and not repeated. */
function checkUrl(checks: Checks, field: string, value: unknown): string {
  const url = typeof value === 'string' ? URL.parse(value) : null;
  if (typeof value !== 'string' || url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    checks.add(field, 'must be an http or https address');
    return '';
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    checks.add(field, 'may not contain a user, a password, a query or a fragment', 'put the key into apiKeyEnv');
  }
  return value;
}

/** The value is not repeated: somebody may have put the key itself there. */
function checkEnv(checks: Checks, field: string, value: unknown): string {
  if (typeof value === 'string' && /^[A-Za-z_][A-Za-z0-9_]*$/.test(value)) return value;
  checks.add(field, 'must be the name of an environment variable, not the key itself');
  return '';
}
