/**
 * `session`: a governed run for an agent that lives elsewhere. Each call is an Update whose id is the caller's callId;
 * a call that waits for a person answers `pending` at once and is asked for later with `outcome`.
 */
import {
  allHandlersFinished,
  condition,
  continueAsNew,
  isCancellation,
  setDefaultSignalHandler,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { CallResult, RunResult } from '../governance/call.ts';
import { deny, quote } from '../governance/denial.ts';
import { digestOf } from '../governance/digest.ts';
import { CONTINUE_AS_NEW_EVENTS, MAX_ARGUMENT_BYTES, SESSION_IDLE_MS } from '../governance/limits.ts';
import { utf8Length } from '../governance/text.ts';
import { Governor } from './governor.ts';
import { newState, usageOf, type GovernorState } from './governor-state.ts';
import { callUpdate, closeSignal, outcomeQuery, type SessionCall, type SessionInput } from './messages.ts';
import { checkInput, openRun, refusedResult } from './open.ts';

/** Calls a session remembers: later repeats are answered from the database. */
const MAX_REMEMBERED = 1_000;
/** Results carried through continue-as-new are at most so large; larger ones are read again from the database. */
const MAX_CARRIED_BYTES = 4_096;

interface Remembered {
  readonly argsDigest: string;
  readonly tool: string;
  readonly result: CallResult | null;
}

interface SessionState {
  readonly v: 1;
  readonly governor: GovernorState;
  readonly calls: { readonly [callId: string]: Remembered };
}

export async function session(input: SessionInput, carried?: SessionState): Promise<RunResult> {
  checkInput(input);
  const calls = new Map<string, Remembered>(Object.entries(carried?.calls ?? {}));
  let governor: Governor | null = null;
  let refusal: RunResult | null = null;
  let closing = false;
  let lastCallMs = Date.now();
  setDefaultSignalHandler(() => undefined);
  setHandler(closeSignal, () => {
    closing = true;
  });
  setHandler(outcomeQuery, (callId) => calls.get(callId)?.result ?? null);
  setHandler(
    callUpdate,
    async (asked) => {
      lastCallMs = Date.now();
      await condition(() => governor !== null || refusal !== null);
      if (refusal) return { kind: 'denied', denial: refusal.denials[0] ?? closedDenial(), callId: asked.callId };
      if (closing) return { kind: 'denied', denial: closedDenial(), callId: asked.callId };
      return answer(governor as unknown as Governor, calls, asked, carried !== undefined);
    },
    { validator: validateCall },
  );
  if (carried) governor = new Governor(carried.governor);
  else {
    const opened = await openRun(input, 'session');
    if (opened.kind === 'denied') {
      refusal = refusedResult(opened);
      await condition(allHandlersFinished);
      return refusal;
    }
    governor = new Governor(
      newState(
        input.run,
        { tenant: input.tenant, user: input.user, agent: input.agent },
        opened.limit,
        opened.deadlineMs,
        opened.tools,
      ),
    );
  }
  const run: Governor = governor;
  run.onResolved = (call, result) => {
    const known = calls.get(call);
    if (known) calls.set(call, { ...known, result });
  };
  for (const open of Object.values(run.state.open)) {
    if (open.phase === 'asking')
      void track(
        calls,
        open.call,
        run.resume(open).then((c) => c.result),
      );
  }
  const busy = (): boolean =>
    Object.values(run.state.open).some((c) => c.phase === 'running') || !allHandlersFinished();
  const long = (): boolean =>
    workflowInfo().continueAsNewSuggested || workflowInfo().historyLength >= CONTINUE_AS_NEW_EVENTS;
  try {
    for (;;) {
      const endMs = Math.min(run.state.deadlineMs, lastCallMs + SESSION_IDLE_MS);
      const woken = await condition(() => closing || (long() && !busy()), Math.max(1, endMs - Date.now()));
      if (closing || (!woken && Date.now() >= Math.min(run.state.deadlineMs, lastCallMs + SESSION_IDLE_MS) && !busy()))
        break;
      if (woken && long()) {
        await run.drain();
        await continueAsNew<typeof session>(input, { v: 1, governor: run.state, calls: carry(calls) });
      }
    }
  } catch (error) {
    if (!isCancellation(error)) throw error;
  }
  closing = true;
  const expired = Date.now() >= run.state.deadlineMs;
  await run.close(expired ? 'expired' : 'stopped');
  await condition(allHandlersFinished);
  return {
    status: expired ? 'expired' : 'stopped',
    text: 'The session was closed.',
    usage: usageOf(run.state),
    denials: run.state.denials,
  };
}

async function answer(
  governor: Governor,
  calls: Map<string, Remembered>,
  asked: SessionCall,
  mayBeOlder: boolean,
): Promise<CallResult> {
  const { callId, tool, args } = asked;
  const argsDigest = digestOf(args);
  const known = calls.get(callId);
  if (known) {
    if (known.argsDigest !== argsDigest || known.tool !== tool)
      return { kind: 'denied', denial: conflictDenial(callId), callId };
    if (known.result?.kind === 'unknown') {
      const again = governor.retryUnknown(callId);
      return again
        ? track(
            calls,
            callId,
            again.then((c) => c.result),
          )
        : known.result;
    }
    if (known.result && known.result.kind !== 'pending') return known.result;
    const open = governor.state.open[callId];
    if (open?.phase === 'asking' && open.ask) return { kind: 'pending', callId, approvalId: open.ask.approvalId };
    if (open) {
      await condition(() => calls.get(callId)?.result != null);
      return calls.get(callId)?.result ?? { kind: 'pending', callId };
    }
  }
  let approvalId: string | null = null;
  calls.set(callId, { argsDigest, tool, result: null });
  forget(calls);
  const finished = track(
    calls,
    callId,
    governor
      .call(tool, args, {
        callId,
        unknown: 'answer',
        again: mayBeOlder || known !== undefined,
        onAsk: (id) => (approvalId = id),
      })
      .then((c) => c.result),
  );
  let result: CallResult | null = null;
  void finished.then((r) => (result = r));
  await condition(() => result !== null || approvalId !== null);
  return result ?? { kind: 'pending', callId, approvalId: approvalId ?? '' };
}

/** Keeps a call's result for repeats and for `outcome`. */
async function track(calls: Map<string, Remembered>, callId: string, work: Promise<CallResult>): Promise<CallResult> {
  let result: CallResult;
  try {
    result = await work;
  } catch (error) {
    const reason = isCancellation(error) ? 'the session was cancelled' : 'the call could not be carried out';
    result = { kind: 'denied', denial: deny('CONFLICT', reason, 'open a new session', {}), callId };
  }
  const known = calls.get(callId);
  calls.set(callId, { argsDigest: known?.argsDigest ?? '', tool: known?.tool ?? '', result });
  return result;
}

function carry(calls: Map<string, Remembered>): { [callId: string]: Remembered } {
  return Object.fromEntries(
    [...calls].map(([id, call]) => [
      id,
      { ...call, result: utf8Length(JSON.stringify(call.result)) <= MAX_CARRIED_BYTES ? call.result : null },
    ]),
  );
}

function forget(calls: Map<string, Remembered>): void {
  for (const [id, call] of calls) {
    if (calls.size <= MAX_REMEMBERED) return;
    if (call.result !== null) calls.delete(id);
  }
}

/** Synchronous: a throw here rejects the Update and leaves no event. */
function validateCall(asked: SessionCall): void {
  const fields = asked as unknown as { [key: string]: unknown } | null;
  const bad = (why: string): never => {
    throw new Error(`ARGUMENTS_INVALID: ${why}`);
  };
  if (typeof fields !== 'object' || fields === null || fields['v'] !== 1) return bad('the call cannot be read');
  if (typeof fields['callId'] !== 'string' || !/^[\x21-\x7e]{1,128}$/.test(fields['callId']))
    return bad('callId has to be 1 to 128 printable ASCII characters');
  if (typeof fields['tool'] !== 'string' || fields['tool'] === '') return bad('tool has to be a name');
  if (fields['args'] === undefined) return bad('args is missing');
  if (utf8Length(JSON.stringify(fields['args'])) > MAX_ARGUMENT_BYTES)
    return bad(`args are larger than ${MAX_ARGUMENT_BYTES} bytes`);
}

function closedDenial() {
  return deny('CONFLICT', 'the session is closed', 'open a new session', {});
}

function conflictDenial(callId: string) {
  return deny(
    'IDEMPOTENCY_CONFLICT',
    `call ${quote(callId)} was made before with other arguments`,
    'use a new callId for a new call',
    { callId },
  );
}
