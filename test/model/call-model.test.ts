import { describe, expect, test } from 'vitest';
import { environmentSecrets } from '../../activities/credentials.ts';
import type { Database } from '../../activities/deps.ts';
import { createModelGateway } from '../../activities/model-gateway.ts';
import { isActGuardError } from '../../governance/errors.ts';
import { resultBytes } from '../../governance/text.ts';
import { freePort } from '../../worker/ports.ts';
import { KEY, modelDesk } from './desk.ts';
import { chat, json, USAGE } from './provider.ts';

const desk = modelDesk();
const NOTHING = { usdMicros: 0, tokens: 0, calls: 0 };
const ONE_CALL = [{ id: 'a', name: 'orders_find', args: '{"orderId":"1042"}' }];

/** The requests' messages, as the provider saw them. */
const sent = (n: number) => desk.provider.seen[n]?.body['messages'] as { role: string; content: unknown }[];

async function sql(text: string, ...values: unknown[]): Promise<void> {
  await desk.database.db.query(text, values);
}

describe('an answer', () => {
  test('P1 started before, succeeded after; the truth is settled, not the reservation', async () => {
    const run = await desk.open();
    const answer = await run.ask();
    // 100 in at $2.50, 20 out at $10 per million tokens
    const spent = { usdMicros: 450, tokens: 120, calls: 1 };
    expect(answer).toMatchObject({ kind: 'done', text: 'hello', toolCalls: [], spent, flagged: false, messages: 1 });
    const [, started, succeeded] = await desk.entries(run.run);
    expect(started).toMatchObject({
      kind: 'call.started',
      data: { model: 'openai/gpt-4o', authorization: 'autonomous', price: 'genai-prices 0.1.8', maxOutputTokens: 500 },
    });
    expect(started?.data['reserved']).toEqual(run.input().reserved);
    expect(succeeded).toMatchObject({ kind: 'call.succeeded', data: { spent, flagged: false } });
  });

  test('P5 entries carry a commitment, the words lie beside them', async () => {
    const run = await desk.open();
    desk.provider.answer = (_seen, response) => json(response, 200, chat({ text: 'the moon is full' }));
    await run.ask();
    expect(JSON.stringify(await desk.entries(run.run))).not.toContain('the moon is full');
  });

  test('the request is the grant, not what the input says: instructions, tools, the words of the user', async () => {
    const run = await desk.open('Refund order 1042 – bitte');
    await run.ask();
    expect(sent(0)).toEqual([
      { role: 'system', content: 'be brief' },
      { role: 'user', content: 'Refund order 1042 – bitte' },
    ]);
    expect(desk.provider.seen[0]?.body['tools']).toMatchObject([{ function: { name: 'orders_find' } }]);
  });

  test('BU3 the request is never larger than what was measured when the run was opened', async () => {
    const run = await desk.open('x'.repeat(5_000));
    await run.ask();
    expect(Buffer.byteLength(desk.provider.seen[0]?.text ?? '')).toBeLessThanOrEqual(run.opened.promptBytes);
  });

  test('BU3 turns add at most what they say: answers, results with quotes, newlines and umlauts', async () => {
    desk.note = 'She said: "schön\\n"\n\u0001'.repeat(200);
    const run = await desk.open();
    desk.provider.answer = (_seen, response) =>
      json(response, 200, chat({ text: 'I look "twice"\n', calls: ONE_CALL }));
    const first = await run.ask();
    const found = await run.find('c2', 2, '1042');
    if (first.kind !== 'done' || found.kind !== 'done') throw new Error('expected both to be done');
    const results = [{ kind: 'stored', modelCallId: 'a', toolName: 'orders_find', call: 'c2' }] as const;
    const promptBytes = run.opened.promptBytes + first.bytes + found.bytes;
    expect(await run.ask({ call: 'c3', seq: 3, turn: 2, results, promptBytes })).toMatchObject({ kind: 'done' });
    expect(sent(1).map((m) => m.role)).toEqual(['system', 'user', 'assistant', 'tool']);
    expect(JSON.parse(String(sent(1)[3]?.content))).toEqual({ id: '1042', note: desk.note });
  });

  test('BU5 without usage it is charged at its reservation and flagged; the answer is kept', async () => {
    const run = await desk.open();
    desk.provider.answer = (_seen, response) => json(response, 200, chat({ text: 'hi', usage: undefined }));
    const answer = await run.ask();
    const { reserved } = run.input();
    expect(answer).toMatchObject({ kind: 'done', text: 'hi', usage: null, spent: reserved, flagged: true });
    expect((await desk.entries(run.run)).at(-1)).toMatchObject({ data: { flagged: true, spent: reserved } });
  });

  test('BU5 usage above the reservation: the truth is settled, the model frozen and the operator told', async () => {
    const run = await desk.open();
    const usage = { ...USAGE, prompt_tokens: 1_000_000 };
    desk.provider.answer = (_seen, response) => json(response, 200, chat({ text: 'hi', usage }));
    expect(await run.ask()).toMatchObject({ kind: 'done', spent: { usdMicros: 2_500_200, tokens: 1_000_020 } });
    expect(desk.logged).toEqual([
      expect.stringMatching(/^error model openai\/gpt-4o is frozen: a call used more than its worst case/),
    ]);
    expect((await desk.entries(run.run)).at(-1)?.data['aboveReservation']).toBe(true);
    const next = await desk.open();
    expect(await next.ask()).toMatchObject({
      kind: 'denied',
      denial: { code: 'FROZEN', details: { scope: 'model', value: 'openai/gpt-4o', by: 'actguard' } },
    });
    await sql('delete from actguard.freezes');
  });
});

describe('one attempt is sent, once', () => {
  test('BU5 an attempt that finds an earlier one without outcome is lost: nothing sent, paid in full, flagged', async () => {
    const run = await desk.open();
    const { db } = desk.shared.deps;
    const dying: Database = {
      ...db,
      // the worker dies between the answer and its outcome
      query: (text, ...more) =>
        text.includes('finish_model_call') ? Promise.reject(new Error('gone')) : db.query(text, ...more),
    };
    await expect(run.ask({ attempt: { db: dying } })).rejects.toThrow('gone');
    expect(desk.provider.seen).toHaveLength(1);
    const { reserved } = run.input();
    expect(await run.ask()).toEqual({ kind: 'lost', spent: reserved });
    expect(await run.ask()).toEqual({ kind: 'lost', spent: reserved });
    expect(desk.provider.seen).toHaveLength(1);
    const lost = (await desk.entries(run.run)).filter((e) => e.kind === 'call.failed');
    expect(lost).toMatchObject([{ data: { lost: true, flagged: true, spent: reserved } }]);
    // a new reservation, a new call, the same turn
    desk.provider.answer = (_seen, response) => json(response, 200, chat({ text: 'at last' }));
    expect(await run.ask({ call: 'c2', seq: 2 })).toMatchObject({ kind: 'done', text: 'at last' });
  });

  test('P3 BU5 what may have been sent is paid in full, though the next attempt comes after the deadline', async () => {
    const run = await desk.open();
    const { db } = desk.shared.deps;
    const dying: Database = {
      ...db,
      query: (text, ...more) =>
        text.includes('finish_model_call') ? Promise.reject(new Error('gone')) : db.query(text, ...more),
    };
    await expect(run.ask({ attempt: { db: dying } })).rejects.toThrow('gone');
    const late = { deadlineMs: Date.now(), attempt: { attempt: 2 } };
    expect(await run.ask(late)).toEqual({ kind: 'lost', spent: run.input().reserved });
    // a later attempt of a call that never began is refused like a first one
    expect(await run.ask({ ...late, call: 'c2', seq: 2 })).toMatchObject({ kind: 'denied' });
    expect(desk.provider.seen).toHaveLength(1);
  });

  test('D3 a finished call answers its own result for ever', async () => {
    const run = await desk.open();
    const first = await run.ask();
    expect(await run.ask()).toEqual(first);
    expect(desk.provider.seen).toHaveLength(1);
  });

  test('of ten attempts at once one is sent', async () => {
    const run = await desk.open();
    const answers = await Promise.allSettled(Array.from({ length: 10 }, () => run.ask()));
    expect(desk.provider.seen).toHaveLength(1);
    const kinds = answers.map((a) => (a.status === 'fulfilled' ? a.value.kind : 'thrown'));
    expect(kinds.filter((kind) => kind === 'failed' || kind === 'denied')).toEqual([]);
    const said = new Set(answers.flatMap((a) => (a.status === 'fulfilled' ? [JSON.stringify(a.value)] : [])));
    // one answer, whoever got it; or lost, where an attempt came while it was under way
    expect(said.size).toBeLessThanOrEqual(2);
  });

  test('BU5 an answer that comes after its call was given up is billed as lost and kept out of the transcript', async () => {
    const run = await desk.open();
    const second: Promise<unknown>[] = [];
    desk.provider.answer = (_seen, response) => {
      const other = run.ask(); // Temporal's next attempt, while the first one still waits
      second.push(other);
      void other.then(() => json(response, 200, chat({ text: 'too late' })));
    };
    const { reserved } = run.input();
    expect(await run.ask()).toEqual({ kind: 'lost', spent: reserved });
    expect(await second[0]).toEqual({ kind: 'lost', spent: reserved });
    const kinds = (await desk.entries(run.run)).map((e) => e.kind);
    expect(kinds).toEqual(['run.opened', 'call.started', 'call.failed', 'call.late']);
    const turns = await desk.database.db.query<{ t: unknown[] }>('select actguard.read_transcript($1) as t', [run.run]);
    expect(turns[0]?.t).toEqual([]);
  });

  test('a turn that stands already is not written twice', async () => {
    const run = await desk.open();
    await run.ask();
    const again = await run.ask({ call: 'c2', seq: 2, promptBytes: 10_000 });
    expect(again).toMatchObject({ kind: 'failed', error: { code: 'CONFLICT' }, retry: false });
  });
});

describe('failures', () => {
  test.each([
    [400, false, false],
    [401, false, false],
    [429, true, false],
    [500, true, true],
    [503, true, true],
  ])('BU5 status %i: another try %s, charged in full %s', async (status, retry, charged) => {
    const run = await desk.open();
    desk.provider.answer = (_seen, response) => json(response, status, { error: { message: `no: ${KEY}` } });
    const answer = await run.ask();
    const spent = charged ? run.input().reserved : NOTHING;
    expect(answer).toMatchObject({ kind: 'failed', spent, retry, error: { code: 'MODEL_FAILED' } });
    expect(JSON.stringify(answer)).not.toContain(KEY);
    const last = (await desk.entries(run.run)).at(-1);
    expect(last).toMatchObject({ kind: 'call.failed', data: { spent, flagged: charged } });
  });

  test('BU3 a request beyond what was reserved is not sent and costs nothing', async () => {
    const run = await desk.open();
    const answer = await run.ask({ promptBytes: 200 });
    expect(answer).toMatchObject({ kind: 'failed', spent: NOTHING, retry: false });
    expect(answer.kind === 'failed' && answer.error).toMatchObject({
      code: 'LIMIT_EXCEEDED',
      details: { promptBytes: 200 },
    });
    expect(desk.provider.seen).toHaveLength(0);
  });

  test('P3 less reserved than the call can cost is refused before anything starts', async () => {
    const run = await desk.open();
    const { reserved } = run.input();
    const answer = await run.ask({ reserved: { ...reserved, usdMicros: 10 } });
    expect(answer).toMatchObject({ kind: 'denied', denial: { code: 'BUDGET_EXCEEDED' } });
    expect(desk.provider.seen).toHaveLength(0);
    expect((await desk.entries(run.run)).map((e) => e.kind)).toEqual(['run.opened', 'call.denied']);
  });

  test('a cancelled call is charged in full and not tried again', async () => {
    const run = await desk.open();
    const stop = new AbortController();
    desk.provider.answer = () => stop.abort();
    const answer = await run.ask({ attempt: { cancelled: stop.signal } });
    expect(answer).toMatchObject({ kind: 'failed', spent: run.input().reserved, retry: false });
  });

  test('past its deadline nothing is sent', async () => {
    const run = await desk.open();
    expect(await run.ask({ deadlineMs: Date.now() })).toMatchObject({
      kind: 'denied',
      denial: { code: 'DEADLINE_EXCEEDED' },
    });
    expect(desk.provider.seen).toHaveLength(0);
  });
});

describe('who may ask', () => {
  test('a run of another workflow is refused', async () => {
    const run = await desk.open();
    const error: unknown = await run.ask({ attempt: { workflowId: 'somebody-else' } }).catch((e: unknown) => e);
    expect(isActGuardError(error) && error.code).toBe('FORBIDDEN');
  });

  test('a run that was reset is frozen', async () => {
    const run = await desk.open();
    const answer = await run.ask({ attempt: { temporalRun: 'another' } });
    expect(answer).toMatchObject({ kind: 'denied', denial: { code: 'FROZEN' } });
    expect(desk.provider.seen).toHaveLength(0);
  });

  test('a frozen run is refused, an answer it already has is not', async () => {
    const run = await desk.open();
    const first = await run.ask();
    const freeze = { tenant: 'acme', scope: 'run', value: run.run, by: 'op', reason: 'stop', entries: [] };
    await sql('select actguard.set_freeze($1::jsonb)', JSON.stringify(freeze));
    expect(await run.ask({ call: 'c2', seq: 2, turn: 2 })).toMatchObject({
      kind: 'denied',
      denial: { code: 'FROZEN' },
    });
    expect(await run.ask()).toEqual(first);
    expect(desk.provider.seen).toHaveLength(1);
  });
});

describe('the transcript', () => {
  async function twoTurns(orderId: string) {
    const run = await desk.open();
    desk.provider.answer = (_seen, response) => json(response, 200, chat({ calls: ONE_CALL }));
    const first = await run.ask();
    await run.find('c2', 2, orderId);
    const stored = { kind: 'stored', modelCallId: 'a', toolName: 'orders_find', call: 'c2' } as const;
    if (first.kind !== 'done') throw new Error(first.kind);
    return { run, second: () => run.ask({ call: 'c3', seq: 3, turn: 2, results: [stored], promptBytes: 200_000 }) };
  }

  test('a result over 64 KB is shown from its beginning, with a note, within its bytes', async () => {
    desk.note = '"ü"\\'.repeat(100_000);
    const { run, second } = await twoTurns('1042');
    expect(await second()).toMatchObject({ kind: 'done' });
    const shown = JSON.parse(String(sent(1).at(-1)?.content)) as { note: string; beginning: string };
    expect(shown.note).toContain('only its beginning is shown');
    expect(resultBytes(shown)).toBeLessThanOrEqual(64 * 1024);
    expect(shown.beginning.startsWith('{"id":"1042"')).toBe(true);
    const again = await run.find('c2', 2, '1042');
    expect(again.kind === 'done' && again.bytes).toBeLessThanOrEqual(64 * 1024);
  });

  test('P9 a failed tool is shown as its error, what is not there as not there', async () => {
    const { second } = await twoTurns('broken');
    await second();
    expect(String(sent(1).at(-1)?.content)).toContain('TOOL_FAILED');
    const other = await twoTurns('1042');
    const missing = { kind: 'stored', modelCallId: 'a', toolName: 'orders_find', call: 'c99' } as const;
    await other.run.ask({ call: 'c3', seq: 3, turn: 2, results: [missing], promptBytes: 10_000 });
    expect(String(sent(3).at(-1)?.content)).toContain('NOT_FOUND');
  });

  test('a result of another tenant is not readable', async () => {
    const { run } = await twoTurns('1042');
    const other = await desk.open();
    await sql(`update actguard.calls set tenant = 'rival' where run = $1`, run.run);
    await other.ask();
    const foreign = { kind: 'stored', modelCallId: 'a', toolName: 'orders_find', call: `${run.run}:c2` } as const;
    await other.ask({ call: 'c3', seq: 3, turn: 2, results: [foreign], promptBytes: 10_000 });
    expect(desk.provider.seen.at(-1)?.text).toContain('NOT_FOUND');
    expect(desk.provider.seen.at(-1)?.text).not.toContain('nice');
  });

  test.each([
    ['words', `messages = replace(messages, '1042', '9999')`],
    ['digest', `digest = repeat('0', 64)`],
    ['parent', `parent = repeat('0', 64)`],
  ])('a transcript whose %s was altered is not sent', async (_what, change) => {
    const { run, second } = await twoTurns('1042');
    await sql(`update actguard.transcripts set ${change} where run = $1`, run.run);
    expect(await second()).toMatchObject({ kind: 'failed', error: { code: 'CONFLICT' }, spent: NOTHING, retry: false });
    expect(desk.provider.seen).toHaveLength(1);
  });

  test('U+0000 and lone surrogates in an answer are kept as text and do not stop the run', async () => {
    const run = await desk.open();
    desk.provider.answer = (_seen, response) => json(response, 200, chat({ text: 'a\u0000b\ud800c' }));
    const first = await run.ask();
    expect(first).toMatchObject({ kind: 'done', text: 'a\u0000b\ufffdc' });
    expect(await run.ask()).toEqual(first);
  });

  test('P5 a known secret in an answer reaches neither the workflow nor the transcript', async () => {
    const run = await desk.open();
    const calls = [{ id: 'a', name: 'orders_find', args: JSON.stringify({ orderId: KEY }) }];
    desk.provider.answer = (_seen, response) => json(response, 200, chat({ text: `psst ${KEY}`, calls }));
    const answer = await run.ask();
    expect(answer).toMatchObject({ kind: 'done', text: 'psst [secret]' });
    expect(JSON.stringify(answer)).not.toContain(KEY);
    const rows = await desk.database.db.query(
      'select messages, result from actguard.transcripts t join actguard.model_calls using (run) where run = $1',
      [run.run],
    );
    expect(JSON.stringify(rows)).not.toContain(KEY);
  });
});

test('a provider that refuses the connection costs nothing and may be tried again', async () => {
  const run = await desk.open();
  const secrets = environmentSecrets({ OPENAI_API_KEY: KEY });
  const providers = { openai: { kind: 'openai' as const, baseUrl: `http://127.0.0.1:${await freePort()}/v1` } };
  const unreachable = createModelGateway({ config: { providers }, secrets });
  const answer = await run.ask({ attempt: { models: unreachable } });
  expect(answer).toMatchObject({
    kind: 'failed',
    spent: NOTHING,
    retry: true,
    error: { cause: { kind: 'transport' } },
  });
});
