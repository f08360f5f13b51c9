import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { recordAnswer } from '../../activities/approvals.ts';
import { ensureDevApprover } from '../../activities/directory.ts';
import { devApprover } from '../../client/dev-approver.ts';
import { readApproval } from '../../client/approvals.ts';
import * as approvals from '../../client/cli/approvals.ts';
import * as approve from '../../client/cli/approve.ts';
import * as approver from '../../client/cli/approver.ts';
import type { Doors } from '../../client/cli/doors.ts';
import * as keys from '../../client/cli/keys.ts';
import { showApproval, visible } from '../../client/cli/show-approval.ts';
import { readKeyHead } from '../../client/keys.ts';
import type { Deps } from '../../activities/deps.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import { ask, askInput, makeDeps, openRun, stateOf } from './fixture.ts';

let fresh: FreshDatabase;
let directory: string;
let deps: Deps;
const lines: string[] = [];

beforeAll(async () => {
  fresh = await freshDatabase();
  directory = mkdtempSync(join(tmpdir(), 'actguard-cli-'));
  const dev = devApprover(directory, 'me', Date.now());
  deps = makeDeps(fresh.db, [dev.rootKeyId], true);
  await ensureDevApprover(deps, dev);
});
afterAll(async () => {
  rmSync(directory, { recursive: true, force: true });
  await fresh.drop();
});

/** The commands, with the run's workflow replaced by the activity that it calls. */
function run(...args: string[]): Promise<unknown> {
  lines.length = 0;
  const doors: Doors = {
    actguard: () => Promise.reject(new Error('not used here')),
    connect: () =>
      Promise.resolve({
        db: fresh.db,
        stateDirectory: directory,
        answer: async (request, { approvalId, envelope }) => {
          await recordAnswer(deps, { v: 1, run: request.run, entries: [], approvalId, envelope });
        },
        close: () => Promise.resolve(),
      }),
    line: (text) => lines.push(text),
    json: () => undefined,
    passphrase: () => Promise.resolve('correct horse'),
    confirm: () => Promise.resolve(true),
  };
  const program = new Command().exitOverride();
  for (const command of [approvals, approve, approver, keys]) command.register(program, doors);
  return program.parseAsync(args, { from: 'user' });
}

test('P4 approve ID works bare on a dev stack, and says what it signed', async () => {
  const request = await ask(deps, askInput(await openRun(fresh.db)));
  await run('approvals');
  expect(lines.join('\n')).toContain(request.approvalId);
  await run('approve', request.approvalId);
  const text = lines.join('\n');
  for (const part of [
    'Refund 41200 cents for order 1042',
    '"amountCents": 41200',
    'over-100',
    'order 1042, proved by call c0',
    'on behalf of alice',
    'dev:me',
  ]) {
    expect(text).toContain(part);
  }
  expect(await stateOf(fresh.db, request.approvalId)).toBe('granted');
  await expect(run('approve', request.approvalId)).rejects.toMatchObject({ code: 'CONFLICT' });
  await expect(run('approve', 'nothing')).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('P4 reject, and a person with a key of their own', async () => {
  const file = join(directory, 'bob.key');
  await run('keys', 'generate', '--person', 'bob', '--out', file);
  expect(readKeyHead(file)).toMatchObject({ person: 'bob', encrypted: true });
  await run(
    'approver',
    'add',
    '--tenant',
    'acme',
    '--role',
    'finance',
    '--key',
    file,
    '--signer',
    join(directory, 'dev-root.key'),
  );
  await run('approver', 'list');
  expect(lines.some((line) => line.startsWith('bob  acme  finance') && line.endsWith('dev'))).toBe(true);
  const request = await ask(deps, askInput(await openRun(fresh.db)));
  await run('reject', request.approvalId, '--key', file);
  expect(await stateOf(fresh.db, request.approvalId)).toBe('rejected');
  await expect(run('keys', 'generate', '--out', join(directory, 'x.key'))).rejects.toMatchObject({
    code: 'ARGUMENTS_INVALID',
  });
});

test('P4 content that is not what was asked for is neither shown nor signed', async () => {
  const request = await ask(deps, askInput(await openRun(fresh.db)));
  await fresh.db.query(
    `update actguard.approvals set content = jsonb_set(content, '{shown}', '"Refund 1 cent"') where approval = $1`,
    [request.approvalId],
  );
  await expect(run('approve', request.approvalId)).rejects.toMatchObject({ code: 'APPROVAL_INVALID' });
  expect(lines).toEqual([]);
  expect(await stateOf(fresh.db, request.approvalId)).toBe('open');
});

test('P4 hidden, reordering and look-alike characters are shown escaped, plain text as it is', async () => {
  expect(visible('a\u202eb\u200bc\u001b[2J')).toBe('a\\u202eb\\u200bc\\u001b[2J');
  expect(visible('p\u0430ypal')).toBe('p\\u{430}ypal');
  expect(visible('Zoë, Привет, 東京 1042')).toBe('Zoë, Привет, 東京 1042');
  const input = askInput(await openRun(fresh.db));
  const request = await ask(deps, { ...input, args: { orderId: '1\n\u202eapproval   OK', amountCents: 1 } as never });
  const shown = showApproval(await readApproval(fresh.db, request.approvalId), Date.now());
  expect(shown.join('\n')).not.toMatch(/[\u202e\u200b\u001b]/);
  expect(shown.filter((line) => line.startsWith('approval '))).toHaveLength(1);
});
