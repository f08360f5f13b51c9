/**
 * The order of things in one governed run: admits a call, schedules its one activity, waits for people, settles. It
 * holds the state; every change of it is a pure step in governor-state.ts.
 */
import { CancellationScope, isCancellation } from '@temporalio/workflow';
import type { CallToolResult } from '../activities/types.ts';
import type { Amount, CallResult } from '../governance/call.ts';
import { ZERO } from '../governance/budget.ts';
import type { Denial } from '../governance/errors.ts';
import { relevantFacts } from '../governance/facts.ts';
import type { Json } from '../governance/json.ts';
import type { ToolSummary } from '../governance/tool.ts';
import { asObject, notStored, type CallOptions, type GovernedCall } from './governed-call.ts';
import { GovernedRun, runCancelled } from './governed-run.ts';
import * as step from './governor-state.ts';
import type { GovernorState, OpenCall } from './governor-state.ts';
import { Inbox } from './inbox.ts';
import type { RunStatus } from './messages.ts';
import { callToolActivity, transactions } from './proxies.ts';
import { noYes, runEnded, summaryOf, unknownText, unknownTool } from './words.ts';

/** Every way in uses this one: `agentRun`, `session`, and a user's own workflow. */
export class Governor extends GovernedRun {
  readonly #inbox: Inbox;
  readonly #resolutions = new Set<string>();
  readonly #awaited = new Set<string>();
  /** Told when a question that nobody waits for was answered (sessions). */
  onResolved: (call: string, result: CallResult) => void = () => undefined;

  constructor(state: GovernorState, options: { readonly interruptible?: boolean } = {}) {
    super(state, options);
    this.#inbox = new Inbox(this, (call) => this.#resolved(call));
  }

  // ------------------------------------------------------------ calls

  // Temporal takes a stack trace for every promise: on the way of a plain call there is one of ours and no more.

  /** One governed call. Denials are values; rejects only on cancellation and on what no retry can mend. */
  call(name: string, args: Json, options: CallOptions = {}): Promise<GovernedCall> {
    if (this.isCancelled()) return Promise.reject(runCancelled());
    const tool = step.findTool(this.state, name);
    if (!tool) return Promise.resolve(this.refuse(name, unknownTool(this.state, name), options.callId));
    const seq = this.nextSeq();
    const call = options.callId ?? `c${seq}`;
    const open = step.newCall({ call, seq, tool: tool.name, args });
    return this.#attempt(tool, open, options);
  }

  /** Goes on with a call that was open when the run continued as new. */
  async resume(open: OpenCall, options: CallOptions = {}): Promise<GovernedCall> {
    const tool = this.state.tools[open.tool];
    if (!tool) return this.#denyHere(open, unknownTool(this.state, open.tool));
    switch (open.phase) {
      case 'asking':
        return this.#wait(tool, open, options);
      case 'waiting':
        return (await this.#waitForRate(open)) ?? this.#attempt(tool, open, options);
      case 'unknown':
        return this.#unknown(tool, open, options);
      case 'running':
        return this.#attempt(tool, open, { ...options, again: true });
      default:
        return open.phase satisfies never;
    }
  }

  /** Refuses a numbered call without scheduling anything. */
  refuse(toolName: string, denial: Denial, callId?: string): GovernedCall {
    const seq = this.nextSeq();
    return this.#denyHere({ call: callId ?? `c${seq}`, seq, tool: toolName.slice(0, 100) }, denial);
  }

  /** The stored result of a call that is done: takes no count and no money, and no new number (D3). */
  async reread(done: { call: string; seq: number; tool: string; args: Json }): Promise<CallResult> {
    const tool = this.state.tools[done.tool];
    if (!tool) return { kind: 'denied', denial: unknownTool(this.state, done.tool), callId: done.call };
    const { entries } = this.state;
    const result = await this.#activity(tool, step.newCall(done), ZERO, { again: true });
    this.entriesSent(entries, result);
    if (result.kind === 'done') return { kind: 'done', output: result.output ?? null, callId: done.call };
    if (result.kind === 'ask') return { kind: 'pending', callId: done.call };
    if (result.kind === 'unknown') return { kind: 'unknown', callId: done.call };
    return { ...result, callId: done.call };
  }

  async #attempt(tool: ToolSummary, open: OpenCall, options: CallOptions): Promise<GovernedCall> {
    for (;;) {
      const admission = step.admit(this.state, tool, Date.now());
      if (admission.kind === 'denied') return this.#denyHere(open, admission.denial);
      const { reserved } = admission;
      this.state = step.setOpen(admission.state, { ...open, phase: 'running' });
      const { entries } = this.state;
      let result: CallToolResult;
      try {
        result = await this.#activity(tool, open, reserved, options);
        this.entriesSent(entries, result);
      } catch (error) {
        this.#lost(tool, open, reserved, error);
        throw error;
      }
      const waitMs = this.#rateWait(tool, result);
      if (waitMs === null) {
        const applied = this.#apply(tool, open, reserved, result, options);
        return applied instanceof Promise ? await applied : applied;
      }
      const waiting: OpenCall = { ...open, phase: 'waiting', notBeforeMs: Date.now() + waitMs };
      this.state = step.setOpen(step.giveBack(this.state, tool.name, reserved), waiting);
      await this.flush();
      const ended = await this.#waitForRate(waiting);
      if (ended) return ended;
    }
  }

  /** RL5: a rate limit with `onLimit: 'wait'` sleeps until it may pass, within the run's deadline. */
  #rateWait(tool: ToolSummary, result: CallToolResult): number | null {
    if (result.kind !== 'denied' || result.denial.code !== 'RATE_LIMITED' || tool.onLimit !== 'wait') return null;
    const waitMs = result.denial.retryAfterMs ?? 1_000;
    return Date.now() + waitMs < this.state.deadlineMs ? waitMs : null;
  }

  async #waitForRate(waiting: OpenCall): Promise<GovernedCall | null> {
    const waited = await this.until(() => false, waiting.notBeforeMs ?? 0);
    return waited === 'ended' ? this.#denyHere(waiting, runEnded()) : null;
  }

  #lost(tool: ToolSummary, open: OpenCall, reserved: Amount, error: unknown): void {
    // cancelled between attempts: nobody knows what was sent, the reservation is what it costs
    const state = isCancellation(error)
      ? step.settleCall(this.state, reserved, reserved)
      : step.giveBack(this.state, tool.name, reserved);
    this.state = step.removeOpen(state, open.call);
  }

  #activity(tool: ToolSummary, open: OpenCall, reserved: Amount, options: CallOptions): Promise<CallToolResult> {
    const summary = summaryOf(tool.name, open.args);
    const facts = relevantFacts(tool.requires, asObject(open.args), this.state.facts);
    const left = step.leftOf(this.state);
    const activity = callToolActivity(tool, summary);
    return activity({
      ...this.baseInput(),
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
    });
  }

  #apply(
    tool: ToolSummary,
    open: OpenCall,
    reserved: Amount,
    result: CallToolResult,
    options: CallOptions,
  ): GovernedCall | Promise<GovernedCall> {
    const { call, seq } = open;
    const givenBack = (): GovernorState => step.giveBack(this.state, tool.name, reserved);
    const settled = (spentMicros: number): GovernorState =>
      step.settleCall(this.state, reserved, { usdMicros: spentMicros, tokens: 0, calls: 1 });
    switch (result.kind) {
      case 'done': {
        this.state = result.repeats === undefined ? settled(result.spentMicros) : givenBack();
        this.state = step.removeOpen(step.learn(this.state, step.factsOf(call, result), Date.now()), call);
        this.noteSpend();
        const done: CallResult = { kind: 'done', output: result.output ?? null, callId: call };
        return { result: done, seq, stored: result.repeats ?? call, bytes: result.bytes };
      }
      case 'denied':
        this.state = step.noteDenial(step.removeOpen(givenBack(), call), result.denial);
        return notStored(seq, { kind: 'denied', denial: result.denial, callId: call });
      case 'failed':
        this.state = step.removeOpen(settled(result.spentMicros), call);
        this.noteSpend();
        return notStored(seq, { kind: 'failed', error: result.error, callId: call });
      case 'ask': {
        this.state = givenBack();
        const asking: OpenCall = { ...open, phase: 'asking', ask: result.ask, answer: null, rejectedAnswers: 0 };
        this.state = step.setOpen(this.state, asking);
        this.notify('ask', result.ask.approvalId, result.ask.title);
        return this.#wait(tool, asking, options);
      }
      case 'unknown': {
        this.state = settled(result.spentMicros);
        this.noteSpend();
        const charged: Amount = { usdMicros: result.spentMicros, tokens: 0, calls: 1 };
        const unknown: OpenCall = { ...open, phase: 'unknown', charged };
        this.state = step.setOpen(this.state, unknown);
        if (options.unknown === 'wait') this.notify('outcome', null, unknownText(this.state.run, unknown));
        return this.#unknown(tool, unknown, options);
      }
      default:
        return result satisfies never;
    }
  }

  /** Waits for a person, for days if need be; holds nothing. */
  async #wait(tool: ToolSummary, asking: OpenCall, options: CallOptions): Promise<GovernedCall> {
    const { ask } = asking;
    if (!ask) return this.#denyHere(asking, runEnded());
    options.onAsk?.(ask.approvalId);
    this.setStatus(this.state.frozen ? 'frozen' : 'waiting-approval');
    await this.flush();
    const answer = (): OpenCall['answer'] => this.state.open[asking.call]?.answer ?? null;
    let waited;
    try {
      waited = await this.until(() => answer() !== null, Math.min(ask.expiresAtMs, this.state.deadlineMs));
    } catch (error) {
      if (isCancellation(error)) await this.#withdraw(asking, ask.approvalId, runEnded());
      throw error;
    }
    this.setStatus(this.restingStatus(asking.call));
    if (waited === 'ended') return this.#withdraw(asking, ask.approvalId, runEnded());
    if (answer() === 'granted') return this.#attempt(tool, { ...asking, answer: 'granted' }, options);
    if (waited === 'time') await this.endAsk(ask.approvalId, 'expired');
    return this.#denyHere(asking, noYes(tool.name, waited === 'time' ? 'expired' : 'rejected', ask.approvalId));
  }

  async #withdraw(asking: OpenCall, approvalId: string, denial: Denial): Promise<GovernedCall> {
    await this.endAsk(approvalId, 'withdrawn');
    return this.#denyHere(asking, denial);
  }

  /** An unknown outcome: answered at once, or waited for until a person says what happened. */
  async #unknown(tool: ToolSummary, open: OpenCall, options: CallOptions): Promise<GovernedCall> {
    const { call, seq } = open;
    if (options.unknown !== 'wait') return notStored(seq, { kind: 'unknown', callId: call });
    this.#awaited.add(call);
    this.setStatus('waiting-resolution');
    await this.flush();
    const waited = await this.until(() => this.#resolutions.has(call), this.state.deadlineMs);
    this.#awaited.delete(call);
    this.setStatus(this.restingStatus(call));
    if (waited !== 'holds') return notStored(seq, { kind: 'unknown', callId: call });
    this.#resolutions.delete(call);
    return this.#again(tool, open, options);
  }

  #resolved(call: string): void {
    if (this.#awaited.has(call)) this.#resolutions.add(call);
    else
      void this.retryUnknown(call)?.then(
        ({ result }) => this.onResolved(call, result),
        () => undefined,
      );
  }

  /** Asks again for a call whose outcome was unknown: its row may be resolved, its receiver may know by now. */
  retryUnknown(call: string): Promise<GovernedCall> | null {
    const open = this.state.open[call];
    const tool = open && this.state.tools[open.tool];
    return open?.phase === 'unknown' && tool ? this.#again(tool, open, { unknown: 'answer' }) : null;
  }

  #again(tool: ToolSummary, open: OpenCall, options: CallOptions): Promise<GovernedCall> {
    const { charged, ...rest } = open;
    // one call counts once, however often its outcome is asked for (MC1)
    this.state = step.removeOpen(
      step.uncount(charged ? step.uncharge(this.state, charged) : this.state, tool.name),
      open.call,
    );
    return this.#attempt(tool, rest, { ...options, again: true });
  }

  #denyHere({ call, seq, tool }: { call: string; seq: number; tool: string }, denial: Denial): GovernedCall {
    this.state = step.removeOpen(step.denyHere(this.state, { call, seq, tool }, denial, Date.now()), call);
    return notStored(seq, { kind: 'denied', denial, callId: call });
  }

  // ------------------------------------------------------------ the run as a whole

  /** Ends the run in the ledger. */
  async close(status: RunStatus): Promise<void> {
    await CancellationScope.nonCancellable(async () => {
      for (const open of Object.values(this.state.open)) {
        if (open.phase === 'asking' && open.ask) await this.#withdraw(open, open.ask.approvalId, runEnded());
      }
      await this.withEntries((base) => transactions.record({ ...base, closed: { status, lastSeq: this.state.seq } }));
      this.showEnd(status);
      await this.#inbox.stop();
    });
  }

  /** Before continue-as-new: every message is done, every entry recorded. Nothing else may be under way. */
  drain(): Promise<void> {
    return this.#inbox.drain();
  }
}
