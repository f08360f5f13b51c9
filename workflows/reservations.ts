/**
 * Model calls that a session's caller makes itself: the worst case is reserved before, the truth settled after. A
 * caller that dies pays its reservation: it has a lease, and what is not settled by then is settled in full (BU5).
 */
import { sleep } from '@temporalio/workflow';
import type { ModelOutcome } from '../activities/reservation-types.ts';
import type { Amount } from '../governance/call.ts';
import { reserve, ZERO } from '../governance/budget.ts';
import { deny, quote } from '../governance/denial.ts';
import { digestOf } from '../governance/digest.ts';
import type { Denial } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import * as limits from '../governance/limits.ts';
import { worstCaseModelCall, type Declared, type ModelPrice } from '../governance/price.ts';
import { budgetPause } from './budget-wait.ts';
import type { Governor } from './governor.ts';
import { denyHere, leftOf, noteDenial, settleCall, stopReason, usageOf } from './governor-state.ts';
import type { ReserveAsked, ReserveResult, SettleAsked, SettleResult } from './messages.ts';
import { reservations as activities } from './proxies.ts';
import { budgetDenial } from './words.ts';

/** A reservation by its callId. Plain data: carried through continue-as-new. */
export interface Reserved {
  readonly digest: string;
  readonly seq: number;
  readonly model: string;
  readonly price: ModelPrice;
  readonly reserved: Amount;
  readonly declared?: Declared;
  readonly maxOutputTokens: number;
  readonly expiresAtMs: number;
  /** null: nobody has settled it yet. */
  readonly settled: { readonly kind: 'settled' | 'late'; readonly spent: Amount; readonly flagged: boolean } | null;
}

/** All that a session knows of them. */
export interface ReservationsState {
  readonly calls: readonly (readonly [string, Reserved])[];
  readonly prices: { readonly [model: string]: ModelPrice };
}

type Denied = Extract<ReserveResult, { kind: 'denied' }>;

export class Reservations {
  readonly #calls: Map<string, Reserved>;
  /** Being reserved or settled now, by callId. */
  readonly #underWay = new Map<string, Promise<unknown>>();
  #prices: { readonly [model: string]: ModelPrice };

  constructor(carried?: ReservationsState) {
    this.#calls = new Map(carried?.calls);
    this.#prices = carried?.prices ?? {};
  }

  has(callId: string): boolean {
    return this.#calls.has(callId) || this.#underWay.has(callId);
  }

  carry(): ReservationsState {
    return { calls: [...this.#calls], prices: this.#prices };
  }

  /** When the next one expires, milliseconds since the epoch; Infinity: none is open. */
  get earliestMs(): number {
    const waiting = this.#open().filter(([callId]) => !this.#underWay.has(callId));
    return Math.min(Infinity, ...waiting.map(([, call]) => call.expiresAtMs));
  }

  /** Reserves once: the same callId gets the same answer, other parameters under it are IDEMPOTENCY_CONFLICT. */
  async reserve(run: Governor, asked: ReserveAsked): Promise<ReserveResult> {
    const { callId } = asked;
    while (this.#underWay.has(callId)) await this.#underWay.get(callId);
    const known = this.#calls.get(callId);
    const digest = digestOf(asked as unknown as Json);
    if (known) return known.digest === digest ? granted(callId, known) : denied(callId, conflict(callId));
    if (this.#open().length + this.#underWay.size >= limits.MAX_OPEN_RESERVATIONS) {
      const reason = `${limits.MAX_OPEN_RESERVATIONS} model calls are reserved and not settled`;
      return denied(callId, deny('LIMIT_EXCEEDED', reason, 'settle them first', {}));
    }
    return this.#alone(callId, () => this.#begin(run, asked, digest));
  }

  /** Settles once; a reservation that expired answers `late`. */
  async settle(run: Governor, { callId, outcome }: SettleAsked): Promise<SettleResult> {
    while (this.#underWay.has(callId)) await this.#underWay.get(callId);
    const known = this.#calls.get(callId);
    if (!known) {
      const reason = `there is no reservation ${quote(callId)}`;
      return { kind: 'denied', denial: deny('NOT_FOUND', reason, 'reserve first', { callId }), callId };
    }
    const settled = known.settled ?? (await this.#alone(callId, () => this.#end(run, callId, known, outcome)));
    return { ...settled, callId, usage: usageOf(run.state) };
  }

  /** Settles in full what nobody has settled in time. */
  async expire(run: Governor, nowMs: number): Promise<void> {
    const due = this.#open().filter(([callId, call]) => call.expiresAtMs <= nowMs && !this.#underWay.has(callId));
    await Promise.all(
      due.map(([callId, call]) => this.#alone(callId, () => this.#end(run, callId, call, { kind: 'expired' }))),
    );
  }

  async #begin(run: Governor, asked: ReserveAsked, digest: string): Promise<ReserveResult> {
    const { callId, model } = asked;
    const declared = asked.declared === undefined ? {} : { declared: asked.declared };
    const waitUntilMs = Math.min(Date.now() + limits.RESERVE_WAIT_MS, run.state.deadlineMs);
    let own: number | null = null; // its number in the run, once it was asked for: waiting keeps it
    for (let [stale, tries] = [0, 0]; ;) {
      const price = await this.#priceOf(model);
      // decided in one step, after the last wait: what is left is what is left now
      const stopped = stopReason(run.state, Date.now());
      const denial = stopped ?? (price === null ? priceUnknown(model) : null);
      if (denial || price === null) return this.#refuse(run, asked, denial ?? priceUnknown(model), own);
      const worst = worstCaseModelCall({ ...asked, price, left: leftOf(run.state) });
      if (worst.kind !== 'ok') return this.#refuse(run, asked, exceeded(run, model, worst), own);
      const taken = reserve(run.state.budget, worst.reserved);
      if (taken.kind === 'exceeded') return this.#refuse(run, asked, budgetDenial(run.state, taken), own);
      const seq: number = (own ??= run.state.seq + 1);
      run.state = { ...run.state, seq: Math.max(run.state.seq, seq), budget: taken.state };
      const { reserved, maxOutputTokens } = worst;
      const expiresAtMs = Date.now() + limits.RESERVATION_LEASE_MS;
      const call: Reserved = {
        ...{ digest, seq, model, price, reserved, ...declared, maxOutputTokens, expiresAtMs },
        settled: null,
      };
      const answer = await run
        .withEntries((base) =>
          activities.reserveModel({
            ...base,
            ...{ call: idOf(callId), seq, model, price, reserved, ...declared, maxOutputTokens, expiresAtMs },
            promptBytes: asked.promptBytes,
            deadlineMs: run.state.deadlineMs,
          }),
        )
        .catch((error: unknown) => {
          // nobody was told that it may be sent
          run.state = settleCall(run.state, reserved, ZERO);
          throw error;
        });
      if (answer.kind === 'reserved') {
        this.#remember(callId, call);
        return granted(callId, call);
      }
      run.state = settleCall(run.state, reserved, ZERO);
      if (answer.waitMs !== undefined) {
        const pauseMs = budgetPause(answer.waitMs, { run: run.state.run, seq, tries });
        if (Date.now() + pauseMs > waitUntilMs) return this.#refuse(run, asked, answer.denial, own);
        await sleep(pauseMs);
        tries += 1;
        continue;
      }
      run.state = noteDenial(run.state, answer.denial);
      if (answer.denial.details['stalePrice'] !== true || stale > 0) return denied(callId, answer.denial);
      stale += 1;
      own = null; // its refusal is written: the next attempt is another call
      const { [model]: _stale, ...prices } = this.#prices;
      this.#prices = prices;
    }
  }

  async #end(
    run: Governor,
    callId: string,
    call: Reserved,
    outcome: ModelOutcome,
  ): Promise<NonNullable<Reserved['settled']>> {
    const { seq, model, price, reserved, declared } = call;
    const more = declared ? { declared } : {};
    const answer = await run
      .withEntries((base) =>
        activities.settleModel({ ...base, call: idOf(callId), seq, model, price, reserved, ...more, outcome }),
      )
      // no retry can mend it: it costs what was reserved
      .catch(() => ({ kind: 'late' as const }));
    const settled =
      answer.kind === 'settled'
        ? { kind: answer.kind, spent: answer.spent, flagged: answer.flagged }
        : { kind: 'late' as const, spent: reserved, flagged: true };
    run.settleModel(reserved, settled.spent);
    // somebody who settles after the end learns that it was too late
    this.#remember(callId, { ...call, settled: outcome.kind === 'expired' ? { ...settled, kind: 'late' } : settled });
    return settled;
  }

  async #priceOf(model: string): Promise<ModelPrice | null> {
    const known = Object.hasOwn(this.#prices, model) ? this.#prices[model] : undefined;
    if (known) return known;
    const { price } = await activities.priceModel({ v: 1, model });
    const first = Object.keys(this.#prices).slice(-(limits.MAX_SESSION_PRICES - 1));
    if (price) {
      const kept = Object.fromEntries(first.map((name) => [name, this.#prices[name] as ModelPrice]));
      this.#prices = { ...kept, [model]: price };
    }
    return price;
  }

  /** One step at a time for one callId. */
  async #alone<T>(callId: string, work: () => Promise<T>): Promise<T> {
    const working = work();
    const quiet = working.then(
      () => undefined,
      () => undefined,
    );
    this.#underWay.set(callId, quiet);
    try {
      return await working;
    } finally {
      this.#underWay.delete(callId);
    }
  }

  #remember(callId: string, call: Reserved): void {
    this.#calls.set(callId, call);
    for (const [id, { settled }] of this.#calls) {
      if (this.#calls.size <= limits.MAX_SESSION_CALLS) return;
      if (settled !== null && id !== callId) this.#calls.delete(id);
    }
  }

  #open(): [string, Reserved][] {
    return [...this.#calls].filter(([, call]) => call.settled === null);
  }

  /** A refusal that leaves an entry; it takes a number where the call has none. */
  #refuse(run: Governor, { callId, model }: ReserveAsked, denial: Denial, own: number | null): Denied {
    if (own === null) run.refuse(model, denial, idOf(callId));
    else run.state = denyHere(run.state, { call: idOf(callId), seq: own, tool: model }, denial, Date.now());
    return denied(callId, denial);
  }
}

function denied(callId: string, denial: Denial): Denied {
  return { kind: 'denied', denial, callId };
}

/** A call's id in the run. A caller's own ids have no space: the two never meet. */
function idOf(callId: string): string {
  return `model ${callId}`;
}

function granted(callId: string, { reserved, maxOutputTokens, expiresAtMs }: Reserved): ReserveResult {
  return { kind: 'reserved', callId, reserved, maxOutputTokens, expiresAtMs };
}

function conflict(callId: string): Denial {
  const reason = `call ${quote(callId)} was reserved before with other parameters`;
  return deny('IDEMPOTENCY_CONFLICT', reason, 'use a new callId for a new call', { callId });
}

function priceUnknown(model: string): Denial {
  const hint = 'add it to `prices` in the configuration';
  return deny('PRICE_UNKNOWN', `no price is known for model ${quote(model)}`, hint, { model });
}

function exceeded(
  run: Governor,
  model: string,
  worst: Exclude<ReturnType<typeof worstCaseModelCall>, { kind: 'ok' }>,
): Denial {
  if (worst.kind === 'price-unknown') return priceUnknown(model);
  const { limit, spent, reserved } = run.state.budget;
  const { unit, needed } = worst;
  return budgetDenial(run.state, {
    unit,
    limit: limit[unit] ?? 0,
    spent: spent[unit],
    reserved: reserved[unit],
    needed,
  });
}
