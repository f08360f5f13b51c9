/** `actguard ledger recover`: after a loss, go on from what the database holds; signed by a root. */
import { join } from 'node:path';
import type { Command } from 'commander';
import { toBase64 } from '../../governance/base64.ts';
import { ActGuardError } from '../../governance/errors.ts';
import { EVERY_TENANT } from '../../governance/freeze.ts';
import { sealerIdOf } from '../../workflows/ids.ts';
import { recoverSignal, sealedQuery } from '../../workflows/messages.ts';
import { makeCommand } from '../commands.ts';
import { DEV_ROOT_KEY_FILE } from '../dev-approver.ts';
import { withActguard } from './doors.ts';
import type { Io } from './io.ts';
import { ownKey } from './own-key.ts';

const LOOK_FOR_MS = 30_000;
const LOOK_EVERY_MS = 250;

/** Registers the command. */
export function registerRecover(ledger: Command, io: Io): void {
  ledger
    .command('recover')
    .description('after a loss that was looked into: go on from what the database holds; thaws everything')
    .option('--key <file>', "a root's key; default: the dev stack's")
    .requiredOption('--reason <text>', 'stands in the ledger for ever')
    .action((flags: { key?: string; reason: string }) =>
      withActguard(io, async (actguard) => {
        const { stateDirectory } = actguard.target;
        const file = flags.key ?? (stateDirectory === null ? undefined : join(stateDirectory, DEV_ROOT_KEY_FILE));
        const key = await ownKey(io, stateDirectory, file);
        const handle = actguard.client.workflow.getHandle(sealerIdOf(actguard.taskQueue));
        const before = await handle.query(sealedQuery).catch((cause: unknown) => {
          throw new ActGuardError('BACKEND_UNAVAILABLE', 'the sealer does not answer', {
            hint: 'is the worker with the sealing key running?',
            cause,
          });
        });
        if (before.trouble === null) throw new ActGuardError('CONFLICT', 'the ledger needs no recovery');
        io.line(`the sealer says: ${before.trouble.reason}`);
        if (!(await io.confirm('entries that are lost stay lost; go on from what is there?'))) return;
        const data = { publicKey: toBase64(key.publicKey) };
        const about = { tenant: EVERY_TENANT, target: 'ledger', reason: flags.reason, data };
        await handle.signal(recoverSignal, { envelope: makeCommand('recover', about, key, Date.now()) });
        for (const until = performance.now() + LOOK_FOR_MS; performance.now() < until;) {
          const state = await handle.query(sealedQuery);
          if (state.trouble === null) {
            io.line('the ledger goes on');
            return io.json({ recovered: true });
          }
          if (state.refused !== null && state.refused !== before.refused) {
            throw new ActGuardError('FORBIDDEN', `the command did not count: ${state.refused}`);
          }
          await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
        }
        throw new ActGuardError('BACKEND_UNAVAILABLE', 'the command was sent and has not counted yet', {
          hint: 'is the worker with the sealing key running?',
        });
      }),
    );
}
