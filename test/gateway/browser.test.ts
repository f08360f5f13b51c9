import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Browser } from 'playwright-core';
import { openChromium, visitor, type Visitor } from '../support/chromium.ts';
import type { ApprovalContent, ApprovalRequest } from '../../governance/approval.ts';
import { canonicalize } from '../../governance/canonical.ts';
import { commitment } from '../../governance/digest.ts';
import type { Json } from '../../governance/json.ts';
import { entries, stateOf } from '../approvals/fixture.ts';
import { openDesk, type Desk } from './fixture.ts';

let desk: Desk;
let browser: Browser;
const visitors: Visitor[] = [];

beforeAll(async () => {
  [desk, browser] = await Promise.all([openDesk(), openChromium()]);
});
afterEach(async () => {
  for (const each of visitors.splice(0)) {
    for (const page of each.context.pages()) await page.unrouteAll({ behavior: 'ignoreErrors' });
    await each.close();
  }
});
afterAll(async () => {
  await browser?.close();
  await desk?.end();
});

async function come(options: Parameters<typeof visitor>[1] = {}): Promise<Visitor> {
  const made = await visitor(browser, options);
  visitors.push(made);
  return made;
}
const shot = async (who: Visitor, name: string): Promise<void> => {
  if (process.env['ACTGUARD_SHOTS'])
    await who.page.screenshot({ path: `${process.env['ACTGUARD_SHOTS']}/${name}.png`, fullPage: true });
};

test('P4 enrol by invitation, sign in, read, approve: the answer counts, once', async () => {
  const who = await come();
  const { page } = who;
  await page.goto(await desk.link('bob', ['finance']));
  await page.waitForSelector('#make');
  await shot(who, 'invitation');
  await page.click('#make');
  const fingerprint = (await page.textContent('#fingerprint')) ?? '';
  await shot(who, 'fingerprint');
  // pending: signing in does not work yet
  await page.goto(`${desk.origin}/`);
  await page.click('#sign-in');
  expect(await page.textContent('#problem')).toContain('not enrolled');
  await shot(who, 'sign-in-refused');
  await desk.confirm(fingerprint);
  await page.click('#sign-in');
  await page.waitForSelector('h1:has-text("Waiting for you")');
  const request = await desk.ask();
  await page.click(`a[href="/asks/${request.approvalId}"]`); // live: nobody reloaded
  await page.waitForSelector('h1.shown');
  const text = (await page.textContent('main')) ?? '';
  for (const word of [
    'Refund 41200 cents for order 1042',
    'payments.refund',
    '"amountCents": 41200',
    'over-100',
    'alice',
    'desk',
    'order',
    'Nothing happens',
  ])
    expect(text).toContain(word);
  await shot(who, 'ask');
  await page.click('#approve');
  await page.waitForSelector('.state:has-text("Approved")');
  expect(await stateOf(desk.fresh.db, request.approvalId)).toBe('granted');
  await shot(who, 'approved');
  await page.click('a[href="/history"]');
  await page.waitForSelector('text=you approved it');
});

test('P4 reject: signed as well, ends the ask, and the page says that nothing happened', async () => {
  const who = await come();
  await desk.enrolled(who, 'rita');
  const request = await desk.ask();
  await who.page.goto(`${desk.origin}/asks/${request.approvalId}`);
  await who.page.click('#reject');
  await who.page.waitForSelector('.outcome:has-text("Nothing happened")');
  expect(await stateOf(desk.fresh.db, request.approvalId)).toBe('rejected');
});

test('P4 what is altered on its way is not answered: content, request, and a request that looks whole', async () => {
  const who = await come();
  const { page } = who;
  await desk.enrolled(who, 'ada');
  const request = await desk.ask();
  // One route for all of them: one that is taken away while the page looks again answers that request twice.
  let change: (ask: { request: string; content: ApprovalContent }) => void = () => undefined;
  await page.route(`**/api/asks/${request.approvalId}`, async (route) => {
    const response = await route.fetch();
    const ask = (await response.json()) as { request: string; content: ApprovalContent };
    change(ask);
    await route.fulfill({ response, json: ask });
  });
  const alter = async (next: typeof change): Promise<void> => {
    change = next;
    await page.goto(`${desk.origin}/asks/${request.approvalId}`);
  };
  const changes: (typeof change)[] = [
    (ask) => Object.assign(ask.content, { shown: 'Refund 1 cent for order 1042' }),
    (ask) => Object.assign(ask.content, { args: { orderId: '1042', amountCents: 1 } }),
    (ask) => Object.assign(ask.content, { facts: [] }),
    (ask) => Object.assign(ask, { content: null }),
    (ask) =>
      Object.assign(ask, {
        request: ask.request.replace('payments.refund', 'payments.nothing').replace('"v":1', '"v":2'),
      }),
    (ask) => Object.assign(ask, { request: `${ask.request} ` }),
  ];
  for (const next of changes) {
    await alter(next);
    await page.waitForSelector('[role=alert] h1:has-text("cannot be answered")');
    expect(await page.locator('#approve').count()).toBe(0);
  }
  await shot(who, 'damaged');
  // a whole lie: text, arguments and commitments fit each other, but not what the run asked
  const forged: typeof change = (ask) => {
    const args = { orderId: '1042', amountCents: 1 };
    const lie = { ...(JSON.parse(ask.request) as ApprovalRequest), argsCommitment: commitment(ask.content.salt, args) };
    Object.assign(ask, { request: canonicalize(lie as unknown as Json), content: { ...ask.content, args } });
  };
  await alter(forged);
  const before = desk.handed.length;
  await page.click('#approve');
  expect(await page.textContent('#problem')).toContain('another request');
  expect(desk.handed.length).toBe(before);
  expect(await stateOf(desk.fresh.db, request.approvalId)).toBe('open');
  expect((await entries(desk.fresh.db, request.run)).map((e) => e.kind)).not.toContain('approval.invalid');
});

test('P4 a request that changes while somebody reads it cannot be answered any more', async () => {
  const who = await come();
  const { page } = who;
  await desk.enrolled(who, 'cleo');
  const request = await desk.ask();
  let lie = false;
  await page.route(`**/api/asks/${request.approvalId}`, async (route) => {
    const response = await route.fetch();
    const ask = (await response.json()) as { request: string };
    await route.fulfill({
      response,
      json: lie ? { ...ask, request: ask.request.replace('"user":"alice"', '"user":"zoe"') } : ask,
    });
  });
  await page.goto(`${desk.origin}/asks/${request.approvalId}`);
  await page.waitForSelector('#approve');
  lie = true;
  await desk.ask(); // something is recorded: the page looks again
  await page.waitForSelector('[role=alert]:has-text("changed while you were reading")');
});

test('P4 P7 no user verification, no answer: nothing is sent', async () => {
  const who = await come();
  await desk.enrolled(who, 'uma');
  const request = await desk.ask();
  await who.page.goto(`${desk.origin}/asks/${request.approvalId}`);
  await who.verifiesUser(false);
  const before = desk.handed.length;
  await who.page.click('#approve');
  expect(await who.page.textContent('#problem')).toContain('nothing was sent');
  expect(desk.handed.length).toBe(before);
  await who.verifiesUser(true);
  await who.page.click('#approve');
  await who.page.waitForSelector('.state:has-text("Approved")');
});

test('P4 the wrong person and the wrong role: nobody answers their own ask, nobody sees what is not theirs', async () => {
  const request = await desk.ask();
  const alice = await come();
  await desk.enrolled(alice, 'alice');
  await alice.page.goto(`${desk.origin}/asks/${request.approvalId}`);
  await alice.page.waitForSelector('text=You asked for this yourself');
  expect(await alice.page.locator('#approve').count()).toBe(0);
  const clerk = await come();
  await desk.enrolled(clerk, 'clerk', ['support']);
  expect(await clerk.page.textContent('main')).toContain('Nothing waits');
  await clerk.page.goto(`${desk.origin}/asks/${request.approvalId}`);
  await clerk.page.waitForSelector('h1:has-text("Nothing here")');
  const mallory = await come();
  await desk.enrolled(mallory, 'mallory', ['finance'], 'globex');
  await mallory.page.goto(`${desk.origin}/asks/${request.approvalId}`);
  await mallory.page.waitForSelector('h1:has-text("Nothing here")');
});

test('P4 expired while it was read, and answered twice from two tabs and from a recording', async () => {
  const who = await come();
  const { page } = who;
  await desk.enrolled(who, 'theo');
  const late = await desk.ask();
  await page.route('**/api/live', (route) => route.abort()); // a page that hears nothing
  await page.goto(`${desk.origin}/asks/${late.approvalId}`);
  await page.waitForSelector('#approve');
  await desk.fresh.db.query(
    `update actguard.approvals set expires_at = clock_timestamp() - interval '1 s' where approval = $1`,
    [late.approvalId],
  );
  await page.click('#approve');
  expect(await page.textContent('#problem')).toContain('expired');

  await page.unroute('**/api/live');
  const request = await desk.ask({ gates: [['two', ['finance'], 2]] });
  const second = await who.secondPage();
  await second.route('**/api/live', (route) => route.abort()); // a tab that hears nothing
  await second.goto(`${desk.origin}/asks/${request.approvalId}`);
  await second.waitForSelector('#approve');
  await page.goto(`${desk.origin}/asks/${request.approvalId}`);
  const sent = page.waitForRequest((r) => r.url().endsWith('/answer'));
  await page.click('#approve');
  const recording = (await sent).postData() ?? '';
  await page.waitForSelector('text=You have answered.');
  await second.click('#approve');
  expect(await second.textContent('#problem')).toContain('answered this ask already');
  const handed = desk.handed.length;
  const replay = (url: string) =>
    page.request.post(url, { data: recording, headers: { origin: desk.origin, 'content-type': 'application/json' } });
  expect((await replay(`${desk.origin}/api/asks/${request.approvalId}/answer`)).status()).toBe(409);
  const other = await desk.ask();
  expect((await replay(`${desk.origin}/api/asks/${other.approvalId}/answer`)).status()).toBe(403);
  expect(desk.handed.length).toBe(handed);
  expect(await stateOf(desk.fresh.db, request.approvalId)).toBe('open'); // one of two
});

test('P4 two approvers at once: both count for two, one of yes and no wins for one', async () => {
  const [bea, carl] = [await come(), await come()];
  await desk.enrolled(bea, 'bea');
  await desk.enrolled(carl, 'carl');
  const two = await desk.ask({ gates: [['two', ['finance'], 2]] });
  for (const who of [bea, carl]) await who.page.goto(`${desk.origin}/asks/${two.approvalId}`);
  await Promise.all([bea.page.click('#approve'), carl.page.click('#approve')]);
  for (const who of [bea, carl]) await who.page.waitForSelector('.state:has-text("Approved")');
  expect(await stateOf(desk.fresh.db, two.approvalId)).toBe('granted');
  const one = await desk.ask();
  for (const who of [bea, carl]) await who.page.goto(`${desk.origin}/asks/${one.approvalId}`);
  await Promise.all([bea.page.click('#approve'), carl.page.click('#reject')]);
  for (const who of [bea, carl]) await who.page.waitForSelector('.state:not(.open)');
  const kinds = (await entries(desk.fresh.db, one.run)).map((e) => e.kind);
  expect(kinds.filter((kind) => kind === 'approval.granted' || kind === 'approval.rejected')).toHaveLength(1);
});

test('P4 on a phone, dark: everything fits, buttons are big enough for a thumb', async () => {
  const who = await come({ phone: true, dark: true });
  await desk.enrolled(who, 'pia');
  const request = await desk.ask({ args: { orderId: 'x'.repeat(300), amountCents: 41_200 } });
  await who.page.waitForSelector(`a[href="/asks/${request.approvalId}"]`);
  await shot(who, 'phone-inbox');
  // in one look: the page renders its head again when the ask arrives
  const heights = await who.page.evaluate<number[]>(
    `Array.from(document.querySelectorAll('#top nav a'), (link) => link.getBoundingClientRect().height)`,
  );
  expect(heights).toHaveLength(2);
  for (const height of heights) expect(height).toBeLessThan(50); // a line, not a letter a line
  await who.page.goto(`${desk.origin}/asks/${request.approvalId}`);
  await who.page.waitForSelector('#approve');
  await shot(who, 'phone-ask');
  const wide = await who.page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
  expect(wide).toBe(0);
  const sizes = await who.page.evaluate<number[]>(
    `Array.from(document.querySelectorAll('#approve, #reject'), (button) => {
      const box = button.getBoundingClientRect();
      return Math.min(box.height, box.width);
    })`,
  );
  expect(sizes).toHaveLength(2);
  for (const size of sizes) expect(size).toBeGreaterThanOrEqual(44);
  await who.page.tap('#approve');
  await who.page.waitForSelector('.state:has-text("Approved")');
  expect(await stateOf(desk.fresh.db, request.approvalId)).toBe('granted');
});

test('P4 by keyboard alone: sign in, choose, approve; focus is where it is expected', async () => {
  const who = await come();
  const { page } = who;
  await desk.enrolled(who, 'kim');
  const request = await desk.ask();
  await who.context.clearCookies();
  await page.goto(`${desk.origin}/`);
  await page.waitForSelector('#sign-in');
  const pressUntil = async (reached: string): Promise<void> => {
    for (let i = 0; i < 60; i += 1) {
      if (await page.evaluate(`document.activeElement?.matches(${JSON.stringify(reached)}) === true`)) return;
      await page.keyboard.press('Tab');
    }
    throw new Error(`${reached} was not reached by Tab`);
  };
  await pressUntil('#sign-in');
  await page.keyboard.press('Enter');
  await page.waitForSelector('h1:has-text("Waiting for you")');
  await pressUntil('#top nav a[href="/history"]');
  const arrives = await desk.ask(); // the page draws it while the focus is in its head: it stays there
  await page.waitForSelector(`a[href="/asks/${arrives.approvalId}"]`);
  expect(await page.evaluate('document.activeElement?.getAttribute("href")')).toBe('/history');
  await pressUntil(`a[href="/asks/${request.approvalId}"]`);
  await page.keyboard.press('Enter');
  await page.waitForSelector('h1.shown');
  expect(await page.evaluate('document.activeElement?.tagName')).toBe('H1');
  await pressUntil('#approve');
  await shot(who, 'keyboard-focus');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.state:has-text("Approved")');
  expect(await page.textContent('#status')).toContain('your yes was sent');
});

test('P4 P7 hostile text stays text: markup, hidden and mixed characters, very long words', async () => {
  const who = await come();
  const { page } = who;
  const problems: string[] = [];
  page.on('console', (message) => void (message.type() === 'error' && problems.push(message.text())));
  page.on('dialog', (dialog) => void dialog.dismiss().then(() => problems.push('a dialog')));
  await desk.enrolled(who, 'hugo');
  problems.length = 0; // the first look, before signing in, is refused and says so
  const shown = '<img src=x onerror=alert(1)>\u202eevil\u200b p\u0430yments <script>alert(2)</script>\nSecond line';
  const request = await desk.ask({ shown, args: { orderId: '"><b>x</b>\u2066', amountCents: 1 } });
  await page.goto(`${desk.origin}/asks/${request.approvalId}`);
  const title = (await page.textContent('h1.shown')) ?? '';
  expect(title).toContain('<img src=x onerror=alert(1)>\\u202eevil\\u200b p\\u{430}yments');
  expect(await page.locator('main img, main script, main b').count()).toBe(0);
  expect(await page.textContent('main pre')).toContain('\\u2066');
  await shot(who, 'hostile');
  expect(problems).toEqual([]);
});

test('P4 axe finds nothing serious on any view, light and dark', async () => {
  const axe = (await import('axe-core')).default;
  const serious = async (who: Visitor): Promise<string[]> => {
    await who.page.evaluate(axe.source);
    const found = (await who.page.evaluate('axe.run(document, { resultTypes: ["violations"] })')) as {
      violations: { id: string; impact: string; nodes: { html: string }[] }[];
    };
    return found.violations
      .filter((v) => ['serious', 'critical', 'moderate'].includes(v.impact))
      .map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ')}`);
  };
  for (const dark of [false, true]) {
    const who = await come({ dark });
    const { page } = who;
    await page.goto(`${desk.origin}/`);
    await page.waitForSelector('#sign-in');
    expect(await serious(who)).toEqual([]);
    await page.goto(await desk.link(`axel${dark ? 2 : 1}`, ['finance']));
    await page.waitForSelector('#make');
    expect(await serious(who)).toEqual([]);
    await desk.enrolled(who, `axe${dark ? 2 : 1}`);
    const request = await desk.ask();
    await page.waitForSelector(`a[href="/asks/${request.approvalId}"]`);
    expect(await serious(who)).toEqual([]);
    await page.goto(`${desk.origin}/asks/${request.approvalId}`);
    await page.waitForSelector('#approve');
    expect(await serious(who)).toEqual([]);
    await page.click('#reject');
    await page.waitForSelector('.outcome');
    expect(await serious(who)).toEqual([]);
    await page.click('a[href="/history"]');
    await page.waitForSelector('h1:has-text("My answers")');
    expect(await serious(who)).toEqual([]);
  }
});
