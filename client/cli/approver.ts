/** `actguard approver add|invite|confirm|list|revoke`: who may answer asks. */
import { join } from 'node:path';
import type { Command } from 'commander';
import { ActGuardError } from '../../governance/errors.ts';
import type { Json } from '../../governance/json.ts';
import { DEV_ROOT_KEY_FILE } from '../dev-approver.ts';
import { addKey, listKeys, revokeKeys } from '../directory.ts';
import { readEnrolment } from '../enrolment.ts';
import {
  confirmInvitation,
  findPending,
  invite,
  listInvitations,
  pendingKeyId,
  spokenFingerprint,
} from '../invitations.ts';
import { type SigningKey, readKeyFile, readKeyHead } from '../keys.ts';
import { type Connected, type Doors, connected } from './doors.ts';
import { mailInvitation } from './mail-invitation.ts';
import { visible } from './show-approval.ts';

interface AddOptions {
  readonly tenant: string;
  readonly role: string[];
  readonly key: string;
  readonly signer: string;
}

interface InviteOptions {
  readonly tenant: string;
  readonly person: string;
  readonly role: string[];
  readonly mail?: string;
  readonly signer?: string;
  readonly page?: string;
}

/** Registers the commands. */
export function register(program: Command, doors: Doors): void {
  const approver = program.command('approver').description('people who may answer asks');
  registerAdd(approver, doors);
  approver
    .command('invite')
    .description('invite a person to make a passkey; the link works once, for three days, and approves nothing')
    .requiredOption('--tenant <tenant>', 'where the roles count')
    .requiredOption('--person <name>', 'whom')
    .requiredOption('--role <role...>', 'finance, operator, admin …')
    .option('--mail <address>', 'where the link is mailed; without it the link is printed for you to hand over')
    .option('--signer <file>', "the administrator's key that will confirm; default: the dev stack's")
    .option('--page <origin>', 'origin of the approval page; default: the dev stack’s')
    .action((options: InviteOptions) => connected(doors, (connection) => inviteBy(doors, connection, options)));
  approver
    .command('confirm')
    .description('countersign a passkey by its fingerprint, as its owner reads it to you: from then on it counts')
    .argument('<fingerprint...>', 'at least 16 characters; spaces do not matter')
    .option('--signer <file>', "the administrator's key that invited; default: the dev stack's")
    .option('--yes', 'do not ask again')
    .action((words: string[], options: { signer?: string; yes?: boolean }) =>
      connected(doors, (connection) => confirmBy(doors, connection, words.join(''), options)),
    );
  registerList(approver, doors);
  approver
    .command('revoke')
    .description('revoke the keys of a person: what they signed and was not used yet counts no more')
    .requiredOption('--tenant <tenant>', 'where')
    .requiredOption('--person <name>', 'whose')
    .option('--key <fingerprint>', 'only this key, in full')
    .option('--reason <text>', 'why; it stands in the ledger')
    .action((options: { tenant: string; person: string; key?: string; reason?: string }) =>
      connected(doors, async ({ db }) => {
        const revoked = await revokeKeys(db, { ...options, keyId: options.key ?? null, nowMs: Date.now() });
        doors.json({ revoked });
        if (revoked === 0)
          throw new ActGuardError('NOT_FOUND', `${options.person} has no such key in ${options.tenant}`);
        doors.line(`revoked ${revoked} ${revoked === 1 ? 'key' : 'keys'} of ${options.person} in ${options.tenant}`);
      }),
    );
}

function registerAdd(approver: Command, doors: Doors): void {
  approver
    .command('add')
    .description('enrol the key file of a person; the administrator and the key both sign')
    .requiredOption('--tenant <tenant>', 'where the roles count')
    .requiredOption('--role <role...>', 'finance, operator, admin …')
    .requiredOption('--key <file>', 'the key of the person')
    .requiredOption('--signer <file>', 'the key of an administrator: a root, or one with role `admin` in this tenant')
    .action(async (options: AddOptions) => {
      const key = await open(doors, options.key);
      const signer = await open(doors, options.signer);
      await connected(doors, async ({ db }) => {
        const state = await addKey(db, key, signer, { tenant: options.tenant, roles: options.role, nowMs: Date.now() });
        doors.json({ person: key.person, keyId: key.keyId, tenant: options.tenant, roles: options.role, state });
        doors.line(
          `${key.person} ${state === 'again' ? 'was enrolled already' : 'enrolled'} in ${options.tenant}: ${options.role.join(', ')}`,
        );
        doors.line('it counts where the worker trusts the signer: a fingerprint in `approvals.roots`');
      });
    });
}

function registerList(approver: Command, doors: Doors): void {
  approver
    .command('list')
    .description('list people, their keys, and invitations that wait')
    .option('--tenant <tenant>', 'only of this tenant')
    .action(async (options: { tenant?: string }) => {
      await connected(doors, async ({ db }) => {
        const keys = await listKeys(db, options.tenant ?? null);
        const all = await listInvitations(db, options.tenant ?? null);
        const waiting = all.filter((i) => i.state === 'open' || i.state === 'pending');
        doors.json({ keys: keys as unknown as Json, invitations: waiting as unknown as Json });
        if (keys.length + waiting.length === 0) doors.line('nobody is enrolled');
        for (const k of keys) {
          const marks = `${k.kind === 'webauthn' ? ' passkey' : ''}${k.dev ? ' dev' : ''}${k.revoked ? ' revoked' : ''}`;
          doors.line(
            `${visible(k.person)}  ${visible(k.tenant)}  ${k.roles.map(visible).join(',')}  ${k.keyId.slice(0, 16)}${marks}`,
          );
        }
        for (const i of waiting) {
          const how =
            i.state === 'pending' ? `passkey waits to be confirmed: ${spokenFingerprint(pendingKeyId(i))}` : 'invited';
          doors.line(`${visible(i.person)}  ${visible(i.tenant)}  ${i.roles.map(visible).join(',')}  ${how}`);
        }
      });
    });
}

async function inviteBy(doors: Doors, connection: Connected, options: InviteOptions): Promise<void> {
  const page = options.page ?? connection.pageUrl ?? null;
  if (page === null) {
    throw new ActGuardError('CONFIG_INVALID', 'where the approval page is is not known here', {
      hint: 'name it with `--page https://approve.example`',
    });
  }
  const signer = readKeyHead(signerFile(connection, options.signer));
  const { tenant, person, role, mail } = options;
  const made = await invite(connection.db, {
    tenant,
    person,
    roles: role,
    mail: mail ?? null,
    signer,
    nowMs: Date.now(),
  });
  const link = `${page}/invitation#${made.token}`;
  if (mail !== undefined) await mailInvitation(connection.smtpUrl ?? null, { ...made, to: mail, link, tenant, person });
  doors.json({
    invitation: made.invitation,
    person,
    tenant,
    mailed: mail ?? null,
    ...(mail === undefined ? { link } : {}),
  });
  doors.line(mail === undefined ? `hand this to ${person}: ${link}` : `mailed to ${mail}`);
  doors.line('then confirm the fingerprint they read to you: actguard approver confirm FINGERPRINT');
}

async function confirmBy(
  doors: Doors,
  connection: Connected,
  fingerprint: string,
  options: { readonly signer?: string; readonly yes?: boolean },
): Promise<void> {
  const invitation = await findPending(connection.db, fingerprint);
  const { person, tenant, roles, passkey } = readEnrolment(invitation.pending);
  doors.line(`passkey    ${spokenFingerprint(pendingKeyId(invitation))}`);
  doors.line(`person     ${visible(person)}`);
  doors.line(`tenant     ${visible(tenant)}`);
  doors.line(`roles      ${roles.map(visible).join(', ')}`);
  doors.line(`page       ${visible(passkey?.rpId ?? '')}`);
  const signer = await open(doors, signerFile(connection, options.signer));
  if (options.yes !== true && !(await doors.confirm('countersign this?'))) {
    throw new ActGuardError('APPROVAL_REJECTED', 'nothing was signed');
  }
  await confirmInvitation(connection.db, invitation, signer, Date.now());
  doors.json({ person, tenant, roles: [...roles], keyId: pendingKeyId(invitation) });
  doors.line(`${visible(person)} may answer now`);
}

function signerFile(connection: Connected, given: string | undefined): string {
  if (given !== undefined) return given;
  if (connection.stateDirectory !== null) return join(connection.stateDirectory, DEV_ROOT_KEY_FILE);
  throw new ActGuardError('UNAUTHENTICATED', 'no administrator’s key', { hint: 'give it with `--signer FILE`' });
}

async function open(doors: Doors, file: string): Promise<SigningKey> {
  return readKeyFile(file, readKeyHead(file).encrypted ? await doors.passphrase(`passphrase of ${file}: `) : null);
}
