/** `actguard topup RUN`: raises a run's budget, signed with your key. */
import type { Command } from 'commander';
import { parseLimit } from '../../governance/budget.ts';
import type { JsonObject } from '../../governance/json.ts';
import { formatMicros } from '../../governance/money.ts';
import { workflowIdOf } from '../../workflows/ids.ts';
import { topUpSignal } from '../../workflows/messages.ts';
import { makeCommand } from '../commands.ts';
import { type Doors, withActguard } from './doors.ts';
import { until } from './freeze.ts';
import { ownKey } from './own-key.ts';

interface Flags {
  readonly usd?: string;
  readonly tokens?: string;
  readonly calls?: string;
  readonly reason: string;
  readonly key?: string;
}

/** Registers the command. */
export function register(program: Command, doors: Doors): void {
  program
    .command('topup')
    .description('raise the budget of a run, signed with your key')
    .argument('<run>', 'the run')
    .option('--usd <usd>', 'dollars to add')
    .option('--tokens <tokens>', 'tokens to add')
    .option('--calls <calls>', 'calls to add')
    .option('--reason <text>', 'why; it stands in the ledger', 'topped up')
    .option('--key <file>', 'your key; default: the key of the dev stack')
    .action((id: string, flags: Flags) =>
      withActguard(doors, async (actguard) => {
        const more = parseLimit({
          ...(flags.usd === undefined ? {} : { usd: flags.usd }),
          ...(flags.tokens === undefined ? {} : { tokens: Number(flags.tokens) }),
          ...(flags.calls === undefined ? {} : { calls: Number(flags.calls) }),
        });
        const before = await actguard.run(id).state();
        const key = await ownKey(doors, actguard.target.stateDirectory, flags.key);
        const envelope = makeCommand(
          'topUp',
          { tenant: before.tenant, run: id, reason: flags.reason, data: more as JsonObject },
          key,
          Date.now(),
        );
        await actguard.client.workflow.getHandle(workflowIdOf(id)).signal(topUpSignal, { envelope });
        const { limit } = await until(
          actguard,
          id,
          (state) => JSON.stringify(state.limit) !== JSON.stringify(before.limit),
          before.rejectedMessages,
        );
        doors.line(
          `topped up  ${id}: the limit is ${limit.usdMicros === undefined ? JSON.stringify(limit) : formatMicros(limit.usdMicros)}`,
        );
        doors.json({ run: id, limit: limit as JsonObject });
      }),
    );
}
