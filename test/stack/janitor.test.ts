/** The janitor as workers start it: one a task queue; a terminated run is closed, its question asked and listed. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { defineTool } from '../../define/index.ts';
import { listQuestions } from '../../client/questions.ts';
import { listMails, startMail, type MailServer } from '../../worker/mail-server.ts';
import { janitorIdOf, workflowIdOf } from '../../workflows/ids.ts';
import { platform, type Platform } from '../support/platform.ts';

let p: Platform;
let inbox: MailServer;
let folder: string;
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
  folder = mkdtempSync(join(tmpdir(), 'actguard-janitor-'));
  inbox = await startMail({ directory: folder, port: 0 });
  p = await platform({
    smtpUrl: inbox.url,
    config: { approvals: { notify: ['finance@localhost'] } },
    policy: `@id("all") permit (principal, action, resource);
@id("gated") @gate("approval") forbid (principal, action == Action::"gated", resource)
unless { context.approved.contains(Gate::"gated") };
`,
    tools: [
      write('gated'),
      write('asked', { reconcile: () => Promise.resolve({ kind: 'happened', result: { n: 1 } }) }),
      write('plain'),
    ],
  });
});
afterAll(async () => {
  await p?.end();
  await inbox?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test('P1 P4 EX5 a terminated run is closed; its question is asked without it, or listed for a person; an ask is recalled', async () => {
  const janitor = p.actguard.client.workflow.getHandle(janitorIdOf(p.taskQueue));
  expect((await janitor.describe()).status.name).toBe('RUNNING');
  const session = await p.actguard.session({ id: randomUUID(), agent: 'desk', user: 'alice', tenant: 'acme' });
  await session.call('asked', {});
  await session.call('plain', {});
  const waiting = await p.actguard.session({ id: randomUUID(), agent: 'desk', user: 'alice', tenant: 'acme' });
  expect((await waiting.call('gated', {})).kind).toBe('pending');
  await p.actguard.client.workflow.getHandle(workflowIdOf(session.run)).terminate('by hand');
  await p.stopWorker();
  await janitor.terminate('its rounds are 30 s apart');
  await p.db.query(
    `update actguard.calls set state = 'claimed', lease_until = clock_timestamp() - interval '1 min', result = null, key_hash = call`,
  );
  await p.db.query(`update actguard.runs set opened_at = opened_at - interval '2 min'`);
  await p.db.query(
    `update actguard.approvals set opened_at = opened_at - interval '23 h', expires_at = expires_at - interval '23 h'`,
  );
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
  // the same round reminds of the ask that waits: no run has a timer for it
  for (;;) {
    const mails = (await listMails(folder)).map((mail) => mail.subject);
    if (mails.some((subject) => subject.includes('Still waiting: gated'))) break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect((await janitor.describe()).status.name).toBe('RUNNING');
});
