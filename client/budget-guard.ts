/** `budgetGuard`: a budget around the model calls of code that stays as it is. Underneath it is a session without tools. */
import type { WrittenLimit } from '../governance/budget.ts';
import type { Usage } from '../governance/call.ts';
import { BudgetExceededError } from '../governance/budget-exceeded.ts';
import { meteredFetch } from './metered-fetch.ts';
import { DEFAULT_READ, type ReadOptions, type WrittenMaximum } from './model-request.ts';
import type { Session } from './session.ts';

/** Options of `actguard.budgetGuard`. */
export interface BudgetGuardOptions {
  readonly user: string;
  /** Dollars, tokens, calls, any mix; at most what the configuration allows a run. */
  readonly budget: WrittenLimit;
  /** Default `default`. */
  readonly tenant?: string;
  /** An agent of the configuration; default: one that is built in and has no tools. */
  readonly agent?: string;
  /** Your own id: the same id and parameters share one budget, over processes and restarts. Default: a new one. */
  readonly id?: string;
  /** How long the budget may be spent: `'1h'`, or milliseconds. */
  readonly deadline?: number | string;
  /** Providers at addresses of their own, by origin: `{ 'http://127.0.0.1:4000': 'openai' }`. */
  readonly providers?: { readonly [origin: string]: string };
  /** Output cap of a request that has none; default 4,096. */
  readonly maxOutputTokens?: number;
  /**
   * The most of what a request's bytes do not show, by the type of the part or tool, or the name of the field: each is
   * reserved as often as it stands in a request; its dollars are due whole. What is not declared is refused.
   * `{ image_url: { tokens: 1_500 }, web_search: { usd: 0.05, tokens: 20_000 } }`
   */
  readonly maxima?: { readonly [what: string]: WrittenMaximum };
}

/** A budget; made by `actguard.budgetGuard`. */
export class BudgetGuard implements AsyncDisposable {
  /** The session behind it: `reserve`, `settle`, `usage` from the workflow. */
  readonly session: Session;
  /** Give it to a provider's client: `new OpenAI({ fetch: guard.fetch })`. */
  readonly fetch: typeof globalThis.fetch;
  readonly #pending = new Set<Promise<unknown>>();
  #usage: Usage = { usd: 0, usdMicros: 0, tokens: 0, calls: 0 };

  /** @internal */
  constructor(session: Session, read: Partial<ReadOptions> = {}, usage?: Usage) {
    this.session = session;
    if (usage) this.#usage = usage;
    this.fetch = meteredFetch({
      ...DEFAULT_READ,
      ...read,
      session,
      pending: this.#pending,
      onUsage: (used) => {
        // settlements may be answered out of order; what is spent only grows
        if (used.calls >= this.#usage.calls) this.#usage = used;
      },
      refused: (denied) => (denied.code === 'BUDGET_EXCEEDED' ? new BudgetExceededError(denied, this.usage) : denied),
    });
  }

  /** What was used, as of the last answer. */
  get usage(): Usage {
    return this.#usage;
  }

  /** Waits for what is being settled. @internal */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#pending]);
  }

  /** Waits for what is still being settled, then ends the session: no model call after this. */
  async close(): Promise<void> {
    await this.settled();
    await this.session.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
