/** `actguard recover RUN`: a run that was reset in Temporal, or whose database was restored, goes on; signed with your key. */
import type { Command } from 'commander';
import { makeCommand } from '../commands.ts';
import { commandRun, tenantOf } from '../run-commands.ts';
import { type Doors, withActguard } from './doors.ts';
import { ownKey } from './own-key.ts';

/** Registers the command. */
export function register(program: Command, doors: Doors): void {
  program
    .command('recover')
    .description('let a run go on that was reset in Temporal or whose database was restored; what is recorded stands')
    .argument('<run>', 'the run')
    .requiredOption('--reason <text>', 'what you looked at; it stands in the ledger')
    .option('--key <file>', 'your key; default: the key of the dev stack')
    .action((run: string, flags: { reason: string; key?: string }) =>
      withActguard(doors, async (actguard) => {
        const tenant = await tenantOf(actguard, run);
        const key = await ownKey(doors, actguard.target.stateDirectory, flags.key);
        await commandRun(actguard, run, makeCommand('recover', { tenant, run, reason: flags.reason }, key, Date.now()));
        doors.line(`recovered  ${run}, signed by ${key.person}`);
        doors.json({ run, recovered: true, person: key.person });
      }),
    );
}
