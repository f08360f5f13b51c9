/**
 * What workflows and activities say to each other: plain readonly data, every top-level shape with a version `v`.
 * Workflows import this file as types only.
 */
import type { Amount, Fact, Limit, LiveFact, Principal } from '../governance/call.ts';
import type { CommandVerb } from '../governance/command.ts';
import type { CallError, Denial } from '../governance/errors.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import type { ModelPrice } from '../governance/price.ts';
import type { ToolSummary } from '../governance/tool.ts';

/** An entry that the workflow made itself; numbered per run, inserted once (trust.md, Ledger). */
export interface WorkflowEntry {
  /** 1, 2, 3 … per run. */
  readonly number: number;
  readonly kind:
    | 'call.denied'
    | 'run.frozen'
    | 'run.thawed'
    | 'run.closed'
    | 'budget.exhausted'
    | 'budget.topped-up'
    | 'budget.threshold'
    | 'child.started'
    | 'child.ended';
  /** The call's number in the run, where the entry is about a call. */
  readonly seq?: number;
  readonly call?: string;
  readonly tool?: string;
  /** Workflow time, milliseconds since the epoch. */
  readonly atMs: number;
  readonly data: JsonObject;
}

/** What every activity input carries: which run asks, and what the workflow has to record. */
export interface RunInput {
  readonly v: 1;
  readonly run: string;
  readonly entries: readonly WorkflowEntry[];
  /** The Temporal run that this one continues (continue-as-new), where it does: the claim hands over from it. */
  readonly continuedFrom?: string;
}

export interface OpenRunInput {
  readonly v: 1;
  readonly run: string;
  readonly mode: 'agent' | 'session' | 'workflow';
  readonly principal: Principal;
  /** Who opened it: on the dev stack `local:<os user>`. */
  readonly openedBy: string;
  /** The caller's signature over exactly this run (DSSE, governance/opening.ts). */
  readonly opening?: Json;
  /** Asked for by the caller; may not exceed the configured run limit. */
  readonly budget: Limit | null;
  /** The user's own request. */
  readonly input: string;
  readonly deadlineMs: number | null;
}

/** What the workflow knows of its run: the tools' manifest and limits. A refusal is a value. */
export type OpenRunResult =
  | {
      readonly kind: 'opened';
      readonly tools: readonly ToolSummary[];
      readonly limit: Limit;
      readonly deadlineMs: number;
      readonly model: OpenedModel | null;
      readonly openedAtMs: number;
    }
  | { readonly kind: 'denied'; readonly denial: Denial };

/** What the workflow needs to reserve a model call's worst case. */
export interface OpenedModel {
  readonly name: string;
  readonly price: ModelPrice | null;
  readonly maxTurns: number;
  readonly maxOutputTokens: number;
  /** Bytes of instructions, tool schemas and the first request as sent to the provider. */
  readonly promptBytes: number;
  /** Messages so far. */
  readonly messages: number;
  readonly onExhausted: 'pause' | 'stop';
}

export interface CallToolInput extends RunInput {
  /** The last call that the run saw recorded: one that is missing says that the database was restored. */
  readonly after?: string;
  /** The call's id in its run: the caller's own, or `c<seq>`. */
  readonly call: string;
  /** 1, 2, 3 … without gaps. */
  readonly seq: number;
  readonly tool: string;
  readonly args: Json;
  /** Live facts that the guarded arguments may rest on. */
  readonly facts: readonly LiveFact[];
  /** Reserved in the run's budget for this call. */
  readonly reserved: Amount;
  /** What the call is for: `report/search` spends the accounts of `report` and `report/search`, too. */
  readonly label?: string;
  /** What is left of the run's budget, for policies. */
  readonly left: Limit;
  /** Set after a yes: the approval to consume. */
  readonly approvalId: string | null;
  /** The open ask of another call of this run with the same tool and arguments: where this one asks the same, it joins. */
  readonly equal?: string;
  readonly deadlineMs: number;
  /** Whether the workflow needs the output itself (a session does, an agent's loop does not). */
  readonly inline: boolean;
  /** This call may have been scheduled before (a session's callId after continue-as-new): look for its own result first. */
  readonly again?: boolean;
}

/** An ask as the workflow sees it: the request itself lies in Postgres. */
export interface Ask {
  readonly approvalId: string;
  readonly nonce: string;
  readonly expiresAtMs: number;
  readonly gates: readonly string[];
  /** Shown in queries and the run's details. */
  readonly title: string;
  /** It is an equal call's: people are asked once, and a yes is that call's alone. */
  readonly joined?: true;
}

export type CallToolResult =
  | {
      readonly kind: 'done';
      /** Absent unless `inline`. */
      readonly output?: Json;
      readonly facts: readonly (Fact & { readonly ttlMs: number })[];
      readonly provedAtMs: number;
      readonly spentMicros: number;
      /** Bytes of the output as a model would see it. */
      readonly bytes: number;
      /** The call whose result this is, where it repeats one: took no slot, call or money. */
      readonly repeats?: string;
      readonly notices?: Notices;
    }
  | Refused
  | { readonly kind: 'ask'; readonly ask: Ask }
  | {
      readonly kind: 'failed';
      readonly error: CallError;
      readonly spentMicros: number;
      /** The call whose failure this is, where it repeats one whose effect happened (D2). */
      readonly repeats?: string;
      readonly notices?: Notices;
    }
  | {
      readonly kind: 'unknown';
      readonly reason: string;
      readonly spentMicros: number;
      /** Asked again by itself after so many milliseconds; null or absent: a person has to say. */
      readonly askAgainMs?: number | null;
      /** Whether a person has to say; absent: where it is not asked again. */
      readonly needsPerson?: boolean;
      readonly notices?: Notices;
    };

/** What people are told about a budget: thresholds of accounts, a tool or a model that was frozen. */
export type Notices = readonly string[];

/** A refusal. `waitMs`: only others' reservations are in the way; it is tried again, after at most so long each time. */
export interface Refused {
  readonly kind: 'denied';
  readonly denial: Denial;
  readonly waitMs?: number;
  /** The account that has too little: the run may wait until it is changed, or its window ends. */
  readonly account?: { readonly id: string; readonly resetAtMs: number | null };
}

/** A message that joins the transcript before a model call: a call's stored result, or a denial. */
export type ToolResultRef =
  | { readonly kind: 'stored'; readonly modelCallId: string; readonly toolName: string; readonly call: string }
  | { readonly kind: 'inline'; readonly modelCallId: string; readonly toolName: string; readonly value: Json };

export interface CallModelInput extends RunInput {
  readonly call: string;
  readonly seq: number;
  readonly turn: number;
  readonly results: readonly ToolResultRef[];
  readonly reserved: Amount;
  readonly label?: string;
  /** The request may not be larger than this: it was reserved at one token a byte. */
  readonly promptBytes: number;
  readonly maxOutputTokens: number;
  readonly deadlineMs: number;
}

/** A tool call as the model asked for it. */
export interface ModelToolCall {
  readonly id: string;
  /** The model's name of the tool. */
  readonly toolName: string;
  readonly args: Json;
  /** Why the arguments could not be read, where they could not. */
  readonly invalid?: string;
}

export interface ModelUsage {
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly cacheWriteTokens: number;
  readonly outputTokens: number;
  readonly reasoningTokens: number;
}

export type CallModelResult =
  | {
      readonly kind: 'done';
      readonly text: string;
      readonly toolCalls: readonly ModelToolCall[];
      readonly usage: ModelUsage | null;
      readonly spent: Amount;
      /** Bytes that this turn adds to every later prompt. */
      readonly bytes: number;
      readonly messages: number;
      /** Charged at its reservation because the provider reported no usage. */
      readonly flagged: boolean;
      readonly notices?: Notices;
    }
  /** An earlier attempt was sent and its answer is lost: settled in full. */
  | { readonly kind: 'lost'; readonly spent: Amount }
  | Refused
  | {
      readonly kind: 'failed';
      readonly error: CallError;
      readonly spent: Amount;
      readonly retry: boolean;
      readonly notices?: Notices;
    };

export interface RecordInput extends RunInput {
  readonly closed: { readonly status: string; readonly lastSeq: number } | null;
}

export interface RecordAnswerInput extends RunInput {
  readonly approvalId: string;
  /** The DSSE envelope as it came. */
  readonly envelope: Json;
}

export type RecordAnswerResult =
  | {
      readonly kind: 'accepted';
      readonly decision: 'approve' | 'reject';
      readonly complete: boolean;
      readonly person: string;
    }
  | { readonly kind: 'rejected'; readonly reason: string };

export interface VerifyCommandInput extends RunInput {
  readonly envelope: Json;
  /** The run's budget as its workflow has it: what a top-up may add to. Absent: the run itself is not asked. */
  readonly budget?: { readonly limit: Limit; readonly child?: true };
  /** What the door that it came through takes: another verb is refused, and not used up. Absent: every verb of a run. */
  readonly takes?: readonly CommandVerb[];
}

/** A signed command that was verified (trust.md, Keys and commands). */
export type VerifyCommandResult =
  | {
      readonly kind: 'accepted';
      readonly verb: 'thaw' | 'topUp' | 'resolve' | 'recover';
      readonly person: string;
      readonly reason: string;
      readonly data: JsonObject;
    }
  | { readonly kind: 'rejected'; readonly reason: string };

export interface ExpireAskInput extends RunInput {
  readonly approvalId: string;
  readonly outcome: 'expired' | 'withdrawn';
}

export interface NotifyInput {
  readonly v: 1;
  readonly run: string;
  readonly what: 'ask' | 'reminder' | 'outcome' | 'budget';
  readonly approvalId: string | null;
  readonly text: string;
}

/** Every activity, as workflows call them. */
export interface Activities {
  openRun(input: OpenRunInput): Promise<OpenRunResult>;
  callTool(input: CallToolInput): Promise<CallToolResult>;
  callModel(input: CallModelInput): Promise<CallModelResult>;
  record(input: RecordInput): Promise<void>;
  recordAnswer(input: RecordAnswerInput): Promise<RecordAnswerResult>;
  verifyCommand(input: VerifyCommandInput): Promise<VerifyCommandResult>;
  endAsk(input: ExpireAskInput): Promise<void>;
  notify(input: NotifyInput): Promise<void>;
}
