/** The AI SDK's doors of a session: metered models, governed tools. */
import type { LanguageModelV4 } from '@ai-sdk/provider';
import type { ToolSet } from 'ai';
import type { ProviderOptions, Tool } from '../define/types.ts';
import type { SessionUsage } from '../governance/call.ts';
import { offerOf } from '../governance/tool.ts';
import { meteredModel, originsOf, withKnown, type Providers } from './ai-sdk-model.ts';
import { aiTools, type AiToolsOptions } from './ai-sdk-tools.ts';
import { BudgetGuard } from './budget-guard.ts';
import { parseMaxima, type WrittenMaximum } from './model-request.ts';
import type { Session } from './session.ts';

/** How a session is used by the AI SDK. */
export interface AiSdkOptions {
  /**
   * Providers of your own, as in the configuration. `openai` and `anthropic` are known, at OPENAI_BASE_URL and
   * ANTHROPIC_BASE_URL where these are set. Keys come from the environment.
   */
  readonly providers?: { readonly [name: string]: ProviderOptions };
  /** Output cap of a model call that has none; default 4,096. */
  readonly maxOutputTokens?: number;
  /** The most of images, files and the provider's own tools, as in `budgetGuard`; what is not declared is refused. */
  readonly maxima?: { readonly [what: string]: WrittenMaximum };
}

/** A session for `generateText`, `streamText` and the like; made by `aiSdk` and `openSession`. */
export class AiSdkSession implements AsyncDisposable {
  readonly session: Session;
  /** For a provider that you make yourself, of any version of the AI SDK: `createOpenAI({ fetch: session.fetch })`. */
  readonly fetch: typeof globalThis.fetch;
  readonly #guard: BudgetGuard;
  readonly #providers: Providers;
  readonly #onClose: () => Promise<void>;

  /** @internal */
  constructor(session: Session, options: AiSdkOptions, onClose: () => Promise<void> = () => Promise.resolve()) {
    this.session = session;
    this.#onClose = onClose;
    this.#providers = withKnown(options.providers);
    const { maxOutputTokens, maxima } = options;
    this.#guard = new BudgetGuard(session, {
      providers: originsOf(this.#providers),
      ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
      ...(maxima === undefined ? {} : { maxima: parseMaxima(maxima) }),
    });
    this.fetch = this.#guard.fetch;
  }

  /**
   * A metered model: `provider/name`. Its calls throw BudgetExceededError where the budget does not suffice.
   *
   * @throws CONFIG_INVALID for a provider that is not known; CREDENTIAL_MISSING, at the first call, without its key
   */
  model(name: string): LanguageModelV4 {
    return meteredModel(name, this.#providers, this.fetch);
  }

  /**
   * The agent's tools, or these: each call goes through its guards. What is refused, failed or asked of a person is an
   * answer that the model reads, never a thrown error (P9).
   *
   * @throws NOT_FOUND, BACKEND_UNAVAILABLE where no worker could say which tools a named agent has
   */
  tools(tools?: readonly Tool[], options: AiToolsOptions = {}): ToolSet {
    const offered = tools ? tools.map((tool) => offerOf(tool.manifest)) : this.session.offered();
    return aiTools(this.session, offered, options);
  }

  /** What the session has used: dollars, tokens, calls. */
  usage(): Promise<SessionUsage> {
    return this.session.usage();
  }

  /** Waits until what was used is settled. @internal */
  settled(): Promise<void> {
    return this.#guard.settled();
  }

  /** Waits for what is being settled and ends the session. */
  async close(): Promise<void> {
    await this.#guard.close();
    await this.#onClose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
