/**
 * Signals, queries and updates of governed workflows. Clients import this module by value, workflows by types only:
 * nothing here runs anything.
 */
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { ModelOutcome } from '../activities/reservation-types.ts';
import type { AccountAnswer } from '../activities/account-types.ts';
import type { AccountState } from '../governance/account.ts';

import type { SealTrouble, SealedHead } from '../activities/seal-types.ts';
import type { BudgetState } from '../governance/budget.ts';
import type { Amount, CallResult, Limit, Usage } from '../governance/call.ts';
import type { Denial } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import type { Declared } from '../governance/price.ts';

/** Input of `agentRun`. */
export interface AgentRunInput {
  readonly v: 1;
  readonly run: string;
  readonly tenant: string;
  readonly user: string;
  readonly agent: string;
  readonly openedBy: string;
  /** The caller's signature over exactly this run (DSSE, governance/opening.ts). */
  readonly opening?: Json;
  readonly input: string;
  readonly budget: Limit | null;
  readonly deadlineMs: number | null;
}

/** Input of `session`. */
export interface SessionInput extends AgentRunInput {
  readonly session: string;
  /** Ends after this long without a call; absent: a day. */
  readonly idleMs?: number;
}

/** An answer to an ask: the envelope is verified by an activity before it counts. */
export interface ApprovalSignal {
  readonly approvalId: string;
  readonly nonce: string;
  /** DSSE envelope (docs/approvals.md). */
  readonly envelope: Json;
}

/** Freeze may be unsigned: it only takes away. */
export interface FreezeSignal {
  readonly by: string;
  readonly reason: string;
}

/** A signed command (DSSE, `application/vnd.actguard.command+json`): thaw, topUp, resolve. */
export interface CommandSignal {
  readonly envelope: Json;
}

/** An open ask as the `state` query shows it. */
export interface OpenAsk {
  readonly approvalId: string;
  readonly call: string;
  readonly tool: string;
  readonly title: string;
  readonly gates: readonly string[];
  readonly nonce: string;
  readonly expiresAtMs: number;
  readonly rejectedAnswers: number;
}

/** Answer of the `state` query. */
export interface RunState {
  readonly v: 1;
  readonly run: string;
  readonly tenant: string;
  readonly user: string;
  readonly agent: string;
  readonly status: RunStatus;
  readonly frozen: { readonly by: string; readonly reason: string } | null;
  readonly usage: Usage;
  readonly limit: Limit;
  readonly reserved: Amount;
  /** Parts of the budget that labels have; absent: none. */
  readonly labels?: { readonly [label: string]: BudgetState };
  readonly calls: number;
  readonly openAsks: readonly OpenAsk[];
  readonly unknownCalls: readonly string[];
  readonly lastDenial: Denial | null;
  readonly needed: Amount | null;
  readonly rejectedMessages: number;
  readonly deadlineMs: number;
}

/** What a run is doing; also the search attribute ActGuardStatus. */
export type RunStatus =
  | 'running'
  | 'waiting-approval'
  | 'waiting-resolution'
  | 'exhausted'
  | 'frozen'
  | 'answered'
  | 'stopped'
  | 'failed'
  | 'expired';

export const approvalSignal = defineSignal<[ApprovalSignal]>('approval');
export const freezeSignal = defineSignal<[FreezeSignal]>('freeze');
export const thawSignal = defineSignal<[CommandSignal]>('thaw');
export const topUpSignal = defineSignal<[CommandSignal]>('topUp');
/** Told by an account's workflow to runs that wait for it. */
export const budgetChangedSignal = defineSignal<[]>('budgetChanged');
export const resolveSignal = defineSignal<[CommandSignal]>('resolve');
/** Says that more is known of a call whose outcome was unknown: the run looks. Proves nothing, so it is not signed. */
export const lookSignal = defineSignal<[{ readonly call: string }]>('look');
export const stateQuery = defineQuery<RunState>('state');

/** One call of a session. The Update id is the caller's callId. */
export interface SessionCall {
  readonly v: 1;
  readonly callId: string;
  readonly tool: string;
  readonly args: Json;
}

export const callUpdate = defineUpdate<CallResult, [SessionCall]>('call');
/** The result of an earlier call; null when the session never saw it. */
export const outcomeQuery = defineQuery<CallResult | null, [string]>('outcome');
export const closeSignal = defineSignal<[]>('close');

/** A model call that will be made elsewhere: its worst case is reserved first. */
export interface ReserveAsked {
  readonly v: 1;
  /** The caller's own; not one of a tool call. */
  readonly callId: string;
  /** `provider/name` */
  readonly model: string;
  /** UTF-8 bytes of the request as it will be sent: no prompt has more tokens. */
  readonly promptBytes: number;
  readonly messages: number;
  /** The cap the caller wants; it may get a lower one. */
  readonly maxOutputTokens: number;
  /** The most of what bytes do not show: images, files, the provider's own tools. Dollars are due whole. */
  readonly declared?: Declared;
}

export type ReserveResult =
  | {
      readonly kind: 'reserved';
      readonly callId: string;
      readonly reserved: Amount;
      /** The cap that has to be sent: lowered to what is left (BU3). */
      readonly maxOutputTokens: number;
      /** Paid in full if it is not settled by then, milliseconds since the epoch. */
      readonly expiresAtMs: number;
    }
  | { readonly kind: 'denied'; readonly denial: Denial; readonly callId: string };

/** What became of a reserved call. */
export interface SettleAsked {
  readonly v: 1;
  readonly callId: string;
  readonly outcome: Exclude<ModelOutcome, { kind: 'expired' }>;
}

/** `late`: it had expired and was paid in full. `usage` is the session's, all calls together. */
export type SettleResult =
  | {
      readonly kind: 'settled' | 'late';
      readonly callId: string;
      readonly spent: Amount;
      readonly flagged: boolean;
      readonly usage: Usage;
    }
  | { readonly kind: 'denied'; readonly denial: Denial; readonly callId: string };

export const reserveUpdate = defineUpdate<ReserveResult, [ReserveAsked]>('reserve');
export const settleUpdate = defineUpdate<SettleResult, [SettleAsked]>('settle');

/** A signed command for an account (DSSE): limit, topUp, freeze, thaw. */
export interface AccountCommand {
  readonly v: 1;
  readonly envelope: Json;
}

/** Answers when it was carried out, or why not. */
export const accountUpdate = defineUpdate<AccountAnswer, [AccountCommand]>('change');
/** What the account's workflow holds; null: no command was carried out yet. */
export const accountQuery = defineQuery<AccountState | null>('account');

/** A signed command, verb `recover`, to the sealer: go on from what the database holds. */
export const recoverSignal = defineSignal<[CommandSignal]>('recover');

/** Answer of the `sealed` query. */
export interface SealerState {
  readonly v: 1;
  /** The last head that was sealed, as remembered outside the database. */
  readonly last: SealedHead | null;
  /** Set: nothing is sealed and everything is frozen until a signed `recover`. */
  readonly trouble: SealTrouble | null;
  /** Why the last `recover` did not count. */
  readonly refused: string | null;
}

export const sealedQuery = defineQuery<SealerState>('sealed');
