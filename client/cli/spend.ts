/** `actguard spend --by user|tenant|agent|tool|model|label|day`: what was spent, as a table with bars. */
import { type Command, Option } from 'commander';
import { ActGuardError } from '../../governance/errors.ts';
import { parseDuration } from '../../governance/duration.ts';
import type { Json } from '../../governance/json.ts';
import { formatMicros } from '../../governance/money.ts';
import { SPEND_BY, spendBy } from '../accounts.ts';
import { bar, table } from './bars.ts';
import { type Doors, connected } from './doors.ts';
import { visible } from './show-approval.ts';

interface Flags {
  readonly by: (typeof SPEND_BY)[number];
  readonly tenant?: string;
  readonly run?: string;
  readonly since?: string;
  readonly zone: string;
}

/** Registers the command. */
export function register(program: Command, doors: Doors): void {
  program
    .command('spend')
    .description('what was spent, and is reserved by calls under way')
    .addOption(new Option('--by <what>', 'grouped by').choices([...SPEND_BY]).default('tenant'))
    .option('--tenant <tenant>', 'only of this tenant')
    .option('--run <run>', 'only of this run')
    .option('--since <duration>', 'only of the last 1h, 7d …')
    .option('--zone <zone>', 'time zone of the days', 'UTC')
    .action((flags: Flags) =>
      connected(doors, async ({ db }) => {
        const { by, tenant, run, since, zone } = flags;
        checkZone(zone);
        const rows = await spendBy(db, by, {
          ...(tenant === undefined ? {} : { tenant }),
          ...(run === undefined ? {} : { run }),
          ...(since === undefined ? {} : { fromMs: Math.round(Date.now() - parseDuration(since)) }),
          zone,
        });
        doors.json({ by, spend: rows as unknown as Json });
        if (rows.length === 0) return doors.line('nothing was spent');
        const most = Math.max(...rows.map((row) => row.usdMicros + row.reservedMicros));
        const lines = rows.map((row) => [
          visible(row.name),
          bar(row.usdMicros, row.reservedMicros, most),
          formatMicros(row.usdMicros),
          row.reservedMicros > 0 ? `${formatMicros(row.reservedMicros)} reserved` : '',
          `${row.calls} calls`,
          row.tokens > 0 ? `${row.tokens} tokens` : '',
        ]);
        for (const line of table(lines)) doors.line(line.trimEnd());
      }),
    );
}

function checkZone(zone: string): void {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
  } catch {
    throw new ActGuardError('ARGUMENTS_INVALID', `\`${visible(zone)}\` is no time zone`, {
      hint: 'such as Europe/Berlin',
    });
  }
}
