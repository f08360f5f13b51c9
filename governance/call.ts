/** The shapes of one call: what goes in, what comes back. */
import type { CallError, Denial } from './errors.ts';
import type { Json } from './json.ts';

/** A value that a tool proved in this run (guards.md FA1). Values compare as text. */
export interface Fact {
  readonly kind: string;
  readonly value: string;
  /** Looked up by what a stranger's text named: `requires` takes it after a yes only (guards.md FA3). */
  readonly untrusted?: boolean;
}

/** A fact with its life: milliseconds since the epoch. */
export interface LiveFact extends Fact {
  readonly provedAtMs: number;
  readonly expiresAtMs: number;
  /** The call that proved it. */
  readonly call: string;
}

/** A quantity of budget. Money in micro-dollars. */
export interface Amount {
  readonly usdMicros: number;
  readonly tokens: number;
  readonly calls: number;
}

/** A limit: any mix; an absent unit is unlimited. Money in micro-dollars. */
export interface Limit {
  readonly usdMicros?: number;
  readonly tokens?: number;
  readonly calls?: number;
}

/** What a caller gets back from one call (guards.md, "What a call returns"). */
export type CallResult<T = Json> =
  | { readonly kind: 'done'; readonly output: T; readonly callId: string }
  | { readonly kind: 'denied'; readonly denial: Denial; readonly callId: string }
  | { readonly kind: 'pending'; readonly callId: string; readonly approvalId?: string }
  | { readonly kind: 'failed'; readonly error: CallError; readonly callId: string }
  | { readonly kind: 'unknown'; readonly callId: string };

/** On whose behalf a run acts. `user` is an opaque subject id in entries and search attributes. */
export interface Principal {
  readonly tenant: string;
  readonly user: string;
  readonly agent: string;
}

/** How a run ended, and with what. */
export interface RunResult {
  readonly status: 'answered' | 'exhausted' | 'stopped' | 'failed' | 'expired';
  readonly text: string;
  readonly output?: Json;
  readonly usage: Usage;
  readonly denials: readonly Denial[];
}

/** What a session has used (D5). `usd` is in dollars. */
export interface SessionUsage {
  readonly usd: number;
  readonly tokens: number;
  readonly calls: number;
}

/** What a run has used: money is counted in integer micro-dollars. */
export interface Usage extends SessionUsage {
  readonly usdMicros: number;
}
