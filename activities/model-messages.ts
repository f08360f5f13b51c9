/** Between the run's transcript and the AI SDK: messages out, answers and usage in. Whatever comes in is hostile. */
import { jsonSchema, type JSONValue, type ModelMessage, type ToolSet } from 'ai';
import { checkPlainJson } from '../governance/canonical.ts';
import type { Json } from '../governance/json.ts';
import {
  MAX_ANSWER_BYTES,
  MAX_ARGUMENT_BYTES,
  MAX_BELIEVED_TOKENS,
  MAX_TOOL_CALLS_PER_ANSWER,
} from '../governance/limits.ts';
import type { ModelRequest, ModelResponse, TranscriptMessage } from './deps.ts';

/** Messages as the AI SDK takes them. */
export function toModelMessages(messages: readonly TranscriptMessage[]): ModelMessage[] {
  return messages.map((m): ModelMessage => {
    switch (m.role) {
      case 'user':
        return { role: 'user', content: m.text };
      case 'assistant':
        return {
          role: 'assistant',
          content: [
            ...(m.text === '' ? [] : [{ type: 'text' as const, text: m.text }]),
            ...m.toolCalls.map((c) => ({
              type: 'tool-call' as const,
              toolCallId: c.id,
              toolName: c.toolName,
              input: asObject(c.args),
            })),
          ],
        };
      case 'tool':
        return {
          role: 'tool',
          content: [
            {
              type: 'tool-result',
              toolCallId: m.id,
              toolName: m.toolName,
              output: { type: 'json', value: m.value as JSONValue },
            },
          ],
        };
      default:
        return m satisfies never;
    }
  });
}

/** Tools with schemas and without code: a call of one is the answer's end. */
export function toToolSet(tools: ModelRequest['tools']): ToolSet {
  return Object.fromEntries(
    tools.map((t) => [t.name, { description: t.description, inputSchema: jsonSchema(t.inputJsonSchema as never) }]),
  );
}

/** Providers take objects only. */
function asObject(args: Json): Json {
  return typeof args === 'object' && args !== null && !Array.isArray(args) ? args : { value: args };
}

/** A tool call as the AI SDK reports it; `input` is text where it was not JSON. */
export interface SdkToolCall {
  readonly toolCallId: string;
  readonly toolName: string;
  readonly input: unknown;
}

/** Tool calls as data: parsed arguments, or `invalid` with the text. Bounded in number and size. */
export function readToolCalls(calls: readonly SdkToolCall[]): ModelResponse['toolCalls'] {
  let left = MAX_ANSWER_BYTES;
  const ids = new Set<string>();
  return calls.slice(0, MAX_TOOL_CALLS_PER_ANSWER).map((call, index) => {
    // two calls with one id could not be told apart in the transcript
    const given = call.toolCallId.toWellFormed().slice(0, 200);
    const id = given === '' || ids.has(given) ? `${given}#${index}` : given;
    ids.add(id);
    const named = { id, toolName: call.toolName.toWellFormed().slice(0, 200) };
    const read = readArguments(call.input);
    const bytes = Buffer.byteLength(JSON.stringify(read.args));
    if (bytes > MAX_ARGUMENT_BYTES || bytes > left) {
      return { ...named, args: null, invalid: `the arguments are larger than ${MAX_ARGUMENT_BYTES} bytes` };
    }
    left -= bytes;
    return { ...named, ...read };
  });
}

function readArguments(input: unknown): { args: Json; invalid?: string } {
  let value = input;
  if (typeof value === 'string') {
    try {
      value = JSON.parse(value) as unknown;
    } catch {
      return { args: (input as string).toWellFormed(), invalid: 'the arguments are not JSON' };
    }
  }
  const problem = checkPlainJson(value);
  if (problem !== null) return { args: null, invalid: `the arguments cannot be used: ${problem.toWellFormed()}` };
  return { args: value as Json };
}

/** Text as it is kept: well-formed, bounded. */
export function readText(text: string): string {
  return cutBytes(text.toWellFormed(), MAX_ANSWER_BYTES);
}

/** The longest beginning of a text that has at most so many UTF-8 bytes. */
export function cutBytes(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= maxBytes) return text;
  let end = maxBytes;
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, end);
}

/** Usage as the AI SDK reports it; input includes cached, output includes reasoning. */
export interface SdkUsage {
  readonly inputTokens: number | undefined;
  readonly inputTokenDetails?: {
    readonly cacheReadTokens: number | undefined;
    readonly cacheWriteTokens: number | undefined;
  };
  readonly outputTokens: number | undefined;
  readonly outputTokenDetails?: { readonly reasoningTokens: number | undefined };
}

/**
 * Usage that can be believed, else null: the call is then charged at its reservation. Not believed are missing,
 * negative, fractional, NaN and huge numbers, parts larger than their whole, an empty prompt, and an answer for nothing.
 */
export function readUsage(usage: SdkUsage | undefined, answered: boolean): ModelResponse['usage'] {
  const found = {
    inputTokens: usage?.inputTokens ?? NaN,
    cachedInputTokens: usage?.inputTokenDetails?.cacheReadTokens ?? 0,
    cacheWriteTokens: usage?.inputTokenDetails?.cacheWriteTokens ?? 0,
    outputTokens: usage?.outputTokens ?? NaN,
    reasoningTokens: usage?.outputTokenDetails?.reasoningTokens ?? 0,
  };
  if (Object.values(found).some((n) => !Number.isSafeInteger(n) || n < 0 || n > MAX_BELIEVED_TOKENS)) return null;
  if (
    found.cachedInputTokens + found.cacheWriteTokens > found.inputTokens ||
    found.reasoningTokens > found.outputTokens
  )
    return null;
  if (found.inputTokens === 0 || (answered && found.outputTokens === 0)) return null;
  return found;
}
