/** What a governed call is asked with, and what comes of it. */
import type { CallToolInput, Refused, RunInput } from '../activities/types.ts';
import type { Amount, CallResult } from '../governance/call.ts';
import { relevantFacts } from '../governance/facts.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import type { ToolSummary } from '../governance/tool.ts';
import { equalAsk } from './equal-asks.ts';
import { leftOf, type GovernorState, type OpenCall } from './governor-state.ts';

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

/** What the activity of a call is asked with, beyond what every activity is. */
export function callInput(
  state: GovernorState,
  tool: ToolSummary,
  open: OpenCall,
  reserved: Amount,
  options: CallOptions,
): Omit<CallToolInput, keyof RunInput> {
  const equal = open.answer === null ? equalAsk(state, open) : undefined;
  return {
    ...(state.lastCall === undefined ? {} : { after: state.lastCall }),
    call: open.call,
    seq: open.seq,
    tool: tool.name,
    args: open.args,
    facts: relevantFacts(tool.requires, asObject(open.args), state.facts),
    reserved,
    left: leftOf(state),
    approvalId: open.answer === 'granted' && open.ask ? open.ask.approvalId : null,
    ...(equal === undefined ? {} : { equal }),
    deadlineMs: state.deadlineMs,
    inline: options.inline ?? true,
    ...(open.label === undefined ? {} : { label: open.label }),
    ...(options.again ? { again: true } : {}),
  };
}

/** Arguments by name; none where they are no object. */
function asObject(args: Json): JsonObject {
  return typeof args === 'object' && args !== null && !Array.isArray(args) ? (args as JsonObject) : {};
}
