/**
 * The order of things in one governed run: admits a call, schedules its one activity, waits for people, settles. It
 * holds the state; every change of it is a pure step in governor-state.ts.
 */
import {
  CancellationScope,
  condition,
  isCancellation,
  setCurrentDetails,
  setHandler,
  sleep,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { CallToolResult, RunInput } from '../activities/types.ts';
import type { Amount, CallResult, Limit } from '../governance/call.ts';
import { deny } from '../governance/denial.ts';
import type { Denial } from '../governance/errors.ts';
import { relevantFacts } from '../governance/facts.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { MAX_REJECTED_ANSWERS } from '../governance/limits.ts';
import type { ToolSummary } from '../governance/tool.ts';
import { detailsOf } from './details.ts';
import * as step from './governor-state.ts';
import type { GovernorState, OpenCall } from './governor-state.ts';
import { installMailbox, type Message } from './mailbox.ts';
import { stateQuery, type RunState, type RunStatus } from './messages.ts';
import { callToolActivity, notifications, transactions } from './proxies.ts';

/** A call's result and what it adds to a transcript. */
export interface GovernedCall {
  readonly result: CallResult;
  /** The call whose stored result this is (its own, or the one it repeats); null: nothing is stored. */
  readonly stored: string | null;
  readonly bytes: number;
}

export interface CallOptions {
  /** The caller's own id; default `c<seq>`. */
  readonly callId?: string;
  /** Whether the output itself is needed here; default true. */
  readonly inline?: boolean;
  /** Answer unknown at once (sessions), or wait until somebody knows. */
  readonly unknown?: 'answer' | 'wait';
  readonly again?: boolean;
  /** Told when a person has to answer. */
  readonly onAsk?: (approvalId: string) => void;
}

const SPEND_MARKS = [100, 80, 50] as const;

export class Governor {
  state: GovernorState;
  readonly inbox: Message[] = [];
  status: RunStatus = 'running';
  /** What an exhausted run needs to go on. */
  needed: Amount | null = null;
  #details = '';
  #stopped = false;
  readonly #resolutions = new Map<string, JsonObject>();
  readonly #awaited = new Set<string>();
  /** Told when a question that nobody waits for was answered (sessions). */
  onResolved: (call: string, result: CallResult) => void = () => undefined;
  readonly #working: Promise<void>;

  constructor(state: GovernorState) {
    this.state = state;
    installMailbox(this);
    setHandler(stateQuery, () => this.describe());
    this.#working = this.#workInbox();
  }

  // ------------------------------------------------------------ calls

  /** One governed call. Denials are values; throws only on cancellation and on what no retry can mend. */
  async call(name: string, args: Json, options: CallOptions = {}): Promise<GovernedCall> {
    const tool = step.findTool(this.state, name);
    const seq = this.state.seq + 1;
    const call = options.callId ?? `c${seq}`;
    this.state = { ...this.state, seq };
    if (!tool) return this.#denyHere({ call, seq, tool: name.slice(0, 100) }, step.unknownTool(this.state, name));
    return this.#attempt(
      tool,
      { call, seq, tool: tool.name, args, phase: 'running', ask: null, answer: null, rejectedAnswers: 0 },
      options,
    );
  }

  /** Goes on with a call that was open when the run continued as new. */
  resume(open: OpenCall, options: CallOptions = {}): Promise<GovernedCall> {
    const tool = this.state.tools[open.tool];
    if (!tool) throw new Error(`no tool ${open.tool}`);
    return open.phase === 'asking'
      ? this.#wait(tool, open, options)
      : this.#attempt(tool, open, { ...options, again: true });
  }

  /** Refuses a numbered call without scheduling anything. */
  refuse(toolName: string, denial: Denial, callId?: string): GovernedCall {
    const seq = this.state.seq + 1;
    this.state = { ...this.state, seq };
    return this.#denyHere({ call: callId ?? `c${seq}`, seq, tool: toolName.slice(0, 100) }, denial);
  }

  async #attempt(tool: ToolSummary, open: OpenCall, options: CallOptions): Promise<GovernedCall> {
    for (;;) {
      const admission = step.admit(this.state, tool, Date.now());
      if (admission.kind === 'denied') return this.#denyHere(open, admission.denial);
      const { reserved } = admission;
      this.state = step.setOpen(admission.state, { ...open, phase: 'running' });
      const result = await this.#schedule(tool, open, reserved, options);
      const waitMs = this.#waitFor(tool, result);
      if (waitMs === null) return this.#apply(tool, open, reserved, result, options);
      this.state = step.giveBack(this.state, tool.name, reserved);
      await this.flush();
      await sleep(waitMs);
    }
  }

  /** RL5: a rate limit with `onLimit: 'wait'` sleeps until it may pass, within the run's deadline. */
  #waitFor(tool: ToolSummary, result: CallToolResult): number | null {
    if (result.kind !== 'denied' || result.denial.code !== 'RATE_LIMITED' || tool.onLimit !== 'wait') return null;
    const waitMs = result.denial.retryAfterMs ?? 1_000;
    return Date.now() + waitMs < this.state.deadlineMs ? waitMs : null;
  }

  async #schedule(tool: ToolSummary, open: OpenCall, reserved: Amount, options: CallOptions): Promise<CallToolResult> {
    const facts = relevantFacts(tool.requires, asObject(open.args), this.state.facts);
    const left = step.leftOf(this.state);
    try {
      return await this.withEntries((base) =>
        callToolActivity(
          tool,
          summaryOf(tool.name, open.args),
        )({
          ...base,
          call: open.call,
          seq: open.seq,
          tool: tool.name,
          args: open.args,
          facts,
          reserved,
          left,
          approvalId: open.answer === 'granted' && open.ask ? open.ask.approvalId : null,
          deadlineMs: this.state.deadlineMs,
          inline: options.inline ?? true,
          ...(options.again ? { again: true } : {}),
        }),
      );
    } catch (error) {
      this.state = step.removeOpen(step.giveBack(this.state, tool.name, reserved), open.call);
      throw error;
    }
  }

  async #apply(
    tool: ToolSummary,
    open: OpenCall,
    reserved: Amount,
    result: CallToolResult,
    options: CallOptions,
  ): Promise<GovernedCall> {
    const { call } = open;
    switch (result.kind) {
      case 'done': {
        const nowMs = Date.now();
        const repeats = result.repeats !== undefined;
        this.state = repeats
          ? step.giveBack(this.state, tool.name, reserved)
          : step.settleCall(this.state, reserved, { usdMicros: result.spentMicros, tokens: 0, calls: 1 });
        const facts = result.facts.map((f) => ({
          kind: f.kind,
          value: f.value,
          provedAtMs: result.provedAtMs,
          expiresAtMs: result.provedAtMs + f.ttlMs,
          call,
        }));
        this.state = step.removeOpen(step.learn(this.state, facts, nowMs), call);
        this.#noteSpend();
        return {
          result: { kind: 'done', output: result.output ?? null, callId: call },
          stored: result.repeats ?? call,
          bytes: result.bytes,
        };
      }
      case 'denied':
        this.state = step.noteDenial(
          step.removeOpen(step.giveBack(this.state, tool.name, reserved), call),
          result.denial,
        );
        return { result: { kind: 'denied', denial: result.denial, callId: call }, stored: null, bytes: 0 };
      case 'failed':
        this.state = step.removeOpen(
          step.settleCall(this.state, reserved, { usdMicros: result.spentMicros, tokens: 0, calls: 1 }),
          call,
        );
        this.#noteSpend();
        return { result: { kind: 'failed', error: result.error, callId: call }, stored: null, bytes: 0 };
      case 'ask': {
        this.state = step.giveBack(this.state, tool.name, reserved);
        const asking: OpenCall = { ...open, phase: 'asking', ask: result.ask, answer: null };
        this.state = step.setOpen(this.state, asking);
        this.#notify('ask', result.ask.approvalId, result.ask.title);
        return this.#wait(tool, asking, options);
      }
      case 'unknown': {
        const charged: Amount = { usdMicros: result.spentMicros, tokens: 0, calls: 1 };
        this.state = step.settleCall(this.state, reserved, charged);
        this.#noteSpend();
        return this.#unknown(tool, { ...open, phase: 'unknown', charged }, options);
      }
      default:
        return result satisfies never;
    }
  }

  /** Waits for a person, for days if need be; holds nothing. */
  async #wait(tool: ToolSummary, asking: OpenCall, options: CallOptions): Promise<GovernedCall> {
    const { ask } = asking;
    if (!ask) throw new Error('nothing was asked');
    options.onAsk?.(ask.approvalId);
    this.#setStatus('waiting-approval');
    await this.flush();
    const answered = (): boolean => this.state.open[asking.call]?.answer != null;
    const untilMs = Math.min(ask.expiresAtMs, this.state.deadlineMs);
    try {
      if (!answered()) await condition(answered, Math.max(1, untilMs - Date.now()));
    } catch (error) {
      if (isCancellation(error)) {
        await this.#endAsk(ask.approvalId, 'withdrawn');
        this.state = step.removeOpen(this.state, asking.call);
      }
      throw error;
    }
    const answer = this.state.open[asking.call]?.answer ?? 'expired';
    this.#setStatus(this.#restingStatus(asking.call));
    if (answer === 'expired') await this.#endAsk(ask.approvalId, 'expired');
    if (answer === 'granted') return this.#attempt(tool, { ...asking, answer }, { ...options, onAsk: options.onAsk });
    const denial =
      answer === 'rejected'
        ? deny(
            'APPROVAL_REJECTED',
            `${tool.name} was rejected by a person`,
            'do not ask for the same again; tell the user',
            { approvalId: ask.approvalId },
          )
        : deny(
            'APPROVAL_EXPIRED',
            `nobody answered in time whether ${tool.name} may run`,
            'tell the user; ask again only if it is still wanted',
            { approvalId: ask.approvalId },
          );
    return this.#denyHere(asking, denial);
  }

  /** An unknown outcome: answered at once, or waited for until a person says what happened. */
  async #unknown(tool: ToolSummary, open: OpenCall, options: CallOptions): Promise<GovernedCall> {
    const { call } = open;
    this.state = step.setOpen(this.state, open);
    if (options.unknown !== 'wait') return { result: { kind: 'unknown', callId: call }, stored: null, bytes: 0 };
    this.#setStatus('waiting-resolution');
    this.#notify(
      'outcome',
      null,
      `${tool.name}: nobody knows whether it happened. Look, then: actguard resolve ${this.state.run}/${call}`,
    );
    await this.flush();
    const known = await condition(() => this.#resolutions.has(call), Math.max(1, this.state.deadlineMs - Date.now()));
    this.#setStatus(this.#restingStatus(call));
    if (!known) return { result: { kind: 'unknown', callId: call }, stored: null, bytes: 0 };
    return this.#again(tool, open, options);
  }

  /** Asks again for a call whose outcome was unknown: its row may be resolved, its receiver may know by now. */
  retryUnknown(call: string): Promise<GovernedCall> | null {
    const open = this.state.open[call];
    const tool = open && this.state.tools[open.tool];
    return open?.phase === 'unknown' && tool ? this.#again(tool, open, { unknown: 'answer' }) : null;
  }

  #again(tool: ToolSummary, open: OpenCall, options: CallOptions): Promise<GovernedCall> {
    const { charged, ...rest } = open;
    const used = this.state.used[tool.name] ?? 1;
    const state = charged ? step.uncharge(this.state, charged) : this.state;
    // one call counts once, however often its outcome is asked for (MC1)
    this.state = step.removeOpen({ ...state, used: { ...state.used, [tool.name]: used - 1 } }, open.call);
    return this.#attempt(tool, rest, { ...options, again: true });
  }

  #denyHere(call: { call: string; seq: number; tool: string }, denial: Denial): GovernedCall {
    this.state = step.removeOpen(
      step.denyHere(this.state, { call: call.call, seq: call.seq, tool: call.tool }, denial, Date.now()),
      call.call,
    );
    return { result: { kind: 'denied', denial, callId: call.call }, stored: null, bytes: 0 };
  }

  // ------------------------------------------------------------ entries and messages

  /** Runs an activity with the entries that are not recorded yet; they are dropped once it has answered. */
  async withEntries<T>(activity: (base: RunInput) => Promise<T>): Promise<T> {
    const { entries, run } = this.state;
    const continuedFrom = workflowInfo().continuedFromExecutionRunId;
    const result = await activity({ v: 1, run, entries, ...(continuedFrom === undefined ? {} : { continuedFrom }) });
    this.state = step.recorded(this.state, entries.at(-1)?.number ?? 0);
    return result;
  }

  /** Records what is not recorded, before a wait. */
  async flush(): Promise<void> {
    if (this.state.entries.length > 0) await this.withEntries((base) => transactions.record({ ...base, closed: null }));
  }

  /** Ends the run in the ledger. */
  async close(status: RunStatus): Promise<void> {
    await CancellationScope.nonCancellable(async () => {
      for (const open of Object.values(this.state.open)) {
        if (open.phase === 'asking' && open.ask) await this.#endAsk(open.ask.approvalId, 'withdrawn');
      }
      await this.withEntries((base) => transactions.record({ ...base, closed: { status, lastSeq: this.state.seq } }));
      this.status = status;
      upsertSearchAttributes({ ActGuardStatus: [status], ActGuardSpendUsd: [step.usageOf(this.state).usd] });
      this.#stopped = true;
      this.#showDetails();
      await this.#working;
    });
  }

  /** Stops working on messages, before continue-as-new: what waits in the inbox is worked on first. */
  async drain(): Promise<void> {
    await condition(() => this.inbox.length === 0);
    this.#stopped = true;
    await this.#working;
    await this.flush();
  }

  freezeNow(by: string, reason: string): void {
    this.state = step.freeze(this.state, by, reason, Date.now());
    this.#setStatus('frozen');
  }

  countRejected(): void {
    this.state = { ...this.state, rejectedMessages: this.state.rejectedMessages + 1 };
  }

  async #workInbox(): Promise<void> {
    await CancellationScope.nonCancellable(async () => {
      for (;;) {
        await condition(() => this.inbox.length > 0 || this.#stopped);
        const message = this.inbox[0];
        if (!message) return;
        try {
          await this.#work(message);
        } catch {
          this.countRejected();
        }
        this.inbox.shift();
      }
    });
  }

  async #work(message: Message): Promise<void> {
    if (message.kind === 'freeze') return this.freezeNow(message.by, message.reason);
    if (message.kind === 'answer') return this.#workAnswer(message.approvalId, message.envelope);
    const verified = await this.withEntries((base) =>
      transactions.verifyCommand({ ...base, envelope: message.envelope }),
    );
    if (verified.kind === 'rejected' || verified.verb !== message.verb) return this.countRejected();
    const nowMs = Date.now();
    if (verified.verb === 'thaw') this.state = step.thaw(this.state, verified.person, verified.reason, nowMs);
    if (verified.verb === 'topUp')
      this.state = step.addBudget(this.state, verified.data as Limit, verified.person, verified.reason, nowMs);
    if (verified.verb === 'resolve') this.#resolved(String(verified.data['call']), verified.data);
    this.#setStatus(this.#restingStatus(''));
    this.#showDetails();
  }

  #resolved(call: string, data: JsonObject): void {
    if (this.#awaited.has(call)) {
      this.#resolutions.set(call, data);
      return;
    }
    void this.retryUnknown(call)?.then((governed) => this.onResolved(call, governed.result));
  }

  async #workAnswer(approvalId: string, envelope: Json): Promise<void> {
    const open = step.findAsk(this.state, approvalId);
    // several may have waited in the inbox when the last one that counts was rejected
    if (!open || open.rejectedAnswers >= MAX_REJECTED_ANSWERS) return this.countRejected();
    const result = await this.withEntries((base) => transactions.recordAnswer({ ...base, approvalId, envelope }));
    const now = this.state.open[open.call];
    if (!now) return;
    if (result.kind === 'rejected') {
      this.state = step.setOpen(this.state, { ...now, rejectedAnswers: now.rejectedAnswers + 1 });
      this.countRejected();
    } else if (result.decision === 'reject' || result.complete) {
      this.state = step.setOpen(this.state, { ...now, answer: result.decision === 'reject' ? 'rejected' : 'granted' });
    }
  }

  async #endAsk(approvalId: string, outcome: 'expired' | 'withdrawn'): Promise<void> {
    await CancellationScope.nonCancellable(() =>
      this.withEntries((base) => transactions.endAsk({ ...base, approvalId, outcome })),
    );
  }

  #notify(what: 'ask' | 'outcome' | 'budget', approvalId: string | null, text: string): void {
    void CancellationScope.nonCancellable(() =>
      notifications.notify({ v: 1, run: this.state.run, what, approvalId, text }),
    ).catch(() => undefined);
  }

  // ------------------------------------------------------------ what people see

  /** The run's budget is out: says so once, and waits for a top-up until the deadline. False: none came. */
  async waitForBudget(needed: Amount): Promise<boolean> {
    this.needed = needed;
    const { limit } = this.state.budget;
    this.state = step.addEntry(this.state, {
      kind: 'budget.exhausted',
      atMs: Date.now(),
      data: { needed: needed as unknown as JsonObject },
    });
    this.#setStatus('exhausted');
    this.#notify('budget', null, `The run's budget is used up. Top it up: actguard topup ${this.state.run} --usd 0.25`);
    await this.flush();
    const more = await condition(
      () => this.state.budget.limit !== limit,
      Math.max(1, this.state.deadlineMs - Date.now()),
    );
    this.needed = null;
    if (more) this.#setStatus('running');
    return more;
  }

  /** Waits while the run is frozen. False: the deadline came first. */
  async whileFrozen(): Promise<boolean> {
    if (!this.state.frozen) return true;
    await this.flush();
    return condition(() => !this.state.frozen, Math.max(1, this.state.deadlineMs - Date.now()));
  }

  /** Spend at 50, 80 and 100 % is a search attribute: an upsert is an event, so only then. */
  #noteSpend(): void {
    const mark = SPEND_MARKS.find((m) => step.spentShare(this.state) >= m) ?? 0;
    if (mark <= this.state.reported) return;
    this.state = { ...this.state, reported: mark };
    upsertSearchAttributes({ ActGuardSpendUsd: [step.usageOf(this.state).usd] });
    this.#showDetails();
  }

  /** After a model call: settles it. */
  settleModel(reserved: Amount, spent: Amount): void {
    this.state = step.settleCall(this.state, reserved, spent);
    this.#noteSpend();
  }

  #restingStatus(done: string): RunStatus {
    if (this.state.frozen) return 'frozen';
    if (this.needed) return 'exhausted';
    const others = Object.values(this.state.open).filter((c) => c.call !== done);
    if (others.some((c) => c.phase === 'asking')) return 'waiting-approval';
    return 'running';
  }

  #setStatus(status: RunStatus): void {
    if (status !== this.status) {
      this.status = status;
      upsertSearchAttributes({ ActGuardStatus: [status] });
    }
    this.#showDetails();
  }

  #showDetails(): void {
    const details = detailsOf(this.describe());
    if (details === this.#details) return;
    this.#details = details;
    setCurrentDetails(details);
  }

  describe(): RunState {
    const { state } = this;
    const open = Object.values(state.open);
    return {
      v: 1,
      run: state.run,
      ...state.principal,
      status: this.status,
      frozen: state.frozen,
      usage: step.usageOf(state),
      limit: state.budget.limit,
      reserved: state.budget.reserved,
      calls: state.seq,
      openAsks: open.flatMap((c) =>
        c.phase === 'asking' && c.ask
          ? [{ ...c.ask, call: c.call, tool: c.tool, rejectedAnswers: c.rejectedAnswers }]
          : [],
      ),
      unknownCalls: open.filter((c) => c.phase === 'unknown').map((c) => c.call),
      lastDenial: state.denials.at(-1) ?? null,
      needed: this.needed,
      rejectedMessages: state.rejectedMessages,
      deadlineMs: state.deadlineMs,
    };
  }
}

function asObject(args: Json): JsonObject {
  return typeof args === 'object' && args !== null && !Array.isArray(args) ? (args as JsonObject) : {};
}

/** Tool and object, for the Temporal UI: `payments.refund orderId 1042`. */
function summaryOf(tool: string, args: Json): string {
  const first = Object.entries(asObject(args)).find(([, v]) => typeof v === 'string' || typeof v === 'number');
  return first ? `${tool} ${first[0]} ${String(first[1])}`.slice(0, 120) : tool;
}
