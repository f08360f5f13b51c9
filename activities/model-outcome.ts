/** What became of a model call: what it cost, what the caller gets, what the ledger and the transcript keep. */
import type { Amount } from '../governance/call.ts';
import { ZERO } from '../governance/budget.ts';
import { isActGuardError, type CallError, type FailureKind } from '../governance/errors.ts';
import { classifyFailure } from '../governance/failure.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { settleModelCall, type ModelPrice } from '../governance/price.ts';
import { callEntry, committed, type CallFrame } from './call-entries.ts';
import type { Deps, ModelResponse, TranscriptMessage } from './deps.ts';
import { ModelError } from './model-gateway.ts';
import { makeTurn, type FinishRequest, type StartRequest } from './transcript.ts';
import type { CallModelInput, CallModelResult } from './types.ts';

/** One model call under way. */
export interface ModelCall {
  readonly deps: Deps;
  readonly frame: CallFrame;
  readonly input: CallModelInput;
  readonly model: string;
  readonly price: ModelPrice;
}

/** An outcome before it is written: what it becomes if it stands, and if its turn stands already. */
export interface Outcome {
  readonly request: Omit<FinishRequest, 'tenant' | 'run' | 'call'>;
  readonly result: CallModelResult;
  readonly conflict: CallModelResult;
  /** It cost more than was reserved. */
  readonly above: boolean;
}

/** Kinds that another attempt may mend. */
const PASSING: readonly FailureKind[] = ['transport', 'timeout', 'overloaded', 'throttled'];
const NAMES: readonly (keyof Amount)[] = ['usdMicros', 'tokens', 'calls'];

/** What an attempt leaves that was sent and never heard of again: its full reservation, flagged (BU5). */
export function lost(call: ModelCall): Pick<StartRequest, 'lostEntries' | 'lostResult'> {
  const { frame, input, model } = call;
  const result: CallModelResult = { kind: 'lost', spent: input.reserved };
  const data = {
    model,
    turn: input.turn,
    code: 'MODEL_FAILED',
    lost: true,
    flagged: true,
    spent: plain(input.reserved),
  };
  return { lostResult: JSON.stringify(result), lostEntries: [callEntry(frame, 'call.failed', 'lost', data)] };
}

/** An answer: kept even if it was the last one that the budget could pay; without a usage, charged in full (BU5). */
export async function answered(
  call: ModelCall,
  incoming: readonly TranscriptMessage[],
  parent: string | null,
  response: ModelResponse,
): Promise<Outcome> {
  const { deps, frame, input, model, price } = call;
  const text = deps.known.text(response.text);
  const toolCalls = response.toolCalls.map((c) => ({ ...c, args: deps.known.json(c.args) }));
  const settled = settleModelCall(response.usage, price);
  const spent = settled ?? input.reserved;
  const flagged = settled === null;
  const above = NAMES.some((unit) => spent[unit] > input.reserved[unit]);
  const answer: TranscriptMessage = {
    role: 'assistant',
    text,
    toolCalls: toolCalls.map(({ id, toolName, args }) => ({ id, toolName, args })),
  };
  const result: CallModelResult = {
    kind: 'done',
    text,
    toolCalls,
    usage: response.usage,
    spent,
    bytes: await addedBytes(call, answer),
    messages: 1,
    flagged,
  };
  const kept = committed('answer', { text, toolCalls } as unknown as Json);
  const data: JsonObject = {
    model,
    turn: input.turn,
    usage: response.usage === null ? null : { ...response.usage },
    spent: plain(spent),
    flagged,
    ...(above ? { aboveReservation: true } : {}),
    ...kept.data,
  };
  return outcome(call, 'succeeded', result, callEntry(frame, 'call.succeeded', 'succeeded', data, kept.content), data, {
    usage: response.usage === null ? null : { ...response.usage },
    transcript: makeTurn(input.run, input.turn, parent, [...incoming, answer]),
  });
}

/** What stopped a call, if anything did. `aborted`: a freeze, which the run finds when it asks again. */
interface Stopped {
  readonly timedOut: boolean;
  readonly cancelled: boolean;
  readonly aborted: boolean;
}

/** No answer. What certainly billed nothing costs nothing; whatever is not certain is charged in full, flagged. */
export function failed(call: ModelCall, error: unknown, why: Stopped): Outcome {
  const { deps, frame, input, model } = call;
  const own = isActGuardError(error);
  const asked = error instanceof ModelError ? error : null;
  const flagged = !own && (asked === null || asked.billed === 'unknown');
  const spent = flagged ? input.reserved : ZERO;
  const kind: FailureKind = why.timedOut ? 'timeout' : classifyFailure(error);
  const said = error instanceof Error ? error.message : 'the model call failed';
  const message = why.aborted ? 'aborted by a freeze' : deps.known.text(said).slice(0, 1_000);
  const name = asked?.original ?? (error instanceof Error ? error.name : 'Error');
  const tooLarge = asked?.tooLargeBytes ?? null;
  const callError: CallError = own
    ? {
        code: error.code,
        message,
        details: { ...error.details, ...(error.hint === undefined ? {} : { hint: error.hint }) },
      }
    : tooLarge !== null
      ? { code: 'LIMIT_EXCEEDED', message, details: { model, bytes: tooLarge, promptBytes: input.promptBytes } }
      : {
          code: 'MODEL_FAILED',
          message: `${model} gave no answer: ${message}`,
          details: { model, flagged },
          cause: { name, message, kind },
        };
  const retry = callError.code === 'MODEL_FAILED' && !why.cancelled && (why.aborted || PASSING.includes(kind));
  const result: CallModelResult = { kind: 'failed', error: callError, spent, retry };
  const data: JsonObject = {
    model,
    turn: input.turn,
    code: callError.code,
    failure: kind,
    spent: plain(spent),
    flagged,
    ...(why.aborted ? { aborted: true } : {}),
  };
  const entry = callEntry(frame, 'call.failed', 'failed', data, { message });
  return outcome(call, 'failed', result, entry, data, { usage: null, transcript: null });
}

function outcome(
  call: ModelCall,
  state: 'succeeded' | 'failed',
  result: CallModelResult,
  entry: FinishRequest['entries'][number],
  data: JsonObject,
  more: Pick<FinishRequest, 'usage' | 'transcript'>,
): Outcome {
  const { frame, input } = call;
  const spent = 'spent' in result ? result.spent : ZERO;
  const conflict: CallModelResult = {
    kind: 'failed',
    error: {
      code: 'CONFLICT',
      message: `turn ${input.turn} of this run stands already`,
      details: { turn: input.turn },
    },
    spent,
    retry: false,
  };
  const conflictData = { ...data, code: 'CONFLICT', spent: plain(spent) };
  return {
    result,
    conflict,
    above: NAMES.some((unit) => spent[unit] > input.reserved[unit]),
    request: {
      state,
      spent,
      ...more,
      result: JSON.stringify(result),
      entries: [entry],
      lateEntries: [callEntry(frame, 'call.late', 'late', { ...data, state })],
      conflictResult: JSON.stringify(conflict),
      conflictEntries: [callEntry(frame, 'call.failed', 'failed', conflictData)],
    },
  };
}

/** Bytes that an answer adds to every later request, with the framing of the results that it asks for. */
async function addedBytes({ deps, model }: ModelCall, answer: TranscriptMessage): Promise<number> {
  const ask: TranscriptMessage = { role: 'user', text: '' };
  const calls = answer.role === 'assistant' ? answer.toolCalls : [];
  const results = calls.map((c): TranscriptMessage => ({ role: 'tool', id: c.id, toolName: c.toolName, value: null }));
  const alone = { model, instructions: '', tools: [] };
  const [without, withAnswer] = await Promise.all([
    deps.models.measure({ ...alone, messages: [ask] }),
    deps.models.measure({ ...alone, messages: [ask, answer, ...results] }),
  ]);
  return withAnswer.bytes - without.bytes;
}

function plain({ usdMicros, tokens, calls }: Amount): JsonObject {
  return { usdMicros, tokens, calls };
}
