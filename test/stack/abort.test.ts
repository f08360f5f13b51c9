import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import * as freeze from '../../client/cli/freeze.ts';
import * as freezes from '../../client/cli/freezes.ts';
import type { Session } from '../../client/index.ts';
import { defineAgent, defineTool } from '../../define/index.ts';
import { chat, json, startProvider, type Provider } from '../model/provider.ts';
import { commandLine, type Printed } from '../support/cli.ts';
import { platform, type Platform } from '../support/platform.ts';

/** Calls that run until somebody ends them: `begun` counts, `release` lets one answer. */
const begun = new Map<string, () => void>();
const stopped: string[] = [];
const hang = (name: string, effect: 'read' | 'write') =>
  defineTool({
    name,
    description: 'Takes its time',
    effect,
    inputSchema: z.strictObject({ id: z.string() }),
    outputSchema: z.object({ id: z.string() }),
    timeout: '5m',
    retry: effect === 'read' ? { on: [] } : undefined,
    execute: ({ id }: { id: string }, { signal }: { signal: AbortSignal }) =>
      new Promise<{ id: string }>((resolve, reject) => {
        begun.set(id, () => resolve({ id }));
        signal.addEventListener('abort', () => {
          stopped.push(id);
          reject(signal.reason as Error);
        });
      }),
  } as never);
const tools = [hang('send', 'write'), hang('look', 'read')];
let p: Platform;
let provider: Provider;
let actguard: (...args: string[]) => Promise<Printed>;
beforeAll(async () => {
  provider = await startProvider();
  const talker = defineAgent({ name: 'talker', model: 'openai/gpt-4o', instructions: 'Be brief.', tools: [] });
  p = await platform({
    tools,
    agents: [defineAgent({ name: 'desk', tools }), talker],
    modelReplayUrl: provider.baseUrl,
  });
  actguard = commandLine(p, [freeze, freezes]);
});
afterAll(async () => {
  await p?.end();
  await provider?.stop();
});

function open(tenant: string): Promise<Session> {
  return p.actguard.session({ id: randomUUID(), agent: 'desk', user: 'alice', tenant });
}

async function inFlight(session: Session, tool: string): Promise<{ id: string; result: ReturnType<Session['call']> }> {
  const id = randomUUID();
  const result = session.call(tool, { id });
  await expect.poll(() => begun.has(id), { timeout: 60_000 }).toBe(true);
  return { id, result };
}

test('P7 P2 freeze --abort stops what is in flight there: a write is unknown, a read has failed, others go on', async () => {
  const [here, elsewhere] = [await open('acme'), await open('globex')];
  const [write, read, other] = [await inFlight(here, 'send'), await inFlight(here, 'look'), await inFlight(elsewhere, 'send')]; // prettier-ignore
  const frozen = await actguard('freeze', 'tenant:acme', '--reason', 'wrong amounts', '--abort');
  expect(frozen.json).toMatchObject({ scope: 'tenant', value: 'acme', frozen: true, aborted: 2 });
  expect(frozen.lines[1]).toBe('stopping   2 calls in flight, within 3 seconds');
  expect(await write.result).toMatchObject({ kind: 'unknown' });
  expect(await read.result).toMatchObject({ kind: 'failed', error: { code: 'TOOL_FAILED', message: expect.stringContaining('aborted by a freeze') as string } }); // prettier-ignore
  expect(stopped).toEqual(expect.arrayContaining([write.id, read.id]));
  begun.get(other.id)?.();
  expect(await other.result).toMatchObject({ kind: 'done', output: { id: other.id } });
  expect(stopped).not.toContain(other.id);
  expect(await here.call('send', { id: 'next' })).toMatchObject({ kind: 'denied', denial: { code: 'FROZEN' } });
  expect(await p.db.query(`select 1 from actguard.entries where kind = 'freeze.set' and convert_from(body, 'UTF8') like '%"abort":true%'`)).toHaveLength(1); // prettier-ignore
});

test('P7 freeze --abort of one tool, and a freeze without it lets calls finish', async () => {
  const session = await open('umbrella');
  const kept = await inFlight(session, 'look');
  expect((await actguard('freeze', 'tool:look', '--tenant', 'umbrella', '--reason', 'x')).json).toMatchObject({ aborted: 0 }); // prettier-ignore
  const write = await inFlight(session, 'send');
  expect((await actguard('freeze', 'tool:send', '--tenant', 'umbrella', '--reason', 'x', '--abort')).json).toMatchObject({ aborted: 1 }); // prettier-ignore
  expect(await write.result).toMatchObject({ kind: 'unknown' });
  begun.get(kept.id)?.();
  expect(await kept.result).toMatchObject({ kind: 'done' });
});

test('P7 freeze RUN --abort stops the calls of that run only, and holds in its claims', async () => {
  const [one, two] = [await open('initech'), await open('initech')];
  const [mine, theirs] = [await inFlight(one, 'send'), await inFlight(two, 'send')];
  const frozen = await actguard('freeze', one.run, '--reason', 'odd', '--abort');
  expect(frozen.json).toEqual({ run: one.run, frozen: true, aborted: 1 });
  expect(await mine.result).toMatchObject({ kind: 'unknown' });
  begun.get(theirs.id)?.();
  expect(await theirs.result).toMatchObject({ kind: 'done' });
  expect((await actguard('freezes', '--tenant', 'initech')).lines).toEqual([expect.stringMatching(`^run:${one.run} .*odd$`)]); // prettier-ignore
  await actguard('thaw', one.run, '--reason', 'fine');
  expect((await actguard('freezes', '--tenant', 'initech')).lines).toEqual(['nothing is frozen']);
});

test('P7 P3 BU5 freeze --abort ends a model call in flight: paid in full, and the run asks again after the thaw', async () => {
  provider.answer = () => undefined; // it thinks, and thinks
  const run = await p.actguard.start('talker', { input: 'go', user: 'alice', tenant: 'hooli' });
  await expect.poll(() => provider.seen.length, { timeout: 60_000 }).toBe(1);
  const frozen = await actguard('freeze', run.id, '--reason', 'talks too much', '--abort');
  expect(frozen.json).toEqual({ run: run.id, frozen: true, aborted: 1 });
  provider.answer = (_seen, response) => json(response, 200, chat({ text: 'hello' }));
  const failed = async (): Promise<unknown[]> => {
    const rows = await p.db.query<{ body: string }>(`select convert_from(body, 'UTF8') as body from actguard.entries where run = $1 and kind = 'call.failed'`, [run.id]); // prettier-ignore
    return rows.map(({ body }) => (JSON.parse(body) as { data: unknown }).data);
  };
  await expect.poll(failed, { timeout: 60_000 }).toMatchObject([{ aborted: true, flagged: true }]);
  await expect.poll(async () => (await run.state()).reserved.usdMicros, { timeout: 60_000 }).toBe(0);
  expect(provider.seen).toHaveLength(1); // it is not asked again while frozen
  await actguard('thaw', run.id, '--reason', 'go on');
  expect(await run.result()).toMatchObject({ status: 'answered', text: 'hello' });
  expect(provider.seen).toHaveLength(2);
});
