/** `actguard ledger list`: entries, oldest first, with filters and stable paging. */
import type { Command } from 'commander';
import type { Json } from '../../governance/json.ts';
import { listEntries } from '../ledger.ts';
import { type Doors, withActguard } from './doors.ts';
import { storyLine } from './show.ts';

interface Flags {
  readonly run?: string;
  readonly tenant?: string;
  readonly kind?: string;
  readonly tool?: string;
  readonly after?: string;
  readonly limit: string;
}

/** Registers the command. */
export function registerList(ledger: Command, doors: Doors): void {
  ledger
    .command('list')
    .description('list entries, oldest first')
    .option('--run <run>', 'only of this run')
    .option('--tenant <tenant>', 'only of this tenant')
    .option('--kind <kind>', 'only of this kind, e.g. call.denied')
    .option('--tool <tool>', 'only about this tool')
    .option('--after <id>', 'entries after this one (the last of the page before)')
    .option('--limit <n>', 'at most so many (1000)', '100')
    .action((flags: Flags) =>
      withActguard(doors, async (actguard) => {
        const { after, limit, ...filter } = flags;
        const entries = await listEntries(actguard.db, {
          ...filter,
          limit: Number(limit),
          ...(after === undefined ? {} : { after: Number(after) }),
        });
        doors.json({ entries: entries as unknown as Json });
        if (entries.length === 0) doors.line('no entries');
        for (const entry of entries)
          doors.line(`${String(entry.id).padStart(6)}  ${entry.run ?? '-'}  ${storyLine(entry)}`);
      }),
    );
}
