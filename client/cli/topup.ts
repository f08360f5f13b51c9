/** `actguard topup RUN|ACCOUNT`: raises the budget of a run, or of an account's window of now, signed with your key. */
import type { Command } from 'commander';
import type { JsonObject } from '../../governance/json.ts';
import { topUpRun } from '../run-commands.ts';
import { amountsOf, withAmounts, writtenAmounts, type AmountFlags } from './amounts.ts';
import { amountText } from './bars.ts';
import { change } from './budget.ts';
import { type Doors, withActguard } from './doors.ts';
import { ownKey } from './own-key.ts';

/** Registers the command. */
export function register(program: Command, doors: Doors): void {
  const command = program
    .command('topup')
    .description(
      'raise the budget of a run, or of a tenant, user, agent or label for its window of now; signed with your key',
    )
    .argument('<what>', 'RUN, tenant:NAME, user:NAME, agent:NAME or label:NAME');
  withAmounts(command, 'to add')
    .option('--tenant <tenant>', 'where: for user, agent and label')
    .option('--reason <text>', 'why; it stands in the ledger', 'topped up')
    .option('--key <file>', 'your key; default: the key of the dev stack')
    .action((what: string, flags: AmountFlags) => {
      const more = amountsOf(flags) as JsonObject;
      if (what.includes(':') && !what.startsWith('run:')) return change(doors, what, 'topUp', more, flags);
      return topUp(doors, what.replace(/^run:/, ''), flags);
    });
}

function topUp(doors: Doors, id: string, flags: AmountFlags): Promise<void> {
  return withActguard(doors, async (actguard) => {
    const key = await ownKey(doors, actguard.target.stateDirectory, flags.key);
    const { limit } = await topUpRun(actguard, id, writtenAmounts(flags), flags.reason, key);
    const text = UNITS.flatMap((unit) => (limit[unit] === undefined ? [] : [amountText(unit, limit[unit])])).join(', ');
    doors.line(`topped up  ${id}: the limit is ${text}`);
    doors.json({ run: id, limit: limit as JsonObject });
  });
}

const UNITS = ['usdMicros', 'tokens', 'calls'] as const;
