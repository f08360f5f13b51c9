/** What an engineer writes: the option types of `defineTool`, `defineAgent` and `defineConfig`, and what they become. */
import type { UserOptions, Users } from './users.ts';
import type { z } from 'zod';
import type { Limit } from '../governance/call.ts';
import type { FailureKind } from '../governance/errors.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import type { Rule } from '../governance/rules.ts';
import type { RelyingParty } from '../governance/webauthn.ts';
import type { ArgumentTrust, EffectKind, OutputTrust, RateScope, Reach, ToolManifest } from '../governance/tool.ts';
import type { SecretFromOptions, SecretRef, Secrets } from './secret-types.ts';
import type { AccountDefaults, BudgetOptions, DatedPriceOptions, PriceOptions, PricePeriod } from './budget-types.ts';

/** Milliseconds, or `'100ms'`, `'10s'`, `'1m'`, `'1h'`, `'1d'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`;

/** A `Response` whose `json()` may be returned as it is: outputSchema judges it. */
export interface ToolResponse extends Omit<Response, 'json'> {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- checked by outputSchema at run time
  readonly json: () => Promise<any>;
}

/** What a tool's `execute` gets besides its arguments. */
export interface ToolContext {
  readonly run: string;
  readonly call: string;
  readonly user: string;
  readonly tenant: string;
  readonly agent: string;
  /** Aborted by cancel and timeout. */
  readonly signal: AbortSignal;
  /** The same on every attempt of this call: give it to a receiver that honours one. */
  readonly idempotencyKey: string;
  /** `fetch` that throws on a failing status, sets the receiver's key header and injects credentials for their host. */
  readonly fetch: (input: string | URL, init?: RequestInit) => Promise<ToolResponse>;
  /**
   * The value of a credential whose secret says `reveal: true`, for SDKs. Recorded before it is given; any failure of
   * the call is unknown then (EX4). @throws CREDENTIAL_MISSING for a name the tool has not, FORBIDDEN without `reveal`
   */
  readonly reveal: (localName: string) => Promise<string>;
  /**
   * Statements in the user's own tables of ActGuard's database, as the role `actguard_worker` (grant it what they need):
   * committed together with the call's outcome, or not at all. Values as `$1`, `$2` …
   */
  readonly transaction: <T>(
    work: (
      sql: (text: string, values?: readonly Json[]) => Promise<readonly { readonly [column: string]: unknown }[]>,
    ) => Promise<T>,
  ) => Promise<T>;
  /** Says how far a long tool has come: plain JSON of at most 4 KB, shown in the Temporal UI, scrubbed. */
  readonly progress: (data: Json) => void;
  /** A line for the worker's log, scrubbed. */
  readonly log: (message: string, data?: Json) => void;
}

/** Answer of `reconcile`. */
export type Reconciled =
  | { readonly kind: 'happened'; readonly result: Json }
  | { readonly kind: 'neverWill' }
  | { readonly kind: 'stillUnknown' };

type Field<T> = Extract<keyof T, string>;
/** Fields of an object, or of the elements of a list. */
type ItemField<T> = T extends readonly (infer E)[] ? Field<E> : Field<T>;

/** Options of `defineTool`; guards.md has the table. */
export interface ToolOptions<I extends z.ZodObject, O extends z.ZodType> {
  readonly name: string;
  readonly description: string;
  /** What policies know it by besides its name: `{ owner: 'payments', risk: 'high' }` is `resource.tags.risk == "high"`. */
  readonly tags?: { readonly [tag: string]: string };
  readonly effect: EffectKind;
  readonly reach?: Reach;
  readonly inputSchema: I;
  readonly outputSchema?: O;
  readonly execute: (args: z.output<I>, ctx: ToolContext) => z.input<O> | Promise<z.input<O>>;
  readonly describe?: (args: z.output<I>) => string;
  /** Arguments that are no secret to a mailbox: mails about asks show them. Default: none. */
  readonly mailFields?: readonly Field<z.output<I>>[];
  readonly timeout?: Duration;
  readonly settlesWithin?: Duration;
  readonly retry?: {
    readonly maximumAttempts?: number;
    readonly initialInterval?: Duration;
    readonly backoffCoefficient?: number;
    readonly maximumInterval?: Duration;
    readonly on?: readonly FailureKind[];
  };
  readonly maxCallsPerRun?: number;
  readonly rateLimit?: {
    readonly maxCalls: number;
    readonly period: Duration;
    readonly scope?: RateScope;
    readonly onLimit?: 'deny' | 'wait';
  };
  readonly circuitBreaker?: {
    readonly name: string;
    readonly maxFails?: number;
    readonly resetTimeout?: Duration;
    readonly failOn?: readonly FailureKind[];
    readonly ignoreOn?: readonly FailureKind[];
  };
  readonly rules?: { readonly [K in Field<z.output<I>>]?: Rule | readonly Rule[] };
  readonly proves?:
    | { readonly [K in ItemField<z.output<O>>]?: string }
    | ((output: z.output<O>) => readonly { readonly kind: string; readonly value: string }[]);
  /** The kinds that a `proves` function may mint. */
  readonly provesKinds?: readonly string[];
  readonly requires?: { readonly [K in Field<z.output<I>>]?: string };
  readonly facts?: { readonly ttl?: Duration; readonly max?: number; readonly onTooMany?: 'deny' | 'truncate' };
  readonly idempotency?: {
    readonly key?: (args: z.output<I>) => string;
    readonly scope?: 'tenant' | 'run';
    readonly ttl?: Duration;
    readonly onDuplicate?: 'return' | 'deny';
    readonly receiver?: { readonly header: string; readonly keyTtl?: Duration };
  };
  readonly repeatable?: boolean;
  /** All it does, it does in `ctx.transaction`: it is never unknown. `ctx.fetch` reads only. */
  readonly transactional?: boolean;
  readonly definiteStatuses?: readonly number[];
  readonly reconcile?: (args: z.output<I>, ctx: ToolContext) => Promise<Reconciled>;
  readonly cost?:
    { readonly usd: number } | { readonly maxUsd: number; readonly actual: (output: z.output<O>) => number };
  readonly credentials?: { readonly [localName: string]: SecretRef };
  readonly classify?: (error: unknown) => FailureKind | undefined;
  /**
   * Whose words the output is: of a source of ours (`trusted`), of our own signed-in people (`internal`), of anybody
   * (`untrusted`, the default); for all, or per field. `private`: untrusted, and leaves the house only after a yes.
   */
  readonly outputTrust?: OutputTrust | { readonly [K in ItemField<z.output<O>>]?: OutputTrust | 'private' };
  /** Output fields that leave the house only after a yes, whatever they are worth. */
  readonly private?: readonly ItemField<z.output<O>>[];
  /** Output fields that nobody outside can word, each with the reason: they count as trusted. */
  readonly declassify?: { readonly [K in ItemField<z.output<O>>]?: string };
  /** What becomes of an argument that nobody vouches for; without it destinations are asked about. */
  readonly argumentTrust?: { readonly [K in Field<z.output<I>>]?: ArgumentTrust };
}

/** A tool: its manifest for everybody, its code for workers. Recognised by its brand, also across copies of the package. */
export interface Tool<I = unknown, O = unknown> {
  readonly [TOOL]: true;
  readonly name: string;
  readonly manifest: ToolManifest;
  readonly code: ToolCode;
  /** Types only. */
  readonly types?: { readonly input: I; readonly output: O };
}

/** The functions of a tool, untyped: `callTool` parses before and after. */
export interface ToolCode {
  /** Parses strictly and stably (O4) into the one canonical form; throws ARGUMENTS_INVALID. */
  readonly parseInput: (value: unknown) => unknown;
  /** The output as plain JSON; throws OUTPUT_INVALID. */
  readonly parseOutput: (value: unknown) => unknown;
  readonly execute: (args: never, ctx: ToolContext) => unknown;
  readonly describe: ((args: never) => string) | null;
  readonly mailFields: readonly string[];
  /** Rules in order of the arguments as written. */
  readonly rules: readonly { readonly argument: string; readonly rules: readonly Rule[]; readonly optional: boolean }[];
  readonly proves:
    | { readonly [field: string]: string }
    | ((output: never) => readonly { readonly kind: string; readonly value: string }[])
    | null;
  readonly key: ((args: never) => string) | null;
  readonly reconcile: ((args: never, ctx: ToolContext) => Promise<Reconciled>) | null;
  readonly actualUsd: ((output: never) => number) | null;
  readonly classify: ((error: unknown) => FailureKind | undefined) | null;
  readonly credentials: { readonly [localName: string]: SecretRef };
  /** Argument names that the schema makes optional. */
  readonly optionalArguments: readonly string[];
  /** JSON Schema of the output; null: not known. */
  readonly outputJsonSchema: JsonObject | null;
}

/** Brand of a tool: the same in every copy of the package. */
export const TOOL = Symbol.for('actguard.tool');
/** Brand of an agent. */
export const AGENT = Symbol.for('actguard.agent');
/** Brand of a configuration. */
export const CONFIG = Symbol.for('actguard.config');

/** Options of `defineAgent`. */
export interface AgentOptions {
  readonly name: string;
  /** `openai/gpt-5-mini`; absent for an agent that lives elsewhere and only uses sessions. */
  readonly model?: string;
  readonly instructions?: string;
  readonly tools: readonly Tool[];
  readonly maxTurns?: number;
  readonly maxOutputTokens?: number;
  /** What a run does when its budget is out: wait for a top-up (default) or end. */
  readonly onExhausted?: 'pause' | 'stop';
}

/** An agent as `defineAgent` makes it: checked, every default filled in. Recognised by its brand. */
export interface Agent {
  readonly [AGENT]: true;
  readonly name: string;
  readonly model: string | null;
  readonly instructions: string;
  readonly tools: readonly Tool[];
  readonly maxTurns: number;
  readonly maxOutputTokens: number;
  readonly onExhausted: 'pause' | 'stop';
}

/** Where a model is reached. */
export interface ProviderOptions {
  readonly kind: 'openai' | 'anthropic' | 'openai-compatible';
  readonly baseUrl?: string;
  /** Environment variable of the key; default OPENAI_API_KEY, ANTHROPIC_API_KEY, `<NAME>_API_KEY`. */
  readonly apiKeyEnv?: string;
}

/** Options of `defineConfig`; everything wrong is refused at once with CONFIG_INVALID. */
export interface ConfigOptions {
  readonly tools: readonly Tool[];
  readonly agents: readonly Agent[];
  /** Folder of `*.cedar` files, relative to the config file. */
  readonly policies: string;
  /** What policies may know about users (`principal.department`), and where it is looked up when a run is opened. */
  readonly users?: UserOptions;
  readonly budgets?: BudgetOptions;
  /** Longest pause of a call that waits because others' reservations are in the way; default 30 s. */
  readonly budgetWait?: Duration;
  readonly providers?: { readonly [name: string]: ProviderOptions };
  /** By `provider/name`: one price, or several in the order of time, each from where the one before ends. */
  readonly prices?: { readonly [model: string]: PriceOptions | readonly DatedPriceOptions[] };
  readonly approvals?: {
    /** SHA-256 fingerprints (hex) of the administrators' keys. The dev stack adds its own. */
    readonly roots?: readonly string[];
    /** How long an ask stays open. */
    readonly ttl?: Duration;
    /** Who gets mails about asks. */
    readonly notify?: readonly string[];
    /** Asks that one approver gets within an hour, of one tenant; further ones are denied. Default 20. */
    readonly maxPerHour?: number;
    /** Origin of the approval page, `https://approve.example`; more than one when it moved. The dev stack has its own. */
    readonly page?: string | readonly string[];
    /** The domain that passkeys are made for; default: the page's host. */
    readonly rpId?: string;
  };
  /**
   * Who may open runs: callers with a token (`actguard token create`), or anybody who reaches Temporal. Default: tokens,
   * on a dev stack anybody, recorded as a local identity.
   */
  readonly callers?: 'tokens' | 'anybody';
  /** Where secrets come from; default: the environment. A changed value is used once `cacheFor` (5 minutes) is over. */
  readonly secrets?: { readonly from?: readonly SecretFromOptions[]; readonly cacheFor?: Duration };
  readonly network?: {
    /** Hosts whose addresses may be private: `10.0.0.7:8080`, `payments.internal`. Others are refused by `ctx.fetch`. */
    readonly privateHosts?: readonly string[];
  };
}

/** A checked configuration. */
export interface Config {
  readonly [CONFIG]: true;
  readonly tools: readonly Tool[];
  readonly agents: readonly Agent[];
  readonly policies: string;
  readonly users: Users | null;
  readonly runLimit: Limit;
  readonly accounts: AccountDefaults;
  readonly budgetWaitMs: number;
  readonly providers: { readonly [name: string]: ProviderOptions };
  readonly prices: { readonly [model: string]: readonly PricePeriod[] };
  readonly approvals: {
    readonly roots: readonly string[];
    readonly ttlMs: number;
    readonly notify: readonly string[];
    readonly maxPerHour: number;
    /** Where the approval page is and its passkeys count; null: there is none. */
    readonly passkeys: RelyingParty | null;
  };
  /** null: tokens, on a dev stack anybody. */
  readonly callers: 'tokens' | 'anybody' | null;
  readonly secrets: Secrets;
  readonly network: { readonly privateHosts: readonly string[] };
}
