/** `actguard freezes`: what is frozen beyond a run. A frozen run shows it itself (`actguard show RUN`). */
import type { Command } from 'commander';
import { freezeTarget } from '../../governance/freeze.ts';
import type { Json } from '../../governance/json.ts';
import { listFreezes } from '../freezes.ts';
import { type Doors, connected } from './doors.ts';
import { visible } from './show-approval.ts';

/** Registers the command. */
export function register(program: Command, doors: Doors): void {
  program
    .command('freezes')
    .description('list what is frozen beyond single runs, with who and why')
    .option('--tenant <tenant>', 'only what holds in this tenant')
    .action(async (options: { tenant?: string }) => {
      await connected(doors, async ({ db }) => {
        const freezes = await listFreezes(db, options.tenant ?? null);
        doors.json({ freezes: freezes as unknown as Json });
        if (freezes.length === 0) doors.line('nothing is frozen');
        for (const f of freezes) {
          const where = f.tenant === '*' ? 'every tenant' : visible(f.tenant);
          const since = new Date(f.setAtMs).toISOString();
          doors.line(`${visible(freezeTarget(f))}  ${where}  since ${since} by ${visible(f.by)}: ${visible(f.reason)}`);
        }
      });
    });
}
