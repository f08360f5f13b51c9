/** One turn of the model: reserve the worst case, call, settle; a lost attempt is paid in full and tried again. */
import { sleep } from '@temporalio/workflow';
import type { CallModelResult, OpenedModel, Refused, ToolResultRef } from '../activities/types.ts';
import type { Amount } from '../governance/call.ts';
import { deny, quote } from '../governance/denial.ts';
import type { CallError, Denial } from '../governance/errors.ts';
import { reserve, ZERO } from '../governance/budget.ts';
import { worstCaseModelCall } from '../governance/price.ts';
import { isUnwritten, pauseOf } from './budget-wait.ts';
import type { Governor } from './governor.ts';
import { leftOf, noteDenial, settleCall } from './governor-state.ts';
import { callModelActivity } from './proxies.ts';
import { budgetDenial } from './words.ts';

/** Attempts of one turn that may be lost or fail for a while. */
const MAX_ATTEMPTS = 3;
const FIRST_PAUSE_MS = 2_000;
/** Models have no rate limit of their own. */
const NO_LIMIT = { onLimit: 'deny' } as const;

export type Turn =
  | Extract<CallModelResult, { kind: 'done' }>
  | { readonly kind: 'exhausted'; readonly needed: Amount; readonly denial: Denial }
  | Refused
  | { readonly kind: 'failed'; readonly error: CallError };

export interface TurnPlan {
  readonly turn: number;
  readonly model: OpenedModel;
  readonly promptBytes: number;
  readonly messages: number;
  readonly results: readonly ToolResultRef[];
}

export async function modelTurn(governor: Governor, plan: TurnPlan): Promise<Turn> {
  let attempt = 1;
  for (let waits = 0; ;) {
    governor.throwIfCancelled();
    const worst = worstCaseModelCall({
      promptBytes: plan.promptBytes,
      messages: plan.messages,
      price: plan.model.price,
      maxOutputTokens: plan.model.maxOutputTokens,
      left: leftOf(governor.state),
    });
    if (worst.kind !== 'ok') return refuse(governor, plan, worst);
    const taken = reserve(governor.state.budget, worst.reserved);
    if (taken.kind === 'exceeded')
      return refuse(governor, plan, { kind: 'exceeded', unit: taken.unit, left: 0, needed: taken.needed });
    const seq = governor.state.seq + 1;
    governor.state = { ...governor.state, seq, budget: taken.state };
    const result = await schedule(governor, plan, seq, worst);
    switch (result.kind) {
      case 'done':
        governor.settleModel(worst.reserved, result.spent);
        return result;
      case 'denied': {
        governor.state = settleCall(governor.state, worst.reserved, ZERO);
        if (isUnwritten(NO_LIMIT, result)) {
          // nothing of it was written: the same number is asked for again
          if (governor.state.seq === seq) governor.state = { ...governor.state, seq: seq - 1 };
          const pauseMs = pauseOf(
            NO_LIMIT,
            result,
            { run: governor.state.run, seq, tries: waits },
            governor.state.deadlineMs,
          );
          if (pauseMs === null) return { kind: 'denied', denial: refused(governor, plan, result.denial) };
          await governor.flush();
          await governor.until(() => false, Date.now() + pauseMs);
          waits += 1;
          continue;
        }
        governor.state = noteDenial(governor.state, result.denial);
        return result;
      }
      case 'lost':
        governor.settleModel(worst.reserved, result.spent);
        if (attempt >= MAX_ATTEMPTS) return { kind: 'failed', error: lostError(plan.model.name) };
        attempt += 1;
        break;
      case 'failed':
        governor.settleModel(worst.reserved, result.spent);
        if (!result.retry || attempt >= MAX_ATTEMPTS) return { kind: 'failed', error: result.error };
        await governor.flush();
        await sleep(FIRST_PAUSE_MS * 2 ** (attempt - 1));
        attempt += 1;
        break;
      default:
        return result satisfies never;
    }
  }
}

async function schedule(
  governor: Governor,
  plan: TurnPlan,
  seq: number,
  worst: { reserved: Amount; maxOutputTokens: number },
): Promise<CallModelResult> {
  try {
    return await governor.withEntries((base) =>
      callModelActivity(`${plan.model.name} turn ${plan.turn}`)({
        ...base,
        call: `c${seq}`,
        seq,
        turn: plan.turn,
        results: plan.results,
        reserved: worst.reserved,
        promptBytes: plan.promptBytes,
        maxOutputTokens: worst.maxOutputTokens,
        deadlineMs: governor.state.deadlineMs,
      }),
    );
  } catch (error) {
    // nobody knows what was sent: the reservation is what it costs
    governor.settleModel(worst.reserved, worst.reserved);
    throw error;
  }
}

function refuse(
  governor: Governor,
  plan: TurnPlan,
  worst:
    | { kind: 'exceeded'; unit: 'usdMicros' | 'tokens' | 'calls'; left: number; needed: number }
    | { kind: 'price-unknown' },
): Turn {
  const { budget } = governor.state;
  if (worst.kind === 'price-unknown') {
    const { name } = plan.model;
    const hint = 'add it to `prices` in the configuration';
    const denial = deny('PRICE_UNKNOWN', `no price is known for model ${quote(name)}`, hint, { model: name });
    governor.refuse(name, denial);
    return { kind: 'denied', denial };
  }
  const { unit } = worst;
  const denial = budgetDenial(governor.state, {
    unit,
    limit: budget.limit[unit] ?? 0,
    spent: budget.spent[unit],
    reserved: budget.reserved[unit],
    needed: worst.needed,
  });
  governor.refuse(plan.model.name, denial);
  const needed: Amount = { usdMicros: 0, tokens: 0, calls: 0, [unit]: Math.max(1, worst.needed - worst.left) };
  return { kind: 'exhausted', needed, denial };
}

function refused(governor: Governor, plan: TurnPlan, denial: Denial): Denial {
  governor.refuse(plan.model.name, denial);
  return denial;
}

function lostError(model: string): CallError {
  return { code: 'MODEL_FAILED', message: `every attempt to ask ${model} was lost`, details: { model } };
}
