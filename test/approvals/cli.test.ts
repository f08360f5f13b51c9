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
import type { Io } from '../../client/cli/io.ts';
import * as keys from '../../client/cli/keys.ts';
import * as token from '../../client/cli/token.ts';
import { showApproval, visible } from '../../client/cli/show-approval.ts';
import { listEntries } from '../../client/ledger.ts';
import { generateKey, readKeyHead } from '../../client/keys.ts';
import { readToken } from '../../client/tokens.ts';
import { watchApprovals } from '../../client/watch-approvals.ts';
import type { ApprovalRequest } from '../../governance/approval.ts';
import type { Deps } from '../../activities/deps.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import { ask, askInput, makeDeps, openRun, person, stateOf } from './fixture.ts';

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
  const doors = {
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
    progress: () => undefined,
  } satisfies Partial<Io> as unknown as Io;
  const program = new Command().exitOverride();
  for (const command of [approvals, approve, approver, keys, token]) command.register(program, doors);
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

test('P4 --watch tells of asks that are open, that come and that end, each once, until it is stopped', async () => {
  const watched = 'globex';
  const newAsk = async () => ask(deps, askInput(await openRun(fresh.db, watched), 'c1', undefined, watched));
  const [first, foreign] = [await newAsk(), await ask(deps, askInput(await openRun(fresh.db)))];
  const stop = new AbortController();
  const seen: string[] = [];
  let second: ApprovalRequest | undefined;
  let away = 3; // looks at which the database is away
  const db: typeof fresh.db = {
    ...fresh.db,
    query: (text, values) =>
      seen.length > 0 && away-- > 0 ? Promise.reject(new Error('away')) : fresh.db.query(text, values),
  };
  for await (const { approvalId, change } of watchApprovals(
    db,
    { tenant: watched },
    { signal: stop.signal, everyMs: 5 },
  )) {
    seen.push(`${change} ${approvalId}`);
    if (seen.length === 1) second = await newAsk();
    if (seen.length === 2) await run('reject', first.approvalId, '--yes');
    if (seen.length === 3) stop.abort();
  }
  expect(seen).toEqual([`new ${first.approvalId}`, `new ${second?.approvalId}`, `ended ${first.approvalId}`]);
  expect(seen.join()).not.toContain(foreign.approvalId);
  const watching = run('approvals', '--watch', '--tenant', watched);
  while (lines.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  process.emit('SIGTERM');
  await watching;
  expect(lines).toHaveLength(1);
  expect(lines[0]).toContain(`${second?.approvalId}  open  globex  Refund 41200 cents for order 1042`);
});

test('a token is made once, listed by its fingerprint, signs openings until it is revoked, and stands nowhere', async () => {
  await run('token', 'list', '--tenant', 'acme');
  expect(lines.join()).toContain('no tokens yet');
  await run('token', 'create', '--tenant', 'acme', '--caller', 'support-desk', '--acts-for-users', '--expires', '1h');
  const [made = '', about] = lines;
  expect(made).toMatch(/^agt_/);
  expect(about).toContain('not shown again');
  const { keyId } = readToken(made);
  await run('token', 'list', '--tenant', 'acme');
  expect(lines).toEqual([`${keyId.slice(0, 16)}  support-desk  acme  for users`]);
  await run('token', 'list', '--tenant', 'globex');
  expect(lines.join()).toContain('no tokens yet');
  const [rows] = await fresh.db.query<{ n: number }>(
    `select count(*)::int as n from actguard.keys k where k::text like '%' || $1 || '%'`,
    [made.slice(4)],
  );
  expect(rows?.n).toBe(0);
  for (const wrong of [keyId.slice(0, 7), '0'.repeat(16), ''])
    await expect(run('token', 'revoke', wrong, '--tenant', 'acme')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(run('token', 'revoke', keyId.slice(0, 16), '--tenant', 'globex')).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
  await expect(run('token', 'create', '--tenant', 'acme', '--caller', 'x y')).rejects.toMatchObject({
    code: 'ARGUMENTS_INVALID',
  });
  await run('token', 'revoke', keyId.slice(0, 16).toUpperCase(), '--tenant', 'acme');
  expect(lines).toEqual([`revoked ${keyId.slice(0, 16)} of support-desk`]);
  await run('token', 'revoke', keyId, '--tenant', 'acme');
  expect(lines.join()).toContain('was revoked before');
  await run('token', 'list', '--tenant', 'acme');
  expect(lines.join()).toContain('revoked');
});

test('P4 approver revoke: whose, by whom and why is in the ledger; nobody there is NOT_FOUND', async () => {
  const root = generateKey('');
  await person(makeDeps(fresh.db, [root.keyId]), root, 'ria', ['finance'], 'acme');
  await run('approver', 'revoke', '--tenant', 'acme', '--person', 'ria', '--reason', 'left\u202e the house');
  expect(lines).toEqual(['revoked 1 key of ria in acme']);
  const [entry] = await listEntries(fresh.db as never, { kind: 'key.revoked', tenant: 'acme', limit: 1_000 }).then(
    (all) => all.slice(-1),
  );
  expect((JSON.parse(entry?.body ?? '{}') as { data: object }).data).toMatchObject({
    person: 'ria',
    key: null,
    by: expect.stringMatching(/^local:/) as string,
    reason: 'left\\u202e the house',
  });
  await expect(run('approver', 'revoke', '--tenant', 'acme', '--person', 'ria')).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
  await expect(run('approver', 'revoke', '--tenant', 'acme', '--person', 'nobody')).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
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
