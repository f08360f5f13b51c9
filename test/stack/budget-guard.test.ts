/** Real provider clients, a real session, a provider on loopback that speaks their wire formats. */
import type { ServerResponse } from 'node:http';
import Anthropic from '@anthropic-ai/sdk';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { generateText, streamText } from 'ai';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { BudgetExceededError, type BudgetGuardOptions } from '../../client/index.ts';
import { chat, json, startProvider, type Provider } from '../model/provider.ts';
import { freePort } from '../../worker/ports.ts';
import { platform, type Platform } from '../support/platform.ts';

let p: Platform;
let provider: Provider;
let origin = '';
beforeAll(async () => {
  provider = await startProvider();
  origin = `http://127.0.0.1:${provider.port}`;
  p = await platform({ tools: [] });
});
afterAll(async () => {
  await p?.end();
  await provider?.stop();
});
beforeEach(() => {
  provider.seen.length = 0;
  provider.answer = (_seen, response) => json(response, 200, chat({ text: 'hello' }));
});

const open = (more: Partial<BudgetGuardOptions> = {}) =>
  p.actguard.budgetGuard({ user: 'alice', budget: { usd: 0.5 }, providers: { [origin]: 'openai' }, ...more });
const openai = (fetch: typeof globalThis.fetch, more: object = {}) =>
  new OpenAI({ apiKey: 'sk-test', baseURL: provider.baseUrl, fetch, ...more });
const HI = { model: 'gpt-4o', messages: [{ role: 'user' as const, content: 'hi' }] };
const CLAUDE = 'claude-sonnet-4-5';

/** Server-sent events, one after the other. */
function events(response: ServerResponse, ...data: readonly (object | string)[]): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const one of data) {
    const name = typeof one === 'object' && 'type' in one ? `event: ${String(one.type)}\n` : '';
    response.write(`${name}data: ${typeof one === 'string' ? one : JSON.stringify(one)}\n\n`);
  }
  response.end();
}
const chunk = (more: object) => ({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', ...more });
const words = (...texts: string[]) => texts.map((content) => chunk({ choices: [{ index: 0, delta: { content } }] }));
const USED = { prompt_tokens: 100, completion_tokens: 20, total_tokens: 120 };
const claudeStream = (input: object) => [
  { type: 'message_start', message: { id: 'm', type: 'message', role: 'assistant', content: [], usage: input } },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'moon' } },
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 20 } },
  { type: 'message_stop' },
];

test('BU2 BU4 the quick start: the client changes by one option, its answers by nothing, the usage is the truth', async () => {
  await using guard = await open({ budget: { tokens: 10_000 } });
  const answer = await openai(guard.fetch).chat.completions.create(HI);
  expect(answer.choices[0]?.message.content).toBe('hello');
  // 100 in at $2.50, 20 out at $10 per million tokens
  expect(guard.usage).toEqual({ usd: 0.00045, usdMicros: 450, tokens: 120, calls: 1 });
  expect(provider.seen[0]?.body).toMatchObject({ ...HI, max_completion_tokens: 4_096 });
  expect(provider.seen[0]?.headers.authorization).toBe('Bearer sk-test');
});

test('BU3 the output cap is lowered to what is left, the caller’s own where it is lower', async () => {
  await using guard = await open({ budget: { tokens: 700 } });
  const client = openai(guard.fetch);
  await client.chat.completions.create({ ...HI, max_completion_tokens: 50 });
  expect(provider.seen[0]?.body['max_completion_tokens']).toBe(50);
  await client.chat.completions.create({ ...HI, max_tokens: 5_000 });
  const bytes = Buffer.byteLength(provider.seen[1]?.text ?? '');
  const { max_tokens: cap } = provider.seen[1]?.body as { max_tokens: number };
  expect(cap).toBeLessThan(580);
  expect(cap).toBeGreaterThanOrEqual(580 - bytes - 2 * 16 - 64 - 8);
});

test('the budget is out: BudgetExceededError with the usage, from every client, without a retry and without a request', async () => {
  const budget = { tokens: 100 };
  const limits = { user: 'alice', budget, providers: { [origin]: 'openai' } };
  await using guard = await open(limits);
  await using claude = await open({ budget, providers: { [origin]: 'anthropic' } });
  const calls: (() => Promise<unknown>)[] = [
    () => openai(guard.fetch).chat.completions.create(HI),
    async () => {
      for await (const _ of await openai(guard.fetch).chat.completions.create({ ...HI, stream: true })) continue;
    },
    () =>
      new Anthropic({ apiKey: 'k', baseURL: origin, fetch: claude.fetch }).messages.create({
        ...HI,
        model: CLAUDE,
        max_tokens: 50,
      }),
    () =>
      generateText({
        model: createOpenAI({ apiKey: 'k', baseURL: provider.baseUrl, fetch: guard.fetch }).chat('gpt-4o'),
        prompt: 'hi',
      }),
  ];
  for (const call of calls) {
    const error: unknown = await call().catch((e: unknown) => e);
    expect(error).toBeInstanceOf(BudgetExceededError);
    expect(error).toMatchObject({ code: 'BUDGET_EXCEEDED', name: 'BudgetExceededError', usage: { tokens: 0 } });
  }
  expect(provider.seen).toHaveLength(0);
  expect(await guard.session.usage()).toMatchObject({ calls: 0 });
});

test('BU5 a streamed answer is counted, though the caller asked for no usage and stops at the last word', async () => {
  await using guard = await open();
  provider.answer = (_seen, response) =>
    events(response, ...words('mo', 'on'), chunk({ choices: [], usage: USED }), '[DONE]');
  const chunks: OpenAI.ChatCompletionChunk[] = [];
  for await (const one of await openai(guard.fetch).chat.completions.create({ ...HI, stream: true })) chunks.push(one);
  expect(chunks.map((c) => c.choices[0]?.delta.content)).toEqual(['mo', 'on']);
  expect(provider.seen[0]?.body['stream_options']).toEqual({ include_usage: true });
  expect(guard.usage).toMatchObject({ usdMicros: 450, tokens: 120 });
  const own = { ...HI, stream: true as const, stream_options: { include_usage: true } };
  for await (const one of await openai(guard.fetch).chat.completions.create(own)) chunks.push(one);
  expect(chunks.at(-1)?.usage).toEqual(USED);
});

test('BU5 a stream that is cut, aborted or brings no usage costs its reservation', async () => {
  await using guard = await open();
  const client = openai(guard.fetch, { maxRetries: 0 });
  const ask = async (read: number): Promise<void> => {
    const stream = await client.chat.completions.create({ ...HI, stream: true, max_completion_tokens: 100 });
    for await (const _ of stream) if ((read -= 1) === 0) break;
  };
  provider.answer = (_seen, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const one of words('a', 'b')) response.write(`data: ${JSON.stringify(one)}\n\n`);
  };
  await ask(1);
  await guard.session.usage();
  provider.answer = (_seen, response) => events(response, ...words('a'), '[DONE]');
  await ask(10);
  provider.answer = (_seen, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(`data: ${JSON.stringify(words('a')[0])}\n\n`, () => response.destroy());
  };
  await expect(ask(10)).rejects.toThrow();
  await guard.close();
  const { calls, tokens } = await guard.session.usage();
  const bytes = Buffer.byteLength(provider.seen[0]?.text ?? '');
  expect({ calls, tokens }).toEqual({ calls: 3, tokens: 3 * (bytes + 2 * 16 + 64 + 100) });
});

test('BU3 a client with its own retries on: every attempt is reserved by itself; refusals cost nothing, failures in full', async () => {
  await using guard = await open();
  let n = 0;
  provider.answer = (_seen, response) => {
    n += 1;
    if (n === 1) json(response, 500, { error: { message: 'down' } });
    else if (n === 2) json(response, 429, { error: { message: 'slow' } });
    else json(response, 200, chat({ text: 'third' }));
  };
  const client = openai(guard.fetch);
  const answer = await client.chat.completions.create({ ...HI, max_completion_tokens: 100 });
  expect(answer.choices[0]?.message.content).toBe('third');
  const bytes = Buffer.byteLength(provider.seen[0]?.text ?? '');
  expect(guard.usage).toMatchObject({ calls: 2, tokens: bytes + 2 * 16 + 64 + 100 + 120 });
});

test('what never left the machine costs nothing; a redirect is not followed', async () => {
  const port = await freePort();
  await using guard = await open({ providers: { [origin]: 'openai', [`http://127.0.0.1:${port}`]: 'openai' } });
  const dead = openai(guard.fetch, { baseURL: `http://127.0.0.1:${port}/v1`, maxRetries: 0 });
  await expect(dead.chat.completions.create(HI)).rejects.toThrow();
  provider.answer = (_seen, response) => response.writeHead(307, { location: `${origin}/v1/elsewhere` }).end();
  await expect(openai(guard.fetch, { maxRetries: 0 }).chat.completions.create(HI)).rejects.toThrow();
  expect(provider.seen).toHaveLength(1);
  expect(await guard.session.usage()).toEqual({ calls: 0, tokens: 0, usd: 0 });
});

test('OpenAI’s Responses, whole and streamed', async () => {
  await using guard = await open();
  const response = {
    ...{ id: 'r', object: 'response', created_at: 1, status: 'completed', model: 'm', error: null },
    output: [
      {
        type: 'message',
        id: 'm',
        role: 'assistant',
        status: 'completed',
        content: [{ type: 'output_text', text: 'moon', annotations: [] }],
      },
    ],
    usage: {
      input_tokens: 100,
      input_tokens_details: { cached_tokens: 40 },
      output_tokens: 20,
      output_tokens_details: { reasoning_tokens: 5 },
      total_tokens: 120,
    },
  };
  provider.answer = (seen, answer) =>
    seen.body['stream']
      ? events(answer, { type: 'response.created', response: {} }, { type: 'response.completed', response })
      : json(answer, 200, response);
  const client = openai(guard.fetch);
  expect((await client.responses.create({ model: 'gpt-4o', input: 'hi' })).output_text).toBe('moon');
  // 60 in at $2.50, 40 cached at $1.25, 20 out at $10 per million tokens
  expect(guard.usage).toMatchObject({ usdMicros: 400, tokens: 120 });
  for await (const _ of await client.responses.create({ model: 'gpt-4o', input: 'hi', stream: true })) continue;
  expect(guard.usage).toMatchObject({ usdMicros: 800, tokens: 240 });
  expect(provider.seen[1]?.body['max_output_tokens']).toBe(4_096);
});

test('Anthropic’s messages, whole and streamed, cached input counted once', async () => {
  await using guard = await open({ providers: { [origin]: 'anthropic' } });
  const input = { input_tokens: 60, cache_read_input_tokens: 40, cache_creation_input_tokens: 0, output_tokens: 1 };
  provider.answer = (seen, response) =>
    seen.body['stream']
      ? events(response, ...claudeStream(input))
      : json(response, 200, {
          id: 'm',
          type: 'message',
          role: 'assistant',
          content: [{ type: 'text', text: 'moon' }],
          usage: { ...input, output_tokens: 20 },
        });
  const client = new Anthropic({ apiKey: 'k', baseURL: origin, fetch: guard.fetch });
  const asked = { ...HI, model: CLAUDE, max_tokens: 500 };
  expect((await client.messages.create(asked)).content[0]).toMatchObject({ text: 'moon' });
  const once = guard.usage;
  expect(once.tokens).toBe(120);
  expect(await client.messages.stream(asked).finalText()).toBe('moon');
  expect(guard.usage).toMatchObject({ tokens: 240, usdMicros: 2 * once.usdMicros });
});

test('providers of the AI SDK, whole and streamed', async () => {
  await using guard = await open({ providers: { [origin]: 'openai' } });
  await using claude = await open({ providers: { [origin]: 'anthropic' } });
  const gpt = createOpenAI({ apiKey: 'k', baseURL: provider.baseUrl, fetch: guard.fetch }).chat('gpt-4o');
  expect((await generateText({ model: gpt, prompt: 'hi' })).text).toBe('hello');
  expect(guard.usage.tokens).toBe(120);
  provider.answer = (_seen, response) =>
    events(
      response,
      ...words('mo', 'on'),
      chunk({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }),
      chunk({ choices: [], usage: USED }),
      '[DONE]',
    );
  const streamed: string[] = [];
  for await (const text of streamText({ model: gpt, prompt: 'hi' }).textStream) streamed.push(text);
  expect(streamed).toEqual(['mo', 'on']);
  expect(guard.usage.tokens).toBe(240);
  provider.answer = (_seen, response) => events(response, ...claudeStream({ input_tokens: 100, output_tokens: 1 }));
  const model = createAnthropic({ apiKey: 'k', baseURL: provider.baseUrl, fetch: claude.fetch })(CLAUDE);
  expect(await streamText({ model, prompt: 'hi' }).text).toBe('moon');
  expect(claude.usage.tokens).toBe(120);
});

test('BU4 a model without a price, a provider that nobody named, a request that cannot be metered: nothing is sent', async () => {
  await using guard = await open();
  const client = openai(guard.fetch);
  await expect(client.chat.completions.create({ ...HI, model: 'none' })).rejects.toMatchObject({
    code: 'PRICE_UNKNOWN',
  });
  await expect(client.chat.completions.create({ ...HI, n: 2 })).rejects.toMatchObject({ code: 'ARGUMENTS_INVALID' });
  await using strange = await open({ providers: {} });
  await expect(openai(strange.fetch).chat.completions.create(HI)).rejects.toMatchObject({ code: 'HOST_FORBIDDEN' });
  expect(provider.seen).toHaveLength(0);
});

test('one id is one budget, over processes; after close nothing is sent', async () => {
  const one = await open({ id: 'ticket-9' });
  await openai(one.fetch).chat.completions.create(HI);
  const two = await open({ id: 'ticket-9' });
  expect(two.usage.tokens).toBe(120);
  await two.close();
  await expect(openai(one.fetch).chat.completions.create(HI)).rejects.toMatchObject({ code: 'CONFLICT' });
  expect(provider.seen).toHaveLength(1);
});

test('BU4 embeddings are reserved and counted by their input', async () => {
  const vector = { object: 'embedding', index: 0, embedding: [0.1] };
  const used = { prompt_tokens: 1_000, total_tokens: 1_000 };
  provider.answer = (_seen, response) =>
    json(response, 200, { object: 'list', model: 'm', data: [vector], usage: used });
  await using guard = await open({ budget: { usd: 0.0001 } });
  const embed = (input: string) =>
    openai(guard.fetch).embeddings.create({ model: 'text-embedding-3-small', input, encoding_format: 'float' });
  await embed('x'.repeat(1_000));
  expect(guard.usage).toMatchObject({ usdMicros: 20, tokens: 1_000, calls: 1 });
  await expect(embed('x'.repeat(5_000))).rejects.toMatchObject({ code: 'BUDGET_EXCEEDED' });
  expect(provider.seen).toHaveLength(1);
});

test('BU3 an image is refused unless its maximum is declared; then it is reserved, and the truth is settled', async () => {
  const image = { type: 'image_url' as const, image_url: { url: 'https://pictures.example/cat.png' } };
  const ask = { model: 'gpt-4o', max_tokens: 20, messages: [{ role: 'user' as const, content: [image] }] };
  await using plain = await open();
  await expect(openai(plain.fetch).chat.completions.create(ask)).rejects.toMatchObject({ code: 'ARGUMENTS_INVALID' });
  expect(provider.seen).toHaveLength(0);
  await using small = await open({ budget: { tokens: 1_000 }, maxima: { image_url: { tokens: 1_500 } } });
  await expect(openai(small.fetch).chat.completions.create(ask)).rejects.toMatchObject({ code: 'BUDGET_EXCEEDED' });
  await using wide = await open({
    budget: { tokens: 3_000, usd: 1 },
    maxima: { image_url: { tokens: 1_500, usd: 0.01 } },
  });
  await openai(wide.fetch).chat.completions.create(ask);
  expect(provider.seen).toHaveLength(1);
  expect(wide.usage).toMatchObject({ tokens: 120, usdMicros: 10_000 + 450 });
});
