/** The janitor as workers start it: one a task queue; a terminated run is closed, its question asked and listed. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { defineTool } from '../../define/index.ts';
import { listQuestions } from '../../client/questions.ts';
import { janitorIdOf, workflowIdOf } from '../../workflows/ids.ts';
import { platform, type Platform } from '../support/platform.ts';

let p: Platform;
const write = (name: string, more: object = {}) =>
  defineTool({
    name,
    description: name,
    effect: 'write',
    inputSchema: z.strictObject({}),
    execute: () => {
      throw new Error('the answer was lost');
    },
    ...more,
  });
beforeAll(async () => {
  p = await platform({
    tools: [
      write('asked', { reconcile: () => Promise.resolve({ kind: 'happened', result: { n: 1 } }) }),
      write('plain'),
    ],
  });
});
afterAll(() => p?.end());

test('P1 EX5 a terminated run is closed; its question is asked without it, or listed for a person', async () => {
  const janitor = p.actguard.client.workflow.getHandle(janitorIdOf(p.taskQueue));
  expect((await janitor.describe()).status.name).toBe('RUNNING');
  const session = await p.actguard.session({ id: randomUUID(), agent: 'desk', user: 'alice', tenant: 'acme' });
  await session.call('asked', {});
  await session.call('plain', {});
  await p.actguard.client.workflow.getHandle(workflowIdOf(session.run)).terminate('by hand');
  await p.stopWorker();
  await janitor.terminate('its rounds are 30 s apart');
  await p.db.query(
    `update actguard.calls set state = 'claimed', lease_until = clock_timestamp() - interval '1 min', result = null, key_hash = call`,
  );
  await p.db.query(`update actguard.runs set opened_at = opened_at - interval '2 min'`);
  await p.restart();
  for (;;) {
    const [asked] = await p.db.query<{ state: string }>(`select state from actguard.calls where tool = 'asked'`);
    if (asked?.state === 'succeeded') break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect(await listQuestions(p.db, 'acme')).toMatchObject([
    { tool: 'plain', needsPerson: true, runStatus: 'terminated' },
  ]);
  expect(await listQuestions(p.db, 'globex')).toEqual([]);
  expect((await janitor.describe()).status.name).toBe('RUNNING');
});
