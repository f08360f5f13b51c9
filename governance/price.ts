/** Prices of a model, for reserving its worst case and for settling what was used (guards.md BU3, BU4). */
import { BUDGET_UNITS, type BudgetUnit } from './budget.ts';
import type { Amount, Limit } from './call.ts';
import { ActGuardError } from './errors.ts';
import {
  MIN_OUTPUT_TOKENS,
  TOKENS_PER_MESSAGE_OVERHEAD,
  TOKENS_PER_REQUEST_OVERHEAD,
  TOKENS_PER_TOOL_PROMPT,
} from './limits.ts';
import { MICROS_PER_USD, numerator, settleMicros } from './money.ts';

/** Micro-dollars per million tokens, integers. The dearest tier of the model. */
export interface ModelPrice {
  /** Which table and which version: stands in the entry. */
  readonly version: string;
  readonly inputMicrosPerMTok: number;
  readonly cachedInputMicrosPerMTok: number;
  readonly cacheWriteMicrosPerMTok: number;
  readonly outputMicrosPerMTok: number;
  /** It makes no text (embeddings), so that its output has no price: a call with output is refused. */
  readonly inputOnly?: true;
  /** Tokens of the provider's own beyond the request's bytes; absent: the usual framing. */
  readonly overhead?: { readonly perRequest: number; readonly perMessage: number };
}

const USUAL_OVERHEAD = { perRequest: TOKENS_PER_REQUEST_OVERHEAD, perMessage: TOKENS_PER_MESSAGE_OVERHEAD };

/** What providers are known to put around a request of their own, beyond the usual framing. By `provider/`. */
const OVERHEADS: readonly (readonly [prefix: string, overhead: NonNullable<ModelPrice['overhead']>])[] = [
  ['anthropic/', { perRequest: TOKENS_PER_TOOL_PROMPT, perMessage: TOKENS_PER_MESSAGE_OVERHEAD }],
];

/** The overhead of a model, as its price carries it; undefined: the usual one. */
export function overheadOf(model: string): ModelPrice['overhead'] {
  return OVERHEADS.find(([prefix]) => model.startsWith(prefix))?.[1];
}

/**
 * What a provider reports. `inputTokens` is all of the input: cached and cache-written tokens are part of it, as
 * reasoning is part of `outputTokens`.
 */
export interface TokenUsage {
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly cacheWriteTokens: number;
  readonly outputTokens: number;
  readonly reasoningTokens: number;
}

/** The most that parts of a request cost which no byte shows (images, files, a provider's own tools), as declared. */
export interface Declared {
  readonly usdMicros: number;
  readonly tokens: number;
}

const NOTHING_DECLARED: Declared = { usdMicros: 0, tokens: 0 };

/** A model call before it is made. */
export interface PlannedModelCall {
  /** UTF-8 bytes of the request: no prompt has more tokens than bytes. */
  readonly promptBytes: number;
  readonly messages: number;
  /** null: the model is in no table. */
  readonly price: ModelPrice | null;
  /** The cap that the agent asks for. */
  readonly maxOutputTokens: number;
  /** What is left of the budget; an absent unit is unlimited. */
  readonly left: Limit;
  /** Beyond its bytes; absent: nothing. */
  readonly declared?: Declared;
}

/** The worst case of a model call, or why it may not be made. */
export type WorstCase =
  | { readonly kind: 'ok'; readonly reserved: Amount; readonly maxOutputTokens: number }
  | { readonly kind: 'exceeded'; readonly unit: BudgetUnit; readonly left: number; readonly needed: number }
  | { readonly kind: 'price-unknown' };

/**
 * The worst case of one attempt (BU3): a token a byte plus the provider's framing at the dearest input rate, plus the
 * output cap. The cap is lowered to what is left, to no fewer than MIN_OUTPUT_TOKENS (or the cap itself where it is
 * smaller). A model call counts as one call. Without a price there is no worst case (BU4).
 *
 * @throws ActGuardError ARGUMENTS_INVALID when a number is no whole number from 0, or the cap is 0
 */
export function worstCaseModelCall(planned: PlannedModelCall): WorstCase {
  const { price, left, declared = NOTHING_DECLARED } = planned;
  if (price === null || (price.inputOnly && planned.maxOutputTokens > 1)) return { kind: 'price-unknown' };
  checkWhole(planned.promptBytes, planned.messages, planned.maxOutputTokens - 1, declared.usdMicros, declared.tokens);
  const { perRequest, perMessage } = price.overhead ?? USUAL_OVERHEAD;
  const input = planned.promptBytes + planned.messages * perMessage + perRequest + declared.tokens;
  const least = Math.min(MIN_OUTPUT_TOKENS, planned.maxOutputTokens);
  const needed = worstAmount(input, least, price, declared.usdMicros);
  for (const unit of BUDGET_UNITS) {
    const rest = left[unit];
    if (rest !== undefined && !(needed[unit] <= rest))
      return { kind: 'exceeded', unit, left: rest, needed: needed[unit] };
  }
  const byTokens = left.tokens === undefined ? Infinity : left.tokens - input;
  const byMoney =
    left.usdMicros === undefined ? Infinity : affordableOutput(left.usdMicros - declared.usdMicros, input, price);
  const maxOutputTokens = Math.min(planned.maxOutputTokens, byTokens, byMoney);
  return { kind: 'ok', reserved: worstAmount(input, maxOutputTokens, price, declared.usdMicros), maxOutputTokens };
}

/**
 * What a model call has cost (BU4): cached input as cached and not twice, cache writes as such, everything summed
 * exactly and rounded once, up. A part larger than its whole was reported beside it and is added. null: the usage
 * cannot be read, so the call is charged at its reservation (BU5). Declared dollars are due whole: no usage tells them.
 */
export function settleModelCall(
  usage: TokenUsage | null,
  price: ModelPrice,
  declared: Declared = NOTHING_DECLARED,
): Amount | null {
  if (usage === null || !isReadable(usage)) return null;
  if (price.inputOnly && usage.outputTokens + usage.reasoningTokens > 0) return null; // of no known price
  const special = usage.cachedInputTokens + usage.cacheWriteTokens;
  const plain = special <= usage.inputTokens ? usage.inputTokens - special : usage.inputTokens;
  const output = usage.outputTokens + (usage.reasoningTokens > usage.outputTokens ? usage.reasoningTokens : 0);
  const usdMicros = settleMicros([
    { tokens: plain, microsPerMTok: price.inputMicrosPerMTok },
    { tokens: usage.cachedInputTokens, microsPerMTok: price.cachedInputMicrosPerMTok },
    { tokens: usage.cacheWriteTokens, microsPerMTok: price.cacheWriteMicrosPerMTok },
    { tokens: output, microsPerMTok: price.outputMicrosPerMTok },
  ]);
  return { usdMicros: usdMicros + declared.usdMicros, tokens: plain + special + output, calls: 1 };
}

/** The dearest rate that an input token can have. */
function inputRate(price: ModelPrice): number {
  return Math.max(price.inputMicrosPerMTok, price.cachedInputMicrosPerMTok, price.cacheWriteMicrosPerMTok);
}

function worstAmount(input: number, output: number, price: ModelPrice, declaredMicros: number): Amount {
  const usdMicros =
    declaredMicros +
    settleMicros([
      { tokens: input, microsPerMTok: inputRate(price) },
      { tokens: output, microsPerMTok: price.outputMicrosPerMTok },
    ]);
  return { usdMicros, tokens: input + output, calls: 1 };
}

/** The most output tokens with ceil((input + output) at their rates) <= micros >= 0; Infinity where output is free. */
function affordableOutput(micros: number, input: number, price: ModelPrice): number {
  if (price.outputMicrosPerMTok === 0) return Infinity;
  const rest =
    numerator({ tokens: micros, microsPerMTok: MICROS_PER_USD }) -
    numerator({ tokens: input, microsPerMTok: inputRate(price) });
  return Number(rest / BigInt(price.outputMicrosPerMTok));
}

function isReadable(usage: TokenUsage): boolean {
  const { inputTokens, cachedInputTokens, cacheWriteTokens, outputTokens, reasoningTokens } = usage;
  const parts = [inputTokens, cachedInputTokens, cacheWriteTokens, outputTokens, reasoningTokens];
  return parts.every((part) => Number.isSafeInteger(part) && part >= 0 && part <= 2 ** 50);
}

function checkWhole(...values: readonly number[]): void {
  if (values.every((value) => Number.isSafeInteger(value) && value >= 0)) return;
  throw new ActGuardError(
    'ARGUMENTS_INVALID',
    'a model call is measured in whole numbers, its output cap is at least 1',
  );
}
