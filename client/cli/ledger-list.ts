/** `actguard ledger list`, `show` and `tail`: entries with filters, stable paging by id, one by one, or as they are written. */
import type { Command } from 'commander';
import { parseDuration } from '../../governance/duration.ts';
import { ActGuardError } from '../../governance/errors.ts';
import type { Json } from '../../governance/json.ts';
import { usdToMicros } from '../../governance/money.ts';
import { type EntryFilter, type ListedEntry, followEntries, listEntries, readEntry } from '../ledger.ts';
import { storyLine } from '../story.ts';
import { withActguard } from './doors.ts';
import type { Io } from './io.ts';
import { visible } from './show-approval.ts';

interface FilterFlags {
  readonly run?: string;
  readonly tenant?: string;
  readonly user?: string;
  readonly kind?: string;
  readonly call?: string;
  readonly tool?: string;
  readonly code?: string;
  readonly since?: string;
  readonly until?: string;
  readonly minUsd?: string;
  readonly maxUsd?: string;
}

/** Registers the commands. */
export function registerList(ledger: Command, io: Io): void {
  filtered(ledger.command('list'))
    .description('list entries, oldest first')
    .option('--after <id>', 'entries after this one (the last of the page before)')
    .option('--limit <n>', 'at most so many (1000)', '100')
    .option('--jsonl', 'one JSON object a line')
    .action((flags: FilterFlags & { after?: string; limit: string; jsonl?: boolean }) =>
      withActguard(io, async (actguard) => {
        const entries = await listEntries(actguard.db, {
          ...filterOf(flags),
          limit: Number(flags.limit),
          ...(flags.after === undefined ? {} : { after: Number(flags.after) }),
        });
        io.json({ entries: entries as unknown as Json });
        if (flags.jsonl === true) return entries.forEach((entry) => io.line(JSON.stringify(entry)));
        if (entries.length === 0) io.line('no entries');
        for (const entry of entries) io.line(lineOf(entry));
        if (entries.length === Number(flags.limit)) io.line(`more: --after ${entries.at(-1)?.id}`);
      }),
    );
  ledger
    .command('show')
    .description('show one entry: the bytes that count, what lies beside it, its place in the sealed ledger')
    .argument('<id>', 'its id, as `ledger list` shows it')
    .action((id: string) =>
      withActguard(io, async (actguard) => {
        if (!/^[1-9]\d{0,14}$/.test(id)) throw new ActGuardError('ARGUMENTS_INVALID', 'an id is a whole number');
        const entry = await readEntry(actguard.db, Number(id));
        io.json(entry as unknown as Json);
        io.line(visible(storyLine(entry)));
        io.line(entry.leaf === null ? 'waits to be sealed' : `leaf ${entry.leaf}`);
        io.line(visible(entry.body));
        io.line(entry.content === null ? 'nothing beside it' : `beside it: ${visible(JSON.stringify(entry.content))}`);
      }),
    );
  filtered(ledger.command('tail'))
    .description('the latest entries, and with --follow those that are written from now on')
    .option('-f, --follow', 'go on until stopped')
    .option('-n, --lines <n>', 'so many at first', '10')
    .option('--jsonl', 'one JSON object a line')
    .action((flags: FilterFlags & { follow?: boolean; lines: string; jsonl?: boolean }) =>
      withActguard(io, async (actguard) => {
        const last = Number(flags.lines);
        if (!(Number.isSafeInteger(last) && last >= 0 && last <= 1_000))
          throw new ActGuardError('ARGUMENTS_INVALID', '`--lines` is a number from 0 to 1000');
        const stop = new AbortController();
        process.once('SIGINT', () => stop.abort()).once('SIGTERM', () => stop.abort());
        const how = { last, follow: flags.follow === true, signal: stop.signal };
        for await (const entry of followEntries(actguard.db, filterOf(flags), how)) {
          io.json(entry as unknown as Json);
          io.line(flags.jsonl === true ? JSON.stringify(entry) : lineOf(entry));
        }
      }),
    );
}

function filtered(command: Command): Command {
  return command
    .option('--run <run>', 'only of this run')
    .option('--tenant <tenant>', 'only of this tenant')
    .option('--user <user>', 'only of this user and of their runs')
    .option('--kind <kind>', 'only of this kind, e.g. call.denied')
    .option('--call <call>', 'only about this call')
    .option('--tool <tool>', 'only about this tool or model')
    .option('--code <code>', 'only with this error code, e.g. POLICY_DENIED')
    .option('--since <time>', 'written at or after: 2026-11-24T17:00:00Z, or how long ago: 7d')
    .option('--until <time>', 'written before')
    .option('--min-usd <amount>', 'spent, or else reserved, at least so much')
    .option('--max-usd <amount>', 'at most so much');
}

/** @throws ARGUMENTS_INVALID naming every flag that is wrong */
function filterOf(flags: FilterFlags): EntryFilter {
  const problems: string[] = [];
  const read = (flag: string, text: string | undefined, parse: (given: string) => number): number | undefined => {
    if (text === undefined) return undefined;
    try {
      const value = parse(text);
      if (Number.isSafeInteger(value)) return value;
    } catch {
      // said below
    }
    problems.push(`\`${flag}\` cannot be read: \`${visible(text)}\``);
    return undefined;
  };
  const numbers = {
    sinceMs: read('--since', flags.since, timeOf),
    untilMs: read('--until', flags.until, timeOf),
    minMicros: read('--min-usd', flags.minUsd, (text) => usdToMicros(text)),
    maxMicros: read('--max-usd', flags.maxUsd, (text) => usdToMicros(text)),
  };
  if (problems.length > 0) {
    throw new ActGuardError('ARGUMENTS_INVALID', problems.join('; '), {
      hint: 'times look like 2026-11-24T17:00:00Z or 7d, amounts like 0.25',
    });
  }
  const { run, tenant, user, kind, call, tool, code } = flags;
  const given = Object.entries({ run, tenant, user, kind, call, tool, code, ...numbers });
  return Object.fromEntries(given.filter(([, value]) => value !== undefined));
}

function timeOf(text: string): number {
  if (/^\d+(ms|s|m|h|d)$/.test(text)) return Date.now() - parseDuration(text);
  return /^\d{4}-/.test(text) ? Date.parse(text) : NaN;
}

function lineOf(entry: ListedEntry): string {
  return `${String(entry.id).padStart(6)}  ${entry.run ?? '-'}  ${entry.kind.padEnd(18)}  ${visible(storyLine(entry))}`;
}
