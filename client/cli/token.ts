/** `actguard token create|list|revoke`: who may open runs, and for whom. */
import { join } from 'node:path';
import type { Command } from 'commander';
import { parseDuration } from '../../governance/duration.ts';
import { ActGuardError } from '../../governance/errors.ts';
import type { Json } from '../../governance/json.ts';
import { DEV_ROOT_KEY_FILE } from '../dev-approver.ts';
import { revokeKeys } from '../directory.ts';
import { createToken, listTokens } from '../tokens.ts';
import { type Connected, type Doors, connected } from './doors.ts';
import { ownKey } from './own-key.ts';
import { visible } from './show-approval.ts';

interface CreateFlags {
  readonly tenant: string;
  readonly caller: string;
  readonly actsForUsers?: boolean;
  readonly expires: string;
  readonly signer?: string;
}

/** Registers the commands. */
export function register(program: Command, doors: Doors): void {
  const token = program.command('token').description('callers: who may open runs, and for whom');
  token
    .command('create')
    .description('make a token; it is shown once and stored nowhere, the directory keeps its fingerprint')
    .requiredOption('--tenant <tenant>', 'whose runs it opens')
    .requiredOption('--caller <name>', 'who has it: a user, or a service such as support-desk')
    .option('--acts-for-users', 'it may open runs for any user of the tenant, not only for its own name')
    .option('--expires <duration>', 'how long it is good for', '90d')
    .option('--signer <file>', "the administrator's key that signs for it; default: the dev stack's")
    .action((flags: CreateFlags) => connected(doors, (connection) => create(doors, connection, flags)));
  token
    .command('list')
    .description('list tokens, newest first')
    .option('--tenant <tenant>', 'only of this tenant')
    .action((flags: { tenant?: string }) =>
      connected(doors, async ({ db }) => {
        const tokens = await listTokens(db, flags.tenant ?? null);
        doors.json({ tokens: tokens as unknown as Json });
        if (tokens.length === 0) doors.line('no tokens yet: make one with `actguard token create`');
        for (const t of tokens) {
          const whom = t.actsForUsers ? 'for users' : 'for itself';
          const state = t.revoked ? '  revoked' : '';
          doors.line(`${t.keyId.slice(0, 16)}  ${visible(t.caller)}  ${visible(t.tenant)}  ${whom}${state}`);
        }
      }),
    );
  token
    .command('revoke')
    .description('revoke a token: it opens no run any more; runs that it opened go on')
    .argument('<fingerprint>', 'as `token list` shows it')
    .requiredOption('--tenant <tenant>', 'where')
    .action((fingerprint: string, flags: { tenant: string }) =>
      connected(doors, async ({ db }) => {
        const found = (await listTokens(db, flags.tenant)).filter((t) => t.keyId.startsWith(fingerprint.toLowerCase()));
        const [only] = found;
        if (!only || found.length > 1 || fingerprint.length < 8) {
          throw new ActGuardError('NOT_FOUND', `no one token of ${flags.tenant} begins with \`${fingerprint}\``, {
            hint: 'give at least 8 characters of one that `actguard token list` shows',
          });
        }
        const { caller: person, keyId, tenant } = only;
        const revoked = await revokeKeys(db, { tenant, person, keyId, nowMs: Date.now() });
        doors.json({ revoked, keyId });
        doors.line(
          revoked === 0 ? `${keyId.slice(0, 16)} was revoked before` : `revoked ${keyId.slice(0, 16)} of ${person}`,
        );
      }),
    );
}

async function create(doors: Doors, connection: Connected, flags: CreateFlags): Promise<void> {
  const { db, stateDirectory } = connection;
  const dev = stateDirectory === null ? undefined : join(stateDirectory, DEV_ROOT_KEY_FILE);
  const signer = await ownKey(doors, stateDirectory, flags.signer ?? dev);
  const { token, keyId } = await createToken(db, signer, {
    tenant: flags.tenant,
    caller: flags.caller,
    actsForUsers: flags.actsForUsers === true,
    nowMs: Date.now(),
    validForMs: parseDuration(flags.expires),
  });
  doors.json({ token, keyId, tenant: flags.tenant, caller: flags.caller });
  doors.line(token);
  doors.line(`of ${flags.caller} in ${flags.tenant}; give it to the client as ACTGUARD_TOKEN: it is not shown again`);
}
