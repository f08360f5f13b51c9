/** `actguard approvals`: asks that wait for an answer. */
import type { Command } from 'commander';
import type { Json } from '../../governance/json.ts';
import { listApprovals } from '../approvals.ts';
import { type Doors, connected } from './doors.ts';
import { visible } from './show-approval.ts';

/** Registers the command. */
export function register(program: Command, doors: Doors): void {
  program
    .command('approvals')
    .description('list asks that wait for an answer')
    .option('--tenant <tenant>', 'only of this tenant')
    .option('--all', 'also those that have ended')
    .action(async (options: { tenant?: string; all?: boolean }) => {
      await connected(doors, async ({ db }) => {
        const filter = {
          ...(options.tenant === undefined ? {} : { tenant: options.tenant }),
          ...(options.all ? {} : { state: 'open' }),
        };
        const approvals = await listApprovals(db, filter);
        doors.json({ approvals: approvals as unknown as Json });
        if (approvals.length === 0) doors.line('nothing waits for an answer');
        for (const a of approvals) {
          doors.line(
            `${a.approvalId}  ${a.state}  ${visible(a.tenant)}  ${visible(a.title)}  (${a.gates.map(visible).join(', ')}; until ${new Date(a.expiresAtMs).toISOString()})`,
          );
        }
      });
    });
}
