import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Deps } from '../../activities/deps.ts';
import { invitationMail } from '../../activities/mail-texts.ts';
import { notify } from '../../activities/notify.ts';
import { SecretSet } from '../../activities/scrub.ts';
import { smtpMailer } from '../../worker/mailer.ts';
import { listMails, startMail, type MailServer } from '../../worker/mail-server.ts';
import { freePort } from '../../worker/ports.ts';
import { undelivered } from '../../worker/undelivered.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import { RP } from '../support/passkey.ts';
import { ask, askInput, makeDeps, openRun, tool } from './fixture.ts';

let fresh: FreshDatabase;
let inbox: MailServer;
let folder: string;
const secret = 'sk-very-secret-0123456789';

beforeAll(async () => {
  fresh = await freshDatabase();
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
