import { IN_CLEAR } from '../../activities/content.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { eventsOf } from '../../client/events.ts';
import type { RunEvent } from '../../client/index.ts';
import { defineAgent, defineTool } from '../../define/index.ts';
import type { RunResult } from '../../governance/call.ts';
import { startModelServer, type ModelServer } from '../../worker/model-server.ts';
import { chat, json, startProvider, streamed, USAGE, type StreamedChat } from '../model/provider.ts';
import { platform, type Platform } from '../support/platform.ts';

let go = (): void => undefined;
const waits = defineTool({
  name: 'waits',
  description: 'Wait until it is told to go on',
  effect: 'read',
  inputSchema: z.strictObject({}),
  execute: () => new Promise<number>((resolve) => (go = () => resolve(7))),
});

let p: Platform;
let model: ModelServer;
beforeAll(async () => {
  model = await startModelServer([
    { user: /go/, turn: 1, text: 'I look.', toolCalls: [{ name: 'waits', args: {} }] },
    { user: /go/, turn: 2, text: 'It is seven.' },
  ]);
  const tools = [waits];
  const agents = [defineAgent({ name: 'desk', model: 'openai/gpt-4o', instructions: 'Be brief.', tools })];
  p = await platform({ tools, agents, modelReplayUrl: model.baseUrl });
});
afterAll(async () => {
  await p?.end();
  await model?.stop();
});

const word = (event: Exclude<RunEvent, { kind: 'delta' }>): string =>
  event.kind === 'entry' ? event.entry.kind : event.kind === 'text' ? `says ${event.text}` : event.result.status;

test('events come while the run is under way, each once and in order, with what the model says, and then they end', async () => {
  const run = await p.actguard.start('desk', { input: 'go', user: 'alice', tenant: 'acme' });
  const words: string[] = [];
  let deltas = '';
  for await (const event of run.events({ everyMs: 20 })) {
    if (event.kind === 'delta') {
      deltas += event.text;
      continue;
    }
    words.push(word(event));
    // the tool's call has started and not ended: it goes on because this was seen
    if (words.filter((w) => w === 'call.started').length === 2) go();
  }
  expect(words.filter((w) => !w.startsWith('says I look'))).toEqual([
    ...['run.opened', 'call.started', 'call.succeeded', 'call.started', 'call.succeeded'],
    ...['call.started', 'call.succeeded', 'says It is seven.', 'run.closed', 'answered'],
  ]);
  expect(deltas).toMatch(/It is seven\.$/);
  const again: string[] = [];
  for await (const event of run.events()) if (event.kind !== 'delta') again.push(word(event));
  expect(again).toEqual(words);
});

test('a chat screen reads along: the text of a turn comes while the model still writes it, once, and all of it', async () => {
  const provider = await startProvider();
  let stream: StreamedChat | undefined;
  provider.answer = (seen, response) => {
    const call = { id: 'a', name: 'waits', args: '{}' };
    if (provider.seen.length === 1 && !seen.body['stream']) return json(response, 200, chat({ calls: [call] }));
    const answer = streamed(response);
    if (provider.seen.length === 1) {
      answer.call(call.id, call.name, call.args);
      return answer.end(USAGE);
    }
    stream = answer;
    answer.text('Once upon ');
  };
  const agents = [defineAgent({ name: 'desk', model: 'openai/gpt-4o', instructions: 'Be brief.', tools: [waits] })];
  const own = await platform({ tools: [waits], agents, modelReplayUrl: provider.baseUrl });
  try {
    const run = await own.actguard.start('desk', { input: 'tell', user: 'alice', tenant: 'acme' });
    const heard: string[] = [];
    let started = 0;
    for await (const event of run.events({ everyMs: 20 })) {
      // the second turn begins when somebody is there for certain
      if (event.kind === 'entry' && event.entry.kind === 'call.started' && (started += 1) === 2) go();
      if (event.kind === 'text') heard.push(`in full: ${event.text}`);
      if (event.kind !== 'delta') continue;
      heard.push(event.text);
      // the model goes on because this was seen
      if (heard.length === 1) stream?.text('a time');
      else stream?.end(USAGE);
    }
    expect(heard).toEqual(['Once upon ', 'a time', 'in full: Once upon a time']);
  } finally {
    await own.end();
    await provider.stop();
  }
});

test('an aborted iteration ends; a run that is not there is NOT_FOUND', async () => {
  const stop = new AbortController();
  const run = await p.actguard.start('desk', { input: 'go', user: 'alice', tenant: 'acme' });
  for await (const _ of run.events({ signal: stop.signal })) stop.abort();
  await run.cancel();
  go();
  const missing = p.actguard.run('01J00000000000000000000000').events()[Symbol.asyncIterator]();
  await expect(
    (async () => {
      while (!(await missing.next()).done) continue;
    })(),
  ).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('an entry that is committed late, under an earlier number, is not left out; past the settled ones none comes twice', async () => {
  const entry = (id: number, insertedAtMs: number) => ({
    e: { id, insertedAtMs, kind: 'call.started', content: null },
  });
  const looks = [
    [entry(1, 0), entry(3, 100)],
    [entry(1, 0), entry(2, 90), entry(3, 100), entry(4, 60_000)],
    [entry(4, 60_000), entry(5, 60_001)],
  ];
  const afters: number[] = [];
  let finish = (_: RunResult): void => undefined;
  const ended = new Promise<RunResult>((resolve) => (finish = resolve));
  const db = {
    content: IN_CLEAR,
    query: (sql: string, [filter]: unknown[]) => {
      if (sql.includes('watch_run')) return Promise.reject(new Error('a database that is read only'));
      const { after } = JSON.parse(filter as string) as { after: number };
      afters.push(after);
      const rows = looks[Math.min(afters.length, looks.length) - 1] ?? [];
      if (afters.length === looks.length) finish({ status: 'answered' } as RunResult);
      return Promise.resolve(rows.filter(({ e }) => e.id > after));
    },
  };
  const ids: (number | string)[] = [];
  for await (const event of eventsOf(db as never, 'r', ended, { everyMs: 1 })) {
    ids.push(event.kind === 'entry' ? event.entry.id : event.kind);
  }
  expect(ids).toEqual([1, 3, 2, 4, 5, 'ended']);
  expect(afters.slice(0, 3)).toEqual([0, 0, 3]);
});
