/** Finance at a browser: an invitation by mail, a passkey, an ask by mail, and the answer on the page, all in a real Chromium. */
import { join } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import { DEV_ROOT_KEY_FILE } from '../../client/dev-approver.ts';
import type { ActGuard } from '../../client/index.ts';
import { confirmInvitation, findPending, invite } from '../../client/invitations.ts';
import { readKeyFile } from '../../client/keys.ts';
import type { DevStack } from '../../worker/dev-stack.ts';
import { sendInvitation } from '../../worker/invitation-mail.ts';
import { listMails } from '../../worker/mail-server.ts';

const PERSON = 'fiona';
const ADDRESS = 'fiona@localhost';
const TENANT = 'acme';
// It opens nothing but our own page on this machine; as root and in containers there is no sandbox to have.
const ARGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-sync'];
const LOOK_EVERY_MS = 100;
const LOOK_FOR_MS = 60_000;

/** Somebody from finance at a browser of their own. */
export interface Approver {
  /** Takes the invitation from the mailbox, makes a passkey, and has the administrator confirm it. */
  enrol(): Promise<void>;
  /** Takes the ask from the mailbox, signs in, reads and approves; what the page showed, and what came of it. */
  approve(approvalId: string): Promise<{ readonly shown: string; readonly outcome: string }>;
}

/** Starts the browser, without a window. */
export function launch(executablePath: string): Promise<Browser> {
  return chromium.launch({ executablePath, headless: true, args: ARGS });
}

/** Finance at this browser; the authenticator is Chromium's own virtual one, and verifies its user. */
export async function approverAt(
  browser: Browser,
  { actguard, stack, tell }: { actguard: ActGuard; stack: DevStack; tell: (line: string) => void },
): Promise<Approver> {
  const { page: site, mail } = stack.file();
  if (!site || !mail?.directory) throw new Error('the stack has no page or no mailbox');
  const { directory, smtp } = mail;
  const page = await personAt(browser);
  return {
    async enrol() {
      const signer = readKeyFile(join(stack.stateDirectory, DEV_ROOT_KEY_FILE), null);
      const who = { tenant: TENANT, person: PERSON, roles: ['finance'], mail: ADDRESS };
      const made = await invite(actguard.db, { ...who, signer, nowMs: Date.now() });
      const link = `${site.url}/invitation#${made.token}`;
      await sendInvitation(smtp, { ...who, ...made, to: ADDRESS, link });
      await page.goto(await linkIn(directory, `${site.url}/invitation#`));
      await page.click('#make');
      const fingerprint = (await page.textContent('#fingerprint')) ?? '';
      tell(`    fiona from finance makes a passkey from a mailed link and reads out: ${fingerprint}`);
      await confirmInvitation(actguard.db, await findPending(actguard.db, fingerprint), signer, Date.now());
    },
    async approve(approvalId) {
      const link = await linkIn(directory, `${site.url}/asks/${approvalId}`);
      tell(`    fiona opens the mail's link and signs in: ${link}`);
      await page.goto(link);
      await page.click('#sign-in');
      const shown = (await page.textContent('h1.shown')) ?? '';
      await page.click('#approve');
      await page.waitForSelector('.state:has-text("Approved")');
      // live: nobody reloads
      await page.waitForSelector('.outcome:has-text("It was done")', { timeout: LOOK_FOR_MS });
      return { shown, outcome: (await page.textContent('.outcome')) ?? '' };
    },
  };
}

async function personAt(browser: Browser): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return page;
}

/** A link that begins so, from the newest mail to fiona that has one. */
async function linkIn(directory: string, start: string): Promise<string> {
  const endMs = performance.now() + LOOK_FOR_MS;
  for (;;) {
    const mine = (await listMails(directory)).filter((mail) => mail.to.includes(ADDRESS)).reverse();
    const link = mine.flatMap((mail) => mail.text.split(/\s+/)).find((word) => word.startsWith(start));
    if (link !== undefined) return link;
    if (performance.now() > endMs) throw new Error('no mail came within a minute');
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}
