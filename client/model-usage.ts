/** What a provider says that an answer used: read from its JSON or from the events of its stream. */
import type { TokenUsage } from '../governance/price.ts';
import { MAX_BELIEVED_TOKENS } from '../governance/limits.ts';
import type { Dialect } from './model-request.ts';

type Fields = { readonly [key: string]: unknown };

/** The usage of a whole answer; null: it has none that can be believed, so the call costs its reservation (BU5). */
export function usageOfAnswer(dialect: Dialect, answer: unknown): TokenUsage | null {
  return readUsage(dialect, object(object(answer)?.['usage']));
}

/** What the events of one stream say so far. */
export class StreamUsage {
  readonly #dialect: Dialect;
  #usage: Fields | null = null;
  #complete = false;

  constructor(dialect: Dialect) {
    this.#dialect = dialect;
  }

  /** Known for certain: the provider's last word on it was read. */
  get final(): TokenUsage | null {
    return this.#complete ? readUsage(this.#dialect, this.#usage) : null;
  }

  /** Reads one event's data. Answers whether it holds nothing but the usage. */
  read(data: string): boolean {
    let event: Fields | null = null;
    try {
      event = object(JSON.parse(data) as unknown);
    } catch {
      return false; // `[DONE]`, or nothing that we know
    }
    if (!event) return false;
    if (this.#dialect === 'chat') return this.#readChat(event);
    if (this.#dialect === 'responses') this.#readResponses(event);
    else this.#readMessages(event);
    return false;
  }

  #readChat(event: Fields): boolean {
    const usage = object(event['usage']);
    if (!usage) return false;
    this.#usage = usage;
    // usage may stand in every chunk; the last word is the chunk without a choice
    const { choices } = event;
    this.#complete =
      Array.isArray(choices) && (choices.length === 0 || choices.some((c) => object(c)?.['finish_reason']));
    return Array.isArray(choices) && choices.length === 0;
  }

  #readResponses(event: Fields): void {
    if (!/^response\.(completed|incomplete|failed)$/.test(String(event['type']))) return;
    this.#usage = object(object(event['response'])?.['usage']);
    this.#complete = this.#usage !== null;
  }

  /** Input stands in `message_start`, output in `message_delta`: each later number replaces the earlier one. */
  #readMessages(event: Fields): void {
    const usage = object(event['usage']) ?? object(object(event['message'])?.['usage']);
    if (!usage) return;
    const given = Object.entries(usage).filter(([, value]) => typeof value === 'number');
    this.#usage = { ...this.#usage, ...Object.fromEntries(given) };
    if (event['type'] === 'message_delta') this.#complete = true;
  }
}

function readUsage(dialect: Dialect, usage: Fields | null): TokenUsage | null {
  if (!usage) return null;
  const found = dialect === 'messages' ? fromAnthropic(usage) : fromOpenAi(usage, dialect);
  if (Object.values(found).some((n) => !Number.isSafeInteger(n) || n < 0 || n > MAX_BELIEVED_TOKENS)) return null;
  // what no answer can be: nothing read, or more of a part than of the whole
  if (found.inputTokens === 0 || found.cachedInputTokens + found.cacheWriteTokens > found.inputTokens) return null;
  return found.reasoningTokens > found.outputTokens ? null : found;
}

function fromOpenAi(usage: Fields, dialect: Dialect): TokenUsage {
  const [input, output] = dialect === 'responses' ? ['input', 'output'] : ['prompt', 'completion'];
  const details = object(usage[`${input}_tokens_details`]);
  return {
    inputTokens: number(usage[`${input}_tokens`]),
    cachedInputTokens: number(details?.['cached_tokens'], 0),
    cacheWriteTokens: number(details?.['cache_write_tokens'], 0),
    outputTokens: number(usage[`${output}_tokens`], dialect === 'embeddings' ? 0 : NaN),
    reasoningTokens: number(object(usage[`${output}_tokens_details`])?.['reasoning_tokens'], 0),
  };
}

/** Anthropic counts cached input beside the rest. */
function fromAnthropic(usage: Fields): TokenUsage {
  const cachedInputTokens = number(usage['cache_read_input_tokens'], 0);
  const cacheWriteTokens = number(usage['cache_creation_input_tokens'], 0);
  return {
    inputTokens: number(usage['input_tokens']) + cachedInputTokens + cacheWriteTokens,
    cachedInputTokens,
    cacheWriteTokens,
    outputTokens: number(usage['output_tokens']),
    reasoningTokens: 0,
  };
}

function number(value: unknown, absent = NaN): number {
  return typeof value === 'number' ? value : value == null ? absent : NaN;
}

function object(value: unknown): Fields | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : null;
}
