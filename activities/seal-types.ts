/** What the sealer's workflow and activities say to each other. Types only: workflows import it. */
import type { Json } from '../governance/json.ts';

/** A tree head that was signed, as plain JSON: what the sealer remembers outside the database. */
export interface SealedHead {
  readonly size: number;
  /** 32 bytes, hex. */
  readonly root: string;
}

/** Why nothing is sealed any more, until a person says `recover`. */
export interface SealTrouble {
  /**
   * behind: the database lost entries that were sealed; fork: what it holds is not what was sealed before;
   * witness-ahead, witness-fork: the same, seen by a witness.
   */
  readonly kind: 'behind' | 'fork' | 'witness-ahead' | 'witness-fork';
  readonly reason: string;
  /** What the database says now; null where not even that can be read. */
  readonly head: SealedHead | null;
  /** What was remembered. */
  readonly last: SealedHead | null;
}

export interface SealInput {
  readonly v: 1;
  /** The last head that this workflow knows; null before the first. */
  readonly last: SealedHead | null;
}

/** How a minute of sealing ended. */
export type SealResult =
  | { readonly kind: 'sealed'; readonly last: SealedHead | null }
  | { readonly kind: 'broken'; readonly last: SealedHead | null; readonly trouble: SealTrouble };

export interface RecoverInput {
  readonly v: 1;
  /** A signed command, verb `recover`, target `ledger`. */
  readonly envelope: Json;
  readonly trouble: SealTrouble;
}

/** `accepted`: sealing goes on from what the database holds. */
export type RecoverResult =
  | { readonly kind: 'accepted'; readonly last: SealedHead | null }
  | { readonly kind: 'rejected'; readonly reason: string };

/** Activities of the sealer; a worker has them only where a sealing key is configured. */
export interface SealActivities {
  /** Seals about every second, for about a minute. @throws BACKEND_UNAVAILABLE */
  sealLedger(input: SealInput): Promise<SealResult>;
  /** Lifts the freeze after a signed command of a root. @throws BACKEND_UNAVAILABLE */
  recoverLedger(input: RecoverInput): Promise<RecoverResult>;
}
