/** A provider's model behind a metered `fetch`. The provider's package is loaded when it is used. */
import type { LanguageModelV4 } from '@ai-sdk/provider';
import type { ProviderOptions } from '../define/types.ts';
import { quote } from '../governance/denial.ts';
import { ActGuardError } from '../governance/errors.ts';

/** Providers by the name before a model's slash. */
export type Providers = { readonly [name: string]: ProviderOptions };

const KNOWN: Providers = { openai: { kind: 'openai' }, anthropic: { kind: 'anthropic' } };
const URLS: { readonly [kind: string]: string } = {
  openai: 'https://api.openai.com/v1',
  anthropic: 'https://api.anthropic.com/v1',
};

/** The caller's own providers beside those that are known by themselves. */
export function withKnown(own: Providers | undefined): Providers {
  return { ...KNOWN, ...own };
}

/** Their names by origin, for metering. @throws CONFIG_INVALID for one without an address */
export function originsOf(providers: Providers): { readonly [origin: string]: string } {
  return Object.fromEntries(
    Object.entries(providers).map(([name, provider]) => [new URL(baseUrlOf(name, provider)).origin, name]),
  );
}

/** `provider/name`, opened at its first call. @throws CONFIG_INVALID for a provider that is not known */
export function meteredModel(name: string, providers: Providers, fetch: typeof globalThis.fetch): LanguageModelV4 {
  const slash = String(name).indexOf('/');
  const [provider, id] = [String(name).slice(0, Math.max(0, slash)), String(name).slice(slash + 1)];
  const known = Object.hasOwn(providers, provider) ? providers[provider] : undefined;
  if (!known || id === '') {
    throw new ActGuardError('CONFIG_INVALID', `no provider is known for model ${quote(String(name))}`, {
      hint: 'write openai/<model> or anthropic/<model>, or name the provider under `providers`',
    });
  }
  let opened: Promise<LanguageModelV4> | undefined;
  const open = (): Promise<LanguageModelV4> => (opened ??= openModel(provider, id, known, fetch));
  return {
    specificationVersion: 'v4',
    provider,
    modelId: id,
    supportedUrls: {},
    doGenerate: async (call) => (await open()).doGenerate(call),
    doStream: async (call) => (await open()).doStream(call),
  };
}

function baseUrlOf(name: string, { kind, baseUrl }: ProviderOptions): string {
  const url = baseUrl ?? process.env[`${kind.toUpperCase()}_BASE_URL`] ?? URLS[kind];
  if (url !== undefined && URL.canParse(url)) return url;
  throw new ActGuardError('CONFIG_INVALID', `provider \`${name}\` has no address`, { hint: 'give it a baseUrl' });
}

/** Address and key are always given: the provider's package would look into the environment for them. */
async function openModel(
  name: string,
  id: string,
  provider: ProviderOptions,
  fetch: typeof globalThis.fetch,
): Promise<LanguageModelV4> {
  const variable = provider.apiKeyEnv ?? `${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}_API_KEY`;
  const apiKey = process.env[variable];
  if (apiKey === undefined || apiKey.trim() === '') {
    throw new ActGuardError('CREDENTIAL_MISSING', `no key for the models of \`${name}\``, {
      details: { names: [variable] },
      hint: `set ${variable}`,
    });
  }
  const baseURL = baseUrlOf(name, provider);
  switch (provider.kind) {
    case 'openai':
      // not the Responses API: it refers to what lies at the provider, whose tokens nobody here can count
      return (await import('@ai-sdk/openai')).createOpenAI({ baseURL, apiKey, fetch }).chat(id);
    case 'anthropic':
      return (await import('@ai-sdk/anthropic')).createAnthropic({ baseURL, apiKey, fetch })(id);
    case 'openai-compatible':
      return (await import('@ai-sdk/openai-compatible')).createOpenAICompatible({ name, baseURL, apiKey, fetch })(id);
    default:
      return provider.kind satisfies never;
  }
}
