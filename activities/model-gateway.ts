/**
 * One model call over the AI SDK: one step, tools without code, the SDK's own retries off. Keys are read at the moment
 * of use; a replay has its own address for every model and reads none.
 */
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, streamText, type LanguageModel } from 'ai';
import type { Config, ProviderOptions } from '../define/types.ts';
import { ActGuardError, isActGuardError } from '../governance/errors.ts';
import type { ModelGateway, ModelRequest, ModelResponse, SecretSource } from './deps.ts';
import { modelFetch, newTraffic, type ModelTraffic } from './model-fetch.ts';
import { readText, readToolCalls, readUsage, toModelMessages, toToolSet } from './model-messages.ts';
import { SecretSet } from './scrub.ts';
import { secretProblem, unfitSecrets } from './secret-problem.ts';

/** Stands for the output cap while measuring: as many digits as a cap has at most. */
const WIDEST_OUTPUT_TOKENS = 99_999_999;
const DEFAULT_URLS = { openai: 'https://api.openai.com/v1', anthropic: 'https://api.anthropic.com/v1' };
const REPLAY_KEY = 'replayed-no-key';

export interface ModelGatewayOptions {
  readonly config: Pick<Config, 'providers'>;
  /** Where keys come from; asked once a call. */
  readonly secrets: SecretSource;
  /** Every model is answered from here (OpenAI-compatible); no key is read. */
  readonly replay?: { readonly baseUrl: string };
  /** The worker's scrub set: keys join it. */
  readonly known?: SecretSet;
}

/**
 * Why a model call has no answer. `status` and `code` are the original's, for classification; the message is scrubbed
 * of the key; nothing of the request, its headers or its answer is kept.
 */
export class ModelError extends Error {
  override readonly name = 'ModelError';
  readonly status: number | undefined;
  readonly code: string | undefined;
  /** The original's name. */
  readonly original: string;
  /** `none`: nothing left the machine; `refused`: the provider said no and bills nothing; `unknown`: it may bill. */
  readonly billed: 'none' | 'refused' | 'unknown';
  /** The request's bytes where it was larger than reserved. */
  readonly tooLargeBytes: number | null;

  constructor(message: string, more: Pick<ModelError, 'status' | 'code' | 'original' | 'billed' | 'tooLargeBytes'>) {
    super(message);
    this.status = more.status;
    this.code = more.code;
    this.original = more.original;
    this.billed = more.billed;
    this.tooLargeBytes = more.tooLargeBytes;
  }
}

/**
 * Makes the gateway. `generate` throws ActGuardError CREDENTIAL_MISSING or CONFIG_INVALID before anything is sent, and
 * {@link ModelError} for everything else.
 */
export function createModelGateway(options: ModelGatewayOptions): ModelGateway {
  // the SDK prints its warnings to the console, prompts included
  (globalThis as { AI_SDK_LOG_WARNINGS?: boolean }).AI_SDK_LOG_WARNINGS ??= false;
  const known = options.known ?? new SecretSet();
  return {
    async generate(request) {
      const traffic = newTraffic();
      try {
        const { onText, maxPromptBytes } = request;
        const fetch = modelFetch(traffic, maxPromptBytes, onText !== undefined);
        const model = await openModel(options, known, request.model, fetch);
        const result = onText
          ? await readAlong(model, request, onText)
          : await generateText(asked(model, request, request.maxOutputTokens, request.signal));
        const toolCalls = readToolCalls(result.toolCalls);
        const text = readText(result.text);
        return {
          text,
          toolCalls,
          usage: readUsage(result.usage, text !== '' || toolCalls.length > 0),
        } satisfies ModelResponse;
      } catch (error) {
        throw isActGuardError(error) ? error : modelError(error, traffic, known);
      }
    },
    async measure(request) {
      const traffic = newTraffic();
      const model = buildModel(providerOf(options, request.model), REPLAY_KEY, modelFetch(traffic, null));
      try {
        await generateText(asked(model, request, WIDEST_OUTPUT_TOKENS));
      } catch (error) {
        if (traffic.refused !== 'measured') throw error;
      }
      return { bytes: traffic.bytes, messages: request.messages.length + 1 };
    },
  };
}

type Asked = Omit<ModelRequest, 'maxOutputTokens' | 'signal' | 'maxPromptBytes'>;

/** The same call, streamed: its text is told as it comes. An answer that is cut off is a failure, as it is unstreamed. */
async function readAlong(model: LanguageModel, request: ModelRequest, onText: (more: string) => void) {
  const given = asked(model, request, request.maxOutputTokens, request.signal);
  const result = streamText({ ...given, onError: () => undefined });
  for await (const part of result.fullStream) {
    if (part.type === 'text-delta') onText(part.text);
    if (part.type === 'error') throw part.error;
    if (part.type === 'abort') throw request.signal.reason;
  }
  if ((await result.rawFinishReason) === undefined) throw new Error('the answer ended before it was finished');
  return { text: await result.text, toolCalls: await result.toolCalls, usage: await result.usage };
}

function asked(model: LanguageModel, request: Asked, maxOutputTokens: number, signal?: AbortSignal) {
  return {
    model,
    maxRetries: 0,
    maxOutputTokens,
    messages: toModelMessages(request.messages),
    telemetry: { isEnabled: false },
    ...(request.instructions === '' ? {} : { instructions: request.instructions }),
    ...(request.tools.length === 0 ? {} : { tools: toToolSet(request.tools) }),
    ...(signal ? { abortSignal: signal } : {}),
  };
}

interface Provider {
  readonly name: string;
  readonly model: string;
  readonly kind: ProviderOptions['kind'];
  readonly baseUrl: string;
  readonly keyEnv: string;
  /** A model on this machine: its key may be a word that says nothing. */
  readonly local: boolean;
  /** It may need no key. */
  readonly keyOptional: boolean;
}

/** `provider/name`, by the config's own providers first. @throws CONFIG_INVALID */
function providerOf(options: ModelGatewayOptions, model: string): Provider {
  const slash = model.indexOf('/');
  const name = model.slice(0, Math.max(0, slash));
  const own = Object.hasOwn(options.config.providers, name) ? options.config.providers[name] : undefined;
  const kind = own?.kind ?? (name === 'openai' || name === 'anthropic' ? name : undefined);
  const rest = model.slice(slash + 1);
  if (kind === undefined || rest === '') {
    throw new ActGuardError('CONFIG_INVALID', `no provider is known for model \`${model}\``, {
      hint: 'write openai/<model> or anthropic/<model>, or name the provider under `providers`',
    });
  }
  if (options.replay) {
    return {
      name,
      model: rest,
      kind: 'openai',
      baseUrl: options.replay.baseUrl,
      keyEnv: '',
      local: true,
      keyOptional: true,
    };
  }
  const baseUrl = own?.baseUrl ?? (kind === 'openai-compatible' ? undefined : DEFAULT_URLS[kind]);
  const url = baseUrl !== undefined && URL.canParse(baseUrl) ? new URL(baseUrl) : null;
  const loopback = url !== null && /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  if (!url || baseUrl === undefined || !(url.protocol === 'https:' || (url.protocol === 'http:' && loopback))) {
    throw new ActGuardError('CONFIG_INVALID', `provider \`${name}\` has no address that a key may be sent to`, {
      hint: 'give it a baseUrl: https, or http on loopback',
    });
  }
  const local = loopback && kind === 'openai-compatible';
  return {
    name,
    model: rest,
    kind,
    baseUrl,
    local,
    keyEnv: own?.apiKeyEnv ?? `${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}_API_KEY`,
    keyOptional: local && own?.apiKeyEnv === undefined,
  };
}

async function openModel(
  options: ModelGatewayOptions,
  known: SecretSet,
  model: string,
  fetch: typeof globalThis.fetch,
): Promise<LanguageModel> {
  const provider = providerOf(options, model);
  if (options.replay) return buildModel(provider, REPLAY_KEY, fetch);
  const key = await options.secrets.read(`models/${provider.name}`, provider.keyEnv);
  if (key === undefined || key.trim() === '') {
    if (provider.keyOptional) return buildModel(provider, REPLAY_KEY, fetch);
    throw new ActGuardError('CREDENTIAL_MISSING', `no key for the models of \`${provider.name}\``, {
      details: { names: [provider.keyEnv] },
      hint: `set ${provider.keyEnv} for the worker, or run without --real-model`,
    });
  }
  const problem = secretProblem(key);
  if (problem === null) known.add(key);
  else if (!provider.local) throw unfitSecrets([{ name: provider.keyEnv, problem }]);
  return buildModel(provider, key, fetch);
}

/** Address and key are always given: the SDK would look into the environment for them. */
function buildModel(provider: Provider, apiKey: string, fetch: typeof globalThis.fetch): LanguageModel {
  const { baseUrl: baseURL, name, model } = provider;
  switch (provider.kind) {
    case 'openai':
      return createOpenAI({ baseURL, apiKey, fetch }).chat(model);
    case 'anthropic':
      return createAnthropic({ baseURL, apiKey, fetch })(model);
    case 'openai-compatible':
      return createOpenAICompatible({ name, baseURL, apiKey, fetch, includeUsage: true })(model);
    default:
      return provider.kind satisfies never;
  }
}

function modelError(error: unknown, traffic: ModelTraffic, known: SecretSet): ModelError {
  const chain: { name?: unknown; message?: unknown; code?: unknown }[] = [];
  for (let e: unknown = error; e instanceof Error && chain.length < 8; e = e.cause) chain.push(e);
  const code = chain.map((e) => e.code).find((c) => typeof c === 'string');
  const status = typeof traffic.sent === 'number' ? traffic.sent : undefined;
  const message = chain.map((e) => String(e.message)).filter((m, i, all) => m !== '' && all.indexOf(m) === i);
  const first = chain[0]?.name;
  return new ModelError(known.text(message.join(': ').toWellFormed()).slice(0, 1_000) || 'the model call failed', {
    status: status !== undefined && status >= 300 ? status : undefined,
    code: typeof code === 'string' ? code : undefined,
    original: typeof first === 'string' ? first : 'Error',
    billed: billedOf(traffic),
    tooLargeBytes: traffic.refused === 'too-large' ? traffic.bytes : null,
  });
}

/** Refusals by status bill nothing; 408 and 499 say that the provider had begun. */
function billedOf(traffic: ModelTraffic): ModelError['billed'] {
  if (traffic.sent === 'none') return 'none';
  if (traffic.sent === 'asked') return 'unknown';
  const refused = traffic.sent >= 300 && traffic.sent < 500 && traffic.sent !== 408 && traffic.sent !== 499;
  return refused ? 'refused' : 'unknown';
}
