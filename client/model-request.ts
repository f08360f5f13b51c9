/**
 * A provider's request as it leaves the caller's process: read strictly, so that its worst case is known before it is
 * sent. What could cost more than its bytes and its output cap say (images, files, the provider's own tools, what lies
 * on the provider's side) is refused by name (P7).
 */
import { parseLimit } from '../governance/budget.ts';
import { quote } from '../governance/denial.ts';
import { ActGuardError } from '../governance/errors.ts';
import { DEFAULT_MAX_OUTPUT_TOKENS } from '../governance/limits.ts';
import type { Declared } from '../governance/price.ts';
import { utf8Length } from '../governance/text.ts';

/** Which of the providers' wire formats. */
export type Dialect = 'chat' | 'responses' | 'messages' | 'embeddings';

/** A request that may be reserved. */
export interface ModelRequest {
  readonly dialect: Dialect;
  /** `provider/name` */
  readonly model: string;
  readonly promptBytes: number;
  readonly messages: number;
  /** The cap that was asked for. */
  readonly maxOutputTokens: number;
  /** The body to send under this cap. */
  readonly bodyWith: (maxOutputTokens: number) => string;
  /** The declared maxima of what its bytes do not show; null: it has no such part. */
  readonly declared: Declared | null;
  /** A streamed answer brings its usage only because we asked for it: the caller does not expect that chunk. */
  readonly hidesUsage: boolean;
}

/** Origins of the providers that are known by themselves. */
const ORIGINS: { readonly [origin: string]: string } = {
  'https://api.openai.com': 'openai',
  'https://api.anthropic.com': 'anthropic',
};
const DIALECTS: readonly (readonly [suffix: string, dialect: Dialect])[] = [
  ['/chat/completions', 'chat'],
  ['/responses', 'responses'],
  ['/messages', 'messages'],
  ['/embeddings', 'embeddings'],
];

const SAMPLING = ['model', 'temperature', 'top_p', 'stream', 'tools', 'tool_choice', 'metadata', 'service_tier'];
const OPENAI = ['parallel_tool_calls', 'store', 'user', 'safety_identifier', 'prompt_cache_key', 'top_logprobs'];
/** Fields that change neither what a token costs nor how many there are beyond bytes and cap. */
const FIELDS: { readonly [dialect in Dialect]: readonly string[] } = {
  chat: [
    ...[...SAMPLING, ...OPENAI, 'messages', 'max_tokens', 'max_completion_tokens', 'frequency_penalty'],
    ...['presence_penalty', 'logit_bias', 'logprobs', 'stop', 'seed', 'response_format', 'reasoning_effort'],
    ...['verbosity', 'stream_options', 'n', 'modalities'],
  ],
  responses: [
    ...[...SAMPLING, ...OPENAI, 'input', 'instructions', 'max_output_tokens', 'text', 'reasoning', 'include'],
    ...['truncation', 'stream_options', 'max_tool_calls'],
  ],
  messages: [
    ...[...SAMPLING, 'messages', 'system', 'max_tokens', 'top_k', 'stop_sequences', 'thinking', 'output_config'],
    'cache_control',
  ],
  embeddings: ['model', 'input', 'dimensions', 'encoding_format', 'user'],
};
const PARTS = [
  ...['text', 'refusal', 'input_text', 'output_text', 'summary_text', 'reasoning_text', 'tool_use', 'tool_result'],
  ...['thinking', 'redacted_thinking', 'message', 'function_call', 'function_call_output', 'custom_tool_call'],
  ...['custom_tool_call_output', 'reasoning'],
];
const TIERS = ['auto', 'default', 'flex', 'standard_only'];

type Fields = { readonly [key: string]: unknown };

/** How requests are read. */
export interface ReadOptions {
  /** Further origins: `{ 'https://llm.acme.example': 'acme' }`; the name is the provider's in the price table. */
  readonly providers: { readonly [origin: string]: string };
  /** Cap of a request that has none. */
  readonly maxOutputTokens: number;
  /** The most of each part, tool or field that bytes do not show, by its type or name; what is not here is refused. */
  readonly maxima: { readonly [what: string]: Declared };
}

/** A maximum as written: dollars beyond the tokens, tokens, or both. */
export interface WrittenMaximum {
  readonly usd?: number | string;
  readonly tokens?: number;
}

/** @throws ActGuardError ARGUMENTS_INVALID naming all that is wrong */
export function parseMaxima(written: { readonly [what: string]: WrittenMaximum }): ReadOptions['maxima'] {
  const problems: string[] = [];
  const maxima = Object.entries(written).map(([what, most]) => {
    try {
      const { usdMicros = 0, tokens = 0, calls } = parseLimit(most);
      if (calls !== undefined) throw refuse('a maximum has no calls');
      return [what, { usdMicros, tokens }] as const;
    } catch (error) {
      problems.push(`maxima.${what}: ${error instanceof Error ? error.message : String(error)}`);
      return [what, { usdMicros: 0, tokens: 0 }] as const;
    }
  });
  if (problems.length > 0) throw refuse(problems.join('; '), 'such as { image_url: { tokens: 2_000 } }');
  return Object.fromEntries(maxima);
}

/** @throws ActGuardError HOST_FORBIDDEN, ARGUMENTS_INVALID naming what cannot be metered */
export function readModelRequest(url: URL, body: string, options: ReadOptions): ModelRequest {
  const provider = providerOf(url, options);
  const dialect = DIALECTS.find(([suffix]) => url.pathname.endsWith(suffix))?.[1];
  if (!dialect) throw refuse(`requests to ${quote(url.pathname)} cannot be metered`, `call ${paths()}`);
  const fields = readBody(body);
  if (typeof fields['model'] !== 'string' || fields['model'] === '') throw refuse('the request names no model');
  const most = new Maxima(options.maxima);
  checkFields(dialect, fields, most);
  const capField = capFieldOf(dialect, fields, provider);
  const asked = capField === null ? 1 : (fields[capField] ?? options.maxOutputTokens);
  if (!Number.isSafeInteger(asked) || (asked as number) < 1)
    throw refuse(`${capField} has to be a whole number from 1`);
  const hidesUsage = dialect === 'chat' && fields['stream'] === true && !asksUsage(fields);
  const more = hidesUsage ? { stream_options: { ...(fields['stream_options'] as object), include_usage: true } } : {};
  const bodyWith = (cap: number): string =>
    JSON.stringify({ ...fields, ...more, ...(capField === null ? {} : { [capField]: cap }) });
  return {
    dialect,
    model: `${provider}/${fields['model']}`,
    promptBytes: utf8Length(bodyWith(asked as number)),
    messages: countMessages(dialect, fields),
    maxOutputTokens: asked as number,
    bodyWith,
    declared: most.found,
    hidesUsage,
  };
}

/** Whether a request asks for nothing that is billed: the list of models. */
export function isFree(method: string, url: URL): boolean {
  return method === 'GET' && /\/models(\/[^/]+)?$/.test(url.pathname);
}

/** The default cap of `budgetGuard`. */
export const DEFAULT_READ: ReadOptions = { providers: {}, maxOutputTokens: DEFAULT_MAX_OUTPUT_TOKENS, maxima: {} };

/** The provider of an address. @throws ActGuardError HOST_FORBIDDEN */
export function providerOf(url: URL, options: Pick<ReadOptions, 'providers'>): string {
  const own = Object.entries(options.providers).find(
    ([origin]) => URL.canParse(origin) && new URL(origin).origin === url.origin,
  );
  const name = own?.[1] ?? (Object.hasOwn(ORIGINS, url.origin) ? ORIGINS[url.origin] : undefined);
  if (name !== undefined) return name;
  throw new ActGuardError('HOST_FORBIDDEN', `no provider is known at ${quote(url.origin)}`, {
    details: { host: url.host },
    hint: `name it: providers: { '${url.origin}': 'openai' }`,
  });
}

function readBody(body: string): Fields {
  try {
    const value = JSON.parse(body) as unknown;
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  } catch {
    // said below
  }
  throw refuse('the request has no JSON body');
}

/** Adds up the declared maxima that a request needs. */
class Maxima {
  readonly #declared: ReadOptions['maxima'];
  found: Declared | null = null;

  constructor(declared: ReadOptions['maxima']) {
    this.#declared = declared;
  }

  /** Whether a maximum is declared for it; counts it once more. */
  has(what: unknown): boolean {
    const most = typeof what === 'string' && Object.hasOwn(this.#declared, what) ? this.#declared[what] : undefined;
    if (!most) return false;
    const { usdMicros = 0, tokens = 0 } = this.found ?? {};
    this.found = { usdMicros: usdMicros + most.usdMicros, tokens: tokens + most.tokens };
    return true;
  }
}

function checkFields(dialect: Dialect, fields: Fields, most: Maxima): void {
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined || value === null || FIELDS[dialect].includes(name) || most.has(name)) continue;
    throw refuse(`${quote(name)} cannot be metered`, 'leave it out, or declare its maximum');
  }
  const { n, modalities, service_tier: tier, tools } = fields;
  if ((n ?? 1) !== 1) throw refuse('`n` has to be 1', 'ask several times: each is reserved by itself');
  if (modalities != null && JSON.stringify(modalities) !== '["text"]') throw refuse('only text can be metered');
  if (tier != null && !TIERS.includes(tier as string)) throw refuse(`service tier ${quote(tier)} cannot be metered`);
  for (const tool of list(tools)) {
    const type = (tool as Fields | null)?.['type'] ?? 'function';
    if (type !== 'function' && type !== 'custom' && !most.has(type)) {
      const hint = 'give it a function of yours, or declare its maximum';
      throw refuse(`the provider's own tool ${quote(type)} cannot be metered`, hint);
    }
    checkCache(tool);
  }
  checkCache(fields);
  if (dialect === 'embeddings') return;
  for (const field of ['messages', 'input', 'system'] as const) checkParts(fields[field], most, 0);
}

/** Text, and what is made of text; everything else has tokens that no byte shows. */
function checkParts(value: unknown, most: Maxima, depth: number): void {
  if (value === undefined || value === null || typeof value === 'string') return;
  if (!Array.isArray(value) || depth > 4) throw refuse('the content of a message cannot be read');
  for (const part of value as readonly (Fields | null)[]) {
    if (typeof part !== 'object' || part === null) throw refuse('the content of a message cannot be read');
    const type = part['type'] ?? (part['role'] === undefined ? undefined : 'message');
    if (!PARTS.includes(type as string)) {
      if (most.has(type)) continue;
      const hint =
        type === 'item_reference'
          ? 'send what it refers to: with `store: false`'
          : 'send text, or declare the maximum of such a part';
      throw refuse(`content of type ${quote(type ?? 'unknown')} cannot be metered`, hint);
    }
    if (type === 'reasoning' && typeof part['encrypted_content'] !== 'string' && list(part['summary']).length === 0) {
      throw refuse('reasoning that lies at the provider cannot be metered', 'send it: with `store: false`');
    }
    checkCache(part);
    for (const field of ['content', 'output']) checkParts(part[field], most, depth + 1);
  }
}

/** An hour's cache costs more than the price table says. */
function checkCache(block: unknown): void {
  const control = (block as Fields | null)?.['cache_control'] as Fields | null | undefined;
  if (control?.['ttl'] === '1h') throw refuse("a cache's `ttl` of `1h` cannot be metered", "use '5m'");
}

function capFieldOf(dialect: Dialect, fields: Fields, provider: string): string | null {
  if (dialect === 'embeddings') return null;
  if (dialect === 'responses') return 'max_output_tokens';
  if (dialect === 'messages') return 'max_tokens';
  if (fields['max_tokens'] != null && fields['max_completion_tokens'] != null) {
    throw refuse('`max_tokens` and `max_completion_tokens` are both set', 'set one of them');
  }
  if (fields['max_tokens'] != null) return 'max_tokens';
  // servers that only resemble OpenAI's know the older name
  return fields['max_completion_tokens'] != null || provider === 'openai' ? 'max_completion_tokens' : 'max_tokens';
}

function asksUsage(fields: Fields): boolean {
  return (fields['stream_options'] as Fields | null | undefined)?.['include_usage'] === true;
}

function countMessages(dialect: Dialect, fields: Fields): number {
  const said = dialect === 'responses' || dialect === 'embeddings' ? fields['input'] : fields['messages'];
  return (Array.isArray(said) ? said.length : 1) + 1;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function paths(): string {
  return DIALECTS.map(([suffix]) => suffix).join(', ');
}

function refuse(problem: string, hint = 'nothing was sent'): ActGuardError {
  return new ActGuardError('ARGUMENTS_INVALID', problem, { hint });
}
