/**
 * The open questions of a run: calls whose outcome is unknown. They are asked again by themselves, on durable timers, and
 * at once when somebody has said what happened; whoever waits for one is told. A question costs nothing until there is one.
 */
import { CancellationScope, condition, patched } from '@temporalio/workflow';
import type { CallToolResult } from '../activities/types.ts';
import { FIRST_ASK_MS, FROZEN_ASK_MS } from '../governance/limits.ts';
import type { GovernedCall } from './governed-call.ts';
import type { GovernedRun } from './governed-run.ts';
import * as step from './governor-state.ts';
import type { OpenCall } from './governor-state.ts';
import { unknownText } from './words.ts';

/** What the questions need of the governor. */
export interface Asker {
  readonly run: GovernedRun;
  /** Schedules the call's activity again. `inline`: whether the output itself is needed. */
  ask(open: OpenCall, inline: boolean): Promise<CallToolResult>;
  /** Takes over what is known now. */
  settle(open: OpenCall, result: Extract<CallToolResult, { kind: 'done' | 'failed' }>): GovernedCall;
  /** Told about a call that nobody waits for. */
  answered(known: GovernedCall, call: string): void;
}

export class Questions {
  readonly #asker: Asker;
  readonly #asking = new Map<string, Promise<GovernedCall | null>>();
  /** Calls that somebody waits for, and whether they need the output itself. */
  readonly #awaited = new Map<string, boolean>();
  readonly #known = new Map<string, GovernedCall>();
  /** Said to be known while the answer that was under way could not know it yet: asked again after that one. */
  readonly #heard = new Set<string>();
  #working = false;
  #stopped = false;

  constructor(asker: Asker) {
    this.#asker = asker;
    if (this.#open().length > 0) this.#start();
  }

  /** Opens a question, or changes one: when it is asked again, and whether a person has to say. */
  note(open: OpenCall, result: Extract<CallToolResult, { kind: 'unknown' }>): OpenCall {
    const { run } = this.#asker;
    const { needsPerson = (result.askAgainMs ?? null) === null } = result;
    const heard = this.#heard.delete(open.call);
    const askAgainMs = heard ? Math.min(result.askAgainMs ?? Infinity, FIRST_ASK_MS) : (result.askAgainMs ?? null);
    const told = open.told === true || (needsPerson && !heard);
    const noted: OpenCall = {
      ...open,
      phase: 'unknown',
      told,
      askAtMs: askAgainMs === null ? null : Date.now() + askAgainMs,
    };
    run.state = step.setOpen(run.state, noted);
    if (told && open.told !== true) run.notify('outcome', null, unknownText(run.state.run, noted));
    if (askAgainMs !== null) this.#start();
    return noted;
  }

  /** Waits until it is known; null: the deadline came first. `inline` as in `ask`. @throws LongHistory, CancelledFailure */
  async wait(call: string, inline: boolean): Promise<GovernedCall | null> {
    const { run } = this.#asker;
    // before anything is waited for: it may be known by the time the entries are recorded
    this.#awaited.set(call, inline);
    try {
      await run.flush();
      await run.until(() => this.#known.has(call), run.state.deadlineMs);
    } catch (error) {
      // whoever waited is gone: from here on the next run asks
      this.#stopped = true;
      throw error;
    } finally {
      this.#awaited.delete(call);
    }
    const known = this.#known.get(call) ?? null;
    this.#known.delete(call);
    return known;
  }

  /** Asks now; null: it is still unknown. Nothing where the call has no question. */
  now(call: string): Promise<GovernedCall | null> | null {
    const open = this.#asker.run.state.open[call];
    if (open?.phase !== 'unknown' || this.#stopped) return null;
    const asking = this.#asking.get(call) ?? this.#ask(open).finally(() => this.#asking.delete(call));
    this.#asking.set(call, asking);
    return asking;
  }

  /** A person's word on it was recorded: asked at once. */
  resolved(call: string): void {
    if (!this.#hear(call)) void this.now(call);
  }

  /** Somebody says that more is known: asked within a few seconds, however often it is said. */
  look(call: string): void {
    const { run } = this.#asker;
    const open = run.state.open[call];
    if (open === undefined || this.#hear(call) || open.phase !== 'unknown') return;
    const atMs = Math.max(Date.now(), (open.lookedAtMs ?? 0) + FIRST_ASK_MS);
    if (atMs >= (open.askAtMs ?? Infinity)) return;
    run.state = step.setOpen(run.state, { ...open, askAtMs: atMs, lookedAtMs: atMs });
    this.#start();
  }

  /** Before continue-as-new and the end: what is being asked answers, and the next run asks again. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#asking.values());
  }

  /** Whether an answer about this call is under way that may be older than what was just said. */
  #hear(call: string): boolean {
    const open = this.#asker.run.state.open[call];
    const underWay = open?.phase === 'running' || (open?.phase === 'unknown' && this.#asking.has(call));
    if (!underWay || !patched('question-heard')) return false;
    this.#heard.add(call);
    return true;
  }

  async #ask(open: OpenCall): Promise<GovernedCall | null> {
    const { run } = this.#asker;
    let result: CallToolResult | null;
    try {
      result = await CancellationScope.nonCancellable(() =>
        this.#asker.ask(open, this.#awaited.get(open.call) ?? true),
      );
    } catch {
      result = null; // no attempt could be made: later
    }
    const now = run.state.open[open.call];
    if (this.#stopped || now?.phase !== 'unknown') return null;
    switch (result?.kind) {
      case 'done':
      case 'failed': {
        const known = this.#asker.settle(now, result);
        if (this.#awaited.has(open.call)) this.#known.set(open.call, known);
        else this.#asker.answered(known, open.call);
        return known;
      }
      case 'unknown':
        this.note(now, result);
        return null;
      case 'denied': // frozen, say: what was done stands, and is looked at later
      case 'ask':
      case undefined:
        run.state = step.setOpen(run.state, { ...now, askAtMs: Date.now() + FROZEN_ASK_MS });
        this.#start();
        return null;
      default:
        return result satisfies never;
    }
  }

  /** One loop for all questions; it sleeps until the first is due. */
  #start(): void {
    if (this.#working) return;
    this.#working = true;
    void CancellationScope.nonCancellable(async () => {
      while (!this.#stopped) {
        const dueMs = this.#dueMs();
        const changed = (): boolean => this.#stopped || this.#dueMs() < dueMs;
        if (dueMs === Infinity) await condition(changed);
        else if (dueMs > Date.now()) await condition(changed, dueMs - Date.now());
        else for (const open of this.#open()) if ((open.askAtMs ?? Infinity) <= Date.now()) void this.now(open.call);
      }
    });
  }

  /** When the first question is asked again. */
  #dueMs(): number {
    const waiting = this.#open().filter((open) => !this.#asking.has(open.call));
    return Math.min(Infinity, ...waiting.map((open) => open.askAtMs ?? Infinity));
  }

  #open(): OpenCall[] {
    return Object.values(this.#asker.run.state.open).filter((open) => open.phase === 'unknown');
  }
}
