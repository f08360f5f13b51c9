/** `actguard topup RUN|ACCOUNT`: raises the budget of a run, or of an account's window of now, signed with your key. */
import type { Command } from 'commander';
import { ActGuardError } from '../../governance/errors.ts';
import type { JsonObject } from '../../governance/json.ts';
import { formatMicros } from '../../governance/money.ts';
import { workflowIdOf } from '../../workflows/ids.ts';
import { topUpSignal } from '../../workflows/messages.ts';
import { makeCommand } from '../commands.ts';
import { asActGuardError } from '../run.ts';
import { amountsOf, withAmounts, type AmountFlags } from './amounts.ts';
import { change } from './budget.ts';
import { type Doors, withActguard } from './doors.ts';
import { until } from './freeze.ts';
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
      return topUpRun(doors, what.replace(/^run:/, ''), more, flags);
    });
}

function topUpRun(doors: Doors, id: string, more: JsonObject, flags: AmountFlags): Promise<void> {
  return withActguard(doors, async (actguard) => {
    const before = await actguard.run(id).state();
    const key = await ownKey(doors, actguard.target.stateDirectory, flags.key);
    const about = { tenant: before.tenant, run: id, reason: flags.reason, data: more };
    const envelope = makeCommand('topUp', about, key, Date.now());
    await actguard.client.workflow
      .getHandle(workflowIdOf(id))
      .signal(topUpSignal, { envelope })
      .catch((error: unknown) => {
        // its state could be read: it was there
        if (error instanceof Error && error.name === 'WorkflowNotFoundError') throw ended(id);
        throw asActGuardError(error, id);
      });
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
  });
}

function ended(run: string): ActGuardError {
  return new ActGuardError('CONFLICT', `run \`${run}\` has ended: it cannot be topped up`, {
    details: { run },
    hint: 'start a new run',
  });
}
