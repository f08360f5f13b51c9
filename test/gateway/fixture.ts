/** The approval page over a real database; answers go to the same activity that a run's workflow calls. */
import { recordAnswer } from '../../activities/approvals.ts';
import type { Deps } from '../../activities/deps.ts';
import { checkAnswer } from '../../client/check-answer.ts';
import { confirmInvitation, findPending, invite } from '../../client/invitations.ts';
import { generateKey, type SigningKey } from '../../client/keys.ts';
import type { GatewayDeps } from '../../gateway/deps.ts';
import { readPageFiles } from '../../gateway/modules.ts';
import { startGateway, type Gateway } from '../../gateway/server.ts';
import type { ApprovalRequest } from '../../governance/approval.ts';
import type { RelyingParty } from '../../governance/webauthn.ts';
import { freePort } from '../../worker/ports.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import type { Visitor } from '../support/chromium.ts';
import { TENANT, ask, askInput, gate, makeDeps, openRun } from '../approvals/fixture.ts';

export interface Desk {
  readonly origin: string;
  readonly passkeys: RelyingParty;
  readonly fresh: FreshDatabase;
  readonly deps: Deps;
  readonly gateway: GatewayDeps;
  readonly root: SigningKey;
  /** Every answer that was handed on. */
  readonly handed: string[];
  /** Opens an ask of alice's. */
  ask(options?: AskOptions): Promise<ApprovalRequest>;
  /** Invites, and returns the link. */
  link(person: string, roles: readonly string[], tenant?: string): Promise<string>;
  /** Enrols a visitor in their browser, by invitation and confirmation, and signs them in. */
  enrolled(who: Visitor, person: string, roles?: readonly string[], tenant?: string): Promise<void>;
  confirm(fingerprint: string): Promise<void>;
  end(): Promise<void>;
}

export interface AskOptions {
  readonly gates?: readonly Parameters<typeof gate>[];
  readonly tenant?: string;
  readonly args?: { readonly [name: string]: string | number };
  readonly shown?: string;
  readonly ttlMs?: number;
}

export async function openDesk(change: Partial<GatewayDeps> = {}): Promise<Desk> {
  const fresh = await freshDatabase({ max: 10 });
  const root = generateKey('');
  const port = await freePort();
  const origin = `http://localhost:${port}`;
  const passkeys: RelyingParty = { id: 'localhost', origins: [origin] };
  const deps: Deps = { ...makeDeps(fresh.db, [root.keyId]), passkeys };
  const handed: string[] = [];
  const gatewayDeps: GatewayDeps = {
    db: fresh.db,
    roots: [root.keyId],
    dev: false,
    passkeys,
    files: readPageFiles(),
    log: () => undefined,
    now: () => Date.now(),
    lookEveryMs: 100,
    perMinute: { requests: 100_000, signatures: 100_000 },
    submit: async (approvalId, envelope) => {
      const { statement, key } = await checkAnswer(fresh.db, approvalId, envelope, { roots: [root.keyId], passkeys });
      handed.push(approvalId);
      await recordAnswer(deps, { v: 1, run: statement.request.run, entries: [], approvalId, envelope });
      return { person: key.person };
    },
    ...change,
  };
  const server: Gateway = await startGateway(gatewayDeps, { host: '127.0.0.1', port });
  const link = async (person: string, roles: readonly string[], tenant = TENANT): Promise<string> => {
    const options = { tenant, person, roles, mail: null, signer: root, nowMs: Date.now() };
    return `${origin}/invitation#${(await invite(fresh.db, options)).token}`;
  };
  const confirm = async (fingerprint: string): Promise<void> =>
    confirmInvitation(fresh.db, await findPending(fresh.db, fingerprint), root, Date.now());
  return {
    origin,
    passkeys,
    fresh,
    deps,
    gateway: gatewayDeps,
    root,
    handed,
    link,
    confirm,
    async ask(options = {}) {
      const run = await openRun(fresh.db, options.tenant ?? TENANT);
      const input = askInput(
        run,
        'c1',
        (options.gates ?? [['over-100']]).map((g) => gate(...g)),
        options.tenant,
      );
      const { shown } = options;
      const tool =
        shown === undefined ? input.tool : { ...input.tool, code: { ...input.tool.code, describe: () => shown } };
      const config = { ...deps.config, approvals: { ...deps.config.approvals, ttlMs: options.ttlMs ?? 3_600_000 } };
      return ask({ ...deps, config }, { ...input, tool, ...(options.args ? { args: options.args } : {}) });
    },
    async enrolled(who, person, roles = ['finance'], tenant) {
      const { page } = who;
      await page.goto(await link(person, roles, tenant));
      await page.click('#make');
      await confirm((await page.textContent('#fingerprint')) ?? '');
      await page.goto(`${origin}/`);
      await page.click('#sign-in');
      await page.waitForSelector('h1:has-text("Waiting for you")');
    },
    async end() {
      await server.stop();
      await fresh.drop();
    },
  };
}
