import { describe, expect, test } from 'vitest';
import { isFree, parseMaxima, readModelRequest, type ReadOptions } from '../../client/model-request.ts';
import { StreamUsage, usageOfAnswer } from '../../client/model-usage.ts';

const OPTIONS: ReadOptions = { providers: { 'http://127.0.0.1:4000': 'acme' }, maxOutputTokens: 1_000, maxima: {} };
const CHAT = 'https://api.openai.com/v1/chat/completions';
const RESPONSES = 'https://api.openai.com/v1/responses';
const MESSAGES = 'https://api.anthropic.com/v1/messages';
const read = (url: string, body: unknown) =>
  readModelRequest(new URL(url), typeof body === 'string' ? body : JSON.stringify(body), OPTIONS);

const said = (content: unknown) => ({ model: 'm', messages: [{ role: 'user', content }] });
const gave = (...input: unknown[]) => ({ model: 'm', input });
const HI = said('hi');
const F = { type: 'function', function: { name: 'f', parameters: {} } };

/** Each bad request beside a twin that differs in the one thing and passes. */
const CORPUS: readonly (readonly [what: string, url: string, bad: unknown, good: unknown])[] = [
  ['several choices', CHAT, { ...HI, n: 2 }, { ...HI, n: 1 }],
  ['a field of tomorrow', CHAT, { ...HI, turbo: true }, { ...HI, seed: 1 }],
  ['audio', CHAT, { ...HI, modalities: ['text', 'audio'] }, { ...HI, modalities: ['text'] }],
  ['a dearer tier', CHAT, { ...HI, service_tier: 'priority' }, { ...HI, service_tier: 'flex' }],
  ['a prediction', CHAT, { ...HI, prediction: { type: 'content' } }, { ...HI, prediction: null }],
  [
    'an image',
    CHAT,
    said([{ type: 'image_url', image_url: { url: 'https://x/y' } }]),
    said([{ type: 'text', text: 'x' }]),
  ],
  ['a file', CHAT, said([{ type: 'file', file: { file_id: 'f' } }]), said([{ type: 'text', text: 'f' }])],
  ['content of no type', CHAT, said([{ text: 'x' }]), said([{ type: 'text', text: 'x' }])],
  ['content that is no text', CHAT, said({ a: 1 }), said(null)],
  ['two caps', CHAT, { ...HI, max_tokens: 5, max_completion_tokens: 5 }, { ...HI, max_tokens: 5 }],
  ['a cap of none', CHAT, { ...HI, max_tokens: 0 }, { ...HI, max_tokens: 1 }],
  ['a cap in words', CHAT, { ...HI, max_tokens: '100' }, { ...HI, max_tokens: 100 }],
  ['no model', CHAT, { ...HI, model: '' }, HI],
  ['a list', CHAT, [], HI],
  ['no JSON', CHAT, 'model=m', HI],
  ['another path', 'https://api.openai.com/v1/images/generations', { model: 'm', prompt: 'x' }, null],
  ['a stranger’s address', 'https://api.openai.com.evil.example/v1/chat/completions', HI, null],
  ['another scheme', 'http://api.openai.com/v1/chat/completions', HI, null],
  ['what lies at the provider', RESPONSES, { ...gave(), previous_response_id: 'r' }, gave()],
  ['a conversation', RESPONSES, { ...gave(), conversation: 'c' }, gave()],
  ['a stored prompt', RESPONSES, { ...gave(), prompt: { id: 'p' } }, { ...gave(), instructions: 'p' }],
  ['work in the background', RESPONSES, { ...gave(), background: true }, { ...gave(), store: false }],
  [
    'a web search',
    RESPONSES,
    { ...gave(), tools: [{ type: 'web_search' }] },
    { ...gave(), tools: [{ type: 'function', name: 'f' }] },
  ],
  ['a reference', RESPONSES, gave({ type: 'item_reference', id: 'i' }), gave({ role: 'user', content: 'i' })],
  [
    'reasoning kept elsewhere',
    RESPONSES,
    gave({ type: 'reasoning', id: 'r', summary: [] }),
    gave({ type: 'reasoning', encrypted_content: 'x', summary: [] }),
  ],
  [
    'an image in a result',
    RESPONSES,
    gave({ type: 'function_call_output', output: [{ type: 'input_image', file_id: 'f' }] }),
    gave({ type: 'function_call_output', output: 'f' }),
  ],
  ['a document', MESSAGES, said([{ type: 'document', source: {} }]), said([{ type: 'text', text: 'd' }])],
  [
    'an image in a tool’s result',
    MESSAGES,
    said([{ type: 'tool_result', content: [{ type: 'image' }] }]),
    said([{ type: 'tool_result', content: [{ type: 'text', text: 'i' }] }]),
  ],
  [
    'the provider’s own tool',
    MESSAGES,
    { ...HI, tools: [{ type: 'web_search_20250305', name: 'w' }] },
    { ...HI, tools: [{ name: 'w', input_schema: {} }] },
  ],
  ['remote servers', MESSAGES, { ...HI, mcp_servers: [{}] }, { ...HI, system: 'x' }],
  [
    'an hour’s cache',
    MESSAGES,
    { ...HI, system: [{ type: 'text', text: 'x', cache_control: { type: 'ephemeral', ttl: '1h' } }] },
    { ...HI, system: [{ type: 'text', text: 'x', cache_control: { type: 'ephemeral' } }] },
  ],
  [
    'an hour’s cache of tools',
    MESSAGES,
    { ...HI, tools: [{ name: 'w', cache_control: { ttl: '1h' } }] },
    { ...HI, tools: [{ name: 'w', cache_control: { ttl: '5m' } }] },
  ],
];

describe('P7 what could cost more than its bytes and its cap is refused before it is sent', () => {
  for (const [what, url, bad, good] of CORPUS) {
    test(what, () => {
      expect(() => read(url, bad)).toThrow(expect.objectContaining({ actguard: true }));
      if (good !== null) expect(read(url, good).maxOutputTokens).toBeGreaterThan(0);
    });
  }
});

test('BU3 images, files and the provider’s own tools are reserved at their declared maximum, each as often as it stands there', () => {
  const maxima = parseMaxima({
    image_url: { tokens: 1_500 },
    web_search: { usd: 0.05, tokens: 20_000 },
    prediction: { tokens: 1 },
  });
  const declared = (url: string, body: object) =>
    readModelRequest(new URL(url), JSON.stringify(body), { ...OPTIONS, maxima }).declared;
  const image = { type: 'image_url', image_url: { url: 'https://x/y' } };
  expect(declared(CHAT, HI)).toBeNull();
  expect(declared(CHAT, said([image, { type: 'text', text: 'x' }, image]))).toEqual({ usdMicros: 0, tokens: 3_000 });
  expect(declared(RESPONSES, { ...gave(), tools: [{ type: 'web_search' }] })).toEqual({
    usdMicros: 50_000,
    tokens: 20_000,
  });
  expect(declared(CHAT, { ...said([image]), prediction: { type: 'content' } })).toEqual({
    usdMicros: 0,
    tokens: 1_501,
  });
  expect(() => declared(CHAT, said([{ type: 'file', file: { file_id: 'f' } }]))).toThrow('`file` cannot be metered');
  expect(() => declared(RESPONSES, { ...gave(), tools: [{ type: 'constructor' }] })).toThrow('cannot be metered');
  for (const bad of [{ usd: 0 }, { usd: 'lots' }, { eur: 1 }, { tokens: -1 }, { calls: 1 }, {}, null]) {
    const refused = expect.objectContaining({ code: 'ARGUMENTS_INVALID' }) as Error;
    expect(() => parseMaxima({ image_url: bad as never }), JSON.stringify(bad)).toThrow(refused);
  }
});

test('BU3 the prompt is what will be sent, to the byte, and no cap makes it longer than was reserved', () => {
  const asked = read(CHAT, { ...said('schön "x"\n'), tools: [F], max_completion_tokens: 900, stream: true });
  expect(asked).toMatchObject({
    dialect: 'chat',
    model: 'openai/m',
    messages: 2,
    maxOutputTokens: 900,
    hidesUsage: true,
  });
  expect(asked.promptBytes).toBe(Buffer.byteLength(asked.bodyWith(900)));
  expect(Buffer.byteLength(asked.bodyWith(16))).toBeLessThanOrEqual(asked.promptBytes);
  expect(JSON.parse(asked.bodyWith(16))).toMatchObject({
    max_completion_tokens: 16,
    stream_options: { include_usage: true },
  });
  const twice = read(CHAT, '{"model":"m","messages":[],"max_tokens":5,"max_tokens":7}');
  expect(twice.bodyWith(twice.maxOutputTokens)).toBe('{"model":"m","messages":[],"max_tokens":7}');
});

test('each wire format has its own cap; a server that only resembles OpenAI gets the older name', () => {
  expect(JSON.parse(read(RESPONSES, gave()).bodyWith(9))).toMatchObject({ max_output_tokens: 9 });
  expect(JSON.parse(read(MESSAGES, HI).bodyWith(9))).toMatchObject({ max_tokens: 9 });
  const own = read('http://127.0.0.1:4000/v1/chat/completions', HI);
  expect(own.model).toBe('acme/m');
  expect(JSON.parse(own.bodyWith(9))).toMatchObject({ max_tokens: 9 });
  const embeddings = read('https://api.openai.com/v1/embeddings', { model: 'm', input: ['a', 'b'] });
  expect(embeddings).toMatchObject({ maxOutputTokens: 1, messages: 3 });
  expect(JSON.parse(embeddings.bodyWith(1))).toEqual({ model: 'm', input: ['a', 'b'] });
  expect(isFree('GET', new URL('https://api.openai.com/v1/models'))).toBe(true);
  expect(isFree('GET', new URL('https://api.openai.com/v1/responses/r'))).toBe(false);
});

test('BU5 a usage that cannot be is none: the call costs its reservation', () => {
  const usage = (more: object) =>
    usageOfAnswer('chat', { usage: { prompt_tokens: 10, completion_tokens: 2, ...more } });
  expect(usage({})).toEqual({
    inputTokens: 10,
    outputTokens: 2,
    cachedInputTokens: 0,
    cacheWriteTokens: 0,
    reasoningTokens: 0,
  });
  for (const bad of [
    { prompt_tokens: 0 },
    { prompt_tokens: -1 },
    { prompt_tokens: '10' },
    { prompt_tokens: null },
    { completion_tokens: 1.5 },
    { completion_tokens: 1e12 },
    { prompt_tokens_details: { cached_tokens: 11 } },
    { completion_tokens_details: { reasoning_tokens: 3 } },
  ]) {
    expect(usage(bad), JSON.stringify(bad)).toBeNull();
  }
  for (const answer of [null, 'text', {}, { usage: [] }, { usage: 7 }])
    expect(usageOfAnswer('chat', answer)).toBeNull();
});

test('BU5 a stream’s usage counts once the provider has said its last word on it', () => {
  const claude = new StreamUsage('messages');
  claude.read(JSON.stringify({ type: 'message_start', message: { usage: { input_tokens: 5, output_tokens: 1 } } }));
  expect(claude.final).toBeNull();
  claude.read(JSON.stringify({ type: 'message_delta', usage: { output_tokens: 9, cache_read_input_tokens: null } }));
  expect(claude.final).toMatchObject({ inputTokens: 5, outputTokens: 9 });
  const chat = new StreamUsage('chat');
  expect(chat.read('[DONE]')).toBe(false);
  expect(
    chat.read(JSON.stringify({ choices: [{ delta: {} }], usage: { prompt_tokens: 1, completion_tokens: 1 } })),
  ).toBe(false);
  expect(chat.final).toBeNull();
  expect(chat.read(JSON.stringify({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 3 } }))).toBe(true);
  expect(chat.final).toMatchObject({ inputTokens: 5, outputTokens: 3 });
});
