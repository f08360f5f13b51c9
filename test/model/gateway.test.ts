import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { environmentSecrets } from '../../activities/credentials.ts';
import type { ModelRequest, SecretSource } from '../../activities/deps.ts';
import { createModelGateway, ModelError } from '../../activities/model-gateway.ts';
import { SecretSet } from '../../activities/scrub.ts';
import { classifyFailure } from '../../governance/failure.ts';
import { freePort } from '../../worker/ports.ts';
import { chat, json, startProvider, USAGE, type Provider } from './provider.ts';

const KEY = 'sk-test-0123456789abcdef';
let provider: Provider;

beforeAll(async () => {
  provider = await startProvider();
});
afterAll(() => provider.stop());
beforeEach(() => {
  provider.seen.length = 0;
  provider.answer = (_seen, response) => json(response, 200, chat({ text: 'hello' }));
});

function gateway(
  secrets: SecretSource = environmentSecrets({ OPENAI_API_KEY: KEY, LOCAL_KEY: KEY }),
  known = new SecretSet(),
) {
  const { baseUrl } = provider;
  const providers = {
    openai: { kind: 'openai' as const, baseUrl },
    anthropic: { kind: 'anthropic' as const, baseUrl, apiKeyEnv: 'LOCAL_KEY' },
    local: { kind: 'openai-compatible' as const, baseUrl, apiKeyEnv: 'LOCAL_KEY' },
    keyless: { kind: 'openai-compatible' as const, baseUrl },
    plain: { kind: 'openai-compatible' as const, baseUrl: 'http://models.example/v1' },
  };
  return createModelGateway({ config: { providers }, secrets, known });
}

function request(more: Partial<ModelRequest> = {}): ModelRequest {
  return {
    model: 'openai/gpt-4o',
    instructions: 'be brief',
    tools: [
      {
        name: 'orders_find',
        description: 'Find an order',
        inputJsonSchema: { type: 'object', properties: { orderId: { type: 'string' } }, required: ['orderId'] },
      },
    ],
    messages: [{ role: 'user', text: 'Refund order 1042 – bitte' }],
    maxOutputTokens: 500,
    maxPromptBytes: 100_000,
    signal: new AbortController().signal,
    ...more,
  };
}

async function failure(asked: Promise<unknown>): Promise<ModelError> {
  const error: unknown = await asked.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (error instanceof ModelError) return error;
  throw new Error('expected a ModelError', { cause: error });
}

describe('what is sent', () => {
  test.each(['openai/gpt-4o', 'local/gpt-4o'])(
    '%s speaks chat completions, with the key of its provider',
    async (model) => {
      const answer = await gateway().generate(request({ model }));
      expect(answer).toEqual({
        text: 'hello',
        toolCalls: [],
        usage: { inputTokens: 100, cachedInputTokens: 0, cacheWriteTokens: 0, outputTokens: 20, reasoningTokens: 0 },
      });
      expect(provider.seen).toHaveLength(1);
      expect(provider.seen[0]?.path).toBe('/v1/chat/completions');
      expect(provider.seen[0]?.headers.authorization).toBe(`Bearer ${KEY}`);
      expect(provider.seen[0]?.body).toMatchObject({ model: 'gpt-4o', max_tokens: 500 });
    },
  );

  test('BU3 measured bytes are those of the request, cap apart', async () => {
    const asked = request();
    const measured = await gateway().measure(asked);
    expect(provider.seen).toHaveLength(0);
    await gateway().generate({ ...asked, maxOutputTokens: 99_999_999, maxPromptBytes: measured.bytes });
    expect(Buffer.byteLength(provider.seen[0]?.text ?? '')).toBe(measured.bytes);
    expect(measured.messages).toBe(2);
  });

  test('BU3 a request one byte larger than reserved is refused, nothing is sent', async () => {
    const asked = request({ maxOutputTokens: 99_999_999 });
    const { bytes } = await gateway().measure(asked);
    const error = await failure(gateway().generate({ ...asked, maxPromptBytes: bytes - 1 }));
    expect(error).toMatchObject({ billed: 'none', tooLargeBytes: bytes });
    const absent = await failure(gateway().generate({ ...asked, maxPromptBytes: NaN }));
    expect(absent.billed).toBe('none');
    expect(provider.seen).toHaveLength(0);
  });

  test('calls and their results go out in pairs', async () => {
    await gateway().generate(
      request({
        messages: [
          { role: 'user', text: 'hi' },
          { role: 'assistant', text: '', toolCalls: [{ id: 'a', toolName: 'orders_find', args: { orderId: '1' } }] },
          { role: 'tool', id: 'a', toolName: 'orders_find', value: { id: '1' } },
        ],
      }),
    );
    expect(provider.seen[0]?.body['messages']).toMatchObject([
      { role: 'system' },
      { role: 'user' },
      { role: 'assistant', tool_calls: [{ id: 'a', function: { arguments: '{"orderId":"1"}' } }] },
      { role: 'tool', tool_call_id: 'a', content: '{"id":"1"}' },
    ]);
  });

  test('BU3 the client tries once: 503 is asked no second time', async () => {
    provider.answer = (_seen, response) => json(response, 503, { error: { message: 'busy' } });
    const error = await failure(gateway().generate(request()));
    expect(provider.seen).toHaveLength(1);
    expect(error).toMatchObject({ status: 503, billed: 'unknown' });
    expect(classifyFailure(error)).toBe('overloaded');
  });

  test('P5 a redirect is not followed: the key stays with its host', async () => {
    provider.answer = (_seen, response) => {
      response.writeHead(307, { location: `http://localhost:${provider.port}/elsewhere` }).end();
    };
    const error = await failure(gateway().generate(request()));
    expect(provider.seen.map((s) => s.path)).toEqual(['/v1/chat/completions']);
    expect(error.billed).toBe('refused');
  });
});

describe('BU4 usage as providers report it', () => {
  const readUsage = async (usage: unknown, model = 'openai/gpt-4o') => {
    provider.answer = (_seen, response) => json(response, 200, chat({ text: 'hello', usage }));
    return (await gateway().generate(request({ model }))).usage;
  };

  test.each(['openai/gpt-4o', 'local/gpt-4o'])(
    'BU4 %s: cached and reasoning tokens are parts of their whole',
    async (model) => {
      const usage = await readUsage(
        {
          prompt_tokens: 10_000,
          completion_tokens: 1_200,
          total_tokens: 11_200,
          prompt_tokens_details: { cached_tokens: 8_000 },
          completion_tokens_details: { reasoning_tokens: 700 },
        },
        model,
      );
      expect(usage).toEqual({
        inputTokens: 10_000,
        cachedInputTokens: 8_000,
        cacheWriteTokens: 0,
        outputTokens: 1_200,
        reasoningTokens: 700,
      });
    },
  );

  test('BU4 anthropic: cache reads and writes stand beside its input and are added to it', async () => {
    provider.answer = (_seen, response) =>
      json(response, 200, {
        id: 'msg_1',
        type: 'message',
        role: 'assistant',
        model: 'claude-sonnet-4-5',
        content: [
          { type: 'text', text: 'hi' },
          { type: 'tool_use', id: 'toolu_1', name: 'orders_find', input: { orderId: '7' } },
        ],
        stop_reason: 'tool_use',
        stop_sequence: null,
        usage: {
          input_tokens: 50,
          cache_creation_input_tokens: 300,
          cache_read_input_tokens: 2_000,
          output_tokens: 40,
        },
      });
    const answer = await gateway().generate(request({ model: 'anthropic/claude-sonnet-4-5' }));
    expect(provider.seen[0]?.headers['x-api-key']).toBe(KEY);
    expect(provider.seen[0]?.body).toMatchObject({ max_tokens: 500, model: 'claude-sonnet-4-5' });
    expect(answer).toEqual({
      text: 'hi',
      toolCalls: [{ id: 'toolu_1', toolName: 'orders_find', args: { orderId: '7' } }],
      usage: {
        inputTokens: 2_350,
        cachedInputTokens: 2_000,
        cacheWriteTokens: 300,
        outputTokens: 40,
        reasoningTokens: 0,
      },
    });
  });

  test.each([
    ['absent', undefined],
    ['null', null],
    ['negative', { ...USAGE, prompt_tokens: -5 }],
    ['fractional', { ...USAGE, completion_tokens: 1.5 }],
    ['huge', { ...USAGE, completion_tokens: 1e15 }],
    ['zero for a prompt', { ...USAGE, prompt_tokens: 0 }],
    ['zero for an answer', { ...USAGE, completion_tokens: 0 }],
    ['more cached than sent', { ...USAGE, prompt_tokens_details: { cached_tokens: 101 } }],
    ['empty', {}],
  ])('BU5 a usage that is %s is not believed', async (_name, usage) => {
    expect(await readUsage(usage)).toBeNull();
    expect(await readUsage(USAGE)).not.toBeNull();
  });
});

describe('what comes back', () => {
  const calls = async (...given: { id: string; name: string; args: string }[]) => {
    provider.answer = (_seen, response) => json(response, 200, chat({ calls: given }));
    return (await gateway().generate(request())).toolCalls;
  };

  test('arguments arrive parsed; those that are not JSON arrive as text, marked', async () => {
    expect(await calls({ id: 'a', name: 'orders_find', args: '{"orderId":"1042"}' })).toEqual([
      { id: 'a', toolName: 'orders_find', args: { orderId: '1042' } },
    ]);
    expect(await calls({ id: 'a', name: 'orders_find', args: '{"orderId":' })).toEqual([
      { id: 'a', toolName: 'orders_find', args: '{"orderId":', invalid: 'the arguments are not JSON' },
    ]);
  });

  test('a tool that does not exist keeps its arguments: the governor names it', async () => {
    expect(await calls({ id: 'a', name: 'wipe_disk', args: '{"all":true}' })).toEqual([
      { id: 'a', toolName: 'wipe_disk', args: { all: true } },
    ]);
  });

  test.each([
    ['an integer that JSON.parse rounds', '{"n":9007199254740993}'],
    ['half of a surrogate pair', '{"s":"\\ud800"}'],
    ['too deep', `${'[1,'.repeat(80)}1${']'.repeat(80)}`],
    ['too large', JSON.stringify({ s: 'x'.repeat(70_000) })],
  ])('O4 arguments with %s are invalid', async (_name, args) => {
    const [call] = await calls({ id: 'a', name: 'orders_find', args });
    expect(call?.invalid).toBeTypeOf('string');
  });

  test('two calls with one id are told apart', async () => {
    const both = await calls({ id: 'a', name: 'x', args: '{}' }, { id: 'a', name: 'x', args: '{}' });
    expect(new Set(both.map((c) => c.id)).size).toBe(2);
  });

  test('an answer beyond 8 MiB is cut off and may have been billed', async () => {
    provider.answer = (_seen, response) => json(response, 200, chat({ text: 'x'.repeat(9 * 1024 * 1024) }));
    expect((await failure(gateway().generate(request()))).billed).toBe('unknown');
  });
});

describe('failures', () => {
  test.each([
    [400, 'refused', 'invalid'],
    [401, 'refused', 'auth'],
    [404, 'refused', 'not_found'],
    [429, 'refused', 'throttled'],
    [408, 'unknown', 'timeout'],
    [500, 'unknown', 'overloaded'],
    [529, 'unknown', 'overloaded'],
  ])('status %i: billed %s, kind %s', async (status, billed, kind) => {
    provider.answer = (_seen, response) => json(response, status, { error: { message: 'no' } });
    const error = await failure(gateway().generate(request()));
    expect({ status: error.status, billed: error.billed, kind: classifyFailure(error) }).toEqual({
      status,
      billed,
      kind,
    });
  });

  test('BU5 an answer that cannot be read may have been billed', async () => {
    provider.answer = (_seen, response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{');
    expect((await failure(gateway().generate(request()))).billed).toBe('unknown');
  });

  test('BU5 a connection cut after the request may have been billed', async () => {
    provider.answer = (_seen, response) => response.socket?.destroy();
    const error = await failure(gateway().generate(request()));
    expect(error.billed).toBe('unknown');
    expect(classifyFailure(error)).toBe('transport');
  });

  test('a refused connection billed nothing', async () => {
    const providers = { openai: { kind: 'openai' as const, baseUrl: `http://127.0.0.1:${await freePort()}/v1` } };
    const secrets = environmentSecrets({ OPENAI_API_KEY: KEY });
    const error = await failure(createModelGateway({ config: { providers }, secrets }).generate(request()));
    expect(error.billed).toBe('none');
    expect(classifyFailure(error)).toBe('transport');
  });

  test('P5 the key stands in no error, however the provider repeats it', async () => {
    const encoded = Buffer.from(KEY).toString('base64');
    provider.answer = (_seen, response) =>
      json(response, 401, { error: { message: `Incorrect API key provided: ${KEY} (${encoded})` } });
    const error = await failure(gateway().generate(request()));
    const shown = JSON.stringify({ ...error, message: error.message, stack: error.stack, cause: error.cause });
    expect(error.message).toContain('[secret]');
    expect(shown).not.toContain(KEY);
    expect(shown).not.toContain(encoded);
  });
});

describe('keys', () => {
  test('P7 no key, no call', async () => {
    const asked = gateway(environmentSecrets({ OPENAI_API_KEY: ' ' })).generate(request());
    await expect(asked).rejects.toMatchObject({ code: 'CREDENTIAL_MISSING', details: { names: ['OPENAI_API_KEY'] } });
    expect(provider.seen).toHaveLength(0);
  });

  test('a model on this machine needs no key unless one is named', async () => {
    const empty = gateway(environmentSecrets({}));
    await expect(empty.generate(request({ model: 'keyless/m' }))).resolves.toMatchObject({ text: 'hello' });
    await expect(empty.generate(request({ model: 'local/m' }))).rejects.toMatchObject({ code: 'CREDENTIAL_MISSING' });
  });

  test('P5 a key that could not be kept out of outputs is refused; that of a model on this machine may be a word', async () => {
    const short = gateway(environmentSecrets({ OPENAI_API_KEY: 'sk-short', LOCAL_KEY: 'ollama' }));
    await expect(short.generate(request())).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { names: ['OPENAI_API_KEY'] },
    });
    expect(provider.seen).toHaveLength(0);
    await expect(short.generate(request({ model: 'local/m' }))).resolves.toMatchObject({ text: 'hello' });
  });

  test('P5 the key is read at the moment of use and joins the scrub set', async () => {
    const known = new SecretSet();
    let key = 'sk-first-0123456789';
    const secrets: SecretSource = { read: () => Promise.resolve(key) };
    const models = gateway(secrets, known);
    await models.generate(request());
    key = 'sk-second-0123456789';
    await models.generate(request());
    expect(provider.seen.map((s) => s.headers.authorization)).toEqual([
      'Bearer sk-first-0123456789',
      'Bearer sk-second-0123456789',
    ]);
    expect(known.text('sk-first-0123456789 sk-second-0123456789')).toBe('[secret] [secret]');
  });

  test('a replay reads no key and goes nowhere else, whatever the model and the environment say', async () => {
    const read: string[] = [];
    const secrets: SecretSource = { read: (name) => Promise.resolve(void read.push(name)) };
    const replay = { baseUrl: provider.baseUrl };
    const models = createModelGateway({ config: { providers: {} }, secrets, replay });
    process.env['OPENAI_BASE_URL'] = 'http://127.0.0.1:9/poison';
    try {
      await models.generate(request());
      await models.generate(request({ model: 'anthropic/claude-sonnet-4-5' }));
    } finally {
      delete process.env['OPENAI_BASE_URL'];
    }
    expect(provider.seen.map((s) => s.path)).toEqual(['/v1/chat/completions', '/v1/chat/completions']);
    expect(read).toEqual([]);
  });

  test.each(['nobody/m', 'gpt-4o', 'openai/', 'plain/m', '__proto__/m'])(
    'model `%s` is nowhere to be reached',
    async (model) => {
      await expect(gateway().generate(request({ model }))).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    },
  );
});
