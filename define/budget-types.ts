/** Budgets as an engineer writes them, and what they become. */
import type { AccountLimit, Window } from '../governance/account.ts';

/** A limit as written: dollars, tokens, calls, any mix. */
export interface LimitOptions {
  readonly usd?: number;
  readonly tokens?: number;
  readonly calls?: number;
}

/** A limit that several runs share, in a window of time. */
export interface AccountLimitOptions extends LimitOptions {
  /** Default `total`: for ever. Weeks begin on Monday. */
  readonly window?: Window;
  /** IANA name such as `Europe/Berlin`, of a window other than `total`; default UTC. */
  readonly zone?: string;
}

/** `budgets` of `defineConfig`. */
export interface BudgetOptions {
  /** The most that one run may use; a caller may ask for less. */
  readonly run?: LimitOptions;
  /** Default limits of each user, tenant and agent of a tenant, and of labels by name, until a command changes them. */
  readonly user?: AccountLimitOptions;
  readonly tenant?: AccountLimitOptions;
  readonly agent?: AccountLimitOptions;
  readonly label?: { readonly [label: string]: AccountLimitOptions };
}

/** The default limits of a checked configuration; null: none. */
export interface AccountDefaults {
  readonly user: AccountLimit | null;
  readonly tenant: AccountLimit | null;
  readonly agent: AccountLimit | null;
  readonly label: { readonly [label: string]: AccountLimit };
}

/** A price of the user's own, in dollars per million tokens. */
export interface PriceOptions {
  readonly inputUsdPerMTok: number;
  readonly cachedInputUsdPerMTok?: number;
  readonly cacheWriteUsdPerMTok?: number;
  readonly outputUsdPerMTok: number;
}

/** A price that holds for a time: ISO dates, `from` inclusive, `until` exclusive; absent: since ever, for ever. */
export interface DatedPriceOptions extends PriceOptions {
  readonly from?: string;
  readonly until?: string;
}

/** A checked price with its time, milliseconds since the epoch; null: no bound. */
export interface PricePeriod extends PriceOptions {
  readonly fromMs: number | null;
  readonly untilMs: number | null;
}
