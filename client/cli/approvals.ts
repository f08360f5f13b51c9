/** `actguard approvals`: asks that wait for an answer. */
import type { Command } from 'commander';
import type { Json } from '../../governance/json.ts';
import { type ListedApproval, listApprovals } from '../approvals.ts';
import { watchApprovals } from '../watch-approvals.ts';
import { type Connected, connected } from './doors.ts';
import type { Io } from './io.ts';
import { visible } from './show-approval.ts';

/** Registers the command. */
export function register(program: Command, doors: Io): void {
  program
    .command('approvals')
    .description('list asks that wait for an answer')
    .option('--tenant <tenant>', 'only of this tenant')
    .option('--all', 'also those that have ended')
    .option('--watch', 'go on until stopped: asks as they open and end; with --output json one object a line')
    .action(async (options: { tenant?: string; all?: boolean; watch?: boolean }) => {
      await connected(doors, async ({ db }) => {
        if (options.watch === true) return watch(doors, db, options.tenant);
        const filter = {
          ...(options.tenant === undefined ? {} : { tenant: options.tenant }),
          ...(options.all ? {} : { state: 'open' }),
        };
        const approvals = await listApprovals(db, filter);
        doors.json({ approvals: approvals as unknown as Json });
        if (approvals.length === 0) doors.line('nothing waits for an answer');
        for (const a of approvals) doors.line(lineOf(a));
      });
    });
}

async function watch(doors: Io, db: Connected['db'], tenant: string | undefined): Promise<void> {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort()).once('SIGTERM', () => stop.abort());
  doors.progress('waiting for asks; Ctrl-C ends it');
  for await (const ask of watchApprovals(db, tenant === undefined ? {} : { tenant }, { signal: stop.signal })) {
    doors.json(ask as unknown as Json);
    doors.line(lineOf(ask));
  }
}

function lineOf(a: ListedApproval): string {
  return `${a.approvalId}  ${a.state}  ${visible(a.tenant)}  ${visible(a.title)}  (${a.gates.map(visible).join(', ')}; until ${new Date(a.expiresAtMs).toISOString()})`;
}
