/** What a session's callers may send. Synchronous: a throw rejects the Update and leaves no event. */
import { ApplicationFailure } from '@temporalio/workflow';
import {
  MAX_ARGUMENT_BYTES,
  MAX_BELIEVED_MICROS,
  MAX_BELIEVED_TOKENS,
  MAX_MODEL_MESSAGES,
  MAX_MODEL_NAME_CHARS,
} from '../governance/limits.ts';
import { utf8Length } from '../governance/text.ts';
import type { ReserveAsked, SessionCall, SettleAsked } from './messages.ts';

type Fields = { readonly [key: string]: unknown };

const CALL_ID = /^[\x21-\x7e]{1,128}$/;
const MODEL = /^[a-z0-9][a-z0-9_.-]*\/[A-Za-z0-9][A-Za-z0-9_.:/@-]*$/;
const USAGE = ['inputTokens', 'cachedInputTokens', 'cacheWriteTokens', 'outputTokens', 'reasoningTokens'];

/** @throws ApplicationFailure ARGUMENTS_INVALID */
export function checkCall(asked: SessionCall): void {
  const fields = readAsked(asked);
  if (typeof fields['tool'] !== 'string' || fields['tool'] === '') throw invalid('tool has to be a name');
  if (fields['args'] === undefined) throw invalid('args is missing');
  if (utf8Length(JSON.stringify(fields['args'])) > MAX_ARGUMENT_BYTES) {
    throw invalid(`args are larger than ${MAX_ARGUMENT_BYTES} bytes`);
  }
}

/** @throws ApplicationFailure ARGUMENTS_INVALID */
export function checkReserve(asked: ReserveAsked): void {
  const fields = readAsked(asked);
  const { model } = fields;
  if (typeof model !== 'string' || model.length > MAX_MODEL_NAME_CHARS || !MODEL.test(model)) {
    throw invalid("model has to be provider/name, such as 'openai/gpt-5-mini'");
  }
  checkWhole('promptBytes', fields['promptBytes'], 0, MAX_BELIEVED_TOKENS);
  checkWhole('messages', fields['messages'], 0, MAX_MODEL_MESSAGES);
  checkWhole('maxOutputTokens', fields['maxOutputTokens'], 1, MAX_BELIEVED_TOKENS);
  const declared = fields['declared'] as Fields | null | undefined;
  if (declared === undefined) return;
  if (typeof declared !== 'object' || declared === null) throw invalid('declared has to be an object');
  checkWhole('declared.usdMicros', declared['usdMicros'], 0, MAX_BELIEVED_MICROS);
  checkWhole('declared.tokens', declared['tokens'], 0, MAX_BELIEVED_TOKENS);
}

/** @throws ApplicationFailure ARGUMENTS_INVALID */
export function checkSettle(asked: SettleAsked): void {
  const outcome = readAsked(asked)['outcome'] as Fields | null;
  const kind = typeof outcome === 'object' && outcome !== null ? outcome['kind'] : undefined;
  if (kind === 'nothing' || kind === 'unknown') return;
  if (kind !== 'used') throw invalid('outcome has to be used, nothing or unknown');
  const usage = outcome?.['usage'] as Fields | null;
  if (typeof usage !== 'object' || usage === null) throw invalid('outcome.usage is missing');
  for (const name of USAGE) checkWhole(`outcome.usage.${name}`, usage[name], 0, MAX_BELIEVED_TOKENS);
}

/** An Update that is refused before it is accepted. */
export function rejection(type: string, why: string): ApplicationFailure {
  return ApplicationFailure.create({ type, message: `${type}: ${why}`, nonRetryable: true });
}

function readAsked(asked: unknown): Fields {
  const fields = asked as Fields | null;
  if (typeof fields !== 'object' || fields === null || fields['v'] !== 1) throw invalid('the call cannot be read');
  if (typeof fields['callId'] !== 'string' || !CALL_ID.test(fields['callId'])) {
    throw invalid('callId has to be 1 to 128 printable ASCII characters');
  }
  return fields;
}

function checkWhole(name: string, value: unknown, least: number, most: number): void {
  if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most) return;
  throw invalid(`${name} has to be a whole number from ${least} to ${most}`);
}

function invalid(why: string): ApplicationFailure {
  return rejection('ARGUMENTS_INVALID', why);
}
