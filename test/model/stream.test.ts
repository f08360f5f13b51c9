/** A turn that somebody reads along with: streamed, scrubbed, counted as any other, and gone when its call has ended. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { environmentSecrets } from '../../activities/credentials.ts';
import { createModelGateway } from '../../activities/model-gateway.ts';
import { sweep } from '../../activities/janitor.ts';
import { KEY, modelDesk } from './desk.ts';
import { streamed, USAGE, type StreamedChat } from './provider.ts';

const desk = modelDesk();
const HALVES = [KEY.slice(0, 9), KEY.slice(9)];

interface Row {
  readonly call: string;
  readonly text: string;
}

const watch = async (run: string, seen: object = {}, untilMs = 60_000): Promise<readonly Row[]> => {
  const text = JSON.stringify({ run, seen, untilMs });
  const [row] = await desk.database.db.query<{ r: Row[] }>('select actguard.watch_run($1::jsonb) as r', [text]);
  return row?.r ?? [];
};

/** Answers streamed, and gives the stream to whoever drives it. */
function answersStreamed(): Promise<StreamedChat> {
  return new Promise((resolve) => {
    desk.provider.answer = (_seen, response) => resolve(streamed(response));
  });
}

async function until<T>(look: () => Promise<T>, holds: (seen: T) => boolean): Promise<T> {
  for (;;) {
    const seen = await look();
    if (holds(seen)) return seen;
    await sleep(20);
  }
}

describe('a turn that somebody reads along with', () => {
  test('P5 BU4 its text is there while it is written, secrets are not; its usage is settled; then it is gone', async () => {
    const run = await desk.open();
    expect(await watch(run.run)).toEqual([]);
    const begun = answersStreamed();
    const asked = run.ask();
    const stream = await begun;
    expect(desk.provider.seen[0]?.body).toMatchObject({ stream: true, stream_options: { include_usage: true } });
    stream.text('The moon 🌕 ');
    const first = await until(
      () => watch(run.run),
      (said) => said.length > 0,
    );
    expect(first).toEqual([{ call: 'c1', text: 'The moon 🌕 ' }]);
    // a key that comes in two pieces is never there in one
    stream.text(`is ${HALVES[0] ?? ''}`);
    stream.text(`${HALVES[1] ?? ''} full`);
    const second = await until(
      () => watch(run.run, { c1: 11 }),
      (said) => (said[0]?.text ?? '').endsWith('full'),
    );
    expect(second).toEqual([{ call: 'c1', text: 'is [secret] full' }]);
    stream.end(USAGE);
    const answer = await asked;
    const spent = { usdMicros: 450, tokens: 120, calls: 1 };
    expect(answer).toMatchObject({ kind: 'done', text: 'The moon 🌕 is [secret] full', spent, flagged: false });
    expect(await watch(run.run)).toEqual([]);
    expect(await desk.database.db.query('select * from actguard.live_text')).toEqual([]);
    expect(desk.logged).toEqual([]);
  });

  test('nobody reads along, or not any more: nothing is streamed, nothing kept', async () => {
    const run = await desk.open();
    await watch(run.run, {}, 0);
    expect(await run.ask()).toMatchObject({ kind: 'done', text: 'hello' });
    expect(desk.provider.seen[0]?.body['stream']).toBeUndefined();
  });

  test('tool calls of a streamed turn are those of any other', async () => {
    const run = await desk.open();
    await watch(run.run);
    const begun = answersStreamed();
    const asked = run.ask();
    const stream = await begun;
    stream.call('a', 'orders_find', '{"orderId":"1042"}');
    stream.end(USAGE);
    expect(await asked).toMatchObject({
      kind: 'done',
      text: '',
      toolCalls: [{ id: 'a', toolName: 'orders_find', args: { orderId: '1042' } }],
    });
  });

  test('BU5 a stream that is cut off or ends too early is no answer, and is paid in full', async () => {
    for (const cut of ['destroy', 'leave'] as const) {
      const run = await desk.open();
      await watch(run.run);
      const begun = answersStreamed();
      const asked = run.ask();
      const stream = await begun;
      stream.text('The moon');
      stream[cut]();
      const { reserved } = run.input();
      expect(await asked, cut).toMatchObject({ kind: 'failed', error: { code: 'MODEL_FAILED' }, spent: reserved });
      expect(await watch(run.run), cut).toEqual([]);
    }
  });

  test('P7 text that cannot be written down fails nothing: the answer is kept', async () => {
    const run = await desk.open();
    await watch(run.run);
    const { db } = desk.shared.deps;
    let tried = 0;
    const mute: typeof db = {
      ...db,
      query: (text, ...more) => {
        if (!text.includes('actguard.say')) return db.query(text, ...more);
        tried += 1;
        return Promise.reject(new Error('away'));
      },
    };
    const begun = answersStreamed();
    const asked = run.ask({ attempt: { db: mute } });
    const stream = await begun;
    stream.text('hello');
    await until(
      () => Promise.resolve(tried),
      (n) => n > 0,
    );
    stream.end(USAGE);
    expect(await asked).toMatchObject({ kind: 'done', text: 'hello' });
    expect(desk.logged[0]).toMatch(/^warn nobody can read along/);
  });

  test('what a worker left that died is gone after a while, and a call that has ended says nothing', async () => {
    const run = await desk.open();
    await run.ask();
    const { db } = desk.database;
    const said = JSON.stringify({ run: run.run, call: 'c1', text: 'late', maxChars: 100 });
    await db.query('select actguard.say($1::jsonb)', [said]);
    expect(await watch(run.run)).toEqual([]);
    await db.query(
      `insert into actguard.live_text (run, call, text, said_at) values ($1, 'x', 'old', now() - interval '21 minutes')`,
      [run.run],
    );
    await sweep(desk.shared, {
      tell: () => Promise.resolve(),
      describe: () => Promise.resolve({ status: 'RUNNING', temporalRun: 't' }),
      history: () => Promise.resolve(null),
    });
    expect(await watch(run.run)).toEqual([]);
  });
});

test.each(['openai/gpt-4o', 'local/m'])(
  'BU3 a streamed request of %s is no larger than what is allowed for',
  async (model) => {
    const { baseUrl } = desk.provider;
    const providers = {
      openai: { kind: 'openai' as const, baseUrl },
      local: { kind: 'openai-compatible' as const, baseUrl },
    };
    const gateway = createModelGateway({ config: { providers }, secrets: environmentSecrets({ OPENAI_API_KEY: KEY }) });
    const asked = { model, instructions: '', tools: [], messages: [{ role: 'user' as const, text: 'hi' }] };
    const { bytes } = await gateway.measure(asked);
    const heard: string[] = [];
    desk.provider.answer = (_seen, response) => {
      const stream = streamed(response);
      stream.text('hello');
      stream.end(USAGE);
    };
    const answer = await gateway.generate({
      ...asked,
      ...{ maxOutputTokens: 99_999_999, maxPromptBytes: bytes, signal: new AbortController().signal },
      onText: (more) => heard.push(more),
    });
    expect(answer).toMatchObject({ text: 'hello', usage: { inputTokens: 100, outputTokens: 20 } });
    expect(heard.join('')).toBe('hello');
    expect(desk.provider.seen[0]?.body['stream_options']).toEqual({ include_usage: true });
  },
);

test('BU3 BU4 Anthropic’s stream, too: its words, its usage, no byte more than is allowed for', async () => {
  const { baseUrl } = desk.provider;
  const providers = { anthropic: { kind: 'anthropic' as const, baseUrl } };
  const secrets = environmentSecrets({ ANTHROPIC_API_KEY: KEY });
  const gateway = createModelGateway({ config: { providers }, secrets });
  const usage = { input_tokens: 60, cache_read_input_tokens: 40, cache_creation_input_tokens: 0, output_tokens: 1 };
  const whole = [
    { type: 'message_start', message: { id: 'm', type: 'message', role: 'assistant', content: [], usage } },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'mo' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'on' } },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 20 } },
    { type: 'message_stop' },
  ];
  let events = whole;
  desk.provider.answer = (_seen, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const event of events) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    response.end();
  };
  const asked = { model: 'anthropic/claude-sonnet-4-5', instructions: '', tools: [] };
  const messages = [{ role: 'user' as const, text: 'hi' }];
  const { bytes } = await gateway.measure({ ...asked, messages });
  const heard: string[] = [];
  const ask = () =>
    gateway.generate({
      ...{ ...asked, messages, maxOutputTokens: 99_999_999, maxPromptBytes: bytes },
      signal: new AbortController().signal,
      onText: (more) => heard.push(more),
    });
  expect(await ask()).toMatchObject({
    text: 'moon',
    usage: { inputTokens: 100, cachedInputTokens: 40, outputTokens: 20 },
  });
  expect(heard).toEqual(['mo', 'on']);
  events = whole.slice(0, 4);
  await expect(ask()).rejects.toMatchObject({ name: 'ModelError', billed: 'unknown' });
});
