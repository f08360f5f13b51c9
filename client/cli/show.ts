/** `actguard show RUN`: the run as it is now, and its story from the ledger. */
import type { Command } from 'commander';
import { goneKey, goneWords } from '../../governance/content.ts';
import type { JsonObject, Json } from '../../governance/json.ts';
import { formatMicros } from '../../governance/money.ts';
import { listEntries, type ListedEntry } from '../ledger.ts';
import { type Doors, withActguard } from './doors.ts';
import { visible } from './show-approval.ts';

/** Registers the command. */
export function register(program: Command, doors: Doors): void {
  program
    .command('show')
    .description('show one run: its state and its story')
    .argument('<run>', 'the run')
    .action((id: string) =>
      withActguard(doors, async (actguard) => {
        const state = await actguard.run(id).state();
        const entries =
          actguard.target.databaseUrl === null ? [] : await listEntries(actguard.db, { run: id, limit: 1_000 });
        doors.json({ state: state as unknown as Json, entries: entries as unknown as Json });
        doors.line(
          `${state.run}  ${state.status}  ${visible(state.agent)} for ${visible(state.user)} in ${visible(state.tenant)}`,
        );
        doors.line(
          `used       ${formatMicros(state.usage.usdMicros)}, ${state.usage.tokens} tokens, ${state.usage.calls} calls`,
        );
        for (const ask of state.openAsks)
          doors.line(`asks       ${visible(ask.title)}: actguard approve ${ask.approvalId}`);
        for (const entry of entries) doors.line(storyLine(entry));
      }),
    );
}

/** An entry as a line of the story. */
export function storyLine(entry: ListedEntry): string {
  const body = JSON.parse(entry.body) as { at: string; data: JsonObject };
  const { data } = body;
  const args = entry.content?.['args'];
  const gone = goneKey(entry.content);
  const parts = [
    body.at.slice(11, 19),
    entry.kind.padEnd(18),
    ...(entry.call === null ? [] : [visible(entry.call)]),
    ...(data['tool'] === undefined ? [] : [visible(String(data['tool']))]),
    ...(args === undefined ? [] : [visible(JSON.stringify(args)).slice(0, 120)]),
    ...(gone === null ? [] : [visible(`(${goneWords(gone)})`)]),
    ...(data['authorization'] === undefined ? [] : [String(data['authorization'])]),
    ...(data['code'] === undefined ? [] : [String(data['code'])]),
    ...(typeof data['spentMicros'] === 'number' && data['spentMicros'] > 0 ? [formatMicros(data['spentMicros'])] : []),
  ];
  return parts.join('  ');
}
