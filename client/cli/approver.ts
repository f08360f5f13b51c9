/** `actguard approver add|list`: who may answer asks. */
import type { Command } from 'commander';
import type { Json } from '../../governance/json.ts';
import { addKey, listKeys } from '../directory.ts';
import { type SigningKey, readKeyFile, readKeyHead } from '../keys.ts';
import { type Doors, connected } from './doors.ts';
import { visible } from './show-approval.ts';

interface AddOptions {
  readonly tenant: string;
  readonly role: string[];
  readonly key: string;
  readonly signer: string;
}

/** Registers the commands. */
export function register(program: Command, doors: Doors): void {
  const approver = program.command('approver').description('people who may answer asks');
  approver
    .command('add')
    .description('enrol the key of a person; the administrator and the key both sign')
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
  approver
    .command('list')
    .description('list people and their keys')
    .option('--tenant <tenant>', 'only of this tenant')
    .action(async (options: { tenant?: string }) => {
      await connected(doors, async ({ db }) => {
        const keys = await listKeys(db, options.tenant ?? null);
        doors.json({ keys: keys as unknown as Json });
        if (keys.length === 0) doors.line('nobody is enrolled');
        for (const k of keys) {
          const marks = `${k.dev ? ' dev' : ''}${k.revoked ? ' revoked' : ''}`;
          doors.line(
            `${visible(k.person)}  ${visible(k.tenant)}  ${k.roles.map(visible).join(',')}  ${k.keyId.slice(0, 16)}${marks}`,
          );
        }
      });
    });
}

async function open(doors: Doors, file: string): Promise<SigningKey> {
  return readKeyFile(file, readKeyHead(file).encrypted ? await doors.passphrase(`passphrase of ${file}: `) : null);
}
