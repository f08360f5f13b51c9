/**
 * Model calls that are made elsewhere (a session's `reserve` and `settle`): their start and their outcome are the same
 * two transactions as those of a call made here, with the provider's answer reported by the caller in between.
 */
import type { Amount } from '../governance/call.ts';
import { BUDGET_UNITS, ZERO } from '../governance/budget.ts';
import { deny, frozen, quote } from '../governance/denial.ts';
import type { Denial } from '../governance/errors.ts';
import type { JsonObject } from '../governance/json.ts';
import { settleModelCall, worstCaseModelCall } from '../governance/price.ts';
import { accountRefused, noticesOf, reportMarks } from './accounts.ts';
import { callEntry, workflowEntryRows, type CallFrame } from './call-entries.ts';
import { appendEntries } from './ledger.ts';
import { freezeModel } from './overrun.ts';
import type { CallInfo, CallShared } from './prepared.ts';
import { decideModel, type DecidedModel } from './policy-models.ts';
import { comparedDigest, PoliciesMoved, underActivePolicies } from './policy-moves.ts';
import { priceOf } from './prices.ts';
import { runRefusal } from './refusals.ts';
import { finishModelCall, startModelCall } from './transcript.ts';
import type {
  PriceModelInput,
  PriceModelResult,
  ReserveModelInput,
  ReserveModelResult,
  SettleModelInput,
  SettleModelResult,
} from './reservation-types.ts';

type Shared = Pick<CallShared, 'deps' | 'grants'>;
type Info = Pick<CallInfo, 'workflowId' | 'temporalRun'>;

/** The price that a session reserves with; it keeps it as long as `reserveModel` takes it. */
export function priceModel({ deps }: Shared, input: PriceModelInput): PriceModelResult {
  return { price: priceOf(input.model, deps.config.prices, Date.now()) };
}

/**
 * Records that a model call may be made: entry and reservation, before anything is sent (P1, P3). Asked again (its
 * worker died), it answers the same. Refusals are values. @throws FORBIDDEN, BACKEND_UNAVAILABLE
 */
export function reserveModel(shared: Shared, input: ReserveModelInput, info: Info): Promise<ReserveModelResult> {
  return underActivePolicies(shared.deps, () => decideAndReserve(shared, input, info));
}

async function decideAndReserve(shared: Shared, input: ReserveModelInput, info: Info): Promise<ReserveModelResult> {
  const { deps } = shared;
  const { frame, grant } = await frameOf(shared, input, info);
  const before = workflowEntryRows(input.run, grant, input.entries);
  const refusal = refuseBefore(shared, input, Math.min(input.deadlineMs, grant.deadlineMs));
  if (refusal) return denied(shared, frame, refusal, before);
  const asked = { run: input.run, seq: input.seq, model: input.model, turn: 0, reserved: input.reserved };
  const policy = deps.policy(grant.principal.tenant);
  const decided = decideModel(deps, policy, grant, asked);
  if (decided.denial) return denied(shared, frame, decided.denial, before, decided);
  const data: JsonObject = {
    model: input.model,
    elsewhere: true,
    authorization: 'autonomous',
    reserved: plain(input.reserved),
    price: input.price.version,
    maxOutputTokens: input.maxOutputTokens,
    promptBytes: input.promptBytes,
    ...(input.declared ? { declared: { ...input.declared } } : {}),
    expiresAt: new Date(input.expiresAtMs).toISOString(),
    ...decided.data,
  };
  const started = await startModelCall(deps.db, {
    run: input.run,
    call: input.call,
    seq: input.seq,
    turn: 0,
    temporalRun: info.temporalRun,
    continuedFrom: input.continuedFrom ?? null,
    tenant: grant.principal.tenant,
    model: input.model,
    policy: comparedDigest(policy),
    reserved: input.reserved,
    label: null,
    refs: [],
    elsewhere: true,
    before,
    entries: [callEntry(frame, 'call.started', 'started', data, decided.content)],
    lostEntries: [],
    lostResult: '',
  });
  switch (started.kind) {
    case 'started':
      return { kind: 'reserved' };
    case 'run':
      return denied(shared, frame, runRefusal(started.problem, input.run), []);
    case 'frozen':
      return denied(shared, frame, frozen(started.freeze), []);
    case 'policies':
      throw new PoliciesMoved();
    case 'budget': {
      const refused = accountRefused(started, deps.config.budgetWaitMs);
      if (started.wait) return { kind: 'denied', denial: refused.denial, waitMs: deps.config.budgetWaitMs };
      return denied(shared, frame, refused.denial, []);
    }
    case 'finished':
    case 'lost':
    case 'conflict': {
      const hint = 'use a new callId for a new call';
      return denied(shared, frame, deny('CONFLICT', `call ${quote(input.call)} was used before`, hint), []);
    }
    default:
      return started satisfies never;
  }
}

/**
 * Records what a reserved model call was: its usage as the caller reports it, nothing where nothing was billed, the
 * whole reservation where nobody knows (BU5). `late`: it had expired and was paid in full before. @throws FORBIDDEN
 */
export async function settleModel(shared: Shared, input: SettleModelInput, info: Info): Promise<SettleModelResult> {
  const { deps } = shared;
  const { frame, grant } = await frameOf(shared, input, info);
  const { outcome } = input;
  const known = outcome.kind === 'used' ? settleModelCall(outcome.usage, input.price, input.declared) : null;
  const spent = outcome.kind === 'nothing' ? ZERO : (known ?? input.reserved);
  const flagged = outcome.kind !== 'nothing' && known === null;
  const result: Extract<SettleModelResult, { kind: 'settled' }> = { kind: 'settled', spent, flagged };
  const data: JsonObject = {
    model: input.model,
    elsewhere: true,
    ...(outcome.kind === 'used' ? { usage: { ...outcome.usage } } : {}),
    ...(outcome.kind === 'expired' ? { lost: true } : {}),
    ...(isAbove(spent, input.reserved) ? { aboveReservation: true } : {}),
    spent: plain(spent),
    flagged,
  };
  const succeeded = outcome.kind === 'used';
  const more: JsonObject = succeeded ? {} : { code: 'MODEL_FAILED' };
  const entry = succeeded
    ? callEntry(frame, 'call.succeeded', 'succeeded', data)
    : callEntry(frame, 'call.failed', 'failed', { ...more, ...data });
  if (input.entries.length > 0) await appendEntries(deps.db, workflowEntryRows(input.run, grant, input.entries));
  const { tenant } = grant.principal;
  const above = isAbove(spent, input.reserved);
  const overran = above ? await freezeModel(deps, input.model, { tenant, run: input.run, call: input.call }) : [];
  const { kind, marks } = await finishModelCall(deps.db, {
    tenant,
    run: input.run,
    call: input.call,
    state: succeeded ? 'succeeded' : 'failed',
    elsewhere: true,
    usage: outcome.kind === 'used' ? { ...outcome.usage } : null,
    spent,
    result: JSON.stringify(result),
    transcript: null,
    entries: [entry],
    lateEntries: outcome.kind === 'expired' ? [] : [callEntry(frame, 'call.late', 'late', { ...more, ...data })],
    conflictEntries: [],
    conflictResult: '',
  });
  const notices = noticesOf([...overran, ...(await reportMarks(deps, marks))]);
  return kind === 'ok' ? { ...result, ...notices } : { kind: 'late' };
}

async function frameOf(
  shared: Shared,
  input: ReserveModelInput | SettleModelInput,
  info: Info,
): Promise<{ frame: CallFrame; grant: CallFrame['grant'] }> {
  const grant = await shared.grants.of(input.run, info.workflowId);
  const { run, call, seq, model } = input;
  return { grant, frame: { input: { run, call, seq, tool: model }, grant, dev: shared.deps.dev } };
}

/** Refusals that need no database. The reservation is the workflow's word: it has to cover today's price (P3). */
function refuseBefore({ deps }: Shared, input: ReserveModelInput, deadlineMs: number): Denial | null {
  if (Date.now() >= deadlineMs) {
    return deny('DEADLINE_EXCEEDED', 'the run is past its deadline', 'open a new session', { deadlineMs });
  }
  const price = priceOf(input.model, deps.config.prices, Date.now());
  const { promptBytes, maxOutputTokens, reserved, declared } = input;
  const more = declared ? { declared } : {};
  const worst = worstCaseModelCall({ promptBytes, messages: 0, price, maxOutputTokens, left: reserved, ...more });
  if (worst.kind === 'ok' && worst.maxOutputTokens === maxOutputTokens) return null;
  if (worst.kind === 'price-unknown') return priceUnknown(input.model);
  return deny(
    'BUDGET_EXCEEDED',
    'less was reserved than this call can cost at the price of today',
    'ask again: the session reads the price anew',
    { scope: 'run', limitMicros: reserved.usdMicros, price: price?.version ?? null, stalePrice: true },
  );
}

function priceUnknown(model: string): Denial {
  const hint = 'add it to `prices` in the configuration';
  return deny('PRICE_UNKNOWN', `no price is known for model ${quote(model)}`, hint, { model });
}

async function denied(
  { deps }: Shared,
  frame: CallFrame,
  denial: Denial,
  before: Parameters<typeof appendEntries>[1],
  decided?: DecidedModel,
): Promise<ReserveModelResult> {
  const content = { reason: denial.reason, details: denial.details, ...decided?.content };
  const entry = callEntry(frame, 'call.denied', 'denied', { code: denial.code, ...decided?.data }, content);
  await appendEntries(deps.db, [...before, entry]);
  return { kind: 'denied', denial };
}

/** Whether any unit of the truth is more than was reserved. */
function isAbove(spent: Amount, reserved: Amount): boolean {
  return BUDGET_UNITS.some((unit) => spent[unit] > reserved[unit]);
}

function plain({ usdMicros, tokens, calls }: Amount): JsonObject {
  return { usdMicros, tokens, calls };
}
