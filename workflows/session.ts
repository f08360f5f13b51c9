/**
 * `session`: a governed run for an agent that lives elsewhere. Each call is an Update; the caller's callId is its key.
 * A call that waits for a person answers `pending` at once and is asked for later with `outcome`.
 */
import {
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  isCancellation,
  setDefaultSignalHandler,
  setHandler,
} from '@temporalio/workflow';
import type { CallResult, RunResult } from '../governance/call.ts';
import { deny, quote } from '../governance/denial.ts';
import { digestOf } from '../governance/digest.ts';
import type { Denial } from '../governance/errors.ts';
import { SESSION_IDLE_MS } from '../governance/limits.ts';
import { LongHistory } from './governed-run.ts';
import type { GovernedCall } from './governed-call.ts';
import { Governor } from './governor.ts';
import { newState, usageOf, type GovernorState } from './governor-state.ts';
import {
  callUpdate,
  closeSignal,
  outcomeQuery,
  reserveUpdate,
  settleUpdate,
  type ReserveAsked,
  type ReserveResult,
  type SessionCall,
  type SessionInput,
  type SettleAsked,
  type SettleResult,
} from './messages.ts';
import { checkInput, openRun, refusedResult } from './open.ts';
import { Reservations, type ReservationsState } from './reservations.ts';
import { closedDenial, SessionCalls, type Remembered } from './session-calls.ts';
import { checkCall, checkReserve, checkSettle, rejection } from './session-checks.ts';

interface SessionState {
  readonly v: 1;
  readonly governor: GovernorState;
  readonly calls: readonly (readonly [string, Remembered])[];
  readonly lastCallMs: number;
  /** Absent where none was ever made. */
  readonly reservations?: ReservationsState;
}

/** Where a session is; shared by its handlers and its loop. */
interface Desk {
  readonly calls: SessionCalls;
  readonly reservations: Reservations;
  /** Opened; null before. */
  run: Governor | null;
  refused: RunResult | null;
  closing: boolean;
  /** About to continue as new: no call begins. */
  leaving: boolean;
  lastCallMs: number;
  readonly idleMs: number;
  readonly continued: boolean;
}

/** One session from its first call to its end; `end` says how. The result tells what was used. */
export async function session(input: SessionInput, carried?: SessionState): Promise<RunResult> {
  checkInput(input, carried);
  const desk: Desk = {
    calls: new SessionCalls(carried?.calls),
    reservations: new Reservations(carried?.reservations),
    run: null,
    refused: null,
    closing: false,
    leaving: false,
    lastCallMs: carried?.lastCallMs ?? Date.now(),
    idleMs: input.idleMs ?? SESSION_IDLE_MS,
    continued: carried !== undefined,
  };
  installHandlers(desk);
  const state = carried?.governor ?? (await open(input, desk));
  if (!state) {
    await condition(allHandlersFinished);
    return desk.refused as unknown as RunResult;
  }
  const run = new Governor(state, { interruptible: true });
  // only now: it would take the signals that came before the handlers
  setDefaultSignalHandler(() => undefined);
  run.onResolved = (call, result) => desk.calls.finish(call, 0, result);
  for (const waiting of Object.values(run.state.open)) {
    if (waiting.phase !== 'unknown') void track(desk, waiting.call, () => run.resume(waiting, { unknown: 'answer' }));
  }
  desk.run = run;
  try {
    if ((await untilEnd(desk, run)) === 'long') {
      const calls = desk.calls.carry();
      const reservations = desk.reservations.carry();
      const next: SessionState = { v: 1, governor: run.state, calls, lastCallMs: desk.lastCallMs, reservations };
      return await continueAsNew<typeof session>(input, next);
    }
  } catch (error) {
    if (!isCancellation(error)) throw error;
  }
  return CancellationScope.nonCancellable(() => end(desk, run));
}

async function open(input: SessionInput, desk: Desk): Promise<GovernorState | null> {
  const opened = await openRun(input, 'session');
  if (opened.kind === 'denied') {
    desk.refused = refusedResult(opened.denial);
    return null;
  }
  const principal = { tenant: input.tenant, user: input.user, agent: input.agent };
  return newState(input.run, principal, opened.limit, opened.deadlineMs, opened.tools);
}

/**
 * Sleeps until the session is closed, idle, past its deadline or too long. One timer a
 * day (or an idle time), none a call; one a lease
 * while model calls are reserved.
 */
async function untilEnd(desk: Desk, run: Governor): Promise<'end' | 'long'> {
  for (;;) {
    const endMs = Math.min(run.state.deadlineMs, desk.lastCallMs + desk.idleMs);
    if (desk.closing || (Date.now() >= endMs && !isBusy(run))) return 'end';
    if (run.isLong()) {
      desk.leaving = true;
      await condition(() => !isBusy(run));
      await run.drain();
      return desk.closing ? 'end' : 'long';
    }
    const dueMs = desk.reservations.earliestMs;
    if (Date.now() >= dueMs) {
      await desk.reservations.expire(run, Date.now());
      continue;
    }
    // past the end, what is under way finishes first
    if (Date.now() >= endMs) await condition(() => desk.closing || run.isLong() || !isBusy(run));
    else {
      const wakeMs = Math.min(endMs, dueMs);
      const due = (): boolean => desk.reservations.earliestMs < wakeMs;
      await condition(() => desk.closing || run.isLong() || due(), wakeMs - Date.now());
    }
  }
}

/** Ends the session: what runs finishes, what waits is refused, then the run is closed in the ledger. */
async function end(desk: Desk, run: Governor): Promise<RunResult> {
  desk.closing = true;
  run.endWaits();
  const { reservations } = desk;
  const finished = (): boolean =>
    reservations.earliestMs === Infinity &&
    Object.values(run.state.open).every((c) => c.phase === 'unknown') &&
    allHandlersFinished();
  // model calls that are made elsewhere are settled by their callers, or expire
  while (!finished()) {
    const dueMs = reservations.earliestMs;
    if (dueMs === Infinity) await condition(finished);
    else if (!(await condition(finished, Math.max(1, dueMs - Date.now())))) await reservations.expire(run, Date.now());
  }
  const status = Date.now() >= run.state.deadlineMs ? 'expired' : 'stopped';
  await run.close(status);
  await condition(allHandlersFinished);
  const usage = usageOf(run.state);
  return { status, text: 'The session was closed.', usage, denials: run.state.denials };
}

/** Whether something is under way that continue-as-new would lose. */
function isBusy(run: Governor): boolean {
  return Object.values(run.state.open).some((c) => c.phase === 'running') || !allHandlersFinished();
}

function installHandlers(desk: Desk): void {
  setHandler(closeSignal, () => {
    desk.closing = true;
  });
  setHandler(outcomeQuery, (callId) =>
    desk.calls.outcome(callId, desk.run?.state.open[callId]?.ask?.approvalId ?? undefined),
  );
  const onCall = (asked: SessionCall): Promise<CallResult> =>
    whenOpen(desk, asked.callId, (run) => answer(desk, run, asked));
  setHandler(callUpdate, onCall, { validator: (asked) => accept(desk, () => checkCall(asked)) });
  const onReserve = (asked: ReserveAsked): Promise<ReserveResult> =>
    whenOpen<ReserveResult>(desk, asked.callId, async (run) => {
      const { callId } = asked;
      const denial = desk.calls.get(callId) ? madeAsCall(callId) : desk.closing ? closedDenial() : null;
      if (denial && !desk.reservations.has(callId)) return { kind: 'denied', denial, callId };
      return desk.reservations.reserve(run, asked);
    });
  setHandler(reserveUpdate, onReserve, { validator: (asked) => accept(desk, () => checkReserve(asked)) });
  const onSettle = (asked: SettleAsked): Promise<SettleResult> =>
    whenOpen(desk, asked.callId, (run) => desk.reservations.settle(run, asked));
  setHandler(settleUpdate, onSettle, { validator: (asked) => accept(desk, () => checkSettle(asked)) });
}

/** A message is refused before it leaves an event: badly made, or about to be lost by continue-as-new. */
function accept(desk: Desk, check: () => void): void {
  if (desk.leaving) throw rejection('RESOURCE_EXHAUSTED', 'the session is moving on, call again');
  check();
}

/** A cancelled session answers its callers before it ends; one that could not be opened says why. */
async function whenOpen<T>(
  desk: Desk,
  callId: string,
  work: (run: Governor) => Promise<T>,
): Promise<T | { readonly kind: 'denied'; readonly denial: Denial; readonly callId: string }> {
  desk.lastCallMs = Date.now();
  return CancellationScope.nonCancellable(async () => {
    await condition(() => desk.run !== null || desk.refused !== null);
    if (desk.run) return work(desk.run);
    return { kind: 'denied', denial: desk.refused?.denials[0] ?? closedDenial(), callId };
  });
}

async function answer(desk: Desk, run: Governor, { callId, tool, args }: SessionCall): Promise<CallResult> {
  const argsDigest = digestOf(args);
  const known = desk.calls.get(callId);
  if (desk.reservations.has(callId)) return conflict(callId);
  if (known && (known.argsDigest !== argsDigest || known.tool !== tool)) return conflict(callId);
  if (known?.result === 'stored') return run.reread({ call: callId, seq: known.seq, tool: nameOf(run, tool), args });
  if (known?.result?.kind === 'unknown') {
    return (await run.askNow(callId))?.result ?? known.result;
  }
  if (known?.result) return known.result;
  if (!known) {
    if (desk.closing) return { kind: 'denied', denial: closedDenial(), callId };
    desk.calls.start(callId, argsDigest, tool);
    const again = desk.continued;
    void track(desk, callId, () => run.call(tool, args, { callId, unknown: 'answer', again }));
  }
  await condition(
    () => desk.calls.get(callId)?.result !== null || run.state.open[callId]?.phase === 'asking' || desk.leaving,
  );
  return desk.calls.outcome(callId, run.state.open[callId]?.ask?.approvalId) ?? { kind: 'pending', callId };
}

/** Carries a call through and keeps its result. null: it goes on after continue-as-new. */
async function track(desk: Desk, callId: string, work: () => Promise<GovernedCall>): Promise<CallResult | null> {
  try {
    const { result, seq } = await work();
    desk.calls.finish(callId, seq, result);
    return result;
  } catch (error) {
    if (error instanceof LongHistory) return null;
    const reason = isCancellation(error) ? 'the session was cancelled' : 'the call could not be carried out';
    const result: CallResult = { kind: 'denied', denial: deny('CONFLICT', reason, 'open a new session', {}), callId };
    desk.calls.finish(callId, 0, result);
    return result;
  }
}

/** The tool's own name, where the model's was used. */
function nameOf(run: Governor, tool: string): string {
  return Object.values(run.state.tools).find((t) => t.modelName === tool)?.name ?? tool;
}

function madeAsCall(callId: string): Denial {
  const reason = `call ${quote(callId)} was made before as a tool's`;
  return deny('IDEMPOTENCY_CONFLICT', reason, 'use a new callId for a new call', { callId });
}

function conflict(callId: string): CallResult {
  const reason = `call ${quote(callId)} was made before with other arguments`;
  const denial = deny('IDEMPOTENCY_CONFLICT', reason, 'use a new callId for a new call', { callId });
  return { kind: 'denied', denial, callId };
}
