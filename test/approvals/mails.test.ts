import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { recordAnswer } from '../../activities/approvals.ts';
import type { Deps } from '../../activities/deps.ts';
import { dueMails } from '../../activities/due-mails.ts';
import { invitationMail } from '../../activities/mail-texts.ts';
import { notify } from '../../activities/notify.ts';
import { SecretSet } from '../../activities/scrub.ts';
import { makeAnswer } from '../../client/approvals.ts';
import { generateKey, type SigningKey } from '../../client/keys.ts';
import { smtpMailer } from '../../worker/mailer.ts';
import { listMails, startMail, type MailServer } from '../../worker/mail-server.ts';
import { freePort } from '../../worker/ports.ts';
import { undelivered } from '../../worker/undelivered.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import { RP } from '../support/passkey.ts';
import { ask, askInput, makeDeps, openRun, person, tool } from './fixture.ts';

let fresh: FreshDatabase;
let inbox: MailServer;
let folder: string;
let bob: SigningKey;
const root = generateKey('');
const secret = 'sk-very-secret-0123456789';

beforeAll(async () => {
  fresh = await freshDatabase();
  bob = await person(makeDeps(fresh.db, [root.keyId]), root, 'bob', ['finance']);
  folder = mkdtempSync(join(tmpdir(), 'actguard-mails-'));
  inbox = await startMail({ directory: folder, port: 0 });
});
afterAll(async () => {
  await inbox.stop();
  await fresh.drop();
  rmSync(folder, { recursive: true, force: true });
});

function worker(url: string, mailFields: readonly string[] = []): Deps {
  const base = makeDeps(fresh.db, []);
  const known = new SecretSet();
  known.add(secret);
  const marked = { ...tool, code: { ...tool.code, mailFields } };
  const config = {
    ...base.config,
    tools: [marked],
    approvals: { ...base.config.approvals, notify: ['fin@acme.example'] },
  };
  return { ...base, config, known, passkeys: RP, mailer: smtpMailer(url) } as unknown as Deps;
}
const newAsk = async (args = { orderId: '1042', amountCents: 41_200 }) => {
  const run = await openRun(fresh.db);
  return ask(makeDeps(fresh.db, []), { ...askInput(run), args });
};
const raw = (): string => readFileSync(join(folder, readdirSync(folder).sort().at(-1) ?? ''), 'utf8');
const send = (deps: Deps, request: { run: string; approvalId: string }) =>
  notify(deps, { v: 1, run: request.run, what: 'ask', approvalId: request.approvalId, text: 'never mailed' });

test('P5 an ask is mailed as text and HTML with a link, without arguments; its Message-ID is the request’s', async () => {
  const request = await newAsk();
  await send(worker(inbox.url), request);
  const mail = raw();
  expect(mail).toContain(`Message-ID: <${request.approvalId}@actguard.invalid>`);
  expect(mail).toContain(`In-Reply-To: <${request.run}@actguard.invalid>`);
  expect(mail).toContain('multipart/alternative');
  const [last] = (await listMails(folder)).slice(-1);
  expect(last?.text).toContain(`http://localhost:8400/asks/${request.approvalId}`);
  expect(last?.text).toContain('payments.refund');
  for (const word of ['41200', '1042', 'never mailed']) expect(mail).not.toContain(word);
});

test('P5 only what the tool’s author marked is shown, escaped and short', async () => {
  const request = await newAsk({ orderId: `<b>\u202e${'x'.repeat(500)}`, amountCents: 7_777 });
  await send(worker(inbox.url, ['orderId']), request);
  const [last] = (await listMails(folder)).slice(-1);
  expect(last?.text).toContain('orderId: <b>\\u202exxx');
  expect(last?.text.length).toBeLessThan(1_000);
  expect(last?.text).not.toContain('7777');
  expect(raw().replaceAll('=\r\n', '')).toContain('&lt;b&gt;');
});

test('P5 no mail holds a secret, whichever worker recorded what it shows; a harmless twin is mailed as it is', async () => {
  const twin = secret.replace('very', 'much');
  const forms = (word: string): string[] => [
    word,
    Buffer.from(`x${word}`).toString('base64'),
    Buffer.from(word).toString('hex'),
    encodeURIComponent(word),
    `${'x'.repeat(190)}${word}`, // cut in the middle
  ];
  for (const word of [secret, twin]) {
    const mails: string[] = [];
    for (const form of forms(word)) {
      await send(worker(inbox.url, ['orderId']), await newAsk({ orderId: form, amountCents: 7_777 }));
      mails.push(raw().replaceAll(/=\r?\n/g, ''), (await listMails(folder)).at(-1)?.text ?? '');
    }
    const budget = { v: 1, run: '', what: 'budget', approvalId: null, text: `label ${word} is used up` } as const;
    await notify(worker(inbox.url), budget);
    mails.push(raw());
    const all = mails.join('\n');
    expect(forms(word).slice(0, 4).map((form) => all.includes(form))).toEqual(Array(4).fill(word === twin)); // prettier-ignore
    expect(all.includes(`xxx${word.slice(0, 6)}`)).toBe(word === twin);
  }
});

test('P7 no header can be injected by names, tenants or roles', () => {
  const bad = 'acme\r\nBcc: evil@evil.example\r\n\r\nbody';
  const mail = invitationMail({
    invitation: 'x\r\nBcc: y',
    to: 'a@b.example',
    link: 'https://x.example/#t',
    tenant: bad,
    person: bad,
  });
  for (const header of [mail.subject, mail.messageId]) expect(header).not.toMatch(/[\r\n]/);
  expect(mail.messageId).toMatch(/^<[A-Za-z0-9._-]+@actguard\.invalid>$/);
});

describe('P4 later mails', () => {
  const move = (approvalId: string, openedMin: number, leftMin: number) =>
    fresh.db.query(
      `update actguard.approvals set opened_at = clock_timestamp() - $2 * interval '1 min',
         expires_at = clock_timestamp() + $3 * interval '1 min' where approval = $1`,
      [approvalId, openedMin, leftMin],
    );
  const due = async (deps: Deps, approvalId: string) =>
    (await dueMails(deps)).filter((mail) => mail.approvalId === approvalId);
  const end = (approvalId: string, state: string) =>
    fresh.db.query('update actguard.approvals set state = $2, ended_at = clock_timestamp() where approval = $1', [
      approvalId,
      state,
    ]);

  test('P4 an ask is recalled once, when a quarter of its time is left, in its thread and without arguments', async () => {
    const deps = worker(inbox.url);
    const [early, late, short, over] = [await newAsk(), await newAsk(), await newAsk(), await newAsk()];
    await move(early.approvalId, 44, 16);
    await move(late.approvalId, 46, 14);
    await move(short.approvalId, 14, 5); // of 19 minutes: the first mail is reminder enough
    await move(over.approvalId, 60, -1);
    const found = await dueMails(deps);
    expect(found.map((m) => [m.what, m.approvalId])).toEqual([['reminder', late.approvalId]]);
    expect(await dueMails(deps)).toEqual([]); // whoever got it sends it
    expect(await dueMails({ ...deps, mailer: null })).toEqual([]);
    for (const mail of found) await notify(deps, mail);
    const mail = raw().replaceAll(/\r\n[ \t]/g, ' ');
    expect(mail).toContain(`Message-ID: <${late.approvalId}.reminder@actguard.invalid>`);
    expect(mail).toContain(`In-Reply-To: <${late.approvalId}@actguard.invalid>`);
    expect(mail).toContain(`References: <${late.run}@actguard.invalid> <${late.approvalId}@actguard.invalid>`);
    expect(mail).toContain('Still waiting');
    for (const word of ['41200', '1042']) expect(mail).not.toContain(word);
    await fresh.db.query(`update actguard.mails set last_at = last_at - interval '1 hour'`);
    expect(await dueMails(deps)).toEqual([]);
  });

  test.each<[string, string, string | null, RegExp]>([
    ['rejected', 'bob', null, /bob rejected it\. Nothing happened\./],
    ['expired', '', null, /Expired without an answer\. Nothing happened\./],
    ['withdrawn', '', null, /the run has ended or asks no more\. Nothing happened\./],
    ['consumed', 'bob', 'succeeded', /bob approved it\. It was done, once\./],
    ['consumed', 'bob', 'unknown', /whether it happened is not known yet/],
    ['granted', 'bob', 'closed', /bob approved it\. It was not used: nothing happened\./],
  ])('P4 what came of an ask is mailed once: %s, by `%s`, %s', async (state, who, effect, words) => {
    const deps = worker(inbox.url);
    const request = await newAsk();
    const { approvalId, run } = request;
    expect(await due(deps, approvalId)).toEqual([]);
    if (who !== '') {
      const { envelope } = makeAnswer(request, state === 'rejected' ? 'reject' : 'approve', bob, Date.now());
      await recordAnswer(makeDeps(fresh.db, [root.keyId]), { v: 1, run, entries: [], approvalId, envelope });
    }
    if (state !== 'rejected' && state !== 'granted') await end(approvalId, state);
    if (state === 'consumed') {
      expect(await due(deps, approvalId)).toEqual([]); // nothing came of it yet
      await fresh.db.query(
        `insert into actguard.calls (run, call, seq, tenant, tool, effect, args_digest, state, approval, token, lease_until,
           settles_within_ms, reserved, claimed_at, last_claim_at)
         values ($1, 'c1', 1, 'acme', 'payments.refund', 'write', 'x', $2, $3, 't', clock_timestamp(), 0, '{}',
           clock_timestamp(), clock_timestamp())`,
        [run, effect, approvalId],
      );
    }
    if (effect === 'closed') {
      expect(await due(deps, approvalId)).toEqual([]);
      await fresh.db.query(`update actguard.runs set status = 'answered' where run = $1`, [run]);
    }
    const found = await due(deps, approvalId);
    expect(found.map((m) => m.what)).toEqual(['outcome']);
    for (const mail of found) await notify(deps, mail);
    const [last] = (await listMails(folder)).slice(-1);
    expect(last?.subject).toContain('What came of it: payments.refund in acme');
    expect(last?.text).toMatch(words);
    expect(last?.text).not.toContain('41200');
    expect(last?.text).not.toContain('actguard approve');
    expect(raw()).toContain(`In-Reply-To: <${approvalId}@actguard.invalid>`);
    expect(await due(deps, approvalId)).toEqual([]);
  });

  test('P7 one that is not taken is due again after a while, for a day; doctor sees it', async () => {
    const request = await newAsk();
    await end(request.approvalId, 'expired');
    const failing = worker(`smtp://127.0.0.1:${await freePort()}`);
    const [mail] = await due(failing, request.approvalId);
    if (!mail) throw new Error('nothing is due');
    const age = (what: string) =>
      fresh.db.query(`update actguard.mails set ${what} where message_id like $1`, [`<${request.approvalId}%`]);
    expect(await undelivered(fresh.url)).toBeNull(); // claimed, not failed
    await age(`last_at = last_at - interval '61 s'`); // whoever claimed it died
    expect(await due(failing, request.approvalId)).toEqual([mail]);
    await expect(notify(failing, mail)).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
    expect(await undelivered(fresh.url)).toContain('1 mails were not taken');
    expect(await due(failing, request.approvalId)).toEqual([]);
    await age(`last_at = last_at - interval '3 min'`);
    expect(await due(failing, request.approvalId)).toEqual([mail]);
    await age(`last_at = last_at - interval '1 h', first_at = first_at - interval '25 h'`);
    expect(await due(failing, request.approvalId)).toEqual([]);
    await age('error = null');
  });
});

test('P7 an outage is thrown for a retry, kept without secrets, seen by doctor, and over once the mail was taken', async () => {
  const request = await newAsk();
  const port = await freePort();
  await expect(send(worker(`smtp://127.0.0.1:${port}`), request)).rejects.toMatchObject({
    code: 'BACKEND_UNAVAILABLE',
  });
  const failing = { ...worker(inbox.url), mailer: { send: () => Promise.reject(new Error(`535 ${secret}`)) } };
  await expect(send(failing, request)).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
  const said = await undelivered(fresh.url);
  expect(said).toContain('1 mails were not taken');
  expect(said).not.toContain(secret);
  await send(worker(inbox.url), request);
  expect(await undelivered(fresh.url)).toBeNull();
});
