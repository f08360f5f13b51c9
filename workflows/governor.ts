/**
 * The order of things in one governed run: admits a call, schedules its one activity, waits for people, settles. It
 * holds the state; every change of it is a pure step in governor-state.ts.
 */
import { CancellationScope, isCancellation } from '@temporalio/workflow';
import type { CallToolResult } from '../activities/types.ts';
import type { Amount, CallResult } from '../governance/call.ts';
import { ZERO } from '../governance/budget.ts';
import type { Denial } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import type { ToolSummary } from '../governance/tool.ts';
import { isUnwritten, pauseOf } from './budget-wait.ts';
import { callInput, notStored, type CallOptions, type GovernedCall } from './governed-call.ts';
import { waitForEqual } from './equal-asks.ts';
import { GovernedRun, runCancelled } from './governed-run.ts';
import * as step from './governor-state.ts';
import type { GovernorState, OpenCall } from './governor-state.ts';
import { Inbox } from './inbox.ts';
import type { RunStatus } from './messages.ts';
import { callToolActivity, transactions } from './proxies.ts';
import { Questions } from './questions.ts';
import { noYes, runEnded, summaryOf, unknownTool } from './words.ts';

/** Every way in uses this one: `agentRun`, `session`, and a user's own workflow. */
export class Governor extends GovernedRun {
  readonly #inbox: Inbox;
  readonly #questions: Questions;
  /** Told when a question that nobody waits for was answered (sessions). */
  onResolved: (call: string, result: CallResult) => void = () => undefined;

  constructor(state: GovernorState, options: { readonly interruptible?: boolean } = {}) {
    super(state, options);
    this.#questions = new Questions({
      run: this,
      ask: (open, inline) => this.#askAgain(open, inline),
      settle: (open, result) => this.#settle(open, result),
      answered: ({ result }, call) => this.onResolved(call, result),
    });
    this.#inbox = new Inbox(this, this.#questions);
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
    const { label } = options;
    const open = step.newCall({ call, seq, tool: tool.name, args, ...(label === undefined ? {} : { label }) });
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
        return (await this.#waitToTry(open)) ?? this.#attempt(tool, open, options);
      case 'unknown':
        return this.#unknown(open, options);
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
    for (let tries = 0; ; tries += 1) {
      const admission = step.admit(this.state, tool, Date.now(), open.label);
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
      const waitMs = pauseOf(tool, result, { run: this.state.run, seq: open.seq, tries }, this.state.deadlineMs);
      if (waitMs === null) {
        const applied = this.#apply(tool, open, reserved, result, options);
        return applied instanceof Promise ? await applied : applied;
      }
      const waiting: OpenCall = { ...open, phase: 'waiting', notBeforeMs: Date.now() + waitMs };
      this.state = step.setOpen(step.giveBack(this.state, tool.name, reserved, open.label), waiting);
      await this.flush();
      const ended = await this.#waitToTry(waiting);
      if (ended) return ended;
    }
  }

  async #waitToTry(waiting: OpenCall): Promise<GovernedCall | null> {
    const waited = await this.until(() => false, waiting.notBeforeMs ?? 0);
    return waited === 'ended' ? this.#denyHere(waiting, runEnded()) : null;
  }

  #lost(tool: ToolSummary, open: OpenCall, reserved: Amount, error: unknown): void {
    // cancelled between attempts: nobody knows what was sent, the reservation is what it costs
    const state = isCancellation(error)
      ? step.settleCall(this.state, reserved, reserved, open.label)
      : step.giveBack(this.state, tool.name, reserved, open.label);
    this.state = step.removeOpen(state, open.call);
  }

  #activity(tool: ToolSummary, open: OpenCall, reserved: Amount, options: CallOptions): Promise<CallToolResult> {
    const activity = callToolActivity(tool, summaryOf(tool.name, open.args));
    return activity({ ...this.baseInput(), ...callInput(this.state, tool, open, reserved, options) });
  }

  #apply(
    tool: ToolSummary,
    open: OpenCall,
    reserved: Amount,
    result: CallToolResult,
    options: CallOptions,
  ): GovernedCall | Promise<GovernedCall> {
    const { call, seq } = open;
    const givenBack = (): GovernorState => step.giveBack(this.state, tool.name, reserved, open.label);
    switch (result.kind) {
      case 'done':
      case 'failed':
        return this.#known(tool.name, open, reserved, result);
      case 'denied':
        this.state = givenBack();
        if (isUnwritten(tool, result)) return this.#denyHere(open, result.denial);
        this.state = step.noteDenial(step.removeOpen(this.state, call), result.denial);
        return notStored(seq, { kind: 'denied', denial: result.denial, callId: call }, result.account);
      case 'ask': {
        this.state = givenBack();
        const asking: OpenCall = { ...open, phase: 'asking', ask: result.ask, answer: null, rejectedAnswers: 0 };
        this.state = step.setOpen(this.state, asking);
        if (!result.ask.joined) this.notify('ask', result.ask.approvalId, result.ask.title);
        return this.#wait(tool, asking, options);
      }
      case 'unknown': {
        const charged: Amount = { usdMicros: result.spentMicros, tokens: 0, calls: 1 };
        this.state = step.settleCall(this.state, reserved, charged, open.label);
        this.noteSpend();
        return this.#unknown(this.#questions.note({ ...open, charged }, result), options);
      }
      default:
        return result satisfies never;
    }
  }

  /** Settles a call that ran. */
  #known(
    tool: string,
    { call, seq, label }: OpenCall,
    reserved: Amount,
    result: Extract<CallToolResult, { kind: 'done' | 'failed' }>,
  ): GovernedCall {
    const cost: Amount = { usdMicros: result.spentMicros, tokens: 0, calls: 1 };
    const repeats = result.repeats !== undefined;
    if (repeats) this.state = step.giveBack(this.state, tool, reserved, label);
    else this.state = step.settleCall(this.state, reserved, cost, label);
    if (result.kind === 'done') this.state = step.learn(this.state, step.factsOf(call, result), Date.now());
    this.state = step.removeOpen(this.state, call);
    if (!repeats) this.state = { ...this.state, lastCall: call };
    this.noteSpend();
    if (result.kind === 'failed') return notStored(seq, { kind: 'failed', error: result.error, callId: call });
    const done: CallResult = { kind: 'done', output: result.output ?? null, callId: call };
    return { result: done, seq, stored: result.repeats ?? call, bytes: result.bytes };
  }

  /** Waits for a person, for days if need be; holds nothing. */
  async #wait(tool: ToolSummary, asking: OpenCall, options: CallOptions): Promise<GovernedCall> {
    const { ask } = asking;
    if (!ask) return this.#denyHere(asking, runEnded());
    options.onAsk?.(ask.approvalId);
    this.setStatus(this.state.frozen ? 'frozen' : 'waiting-approval');
    await this.flush();
    const answer = (): OpenCall['answer'] => this.state.open[asking.call]?.answer ?? null;
    if (ask.joined) return this.#waitWithEqual(tool, asking, options);
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

  /** Another call asks the same: its answer is waited for, its yes is not ours. */
  async #waitWithEqual(tool: ToolSummary, asking: OpenCall, options: CallOptions): Promise<GovernedCall> {
    const denial = await waitForEqual(this, asking);
    this.setStatus(this.restingStatus(asking.call));
    return denial ? this.#denyHere(asking, denial) : this.#attempt(tool, step.newCall(asking), options);
  }

  async #withdraw(asking: OpenCall, approvalId: string, denial: Denial): Promise<GovernedCall> {
    if (!asking.ask?.joined) await this.endAsk(approvalId, 'withdrawn');
    return this.#denyHere(asking, denial);
  }

  /** An unknown outcome: answered at once, or waited for until somebody knows what happened. */
  async #unknown({ call, seq }: OpenCall, options: CallOptions): Promise<GovernedCall> {
    const unknown = notStored(seq, { kind: 'unknown', callId: call });
    if (options.unknown !== 'wait') return unknown;
    this.setStatus('waiting-resolution');
    const known = await this.#questions.wait(call, options.inline ?? true);
    this.setStatus(this.restingStatus(call));
    return known ?? unknown;
  }

  /** Asks now for a call whose outcome was unknown; null where it still is. Nothing for any other call. */
  askNow(call: string): Promise<GovernedCall | null> | null {
    return this.#questions.now(call);
  }

  async #askAgain(open: OpenCall, inline: boolean): Promise<CallToolResult> {
    const tool = this.state.tools[open.tool];
    if (!tool) return { kind: 'denied', denial: unknownTool(this.state, open.tool) };
    const { entries } = this.state;
    const result = await this.#activity(tool, open, open.charged ?? ZERO, { again: true, inline });
    this.entriesSent(entries, result);
    return result;
  }

  /** What became known of an unknown outcome: its worst case is taken back, its cost is due; it was counted before (MC1). */
  #settle(open: OpenCall, result: Extract<CallToolResult, { kind: 'done' | 'failed' }>): GovernedCall {
    if (open.charged) this.state = step.uncharge(this.state, open.charged, open.label);
    const tool = this.state.tools[open.tool];
    return this.#known(tool?.name ?? open.tool, open, ZERO, result);
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
      await this.#questions.stop();
    });
  }

  /** Before continue-as-new: every message is done, every entry recorded. Nothing else may be under way. */
  async drain(): Promise<void> {
    await this.#questions.stop();
    await this.#inbox.drain();
  }
}
