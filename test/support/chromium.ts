/** A headless Chromium with virtual authenticators, as a person with a passkey has it. */
import { chromium, type Browser, type BrowserContext, type CDPSession, type Page } from 'playwright-core';

const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--no-first-run',
  '--disable-sync',
  '--disable-component-update',
];

/** Starts the browser that comes with the development dependencies (Linux x64). */
export async function openChromium(): Promise<Browser> {
  const { default: packed } = await import('@sparticuz/chromium');
  return chromium.launch({ executablePath: await packed.executablePath(), args: ARGS, headless: true });
}

/** Somebody at a browser of their own. */
export interface Visitor {
  readonly context: BrowserContext;
  readonly page: Page;
  readonly cdp: CDPSession;
  readonly authenticatorId: string;
  /** Another page of the same browser with the same passkeys. */
  secondPage(): Promise<Page>;
  verifiesUser(yes: boolean): Promise<void>;
  close(): Promise<void>;
}

/** Opens a browser context with an authenticator that holds passkeys and verifies its user. */
export async function visitor(
  browser: Browser,
  options: { readonly phone?: boolean; readonly dark?: boolean } = {},
): Promise<Visitor> {
  const context = await browser.newContext({
    ...(options.phone
      ? { viewport: { width: 375, height: 667 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }
      : {}),
    colorScheme: options.dark ? 'dark' : 'light',
  });
  const page = await context.newPage();
  const first = await authenticator(context, page);
  return {
    context,
    page,
    ...first,
    async secondPage() {
      const second = await context.newPage();
      const other = await authenticator(context, second);
      const { credentials } = await first.cdp.send('WebAuthn.getCredentials', {
        authenticatorId: first.authenticatorId,
      });
      for (const credential of credentials)
        await other.cdp.send('WebAuthn.addCredential', { authenticatorId: other.authenticatorId, credential });
      return second;
    },
    async verifiesUser(isUserVerified) {
      await first.cdp.send('WebAuthn.setUserVerified', { authenticatorId: first.authenticatorId, isUserVerified });
    },
    close: () => context.close(),
  };
}

async function authenticator(
  context: BrowserContext,
  page: Page,
): Promise<{ cdp: CDPSession; authenticatorId: string }> {
  const cdp = await context.newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return { cdp, authenticatorId };
}
