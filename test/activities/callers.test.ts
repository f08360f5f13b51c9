/** Who opens a run: outside a dev stack a caller with a token, for itself or, where it may, for a user. */
import { randomUUID } from 'node:crypto';
import { beforeAll, expect, test } from 'vitest';
import { ulid } from 'ulid';
import { z } from 'zod';
import { openRun } from '../../activities/open-run.ts';
import type { OpenRunInput } from '../../activities/types.ts';
import { generateKey } from '../../client/keys.ts';
import { createToken, listTokens, readToken, signOpening } from '../../client/tokens.ts';
import { revokeKeys } from '../../client/directory.ts';
import { defineTool } from '../../define/index.ts';
import type { Json } from '../../governance/json.ts';
import { desk, type TestWorker } from '../support/calls.ts';

const at = desk();
const root = generateKey('root');
const look = defineTool({
  name: 'look',
  description: 'Looks',
  effect: 'read',
  inputSchema: z.strictObject({}),
  execute: () => ({}),
});
let production: TestWorker;
let dev: TestWorker;
beforeAll(() => {
  production = at.worker([look], { dev: false, roots: [root.keyId] });
  dev = at.worker([look]);
});

const token = (caller: string, more: { actsForUsers?: boolean; tenant?: string; signer?: typeof root; nowMs?: number; validForMs?: number } = {}) =>
  createToken(at.db(), more.signer ?? root, {
    tenant: more.tenant ?? 'acme',
    caller,
    actsForUsers: more.actsForUsers ?? false,
    nowMs: more.nowMs ?? Date.now(),
    ...(more.validForMs === undefined ? {} : { validForMs: more.validForMs }),
  }); // prettier-ignore

/** Opens a run of alice's in acme; `signed` makes its opening. */
async function open(worker: TestWorker, signed?: (about: { run: string; tenant: string; user: string; agent: string }) => Json, more: Partial<OpenRunInput> = {}) {
  const run = ulid();
  const about = { run, tenant: 'acme', user: 'alice', agent: 'desk' };
  const result = await openRun(
    worker.shared,
    {
      ...{ v: 1, run, mode: 'session', openedBy: 'local:somebody', budget: null, input: 'x', deadlineMs: null },
      principal: { tenant: 'acme', user: 'alice', agent: 'desk' },
      ...(signed ? { opening: signed(about) } : {}),
      ...more,
    },
    { workflowId: `actguard-run-${run}`, temporalRun: randomUUID() },
  );
  const entries = await at.db().query<{ data: { openedBy: string; user: string; callerKey?: string } }>(
    `select convert_from(body, 'UTF8')::jsonb->'data' as data from actguard.entries where run = $1 and kind = 'run.opened'`,
    [run],
  );
  return { run, code: result.kind === 'denied' ? result.denial.code : 'opened', data: entries[0]?.data };
} // prettier-ignore

test('P7 without a token nothing is opened outside a dev stack; on a dev stack a local identity is recorded', async () => {
  expect((await open(production)).code).toBe('UNAUTHENTICATED');
  expect(await open(dev)).toMatchObject({ code: 'opened', data: { openedBy: 'local:somebody', user: 'alice' } });
  // nobody calls itself a caller
  expect((await open(dev, undefined, { openedBy: 'caller:support' })).code).toBe('UNAUTHENTICATED');
});

test('a caller opens runs for itself, one that may opens them for a user, and the entry names both', async () => {
  const own = readToken((await token('alice')).token);
  const desk = await token('support-desk', { actsForUsers: true });
  expect(await open(production, (about) => signOpening(own, about))).toMatchObject({ code: 'opened', data: { openedBy: 'caller:alice', user: 'alice', callerKey: own.keyId } }); // prettier-ignore
  expect(await open(production, (about) => signOpening(readToken(desk.token), about))).toMatchObject({ code: 'opened', data: { openedBy: 'caller:support-desk', user: 'alice', callerKey: desk.keyId } }); // prettier-ignore
  const bob = readToken((await token('bob')).token);
  expect((await open(production, (about) => signOpening(bob, about))).code).toBe('FORBIDDEN');
  expect(bob.keyId).toHaveLength(64);
});

test('P5 the token stands nowhere: not in the database, not in what is sent', async () => {
  const made = await token('carol');
  const seed = made.token.slice('agt_'.length);
  const sent = JSON.stringify(signOpening(readToken(made.token), { run: 'r', tenant: 'acme', user: 'carol', agent: 'desk' })); // prettier-ignore
  const rows = await at.db().query<{ t: string }>('select k::text as t from actguard.keys k union all select content::text from actguard.entry_contents'); // prettier-ignore
  for (const text of [sent, JSON.stringify(rows)]) {
    expect(text).not.toContain(seed);
    expect(text).not.toContain(Buffer.from(seed, 'base64url').toString('base64'));
  }
  expect((await listTokens(at.db(), 'acme')).find((t) => t.keyId === made.keyId)).toMatchObject({ caller: 'carol', actsForUsers: false, revoked: false }); // prettier-ignore
});

test('P4 P7 what is no valid opening opens nothing', async () => {
  const desk = readToken((await token('desk', { actsForUsers: true })).token);
  const foreign = readToken((await token('desk', { actsForUsers: true, tenant: 'globex' })).token);
  const strangers = generateKey('stranger');
  const rogue = readToken((await token('rogue', { actsForUsers: true, signer: strangers })).token);
  const old = readToken((await token('old', { actsForUsers: true, nowMs: Date.now() - 9e6, validForMs: 1000 })).token);
  const gone = await token('gone', { actsForUsers: true });
  await revokeKeys(at.db(), { tenant: 'acme', person: 'gone', keyId: gone.keyId, nowMs: Date.now() });
  const approver = generateKey('fred');
  const { addKey } = await import('../../client/directory.ts');
  await addKey(at.db(), approver, root, { tenant: 'acme', roles: ['finance'], nowMs: Date.now() });
  // a row that SQL put in: the enrolment of one key under another's fingerprint
  const planted = generateKey('planted');
  await at.db().query(
    `insert into actguard.keys (key_id, tenant, person, roles, envelope, chain, valid_from, dev)
     select $1, tenant, person, roles, envelope, chain, valid_from, dev from actguard.keys where key_id = $2`,
    [planted.keyId, desk.keyId],
  );
  type About = Parameters<typeof signOpening>[1];
  const cases: { [what: string]: [string, (about: About) => Json] } = {
    'another run': ['UNAUTHENTICATED', (about) => signOpening(desk, { ...about, run: ulid() })],
    'another user': ['UNAUTHENTICATED', (about) => signOpening(desk, { ...about, user: 'bob' })],
    'another agent': ['UNAUTHENTICATED', (about) => signOpening(desk, { ...about, agent: 'other' })],
    'another tenant': ['UNAUTHENTICATED', (about) => signOpening(desk, { ...about, tenant: 'globex' })],
    'a key of another tenant': ['UNAUTHENTICATED', (about) => signOpening(foreign, about)],
    'signed by a stranger': ['UNAUTHENTICATED', (about) => signOpening(rogue, about)],
    'not valid any more': ['UNAUTHENTICATED', (about) => signOpening(old, about)],
    'revoked': ['UNAUTHENTICATED', (about) => signOpening(readToken(gone.token), about)],
    'unknown key': ['UNAUTHENTICATED', (about) => signOpening(generateKey('x'), about)],
    'a row put in by SQL': ['UNAUTHENTICATED', (about) => signOpening(planted, about)],
    'an approver is no caller': ['FORBIDDEN', (about) => signOpening(approver, about)],
    'text': ['UNAUTHENTICATED', () => 'agt_x'],
    'null': ['UNAUTHENTICATED', () => null],
    'an altered payload': ['UNAUTHENTICATED', (about) => ({ ...(signOpening(desk, about) as object), payload: Buffer.from('{}').toString('base64') })],
    'an approval’s signature type': ['UNAUTHENTICATED', (about) => ({ ...(signOpening(desk, about) as object), payloadType: 'application/vnd.actguard.approval+json' })],
  }; // prettier-ignore
  for (const worker of [production, dev]) {
    const trusted = worker === production;
    for (const [what, [code, make]] of Object.entries(cases)) {
      const got = await open(worker, make);
      expect(got.code, what).toBe(trusted ? code : 'UNAUTHENTICATED'); // on the dev stack its root is another
      expect(got.data, what).toBeUndefined();
    }
  }
  expect((await open(production, (about) => signOpening(desk, about))).code).toBe('opened');
});

test('a child of an open run of the same tenant and user needs no token of its own; any other does', async () => {
  const desk = readToken((await token('parent-desk', { actsForUsers: true })).token);
  const parent = await open(production, (about) => signOpening(desk, about));
  expect((await open(production, undefined, { openedBy: `run:${parent.run}` })).code).toBe('opened');
  expect((await open(production, undefined, { openedBy: `run:${ulid()}` })).code).toBe('UNAUTHENTICATED');
  const principal = { tenant: 'acme', user: 'mallory', agent: 'desk' };
  expect((await open(production, undefined, { openedBy: `run:${parent.run}`, principal })).code).toBe(
    'UNAUTHENTICATED',
  );
});

test.each([
  '',
  'agt_',
  'agt_short',
  `agt_${'A'.repeat(44)}`,
  `AGT_${'A'.repeat(43)}`,
  `agt_${'A'.repeat(42)}B`,
  `agt_${'A'.repeat(42)}=`,
])('P5 a token that is none is refused without being repeated: %j', (text) => {
  const error = (() => { try { return readToken(text); } catch (e) { return e as Error; } })(); // prettier-ignore
  expect(error).toMatchObject({ code: 'UNAUTHENTICATED' });
  if (text.length > 8) expect(JSON.stringify(error) + String(error)).not.toContain(text);
});
