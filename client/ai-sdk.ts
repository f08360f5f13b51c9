/**
 * `actguard/ai-sdk`: the AI SDK under ActGuard's guards. Model calls are metered against the session's budget while
 * their text streams to you; tools run in ActGuard's worker, under every guard they have.
 *
 * @example
 * import { generateText, isStepCount } from 'ai';
 * import { openSession } from 'actguard/ai-sdk';
 *
 * await using session = await openSession({ id: 'ticket-881', agent: support, user: 'alice', tenant: 'acme' });
 * const { text } = await generateText({
 *   model: session.model('openai/gpt-5-mini'), tools: session.tools(), stopWhen: isStepCount(10), prompt,
 * });
 */
import type { LanguageModelV4 } from '@ai-sdk/provider';
import { jsonSchema, type ToolSet } from 'ai';
import type { ProviderOptions, Tool } from '../define/types.ts';
import type { CallResult, Usage } from '../governance/call.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import { BudgetGuard } from './budget-guard.ts';
import { connect, type ActGuard } from './client.ts';
import type { Session, SessionOptions } from './session.ts';

export { fromAiSdk, type FromAiSdkOptions } from './ai-sdk-tool.ts';
export { BudgetExceededError } from './budget-guard.ts';

const URLS: { readonly [kind: string]: string } = {
  openai: 'https://api.openai.com/v1',
  anthropic: 'https://api.anthropic.com/v1',
};
const LONGEST_POLL_MS = 10_000;

/** How a session is used by the AI SDK. */
export interface AiSdkOptions {
  /**
   * Providers of your own, as in the configuration. `openai` and `anthropic` are known, at OPENAI_BASE_URL and
   * ANTHROPIC_BASE_URL where these are set. Keys come from the environment.
   */
  readonly providers?: { readonly [name: string]: ProviderOptions };
  /** Output cap of a model call that has none; default 4,096. */
  readonly maxOutputTokens?: number;
}

/** How tools answer. */
export interface AiToolsOptions {
  /** Wait until people have answered. Default: the model is told that somebody is asked, and goes on. */
  readonly waitForPeople?: boolean;
}

/** Opens the AI SDK's doors of a session. The session stays what it was, for calls of your own. */
export function aiSdk(session: Session, options: AiSdkOptions = {}): AiSdkSession {
  return new AiSdkSession(session, options);
}

let shared: { readonly actguard: Promise<ActGuard>; sessions: number } | null = null;

/**
 * Connects (once for a process) and opens a session for the AI SDK: `aiSdk(await actguard.session(options))`. `close`
 * ends the session, and the connection with the last one.
 *
 * @throws BACKEND_UNAVAILABLE, CONFLICT, ARGUMENTS_INVALID
 */
export async function openSession(options: SessionOptions & AiSdkOptions): Promise<AiSdkSession> {
  const { providers, maxOutputTokens, ...session } = options;
  const connection = (shared ??= { actguard: connect(), sessions: 0 });
  connection.sessions += 1;
  const leave = async (): Promise<void> => {
    connection.sessions -= 1;
    if (connection.sessions > 0) return;
    if (shared === connection) shared = null;
    await connection.actguard.then(
      (actguard) => actguard.close(),
      () => undefined,
    );
  };
  try {
    const opened = await (await connection.actguard).session(session);
    const read = { ...(providers ? { providers } : {}), ...(maxOutputTokens ? { maxOutputTokens } : {}) };
    return new AiSdkSession(opened, read, leave);
  } catch (error) {
    await leave();
    throw error;
  }
}

/** A session for `generateText`, `streamText` and the like; made by {@link aiSdk}. */
export class AiSdkSession implements AsyncDisposable {
  readonly session: Session;
  /** For a provider that you make yourself, of any version of the AI SDK: `createOpenAI({ fetch: session.fetch })`. */
  readonly fetch: typeof globalThis.fetch;
  readonly #guard: BudgetGuard;
  readonly #providers: { readonly [name: string]: ProviderOptions };

  readonly #onClose: () => Promise<void>;

  /** @internal */
  constructor(session: Session, options: AiSdkOptions, onClose: () => Promise<void> = () => Promise.resolve()) {
    this.session = session;
    this.#onClose = onClose;
    this.#providers = { openai: { kind: 'openai' }, anthropic: { kind: 'anthropic' }, ...options.providers };
    const named = Object.entries(this.#providers).map(([name, provider]) => [originOf(name, provider), name] as const);
    const { maxOutputTokens } = options;
    this.#guard = new BudgetGuard(session, {
      providers: Object.fromEntries(named),
      ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
    });
    this.fetch = this.#guard.fetch;
  }

  /**
   * A metered model: `provider/name`. Its calls throw BudgetExceededError where the budget does not suffice.
   *
   * @throws CONFIG_INVALID for a provider that is not known; CREDENTIAL_MISSING, at the first call, without its key
   */
  model(name: string): LanguageModelV4 {
    const slash = name.indexOf('/');
    const [provider, id] = [name.slice(0, Math.max(0, slash)), name.slice(slash + 1)];
    const known = Object.hasOwn(this.#providers, provider) ? this.#providers[provider] : undefined;
    if (!known || id === '') {
      throw new ActGuardError('CONFIG_INVALID', `no provider is known for model \`${name}\``, {
        hint: 'write openai/<model> or anthropic/<model>, or name the provider under `providers`',
      });
    }
    let opened: Promise<LanguageModelV4> | undefined;
    // the provider's package is loaded when it is used, and not by those who only have tools
    const open = (): Promise<LanguageModelV4> => (opened ??= openModel(provider, id, known, this.fetch));
    return {
      specificationVersion: 'v4',
      provider,
      modelId: id,
      supportedUrls: {},
      doGenerate: async (call) => (await open()).doGenerate(call),
      doStream: async (call) => (await open()).doStream(call),
    };
  }

  /**
   * The agent's tools, or these: each call goes through its guards. What is refused, failed or asked of a person is an
   * answer that the model reads, never a thrown error (P9).
   *
   * @throws CONFIG_INVALID when the session was opened with an agent's name and no tools are given
   */
  tools(tools: readonly Tool[] | undefined = this.session.agent?.tools, options: AiToolsOptions = {}): ToolSet {
    if (!tools) {
      throw new ActGuardError('CONFIG_INVALID', 'the tools of an agent that was named are not known here', {
        hint: 'open the session with the agent itself, or give the tools: session.tools([findOrder, refund])',
      });
    }
    return Object.fromEntries(
      tools.map((tool) => [
        tool.manifest.modelName,
        {
          description: tool.manifest.description,
          inputSchema: jsonSchema(tool.manifest.inputJsonSchema as Parameters<typeof jsonSchema>[0]),
          execute: (args: unknown, { abortSignal }: { abortSignal?: AbortSignal }) =>
            this.#run(tool, args, options.waitForPeople ?? false, abortSignal),
        },
      ]),
    );
  }

  /** What the session has used: dollars, tokens, calls. */
  usage(): Promise<Usage> {
    return this.session.usage();
  }

  /** Waits for what is being settled and ends the session. */
  async close(): Promise<void> {
    await this.#guard.close();
    await this.#onClose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(tool: Tool, args: unknown, waitForPeople: boolean, signal?: AbortSignal): Promise<Json> {
    let result = await this.session.call(tool, args);
    const { callId } = result;
    const waits = (): boolean => result.kind === 'pending' && (waitForPeople || result.approvalId === undefined);
    for (let pauseMs = 250; waits(); pauseMs = Math.min(pauseMs * 1.5, LONGEST_POLL_MS)) {
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      signal?.throwIfAborted();
      result = await this.session.outcome(callId);
    }
    return shown(result);
  }
}

/** A result as a model reads it: the same shapes that `agentRun` shows. */
function shown(result: CallResult): Json {
  switch (result.kind) {
    case 'done':
      return result.output;
    case 'denied':
      return { error: { ...result.denial } };
    case 'pending': {
      const hint = 'tell the user that somebody was asked; do not call it again';
      const reason = 'a person has to say yes first';
      return { pending: { reason, hint, callId: result.callId, approvalId: result.approvalId ?? null } };
    }
    case 'failed': {
      const hint = 'decide whether to try something else or to tell the user';
      return { error: { code: result.error.code, reason: result.error.message, hint } };
    }
    case 'unknown': {
      const reason = 'nobody knows whether this happened';
      return { error: { code: 'OUTCOME_UNKNOWN', reason, hint: 'do not try it again' } };
    }
    default:
      return result satisfies never;
  }
}

function baseUrlOf(name: string, { kind, baseUrl }: ProviderOptions): string {
  const url = baseUrl ?? process.env[`${kind.toUpperCase()}_BASE_URL`] ?? URLS[kind];
  if (url !== undefined && URL.canParse(url)) return url;
  throw new ActGuardError('CONFIG_INVALID', `provider \`${name}\` has no address`, { hint: 'give it a baseUrl' });
}

function originOf(name: string, provider: ProviderOptions): string {
  return new URL(baseUrlOf(name, provider)).origin;
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
