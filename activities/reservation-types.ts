/** What a session says to the activities behind `reserve` and `settle` (reserve-model.ts). Imported as types only. */
import type { Amount } from '../governance/call.ts';
import type { Denial } from '../governance/errors.ts';
import type { Declared, ModelPrice } from '../governance/price.ts';
import type { ModelUsage, Notices, RunInput } from './types.ts';

/** Asks for a model's price (session `reserve`). */
export interface PriceModelInput {
  readonly v: 1;
  readonly model: string;
}

export interface PriceModelResult {
  /** null: in no table. */
  readonly price: ModelPrice | null;
}

interface ReservedModelCall extends RunInput {
  /** The call's id in the run: `model ` and the caller's own. */
  readonly call: string;
  readonly seq: number;
  readonly model: string;
  readonly price: ModelPrice;
  readonly reserved: Amount;
  /** The most of what its bytes do not show, as its caller declared it. */
  readonly declared?: Declared;
}

/** A model call that will be made elsewhere. */
export interface ReserveModelInput extends ReservedModelCall {
  readonly promptBytes: number;
  readonly maxOutputTokens: number;
  /** When it is paid in full if nobody settles it, milliseconds since the epoch. */
  readonly expiresAtMs: number;
  readonly deadlineMs: number;
}

export type ReserveModelResult =
  | { readonly kind: 'reserved' }
  /** `waitMs`: only others' reservations are in the way; nothing was written, and it may be asked again (BU2). */
  | { readonly kind: 'denied'; readonly denial: Denial; readonly waitMs?: number };

/** What became of it: `nothing` was billed; `unknown`: nobody can say; `expired`: nobody did say. */
export type ModelOutcome =
  | { readonly kind: 'used'; readonly usage: ModelUsage }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'expired' };

export interface SettleModelInput extends ReservedModelCall {
  readonly outcome: ModelOutcome;
}

export type SettleModelResult =
  | { readonly kind: 'settled'; readonly spent: Amount; readonly flagged: boolean; readonly notices?: Notices }
  | { readonly kind: 'late' };

/** What a session calls for model calls that are made elsewhere. */
export interface ReservationActivities {
  priceModel(input: PriceModelInput): Promise<PriceModelResult>;
  reserveModel(input: ReserveModelInput): Promise<ReserveModelResult>;
  settleModel(input: SettleModelInput): Promise<SettleModelResult>;
}
