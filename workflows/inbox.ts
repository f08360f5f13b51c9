/**
 * Messages that were accepted, worked on one after the other in the main loop: an answer or a command counts only after
 * an activity has verified it.
 */
import { CancellationScope, condition } from '@temporalio/workflow';
import type { Limit } from '../governance/call.ts';
import type { Json } from '../governance/json.ts';
import { MAX_REJECTED_ANSWERS } from '../governance/limits.ts';
import { setAnswer } from './equal-asks.ts';
import type { GovernedRun } from './governed-run.ts';
import * as step from './governor-state.ts';
import { installMailbox, type Message } from './mailbox.ts';
import { transactions } from './proxies.ts';
import type { Questions } from './questions.ts';

export class Inbox {
  readonly #run: GovernedRun;
  /** The first one stays until it is done. */
  readonly #queue: Message[] = [];
  readonly #questions: Pick<Questions, 'resolved' | 'look'>;
  #stopped = false;
  #unrecorded = false;
  readonly #working: Promise<void>;

  constructor(run: GovernedRun, questions: Pick<Questions, 'resolved' | 'look'>) {
    this.#run = run;
    this.#questions = questions;
    installMailbox({
      getState: () => run.state,
      inbox: this.#queue,
      freezeNow: (by, reason) => this.#freeze(by, reason),
      countRejected: () => this.#countRejected(),
      look: (call) => questions.look(call),
    });
    this.#working = this.#work();
  }

  /** Waits until every message is done and every entry recorded; then nothing more is taken. */
  async drain(): Promise<void> {
    for (;;) {
      await condition(() => this.#queue.length === 0);
      if (this.#run.state.entries.length === 0) break;
      await this.#run.flush();
    }
    // no await of anything outside from here on: a message in between would be lost
    this.#stopped = true;
    await this.#working;
  }

  /** Works on what is there and takes nothing more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#working;
  }

  async #work(): Promise<void> {
    await CancellationScope.nonCancellable(async () => {
      for (;;) {
        await condition(() => this.#queue.length > 0 || this.#unrecorded || this.#stopped);
        const message = this.#queue[0];
        if (!message && !this.#unrecorded) return;
        this.#unrecorded = false;
        try {
          if (message) await this.#workOn(message);
          // a freeze or a thaw may be the last thing that happens for days: it is recorded now
          await this.#run.flush();
        } catch {
          this.#countRejected();
        }
        if (message) this.#queue.shift();
      }
    });
  }

  async #workOn(message: Message): Promise<void> {
    if (message.kind === 'freeze') return this.#freeze(message.by, message.reason);
    if (message.kind === 'answer') return this.#answer(message.approvalId, message.envelope);
    const run = this.#run;
    const { child, budget } = run.state;
    const verified = await run.withEntries((base) =>
      transactions.verifyCommand({
        ...base,
        envelope: message.envelope,
        budget: { limit: budget.limit, ...(child ? { child } : {}) },
        takes: [message.verb],
      }),
    );
    if (verified.kind === 'rejected' || verified.verb !== message.verb) return this.#countRejected();
    const { person, reason, data } = verified;
    const nowMs = Date.now();
    switch (verified.verb) {
      case 'thaw':
        run.state = step.thaw(run.state, person, reason, nowMs);
        break;
      case 'topUp':
        if (run.state.child) return this.#countRejected(); // its parent's budget is the one there is (BU7)
        run.state = step.addBudget(run.state, data as Limit, person, reason, nowMs);
        break;
      case 'resolve':
        this.#questions.resolved(String(data['call']));
        break;
      default:
        return verified.verb satisfies never;
    }
    run.setStatus(run.restingStatus());
  }

  async #answer(approvalId: string, envelope: Json): Promise<void> {
    const run = this.#run;
    const open = step.findAsk(run.state, approvalId);
    // several may have waited when the last one that counts was rejected
    if (!open || open.rejectedAnswers >= MAX_REJECTED_ANSWERS) return this.#countRejected();
    const result = await run.withEntries((base) => transactions.recordAnswer({ ...base, approvalId, envelope }));
    const now = run.state.open[open.call];
    if (!now || now.ask?.approvalId !== approvalId) return;
    if (result.kind === 'rejected') {
      run.state = step.setOpen(run.state, { ...now, rejectedAnswers: now.rejectedAnswers + 1 });
      this.#countRejected();
    } else if (result.decision === 'reject' || result.complete) {
      run.state = setAnswer(run.state, approvalId, result.decision === 'reject' ? 'rejected' : 'granted');
    }
  }

  #freeze(by: string, reason: string): void {
    this.#run.state = step.freeze(this.#run.state, by, reason, Date.now());
    this.#run.setStatus('frozen');
    this.#unrecorded = true;
  }

  #countRejected(): void {
    const { state } = this.#run;
    this.#run.state = { ...state, rejectedMessages: state.rejectedMessages + 1 };
  }
}
