/** `agentRun`: an agent's loop as a durable workflow. The model is asked, its tool calls are governed one by one. */
import { continueAsNew, isCancellation, setDefaultSignalHandler, workflowInfo } from '@temporalio/workflow';
import type { ModelToolCall, OpenedModel, ToolResultRef } from '../activities/types.ts';
import type { RunResult } from '../governance/call.ts';
import { deny, quote } from '../governance/denial.ts';
import type { Json } from '../governance/json.ts';
import { CONTINUE_AS_NEW_EVENTS } from '../governance/limits.ts';
import { resultBytes } from '../governance/text.ts';
import { Governor, type GovernedCall } from './governor.ts';
import { newState, usageOf, type GovernorState } from './governor-state.ts';
import type { AgentRunInput, RunStatus } from './messages.ts';
import { modelTurn } from './model-turn.ts';
import { checkInput, openRun, refusedResult } from './open.ts';

/** What the loop itself carries through continue-as-new. */
interface LoopState {
  readonly v: 1;
  readonly governor: GovernorState;
  readonly model: OpenedModel;
  readonly turn: number;
  readonly promptBytes: number;
  readonly messages: number;
  readonly results: readonly ToolResultRef[];
}

type Ending = { readonly status: Extract<RunStatus, RunResult['status']>; readonly text: string };

/** Runs an agent until it answers, or until budget, deadline, turns or a person end it. */
export async function agentRun(input: AgentRunInput, carried?: LoopState): Promise<RunResult> {
  checkInput(input);
  let loop = carried;
  if (!loop) {
    const opened = await openRun(input, 'agent');
    if (opened.kind === 'denied' || !opened.model) return refusedResult(opened as never);
    const principal = { tenant: input.tenant, user: input.user, agent: input.agent };
    loop = {
      v: 1,
      governor: newState(input.run, principal, opened.limit, opened.deadlineMs, opened.tools),
      model: opened.model,
      turn: 1,
      promptBytes: opened.model.promptBytes,
      messages: opened.model.messages,
      results: [],
    };
  }
  setDefaultSignalHandler(() => undefined); // signals of another name are nothing to us
  const governor = new Governor(loop.governor);
  let ending: Ending;
  try {
    ending = await converse(governor, loop, input);
  } catch (error) {
    if (!isCancellation(error)) throw error;
    ending = { status: 'stopped', text: 'The run was cancelled.' };
  }
  await governor.close(ending.status);
  return { ...ending, usage: usageOf(governor.state), denials: governor.state.denials };
}

async function converse(governor: Governor, start: LoopState, input: AgentRunInput): Promise<Ending> {
  let loop = start;
  for (; loop.turn <= loop.model.maxTurns; loop = { ...loop, turn: loop.turn + 1 }) {
    if (!(await governor.whileFrozen()) || Date.now() >= governor.state.deadlineMs) return expired(governor);
    await continueIfLong(governor, loop, input);
    const turn = await modelTurn(governor, loop);
    if (turn.kind === 'exhausted') {
      if (loop.model.onExhausted === 'stop')
        return { status: 'exhausted', text: `The run's budget is used up: ${turn.denial.reason}.` };
      if (!(await governor.waitForBudget(turn.needed))) return expired(governor);
      loop = { ...loop, turn: loop.turn - 1 };
      continue;
    }
    if (turn.kind === 'denied') {
      if (turn.denial.code === 'FROZEN' && governor.state.frozen) {
        loop = { ...loop, turn: loop.turn - 1 };
        continue;
      }
      return {
        status: turn.denial.code === 'DEADLINE_EXCEEDED' ? 'expired' : 'stopped',
        text: `${turn.denial.reason} (${turn.denial.hint})`,
      };
    }
    if (turn.kind === 'failed') return { status: 'failed', text: turn.error.message };
    if (turn.toolCalls.length === 0) return { status: 'answered', text: turn.text };
    const results: ToolResultRef[] = [];
    let bytes = turn.bytes;
    for (const asked of turn.toolCalls) {
      if (!(await governor.whileFrozen())) return expired(governor);
      const { ref, size } = await toolCall(governor, asked);
      results.push(ref);
      bytes += size;
    }
    loop = {
      ...loop,
      results,
      promptBytes: loop.promptBytes + bytes,
      messages: loop.messages + turn.messages + results.length,
    };
  }
  return { status: 'stopped', text: `The agent used its ${loop.model.maxTurns} turns without an answer.` };
}

/** One tool call of the model, and how its result joins the transcript. */
async function toolCall(governor: Governor, asked: ModelToolCall): Promise<{ ref: ToolResultRef; size: number }> {
  const governed =
    asked.invalid === undefined
      ? await governor.call(asked.toolName, asked.args, { inline: false, unknown: 'wait' })
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
  if (governed.stored !== null)
    return { ref: { kind: 'stored', ...names, call: governed.stored }, size: governed.bytes };
  const value = shownToModel(governed);
  return { ref: { kind: 'inline', ...names, value }, size: resultBytes(value) };
}

/** What the model reads where there is no output (P9). */
function shownToModel({ result }: GovernedCall): Json {
  switch (result.kind) {
    case 'denied': {
      const { code, reason, hint, retryAfterMs, firstResult } = result.denial;
      return {
        error: {
          code,
          reason,
          hint,
          ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
          ...(firstResult === undefined ? {} : { firstResult }),
        },
      };
    }
    case 'failed':
      return {
        error: {
          code: result.error.code,
          reason: result.error.message,
          hint: 'decide whether to try something else or to tell the user',
        },
      };
    case 'unknown':
      return {
        error: {
          code: 'OUTCOME_UNKNOWN',
          reason: 'nobody knows whether this happened',
          hint: 'do not repeat it; tell the user',
        },
      };
    case 'done':
    case 'pending':
      return null;
    default:
      return result satisfies never;
  }
}

/** Before Temporal's limits: between turns, with nothing under way. */
async function continueIfLong(governor: Governor, loop: LoopState, input: AgentRunInput): Promise<void> {
  const info = workflowInfo();
  if (!info.continueAsNewSuggested && info.historyLength < CONTINUE_AS_NEW_EVENTS) return;
  await governor.drain();
  await continueAsNew<typeof agentRun>(input, { ...loop, governor: governor.state });
}

function expired(governor: Governor): Ending {
  return {
    status: 'expired',
    text: `The run's deadline ${new Date(governor.state.deadlineMs).toISOString()} has passed.`,
  };
}
