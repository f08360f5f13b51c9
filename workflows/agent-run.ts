/** `agentRun`: an agent's loop as a durable workflow. The model is asked, its tool calls are governed one by one. */
import {
  ActivityFailure,
  continueAsNew,
  isCancellation,
  patched,
  setDefaultSignalHandler,
  TemporalFailure,
} from '@temporalio/workflow';
import type { ModelToolCall, OpenedModel, Refused, ToolResultRef } from '../activities/types.ts';
import type { Amount, CallResult, RunResult } from '../governance/call.ts';
import { accountOfId } from '../governance/account.ts';
import { deny, quote } from '../governance/denial.ts';
import type { Denial } from '../governance/errors.ts';
import { isChild } from '../governance/family.ts';
import type { Json } from '../governance/json.ts';
import { FIRST_THAW_PAUSE_MS, MAX_THAW_PAUSE_MS } from '../governance/limits.ts';
import { resultBytes } from '../governance/text.ts';
import { neededOf, waitsFor, type Pause } from './exhausted.ts';
import { LongHistory } from './governed-run.ts';
import { Governor } from './governor.ts';
import { newState, usageOf, type GovernorState } from './governor-state.ts';
import type { AgentRunInput, RunStatus } from './messages.ts';
import { modelTurn } from './model-turn.ts';
import { checkInput, openRun, refusedResult } from './open.ts';
import { shownToModel } from './shown-to-model.ts';
import { noteCall, noteSaid, partialResult, type Progress } from './partial.ts';

/** What the loop itself carries through continue-as-new: between any two calls, also while one waits for a person. */
interface LoopState {
  readonly v: 1;
  readonly model: OpenedModel;
  /** The turn that is asked for next. */
  readonly turn: number;
  readonly promptBytes: number;
  readonly messages: number;
  /** Results of this turn's calls so far: they join the transcript with the next model call. */
  readonly results: readonly ToolResultRef[];
  /** This turn's calls that have no result yet; the first may be open in the governor's state. */
  readonly todo: readonly ModelToolCall[];
  readonly paused: Pause | null;
  /** What was reached so far. */
  readonly progress?: Progress;
  /** The account whose exhaustion was announced last. */
  readonly announced?: string;
  /** How long the run slept last because something beyond it is frozen; 0: not. */
  readonly thawPauseMs?: number;
}

interface Carried {
  readonly v: 1;
  readonly governor: GovernorState;
  readonly loop: LoopState;
}

interface ToolCalled {
  readonly ref: ToolResultRef;
  readonly size: number;
  readonly result: CallResult;
  readonly account: Pause['account'] | undefined;
}

type Ending = {
  readonly status: Extract<RunStatus, RunResult['status']>;
  readonly text: string;
  readonly output?: Json;
};

/**
 * Runs an agent until it answers, or until budget, deadline, turns or a person end it. A cancelled run settles, records
 * and completes with status `stopped`: its result can be read like any other.
 */
export async function agentRun(input: AgentRunInput, carried?: Carried): Promise<RunResult> {
  checkInput(input, carried);
  const start = carried ?? (await open(input));
  if ('status' in start) return start;
  const governor = new Governor(start.governor, { interruptible: true });
  // only now: it would take the signals that came before the handlers; those of another name are nothing to us
  setDefaultSignalHandler(() => undefined);
  const at = { loop: start.loop };
  let ending: Ending;
  try {
    ending = await converse(governor, at);
  } catch (error) {
    if (error instanceof LongHistory) return continueNow(governor, input, at.loop);
    ending = endingOf(error);
  }
  await governor.close(ending.status);
  return { ...ending, usage: usageOf(governor.state), denials: governor.state.denials };
}

async function open(input: AgentRunInput): Promise<Carried | RunResult> {
  const opened = await openRun(input, 'agent');
  if (opened.kind === 'denied') return refusedResult(opened.denial);
  const { model } = opened;
  if (!model)
    return refusedResult(deny('CONFIG_INVALID', `agent ${quote(input.agent)} has no model`, 'give it one', {}));
  const principal = { tenant: input.tenant, user: input.user, agent: input.agent };
  return {
    v: 1,
    governor: {
      ...newState(input.run, principal, opened.limit, opened.deadlineMs, opened.tools),
      ...(isChild(input.openedBy) ? { child: true } : {}),
    },
    loop: {
      v: 1,
      model,
      turn: 1,
      promptBytes: model.promptBytes,
      messages: model.messages,
      results: [],
      todo: [],
      paused: null,
    },
  };
}

/** Before Temporal's limits, with nothing under way; what waits goes on in the next run. */
async function continueNow(governor: Governor, input: AgentRunInput, loop: LoopState): Promise<never> {
  await governor.drain();
  // word of an account's change may come in between: the next run asks again at once
  const paused = loop.paused?.account ? null : loop.paused;
  return continueAsNew<typeof agentRun>(input, { v: 1, governor: governor.state, loop: { ...loop, paused } });
}

/** What could not go on. A mistake in the code is no ending: its workflow task is tried again. */
function endingOf(error: unknown): Ending {
  if (isCancellation(error)) return { status: 'stopped', text: 'The run was cancelled.' };
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (!(error instanceof TemporalFailure) || !(cause instanceof Error)) throw error;
  return { status: 'failed', text: `The run could not go on: ${cause.message}.` };
}

async function converse(governor: Governor, at: { loop: LoopState }): Promise<Ending> {
  for (;;) {
    if (!(await governor.whileFrozen()) || Date.now() >= governor.state.deadlineMs) return expired(governor, at.loop);
    if (governor.isLong()) throw new LongHistory();
    const { loop } = at;
    if (loop.paused) {
      const { needed, limit, account } = loop.paused;
      const goesOn = account
        ? await governor.waitForAccount(needed, account.resetAtMs)
        : await governor.waitForBudget(needed, limit);
      if (!goesOn) return expired(governor, loop);
      at.loop = { ...loop, paused: null };
      continue;
    }
    const [asked, ...todo] = loop.todo;
    if (asked) {
      const { ref, size, result, account } = await toolCall(governor, asked);
      const waits = pauses(governor, loop) ? waitsFor(result, account, governor.state.budget.limit) : null;
      if (waits && result.kind === 'denied' && patched('tool-exhausted')) {
        pause(governor, at, neededOf(result.denial), waits); // then the same call is made again
        continue;
      }
      at.loop = {
        ...loop,
        todo,
        progress: noteCall(loop.progress, asked.toolName, result),
        results: [...loop.results, ref],
        promptBytes: loop.promptBytes + size,
        messages: loop.messages + 1,
      };
      continue;
    }
    const ending = await nextTurn(governor, at);
    if (ending) return ending;
  }
}

/** Asks the model once; null: the run goes on. */
async function nextTurn(governor: Governor, at: { loop: LoopState }): Promise<Ending | null> {
  const { loop } = at;
  if (loop.turn > loop.model.maxTurns) {
    const why = `The agent used its ${loop.model.maxTurns} turns without an answer.`;
    return { status: 'stopped', ...partialResult(why, loop.progress) };
  }
  const turn = await modelTurn(governor, loop);
  switch (turn.kind) {
    case 'done':
      if (turn.toolCalls.length === 0) return { status: 'answered', text: turn.text };
      at.loop = {
        ...loop,
        turn: loop.turn + 1,
        results: [],
        thawPauseMs: 0,
        progress: noteSaid(loop.progress, turn.text),
        todo: turn.toolCalls,
        promptBytes: loop.promptBytes + turn.bytes,
        messages: loop.messages + turn.messages,
      };
      return null;
    case 'exhausted':
      if (!pauses(governor, loop)) {
        return {
          status: 'exhausted',
          ...partialResult(`The run's budget is used up: ${turn.denial.reason}.`, loop.progress),
        };
      }
      pause(governor, at, turn.needed, { limit: JSON.stringify(governor.state.budget.limit) });
      return null;
    case 'denied':
      if (turn.denial.code === 'FROZEN') return frozenTurn(governor, at);
      if (turn.account) return accountExhausted(governor, at, turn.denial, turn.account);
      return {
        status: turn.denial.code === 'DEADLINE_EXCEEDED' ? 'expired' : 'stopped',
        text: `${turn.denial.reason} (${turn.denial.hint})`,
      };
    case 'failed':
      return { status: 'failed', text: turn.error.message };
    default:
      return turn satisfies never;
  }
}

/** The run itself, or something beyond it, is frozen: a thaw beyond the run sends no signal, so it is asked for, rarely. */
async function frozenTurn(governor: Governor, at: { loop: LoopState }): Promise<null> {
  if (governor.state.frozen) return null; // waited for by signal
  const lastMs = at.loop.thawPauseMs ?? 0;
  const pauseMs = lastMs === 0 ? FIRST_THAW_PAUSE_MS : Math.min(lastMs * 2, MAX_THAW_PAUSE_MS);
  at.loop = { ...at.loop, thawPauseMs: pauseMs };
  governor.setStatus('frozen');
  await governor.flush();
  await governor.until(() => false, Math.min(Date.now() + pauseMs, governor.state.deadlineMs));
  governor.setStatus(governor.restingStatus());
  return null;
}

/** An account of the run has too little: the run ends, or waits until somebody changes the account. */
function accountExhausted(
  governor: Governor,
  at: { loop: LoopState },
  denial: Denial,
  account: NonNullable<Refused['account']>,
): Ending | null {
  const { loop } = at;
  if (loop.model.onExhausted === 'stop') {
    return {
      status: 'exhausted',
      ...partialResult(`A budget of this run is used up: ${denial.reason}.`, loop.progress),
    };
  }
  pause(governor, at, neededOf(denial), { limit: '', account });
  return null;
}

/** Whether an exhausted run waits. A child is not topped up: it goes on with what is free, or ends. */
function pauses(governor: Governor, loop: LoopState): boolean {
  return loop.model.onExhausted !== 'stop' && !governor.state.child;
}

/** People are told once what is missing; the loop waits for it before anything else. */
function pause(governor: Governor, at: { loop: LoopState }, needed: Amount, waits: Omit<Pause, 'needed'>): void {
  const { account } = waits;
  if (!account) governor.announceExhausted(needed);
  else if (at.loop.announced !== account.id) governor.announceExhausted(needed, accountOfId(account.id));
  at.loop = { ...at.loop, ...(account ? { announced: account.id } : {}), paused: { needed, ...waits } };
}

/** One tool call of the model, and how its result joins the transcript. */
async function toolCall(governor: Governor, asked: ModelToolCall): Promise<ToolCalled> {
  const options = { inline: false, unknown: 'wait' } as const;
  const [waiting] = Object.values(governor.state.open); // calls go one by one: an open one is this one, continued
  const governed = waiting
    ? await governor.resume(waiting, options)
    : asked.invalid === undefined
      ? await governor.call(asked.toolName, asked.args, options)
      : governor.refuse(
          asked.toolName,
          deny(
            'ARGUMENTS_INVALID',
            `the arguments are not JSON: ${quote(asked.invalid)}`,
            'send the arguments again as one JSON object',
            { tool: asked.toolName },
          ),
        );
  const names = { modelCallId: asked.id, toolName: asked.toolName };
  const { stored, bytes, result, account } = governed;
  if (stored !== null) return { ref: { kind: 'stored', ...names, call: stored }, size: bytes, result, account };
  const value = shownToModel(result);
  return { ref: { kind: 'inline', ...names, value }, size: resultBytes(value), result, account };
}

function expired(governor: Governor, { progress }: LoopState): Ending {
  const why = `The run's deadline ${new Date(governor.state.deadlineMs).toISOString()} has passed.`;
  return { status: 'expired', ...partialResult(why, progress) };
}
