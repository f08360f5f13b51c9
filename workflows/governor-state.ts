/**
 * The state of a governed run: plain readonly data and pure steps over it. Carried whole through continue-as-new.
 * What needs no outside is decided here: freeze, deadline, calls used up, budget (guards.md O1, the part marked [w]).
 */
import { addFacts } from '../governance/facts.ts';
import {
  BUDGET_UNITS,
  left,
  newBudget,
  release,
  reserve,
  settle,
  topUp,
  type BudgetState,
} from '../governance/budget.ts';
import type { Amount, Limit, LiveFact, Principal, Usage } from '../governance/call.ts';
import { deny, frozen } from '../governance/denial.ts';
import type { Denial } from '../governance/errors.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { MAX_LISTED_DENIALS } from '../governance/limits.ts';
import { microsToUsd } from '../governance/money.ts';
import type { ToolSummary } from '../governance/tool.ts';
import { reserveLabels, settleLabels, unchargeLabels, type LabelBudgets } from './label-budget.ts';
import { budgetDenial } from './words.ts';
import type { Ask, CallToolResult, NotifyInput, WorkflowEntry } from '../activities/types.ts';

/** A call that is not done. */
export interface OpenCall {
  readonly call: string;
  readonly seq: number;
  readonly tool: string;
  readonly args: Json;
  /** What the call is for: limits of labels count it. */
  readonly label?: string;
  /** `waiting`: refused for now by a rate limit that says wait (RL5), or by others' reservations. */
  readonly phase: 'running' | 'waiting' | 'asking' | 'unknown';
  readonly ask: Ask | null;
  /** What came of the ask. */
  readonly answer: 'granted' | 'rejected' | 'expired' | null;
  readonly rejectedAnswers: number;
  /** A call that waits is tried again at this time, milliseconds since the epoch. */
  readonly notBeforeMs?: number;
  /** What an unknown outcome was charged: its worst case, until it is known (D10). */
  readonly charged?: Amount;
  /** When an unknown outcome is asked for again, milliseconds since the epoch; null: not by itself. */
  readonly askAtMs?: number | null;
  /** When it was last asked because a message said so. */
  readonly lookedAtMs?: number;
  /** People were told that one of them has to say what happened. */
  readonly told?: boolean;
}

/** A call that begins. */
export function newCall(call: Pick<OpenCall, 'call' | 'seq' | 'tool' | 'args' | 'label'>): OpenCall {
  return { ...call, phase: 'running', ask: null, answer: null, rejectedAnswers: 0 };
}

/** Everything a governed run knows; its own continue-as-new hands it over whole. */
export interface GovernorState {
  readonly v: 1;
  readonly run: string;
  readonly principal: Principal;
  readonly deadlineMs: number;
  /** Opened by another run, whose budget this one spends: it is not topped up by itself. */
  readonly child?: true;
  readonly budget: BudgetState;
  /** Parts of it that labels may use; absent: none is limited. */
  readonly labels?: LabelBudgets;
  readonly tools: { readonly [name: string]: ToolSummary };
  readonly frozen: { readonly by: string; readonly reason: string } | null;
  /** Number of the last call. */
  readonly seq: number;
  readonly entryNumber: number;
  /** Made here, not yet recorded. */
  readonly entries: readonly WorkflowEntry[];
  /** Calls per tool that ran or are under way (MC1). */
  readonly used: { readonly [tool: string]: number };
  readonly facts: readonly LiveFact[];
  readonly open: { readonly [call: string]: OpenCall };
  readonly denials: readonly Denial[];
  readonly rejectedMessages: number;
  /** The highest share of a limit that was reported: 0, 50, 80 or 100 per cent. */
  readonly reported: number;
  /** The last call that was seen recorded. */
  readonly lastCall?: string;
  /** Notifications that are not sent yet. */
  readonly unsent: readonly NotifyInput[];
}

/** A run as it was opened. */
export function newState(
  run: string,
  principal: Principal,
  limit: Limit,
  deadlineMs: number,
  tools: readonly ToolSummary[],
): GovernorState {
  return {
    v: 1,
    run,
    principal,
    deadlineMs,
    budget: newBudget(limit),
    tools: Object.fromEntries(tools.map((t) => [t.name, t])),
    frozen: null,
    seq: 0,
    entryNumber: 0,
    entries: [],
    used: {},
    facts: [],
    open: {},
    denials: [],
    rejectedMessages: 0,
    reported: 0,
    unsent: [],
  };
}

/** What a tool call reserves: its worst price and one call. */
export function toolWorstCase(tool: ToolSummary): Amount {
  return { usdMicros: tool.cost?.worstMicros ?? 0, tokens: 0, calls: 1 };
}

export type Admission =
  | { readonly kind: 'admitted'; readonly state: GovernorState; readonly reserved: Amount }
  | { readonly kind: 'denied'; readonly denial: Denial };

/** Admits a tool call: freeze, deadline, maxCallsPerRun, budget. A refusal spends nothing (O2). */
export function admit(state: GovernorState, tool: ToolSummary, nowMs: number, label?: string): Admission {
  const stopped = stopReason(state, nowMs);
  if (stopped) return { kind: 'denied', denial: stopped };
  const used = state.used[tool.name] ?? 0;
  if (tool.maxCallsPerRun !== null && used >= tool.maxCallsPerRun) {
    const denial = deny(
      'CALLS_EXHAUSTED',
      `${tool.name} may be called ${tool.maxCallsPerRun} times in a run`,
      'go on without it',
      { used, limit: tool.maxCallsPerRun },
    );
    return { kind: 'denied', denial };
  }
  const reserved = toolWorstCase(tool);
  const taken = reserve(state.budget, reserved);
  const labels = reserveLabels(state, label, reserved); // innermost first
  if (labels.kind === 'denied') return labels;
  if (taken.kind === 'exceeded') return { kind: 'denied', denial: budgetDenial(state, taken) };
  return {
    kind: 'admitted',
    reserved,
    state: {
      ...{ ...state, budget: taken.state, used: { ...state.used, [tool.name]: used + 1 } },
      ...(labels.labels ? { labels: labels.labels } : {}),
    },
  };
}

/** FROZEN or DEADLINE_EXCEEDED, where nothing may begin. */
export function stopReason(state: GovernorState, nowMs: number): Denial | null {
  if (state.frozen) return frozen({ scope: 'run', value: state.run, ...state.frozen });
  if (nowMs < state.deadlineMs) return null;
  const deadline = new Date(state.deadlineMs).toISOString();
  return deny('DEADLINE_EXCEEDED', `the run's deadline ${deadline} has passed`, 'stop and tell the user', { deadline });
}

/** Gives back what a refused call had reserved: money and its count. */
export function giveBack(state: GovernorState, tool: string, reserved: Amount, label?: string): GovernorState {
  const labels = settleLabels(state, label, reserved, null);
  return { ...uncount(state, tool), budget: release(state.budget, reserved), ...labels };
}

/** Settles a call that ran. */
export function settleCall(state: GovernorState, reserved: Amount, spent: Amount, label?: string): GovernorState {
  const labels = settleLabels(state, label, reserved, spent);
  return { ...state, budget: settle(state.budget, reserved, spent), ...labels };
}

/** One call less of this tool: it will be counted again. */
export function uncount(state: GovernorState, tool: string): GovernorState {
  return { ...state, used: { ...state.used, [tool]: Math.max(0, (state.used[tool] ?? 0) - 1) } };
}

/** Takes back what an unknown outcome was charged, before it is settled for good. */
export function uncharge(state: GovernorState, charged: Amount, label?: string): GovernorState {
  const { spent } = state.budget;
  const less = (unit: keyof Amount): number => Math.max(0, spent[unit] - charged[unit]);
  return {
    ...state,
    budget: { ...state.budget, spent: { usdMicros: less('usdMicros'), tokens: less('tokens'), calls: less('calls') } },
    ...unchargeLabels(state, label, charged),
  };
}

/** The facts of a call's result, with their lives. */
export function factsOf(call: string, done: Extract<CallToolResult, { kind: 'done' }>): LiveFact[] {
  const { provedAtMs } = done;
  return done.facts.map(({ kind, value, ttlMs, untrusted }) => ({
    kind,
    value,
    ...(untrusted === true ? { untrusted } : {}),
    provedAtMs,
    expiresAtMs: provedAtMs + ttlMs,
    call,
  }));
}

/** Keeps facts that a call proved. */
export function learn(state: GovernorState, facts: readonly LiveFact[], nowMs: number): GovernorState {
  return facts.length === 0 ? state : { ...state, facts: addFacts(state.facts, facts, nowMs) };
}

/** Remembers a denial for the run's result. */
export function noteDenial(state: GovernorState, denial: Denial): GovernorState {
  return { ...state, denials: [...state.denials, denial].slice(-MAX_LISTED_DENIALS) };
}

/** An entry of the workflow's own, numbered. */
export function addEntry(
  state: GovernorState,
  entry: { kind: WorkflowEntry['kind']; atMs: number; data: JsonObject; seq?: number; call?: string; tool?: string },
): GovernorState {
  const number = state.entryNumber + 1;
  return { ...state, entryNumber: number, entries: [...state.entries, { number, ...entry }] };
}

/** Entries up to this number are recorded. */
export function recorded(state: GovernorState, upTo: number): GovernorState {
  return { ...state, entries: state.entries.filter((e) => e.number > upTo) };
}

/** A denial decided here, with its entry. */
export function denyHere(
  state: GovernorState,
  call: { call: string; seq: number; tool: string },
  denial: Denial,
  atMs: number,
): GovernorState {
  const noted = noteDenial(state, denial);
  return addEntry(noted, { kind: 'call.denied', atMs, ...call, data: { code: denial.code, by: 'workflow' } });
}

/** Sets or removes an open call. */
export function setOpen(state: GovernorState, call: OpenCall): GovernorState {
  return { ...state, open: { ...state.open, [call.call]: call } };
}
export function removeOpen(state: GovernorState, call: string): GovernorState {
  const { [call]: _gone, ...open } = state.open;
  return { ...state, open };
}

/** The open ask with this id. */
export function findAsk(state: GovernorState, approvalId: string): (OpenCall & { ask: Ask }) | undefined {
  return Object.values(state.open).find(
    (c): c is OpenCall & { ask: Ask } => c.ask?.approvalId === approvalId && c.phase === 'asking' && !c.ask.joined,
  );
}

export function freeze(state: GovernorState, by: string, reason: string, atMs: number): GovernorState {
  if (state.frozen) return state;
  return addEntry({ ...state, frozen: { by, reason } }, { kind: 'run.frozen', atMs, data: { by, reason } });
}

export function thaw(state: GovernorState, by: string, reason: string, atMs: number): GovernorState {
  if (!state.frozen) return state;
  return addEntry({ ...state, frozen: null }, { kind: 'run.thawed', atMs, data: { by, reason } });
}

/** Raises the run's limit. */
export function addBudget(state: GovernorState, more: Limit, by: string, reason: string, atMs: number): GovernorState {
  const budget = topUp(state.budget, more);
  return addEntry(
    { ...state, budget, reported: 0 },
    { kind: 'budget.topped-up', atMs, data: { by, reason, more: more as JsonObject } },
  );
}

/** What a run has used, for people and results. */
export function usageOf(state: GovernorState): Usage {
  const { spent } = state.budget;
  return { usd: microsToUsd(spent.usdMicros), usdMicros: spent.usdMicros, tokens: spent.tokens, calls: spent.calls };
}

/** What is left, for policies. */
export function leftOf(state: GovernorState): Limit {
  return left(state.budget);
}

/** The highest share of any limit that is spent, in whole per cent. */
export function spentShare(state: GovernorState): number {
  const { limit, spent } = state.budget;
  return Math.max(0, ...BUDGET_UNITS.map((unit) => Math.floor((100 * spent[unit]) / (limit[unit] ?? Infinity))));
}

/** A name the model used, as a tool of this run. */
export function findTool(state: GovernorState, name: string): ToolSummary | undefined {
  if (Object.hasOwn(state.tools, name)) return state.tools[name];
  return Object.values(state.tools).find((t) => t.modelName === name);
}
