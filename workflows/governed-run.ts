/**
 * What every governed run has, whatever it runs: its state, entries that ride along with activities, what people see of
 * it, and waits that never hold anything. The order of calls stands in governor.ts.
 */
import {
  CancellationScope,
  CancelledFailure,
  condition,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { NotifyInput, Notices, RunInput } from '../activities/types.ts';
import { accountTarget, type AccountRef } from '../governance/account.ts';
import type { Amount } from '../governance/call.ts';
import type { JsonObject } from '../governance/json.ts';
import { ACCOUNT_RECHECK_MS, CONTINUE_AS_NEW_EVENTS } from '../governance/limits.ts';
import { detailsOf } from './details.ts';
import * as step from './governor-state.ts';
import type { GovernorState } from './governor-state.ts';
import { budgetChangedSignal, stateQuery, type RunState, type RunStatus } from './messages.ts';
import { notifications, transactions } from './proxies.ts';
import { checkReadable } from './readable.ts';

/** Thrown by a wait when the run should continue as new first: the call stays open in the state and is resumed after. */
export class LongHistory extends Error {}

/** The error of a run that was cancelled. */
export function runCancelled(): CancelledFailure {
  return new CancelledFailure('the run was cancelled');
}

/** How a wait ended. `ended`: the run is being closed. */
export type Waited = 'holds' | 'time' | 'ended';

const SPEND_MARKS = [100, 80, 50] as const;

export class GovernedRun {
  state: GovernorState;
  status: RunStatus;
  /** What an exhausted run needs to go on. */
  needed: Amount | null = null;
  /** Whether waits give way to continue-as-new; a workflow that does not continue itself leaves it off. */
  readonly interruptible: boolean;
  #details = '';
  #ending = false;
  /** How often an account that this run waits for was changed. */
  #accountChanges = 0;
  readonly #unsent = new Set<NotifyInput>();

  constructor(state: GovernorState, options: { readonly interruptible?: boolean } = {}) {
    this.state = { ...state, unsent: [] };
    this.interruptible = options.interruptible ?? false;
    // a continued run keeps its search attributes
    const [shown] = workflowInfo().searchAttributes['ActGuardStatus'] ?? [];
    this.status = typeof shown === 'string' ? (shown as RunStatus) : 'running';
    setHandler(stateQuery, () => this.describe());
    setHandler(budgetChangedSignal, () => void (this.#accountChanges += 1));
    for (const mail of state.unsent) this.#send(mail);
  }

  // ------------------------------------------------------------ waits

  /** Whether the history is so long that the run should continue as new. */
  isLong(): boolean {
    const info = workflowInfo();
    return info.continueAsNewSuggested || info.historyLength >= CONTINUE_AS_NEW_EVENTS;
  }

  /**
   * Waits until it holds or the time comes; holds no worker. Costs no event where it holds already.
   *
   * @throws LongHistory when the run should continue as new; CancelledFailure
   */
  async until(holds: () => boolean, untilMs: number): Promise<Waited> {
    const gives = (): boolean => this.#ending || (this.interruptible && this.isLong());
    for (;;) {
      if (holds()) return 'holds';
      if (this.#ending) return 'ended';
      if (this.interruptible && this.isLong()) throw new LongHistory();
      if (Date.now() >= untilMs) return 'time';
      await condition(() => holds() || gives(), Math.max(1, untilMs - Date.now()));
    }
  }

  /** Ends every wait: asks are withdrawn, calls that wait for a rate limit are refused. */
  endWaits(): void {
    this.#ending = true;
  }

  /** Nothing may begin in a run that was cancelled: not even a number is taken. */
  throwIfCancelled(): void {
    if (this.isCancelled()) throw runCancelled();
  }

  isCancelled(): boolean {
    return CancellationScope.current().consideredCancelled;
  }

  /** The run's budget is out, or an account's: says so once, with the command that mends it. */
  announceExhausted(needed: Amount, account?: AccountRef): void {
    const target = account === undefined ? undefined : accountTarget(account);
    const data = {
      needed: needed as unknown as JsonObject,
      ...(target === undefined ? {} : { account: target }),
    };
    this.state = step.addEntry(this.state, { kind: 'budget.exhausted', atMs: Date.now(), data });
    const whose = target === undefined ? "The run's budget" : `The budget of ${target}`;
    const where = account && account.scope !== 'tenant' ? ` --tenant ${account.tenant}` : '';
    const how = `actguard topup ${target ?? this.state.run}${where} ${amountFlags(needed)}`;
    this.notify('budget', null, `${whose} is used up. Top it up: ${how}`);
  }

  /** Waits for a top-up until the deadline: until the limit is another one than this. False: none came. */
  async waitForBudget(needed: Amount, limit: string): Promise<boolean> {
    this.needed = needed;
    this.setStatus(this.state.frozen ? 'frozen' : 'exhausted');
    await this.flush();
    const waited = await this.until(() => JSON.stringify(this.state.budget.limit) !== limit, this.state.deadlineMs);
    this.needed = null;
    if (waited === 'holds') this.setStatus(this.restingStatus());
    return waited === 'holds';
  }

  /** Waits until an account is changed or its window ends; asks again now and then. False: the run is over. */
  async waitForAccount(needed: Amount, resetAtMs: number | null): Promise<boolean> {
    const before = this.#accountChanges;
    this.needed = needed;
    this.setStatus(this.state.frozen ? 'frozen' : 'exhausted');
    await this.flush();
    const atMs = Math.min(resetAtMs ?? Infinity, Date.now() + ACCOUNT_RECHECK_MS, this.state.deadlineMs);
    const waited = await this.until(() => this.#accountChanges !== before, atMs);
    this.needed = null;
    if (waited !== 'ended') this.setStatus(this.restingStatus());
    return waited !== 'ended' && Date.now() < this.state.deadlineMs;
  }

  /** Waits while the run is frozen. False: the deadline came first. */
  async whileFrozen(): Promise<boolean> {
    if (!this.state.frozen) return true;
    await this.flush();
    return (await this.until(() => !this.state.frozen, this.state.deadlineMs)) === 'holds';
  }

  // ------------------------------------------------------------ entries and notifications

  /** What every activity of a run is asked with: the entries that are not recorded yet ride along. */
  baseInput(): RunInput {
    const { entries, run } = this.state;
    const continuedFrom = workflowInfo().continuedFromExecutionRunId;
    return { v: 1, run, entries, ...(continuedFrom === undefined ? {} : { continuedFrom }) };
  }

  /** An activity has answered: the entries that rode along are recorded. @throws BACKEND_UNAVAILABLE: an unreadable answer */
  entriesSent(entries: RunInput['entries'], result: unknown): void {
    checkReadable(result);
    for (const text of (result as { notices?: Notices } | undefined)?.notices ?? []) this.notify('budget', null, text);
    const last = entries.at(-1);
    if (last) this.state = step.recorded(this.state, last.number);
  }

  /** Runs an activity with the entries that are not recorded yet; they are dropped once it has answered. */
  async withEntries<T>(activity: (base: RunInput) => Promise<T>): Promise<T> {
    const base = this.baseInput();
    const result = await activity(base);
    this.entriesSent(base.entries, result);
    return result;
  }

  /** Records what is not recorded, before a wait. */
  async flush(): Promise<void> {
    if (this.state.entries.length > 0) await this.withEntries((base) => transactions.record({ ...base, closed: null }));
  }

  /** An ask that nobody answers any more. */
  async endAsk(approvalId: string, outcome: 'expired' | 'withdrawn'): Promise<void> {
    await CancellationScope.nonCancellable(() =>
      this.withEntries((base) => transactions.endAsk({ ...base, approvalId, outcome })),
    );
  }

  /** The next call's number; taken only by a call that leaves an entry. */
  nextSeq(): number {
    const seq = this.state.seq + 1;
    this.state = { ...this.state, seq };
    return seq;
  }

  /** Tells people; never waited for. What is not sent when the run continues as new is sent by the next one. */
  notify(what: NotifyInput['what'], approvalId: string | null, text: string): void {
    this.#send({ v: 1, run: this.state.run, what, approvalId, text });
  }

  #send(mail: NotifyInput): void {
    this.#unsent.add(mail);
    this.state = { ...this.state, unsent: [...this.#unsent] };
    const sent = (): void => {
      this.#unsent.delete(mail);
      this.state = { ...this.state, unsent: [...this.#unsent] };
    };
    void CancellationScope.nonCancellable(() => notifications.notify(mail)).then(sent, sent);
  }

  // ------------------------------------------------------------ what people see

  /** 50, 80 and 100 % of the budget: an entry, a notification and a search attribute. An upsert is an event, so only then. */
  noteSpend(): void {
    const mark = SPEND_MARKS.find((m) => step.spentShare(this.state) >= m) ?? 0;
    if (mark <= this.state.reported) return;
    const { limit, spent } = this.state.budget;
    const data = { scope: 'run', percent: mark, limit: limit as JsonObject, spent: { ...spent } };
    this.state = step.addEntry({ ...this.state, reported: mark }, { kind: 'budget.threshold', atMs: Date.now(), data });
    this.notify('budget', null, `The run has spent ${mark} % of its budget.`);
    upsertSearchAttributes({ ActGuardSpendUsd: [step.usageOf(this.state).usd] });
    this.showDetails();
  }

  /** After a model call: settles it. */
  settleModel(reserved: Amount, spent: Amount): void {
    this.state = step.settleCall(this.state, reserved, spent);
    this.noteSpend();
  }

  /** What a run is doing when the call named here is done. */
  restingStatus(done = ''): RunStatus {
    if (this.state.frozen) return 'frozen';
    if (this.needed) return 'exhausted';
    const others = Object.values(this.state.open).filter((c) => c.call !== done);
    return others.some((c) => c.phase === 'asking') ? 'waiting-approval' : 'running';
  }

  setStatus(status: RunStatus): void {
    if (status !== this.status) {
      this.status = status;
      upsertSearchAttributes({ ActGuardStatus: [status] });
    }
    this.showDetails();
  }

  /** The last status, with what was spent: one upsert. */
  showEnd(status: RunStatus): void {
    this.status = status;
    upsertSearchAttributes({ ActGuardStatus: [status], ActGuardSpendUsd: [step.usageOf(this.state).usd] });
    this.showDetails();
  }

  showDetails(): void {
    const details = detailsOf(this.describe());
    if (details === this.#details) return;
    this.#details = details;
    setCurrentDetails(details);
  }

  /** Answer of the `state` query. */
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
      ...(state.labels ? { labels: state.labels } : {}),
      calls: state.seq,
      openAsks: open.flatMap((c) =>
        c.phase === 'asking' && c.ask && !c.ask.joined
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

/** What a top-up names at least: dollars are only an example, as what is needed next is rarely all that is needed. */
function amountFlags({ tokens, calls }: Amount): string {
  return tokens > 0 ? `--tokens ${tokens}` : calls > 0 ? `--calls ${calls}` : '--usd 0.25';
}
