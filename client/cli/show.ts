/** `actguard show RUN`: the run as it is now, and its story from the ledger. */
import type { Command } from 'commander';
import type { ContentDatabase } from '../../activities/deps.ts';
import type { Json } from '../../governance/json.ts';
import { formatMicros } from '../../governance/money.ts';
import type { RunState } from '../../workflows/messages.ts';
import { type ListedEntry, listEntries } from '../ledger.ts';
import { storyLine } from '../story.ts';
import { type Doors, withActguard } from './doors.ts';
import { visible } from './show-approval.ts';

const PAGE = 1_000;

/** Registers the command. */
export function register(program: Command, doors: Doors): void {
  program
    .command('show')
    .description('show one run: its state and its story')
    .argument('<run>', 'the run')
    .action((id: string) =>
      withActguard(doors, async (actguard) => {
        const failure: { error?: unknown } = {};
        const state = await actguard
          .run(id)
          .state()
          .catch((error: unknown) => void (failure.error = error));
        const entries = actguard.target.databaseUrl === null ? [] : await allOf(actguard.db, id);
        // Temporal forgets; the ledger does not
        if (!state && entries.length === 0) throw failure.error;
        doors.json({ state: (state ?? null) as unknown as Json, entries: entries as unknown as Json });
        if (state) sayState(doors, state);
        else doors.line(`${visible(id)}  Temporal does not show its state any more; this is what the ledger has`);
        for (const entry of entries) doors.line(visible(storyLine(entry)));
      }),
    );
}

function sayState(doors: Doors, state: RunState): void {
  doors.line(
    `${state.run}  ${state.status}  ${visible(state.agent)} for ${visible(state.user)} in ${visible(state.tenant)}`,
  );
  doors.line(
    `used       ${formatMicros(state.usage.usdMicros)}, ${state.usage.tokens} tokens, ${state.usage.calls} calls`,
  );
  for (const ask of state.openAsks) doors.line(`asks       ${visible(ask.title)}: actguard approve ${ask.approvalId}`);
}

async function allOf(db: ContentDatabase, run: string): Promise<ListedEntry[]> {
  const entries: ListedEntry[] = [];
  for (let page: ListedEntry[] = []; entries.length === 0 || page.length === PAGE;) {
    const last = entries.at(-1)?.id;
    page = await listEntries(db, { run, limit: PAGE, ...(last === undefined ? {} : { after: last }) });
    if (page.length === 0) break;
    entries.push(...page);
  }
  return entries;
}
