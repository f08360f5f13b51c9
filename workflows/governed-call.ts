/** What a governed call is asked with, and what comes of it. */
import type { Refused } from '../activities/types.ts';
import type { CallResult } from '../governance/call.ts';
import type { Json, JsonObject } from '../governance/json.ts';

/** A call's result and what it adds to a transcript. */
export interface GovernedCall {
  readonly result: CallResult;
  /** The call's number in the run. */
  readonly seq: number;
  /** The call whose stored result this is (its own, or the one it repeats); null: nothing is stored. */
  readonly stored: string | null;
  readonly bytes: number;
  /** The account that has too little for it. */
  readonly account?: NonNullable<Refused['account']>;
}

/** How a call is made and what is done while it waits. */
export interface CallOptions {
  /** The caller's own id; default `c<seq>`. */
  readonly callId?: string;
  /** Whether the output itself is needed here; default true. */
  readonly inline?: boolean;
  /** Answer unknown at once (sessions), or wait until somebody knows. */
  readonly unknown?: 'answer' | 'wait';
  readonly again?: boolean;
  /** What the call is for, outermost first: `report/search`. Limits of labels count it. */
  readonly label?: string;
  /** Told when a person has to answer. */
  readonly onAsk?: (approvalId: string) => void;
}

/** A result that adds nothing stored to a transcript. */
export function notStored(seq: number, result: CallResult, account?: Refused['account']): GovernedCall {
  return { result, seq, stored: null, bytes: 0, ...(account === undefined ? {} : { account }) };
}

/** Arguments by name; none where they are no object. */
export function asObject(args: Json): JsonObject {
  return typeof args === 'object' && args !== null && !Array.isArray(args) ? (args as JsonObject) : {};
}
