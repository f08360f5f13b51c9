/** What the rest of ActGuard knows of a tool: plain data derived from `defineTool`. */
import type { FailureKind } from './errors.ts';
import type { JsonObject } from './json.ts';

/** `write` changes something outside; `read` does not. */
export type EffectKind = 'read' | 'write';
/** Whether a read leaves the house. */
export type Reach = 'internal' | 'external';

/** Temporal's retry words; durations in milliseconds. */
export interface RetryOptions {
  readonly maximumAttempts: number;
  readonly initialIntervalMs: number;
  readonly backoffCoefficient: number;
  readonly maximumIntervalMs: number;
  readonly on: readonly FailureKind[];
}

/** What a rate limit's bucket belongs to (guards.md RL3, D6). */
export type RateScope = 'run' | 'user' | 'tenant' | 'agent' | 'tool' | { readonly argument: string };

/** A rate limit: at most maxCalls in any window of periodMs milliseconds (guards.md RL1). */
export interface RateLimitOptions {
  readonly maxCalls: number;
  readonly periodMs: number;
  readonly scope: RateScope;
  readonly onLimit: 'deny' | 'wait';
}

/** A circuit breaker; its name is the breaker (guards.md CB4). */
export interface CircuitBreakerOptions {
  readonly name: string;
  readonly maxFails: number;
  readonly resetTimeoutMs: number;
  readonly failOn: readonly FailureKind[];
  readonly ignoreOn: readonly FailureKind[];
}

/** How a write happens once (guards.md EX1-EX3). */
export interface IdempotencyOptions {
  readonly scope: 'tenant' | 'run';
  /** Milliseconds from completion; null: for ever. */
  readonly ttlMs: number | null;
  readonly onDuplicate: 'return' | 'deny';
  /** The receiver honours our key in this header, for keyTtlMs from the first send (null: for ever). */
  readonly receiver: { readonly header: string; readonly keyTtlMs: number | null } | null;
}

/** How long facts of a tool live, in milliseconds, and how many one output may prove (guards.md FA1). */
export interface FactsOptions {
  readonly ttlMs: number;
  readonly max: number;
  readonly onTooMany: 'deny' | 'truncate';
}

/** What a tool's output is worth (guards.md PV1, PV7). */
export type OutputTrust = 'trusted' | 'internal' | 'untrusted';
/** What becomes of an argument that nobody vouches for; `user`: only the user's own words are good enough (PV4, PV7). */
export type ArgumentTrust = 'deny' | 'ask' | 'allow' | 'user';

/** Whom a tool's values come from and where they may go (guards.md, Provenance). */
export interface TrustOptions {
  /** Of fields that are not named. */
  readonly output: OutputTrust;
  readonly fields: { readonly [field: string]: OutputTrust };
  /** Output fields that leave the house only after a yes. */
  readonly private: readonly string[];
  /** Output fields that rise above where they came from, each with the reason. */
  readonly declassify: { readonly [field: string]: string };
  readonly arguments: { readonly [argument: string]: ArgumentTrust };
}

/** A tool without its code: everything checked, every default filled in. */
export interface ToolManifest {
  readonly v: 1;
  /** `payments.refund` */
  readonly name: string;
  /** `payments_refund`: as the model sees it. */
  readonly modelName: string;
  readonly description: string;
  /** What policies know it by besides its name: `owner`, `risk` … */
  readonly tags: { readonly [tag: string]: string };
  readonly effect: EffectKind;
  readonly reach: Reach;
  /** JSON Schema (draft 2020-12) of the arguments, as given to models. */
  readonly inputJsonSchema: JsonObject;
  readonly timeoutMs: number;
  readonly settlesWithinMs: number;
  /** null: never again. */
  readonly retry: RetryOptions | null;
  readonly maxCallsPerRun: number | null;
  readonly rateLimit: RateLimitOptions | null;
  readonly circuitBreaker: CircuitBreakerOptions | null;
  /** Guarded arguments: argument -> fact kind. */
  readonly requires: { readonly [argument: string]: string };
  /** Fact kinds that this tool proves. */
  readonly proves: readonly string[];
  readonly facts: FactsOptions;
  readonly trust: TrustOptions;
  readonly idempotency: IdempotencyOptions | null;
  readonly repeatable: boolean;
  /** All it does is committed together with its outcome. */
  readonly transactional?: true;
  /** Worst case in micro-dollars; `fixed`: it is also the price. */
  readonly cost: { readonly worstMicros: number; readonly fixed: boolean } | null;
  readonly definiteStatuses: readonly number[];
  /** Local names of credentials. */
  readonly credentials: readonly string[];
  readonly canReconcile: boolean;
  /** SHA-256 over the canonical form of all of the above, hex. */
  readonly digest: string;
}

/** What the workflow keeps of a tool. */
export type ToolSummary = Pick<
  ToolManifest,
  'name' | 'modelName' | 'effect' | 'timeoutMs' | 'maxCallsPerRun' | 'requires' | 'cost' | 'digest'
> & { readonly onLimit: 'deny' | 'wait' };

/** The part of a manifest that the workflow needs to admit a call. */
export function summarize(tool: ToolManifest): ToolSummary {
  return {
    name: tool.name,
    modelName: tool.modelName,
    effect: tool.effect,
    timeoutMs: tool.timeoutMs,
    maxCallsPerRun: tool.maxCallsPerRun,
    requires: tool.requires,
    cost: tool.cost,
    digest: tool.digest,
    onLimit: tool.rateLimit?.onLimit ?? 'deny',
  };
}

/** A tool as models are told of it. */
export type OfferedTool = Pick<ToolManifest, 'name' | 'modelName' | 'description' | 'inputJsonSchema'>;

/** The part of a manifest that a model sees. */
export function offerOf({ name, modelName, description, inputJsonSchema }: ToolManifest): OfferedTool {
  return { name, modelName, description, inputJsonSchema };
}
