import { IN_CLEAR } from '../../activities/content.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { enrol } from '../../activities/directory.ts';
import { revokeKeys } from '../../client/directory.ts';
import { type ApprovalRequest, approvalStatement } from '../../governance/approval.ts';
import { APPROVAL_PAYLOAD_TYPE, SESSION_PAYLOAD_TYPE } from '../../governance/dsse.ts';
import {
  MAX_PAGE_BODY_BYTES,
  MAX_PAGE_SIGNATURES_PER_MINUTE,
  MAX_REJECTED_ANSWERS,
  PAGE_SESSION_MS,
  SIGN_IN_NONCE_MS,
} from '../../governance/limits.ts';
import { type Bent, newPasskey, type Passkey, passkeyEnrolment, passkeyEnvelope } from '../support/passkey.ts';
import { stateOf, TENANT } from '../approvals/fixture.ts';
import { openDesk, type Desk } from './fixture.ts';
import { visit, type Visit } from './visit.ts';

let desk: Desk;
let page: Visit;
let nowMs = Date.now();
const bob = newPasskey('bob');

beforeAll(async () => {
  desk = await openDesk({ now: () => nowMs });
  page = visit(desk.gateway);
  await enrolled(bob);
});
afterAll(() => desk.end());

const enrolled = (key: Passkey, tenant = TENANT) =>
  enrol(desk.deps, passkeyEnrolment(key, desk.root, { tenant, roles: ['finance'] }, { origin: desk.origin }), []);
const nonce = async (): Promise<string> => ((await (await page.get('/api/sign-in')).json()) as { nonce: string }).nonce;

describe('P4 signing in', () => {
  test('P4 content only after a sign-in; the session ends with the key, by signing out and with time', async () => {
    const request = await desk.ask();
    for (const path of ['/api/me', '/api/asks', '/api/history', `/api/asks/${request.approvalId}`, '/api/live']) {
      expect((await page.get(path)).status).toBe(401);
      expect((await page.get(path, 'actguard-session=guess')).status).toBe(401);
    }
    expect((await page.post(`/api/asks/${request.approvalId}/answer`, { envelope: {} })).status).toBe(401);
    const cookie = await page.signIn(bob);
    expect((await page.get(`/api/asks/${request.approvalId}`, cookie)).status).toBe(200);
    expect((await page.post('/api/sign-out', {}, cookie)).status).toBe(200);
    expect((await page.get('/api/asks', cookie)).status).toBe(401);
    const gone = newPasskey('gone');
    await enrolled(gone);
    const second = await page.signIn(gone);
    expect(await revokeKeys(desk.fresh.db, { tenant: TENANT, person: 'gone', keyId: null, nowMs: Date.now() })).toBe(1);
    expect((await page.get('/api/asks', second)).status).toBe(401);
    const third = await page.signIn(bob);
    await desk.fresh.db.query('update actguard.page_sessions set expires_at = clock_timestamp()');
    expect((await page.get('/api/asks', third)).status).toBe(401);
    expect(PAGE_SESSION_MS).toBeLessThanOrEqual(24 * 3_600_000);
  });

  test.each<[string, RegExp, (n: string) => Promise<object> | object]>([
    ['another origin inside', /another page/, (n) => page.signInBody(bob, n, { statementOrigin: 'https://evil.example' })],
    ['made on another origin', /another page/, (n) => page.signInBody(bob, n, { origin: 'https://evil.example' })],
    ['without user verification', /verify its user/, (n) => page.signInBody(bob, n, { flags: 1 })],
    ['signed by a stranger', /does not verify/, (n) => page.signInBody(bob, n, { signer: newPasskey('x') })],
    ['an unknown passkey', /not enrolled/, (n) => page.signInBody(newPasskey('y'), n)],
    ['a nonce of our own making', /too long/, () => page.signInBody(bob, '00'.repeat(32))],
    ['a clock that is off', /clock/, (n) => page.signInBody(bob, n, { at: '2020-01-01T00:00:00.000Z' })],
    ['a field more', /may not have/, (n) => ({ ...page.signInBody(bob, n), admin: true })],
  ])('P4 %s is refused', async (_name, reason, make) => {
    const response = await page.post('/api/sign-in', await make(await nonce()));
    expect([400, 401]).toContain(response.status);
    expect(((await response.json()) as { reason: string }).reason).toMatch(reason);
    expect(response.headers.get('set-cookie')).toBeNull();
  }); // prettier-ignore

  test('P4 a sign-in is used once, soon, and is no approval under any name', async () => {
    const body = page.signInBody(bob, await nonce());
    expect((await page.post('/api/sign-in', body)).status).toBe(200);
    expect((await page.post('/api/sign-in', body)).status).toBe(401);
    const late = page.signInBody(bob, await nonce());
    nowMs += SIGN_IN_NONCE_MS + 1;
    expect((await page.post('/api/sign-in', late)).status).toBe(401);
    nowMs = Date.now();
    expect(SESSION_PAYLOAD_TYPE).not.toContain('approval');
  });
});

describe('P7 the door', () => {
  test('P7 other hosts, other sites and other content types are refused; headers keep everything at home', async () => {
    const cookie = await page.signIn(bob);
    expect((await page.get('/', undefined, { host: 'evil.example' })).status).toBe(421);
    expect((await page.get('/api/asks', cookie, { 'sec-fetch-site': 'cross-site' })).status).toBe(403);
    expect((await page.post('/api/sign-out', {}, cookie, { origin: 'https://evil.example' })).status).toBe(403);
    expect((await page.post('/api/sign-out', {}, cookie, { 'content-type': 'text/plain' })).status).toBe(415);
    expect((await page.get('/api/asks', cookie)).status).toBe(200);
    const shell = await page.get('/');
    expect(shell.headers.get('content-security-policy')).toContain("default-src 'none'; script-src 'self'");
    expect(shell.headers.get('content-security-policy')).not.toContain('unsafe');
    expect(shell.headers.get('x-frame-options')).toBe('DENY');
    for (const path of ['/m/governance/../../package.json', '/m/worker/worker.js', '/m/%2e%2e/x', '/.env']) {
      expect((await page.get(path)).status).toBe(404);
    }
  });

  test('P7 bodies have a size, addresses a rate; what is malformed is an answer, not a crash', async () => {
    const cookie = await page.signIn(bob);
    const request = await desk.ask();
    const path = `/api/asks/${request.approvalId}/answer`;
    expect((await page.post(path, { envelope: 'A'.repeat(MAX_PAGE_BODY_BYTES) }, cookie)).status).toBe(400);
    for (const body of ['', '{', 'null', '[]', '"x"', '{"envelope":1,"more":2}', '\ud800']) {
      expect((await page.post(path, body, cookie)).status).toBe(400);
    }
    for (const id of ['x', '%00', '..%2f', 'a'.repeat(500)]) {
      expect((await page.get(`/api/asks/${id}`, cookie)).status).toBe(404);
    }
    const strict = visit({
      ...desk.gateway,
      perMinute: { requests: 1_000, signatures: MAX_PAGE_SIGNATURES_PER_MINUTE },
    });
    const codes = [];
    for (let i = 0; i <= MAX_PAGE_SIGNATURES_PER_MINUTE; i += 1)
      codes.push((await strict.post('/api/sign-in', {})).status);
    expect(codes.slice(0, -1).every((code) => code === 400)).toBe(true);
    expect(codes.at(-1)).toBe(429);
  });

  test('P7 when the database is away the page says so and nothing is sent', async () => {
    const away = visit({ ...desk.gateway, db: { content: IN_CLEAR, query: () => Promise.reject(new Error('no')) } });
    expect((await away.get('/api/asks', 'actguard-session=abc')).status).toBe(503);
    expect((await away.get('/')).status).toBe(200);
  });
});

describe('P4 answers', () => {
  const yes = (request: ApprovalRequest): object => ({
    envelope: passkeyEnvelope(
      APPROVAL_PAYLOAD_TYPE,
      approvalStatement(request, 'approve', bob.person, bob.keyId, new Date().toISOString()),
      bob,
      { origin: desk.origin },
    ),
  });

  test('P4 whoever answers an ask that takes no more answers is told so, not thanked', async () => {
    const [flooded, twin] = [await desk.ask(), await desk.ask()];
    const cookie = await page.signIn(bob);
    const invalid = 'update actguard.approvals set invalid_answers = $2 where approval = $1';
    await desk.fresh.db.query(invalid, [flooded.approvalId, MAX_REJECTED_ANSWERS]);
    await desk.fresh.db.query(invalid, [twin.approvalId, MAX_REJECTED_ANSWERS - 1]);
    const before = desk.handed.length;
    const refused = await page.post(`/api/asks/${flooded.approvalId}/answer`, yes(flooded), cookie);
    expect(refused.status).toBe(409);
    expect(((await refused.json()) as { reason: string }).reason).toContain('takes no more');
    expect(desk.handed.length).toBe(before);
    expect((await page.post(`/api/asks/${twin.approvalId}/answer`, yes(twin), cookie)).status).toBe(200);
    expect(await stateOf(desk.fresh.db, twin.approvalId)).toBe('granted');
  });

  test('P4 a scanner that opens every link of a mail, signed in or not, changes nothing', async () => {
    const request = await desk.ask();
    const cookie = await page.signIn(bob);
    const link = await desk.link('scanned', ['finance']);
    const rows = async (): Promise<unknown> =>
      desk.fresh.db.query(`select (select count(*)::int from actguard.entries) as entries,
        (select count(*)::int from actguard.answers) as answers,
        (select jsonb_agg(state order by approval) from actguard.approvals) as asks,
        (select jsonb_agg(state order by invitation) from actguard.invitations) as invitations`);
    const before = await rows();
    const paths = [new URL(link).pathname, '/', '/history', `/asks/${request.approvalId}`];
    const api = ['', '/answer', '/approve', '/reject'].map((end) => `/api/asks/${request.approvalId}${end}`);
    for (const path of [...paths, ...api, '/api/invitation', '/api/invitation/passkey']) {
      for (const method of ['GET', 'HEAD', 'OPTIONS']) {
        for (const who of [undefined, cookie]) {
          const headers = { host: new URL(desk.origin).host, ...(who === undefined ? {} : { cookie: who }) };
          const response = await page.app.request(`${desk.origin}${path}?decision=approve&token=x`, {
            method,
            headers,
          });
          expect(response.status).toBeLessThan(500);
        }
      }
    }
    expect(await rows()).toEqual(before);
  });
});

describe('P4 across tenants', () => {
  test('P4 nobody of another tenant lists, reads or answers; the history is one’s own', async () => {
    const mallory = newPasskey('bob'); // the same name in another tenant
    await enrolled(mallory, 'globex');
    const [ours, theirs] = [await desk.ask(), await desk.ask({ tenant: 'globex' })];
    const [cookie, foreign] = [await page.signIn(bob), await page.signIn(mallory)];
    const ids = async (who: string): Promise<string[]> =>
      ((await (await page.get('/api/asks', who)).json()) as { asks: { approvalId: string }[] }).asks.map(
        (a) => a.approvalId,
      );
    expect(await ids(foreign)).toEqual([theirs.approvalId]);
    expect(await ids(cookie)).toContain(ours.approvalId);
    expect(await ids(cookie)).not.toContain(theirs.approvalId);
    expect((await page.get(`/api/asks/${ours.approvalId}`, foreign)).status).toBe(404);
    expect((await page.post(`/api/asks/${ours.approvalId}/answer`, { envelope: {} }, foreign)).status).toBe(404);
    expect(await (await page.get('/api/history', foreign)).json()).toEqual({ asks: [] });
  });
});

test('P4 an invitation: opening the link changes nothing, its token is stored nowhere, a wrong one is refused', async () => {
  const link = new URL(await desk.link('ivy', ['finance']));
  const token = link.hash.slice(1);
  expect((await page.get(link.pathname)).status).toBe(200);
  expect((await page.post('/api/invitation', { token })).status).toBe(200);
  expect((await page.post('/api/invitation', { token })).status).toBe(200); // a scanner that runs scripts uses nothing up
  for (const wrong of ['', 'x', token.slice(1), `${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`, 7]) {
    expect((await page.post('/api/invitation', { token: wrong })).status).toBe(404);
  }
  const rows = await desk.fresh.db.query<{ row: string }>('select i::text as row from actguard.invitations i');
  expect(rows.some(({ row }) => row.includes(token))).toBe(false);
  const passkey = newPasskey('ivy');
  const made = await page.post('/api/invitation/passkey', {
    token,
    registration: { id: 'x' },
    envelope: passkeyEnrolment(passkey, desk.root, { tenant: TENANT, roles: ['admin'] }, {} as Bent),
  });
  expect(made.status).toBe(400);
  await desk.fresh.db.query('update actguard.invitations set expires_at = clock_timestamp()');
  expect((await page.post('/api/invitation', { token })).status).toBe(404);
});
