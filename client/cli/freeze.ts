/** `actguard freeze RUN` and `actguard thaw RUN`. Freezing is unsigned: it only takes away. Thawing is a signed command. */
import { userInfo } from 'node:os';
import type { Command } from 'commander';
import { ActGuardError } from '../../governance/errors.ts';
import { workflowIdOf } from '../../workflows/ids.ts';
import { freezeSignal, thawSignal, type RunState } from '../../workflows/messages.ts';
import type { ActGuard } from '../client.ts';
import { makeCommand } from '../commands.ts';
import { asActGuardError } from '../run.ts';
import { type Doors, withActguard } from './doors.ts';
import { ownKey } from './own-key.ts';

const LOOK_EVERY_MS = 200;
const LOOK_FOR_MS = 15_000;

/** Registers both commands. */
export function register(program: Command, doors: Doors): void {
  program
    .command('freeze')
    .description('freeze one run: nothing begins until it is thawed')
    .argument('<run>', 'the run')
    .requiredOption('--reason <text>', 'why; it stands in the ledger')
    .action((id: string, flags: { reason: string }) =>
      withActguard(doors, async (actguard) => {
        const handle = actguard.client.workflow.getHandle(workflowIdOf(id));
        await handle
          .signal(freezeSignal, { by: `local:${userInfo().username}`, reason: flags.reason })
          .catch((error: unknown) => {
            throw asActGuardError(error, id);
          });
        await until(actguard, id, (state) => state.frozen !== null);
        doors.line(`frozen     ${id}; lift it with: actguard thaw ${id} --reason "..."`);
        doors.json({ run: id, frozen: true });
      }),
    );
  program
    .command('thaw')
    .description('thaw a frozen run, signed with your key')
    .argument('<run>', 'the run')
    .requiredOption('--reason <text>', 'why; it stands in the ledger')
    .option('--key <file>', 'your key; default: the key of the dev stack')
    .action((id: string, flags: { reason: string; key?: string }) =>
      withActguard(doors, async (actguard) => {
        const { tenant, rejectedMessages } = await actguard.run(id).state();
        const key = await ownKey(doors, actguard.target.stateDirectory, flags.key);
        const envelope = makeCommand('thaw', { tenant, run: id, reason: flags.reason }, key, Date.now());
        await actguard.client.workflow.getHandle(workflowIdOf(id)).signal(thawSignal, { envelope });
        await until(actguard, id, (state) => state.frozen === null, rejectedMessages);
        doors.line(`thawed     ${id}, signed by ${key.person}`);
        doors.json({ run: id, frozen: false, person: key.person });
      }),
    );
}

/**
 * Waits until a run shows what was asked for. `before`: how many messages it had rejected when the command was sent.
 * @throws FORBIDDEN when it does not: the command did not count
 */
export async function until(
  actguard: ActGuard,
  run: string,
  holds: (state: RunState) => boolean,
  before = Infinity,
): Promise<RunState> {
  const untilMs = performance.now() + LOOK_FOR_MS;
  for (;;) {
    const state = await actguard.run(run).state();
    if (holds(state)) return state;
    if (state.rejectedMessages > before || performance.now() > untilMs) {
      throw new ActGuardError('FORBIDDEN', 'the command was sent and has not counted', {
        details: { run },
        hint: 'is the key enrolled as operator? `actguard ledger list --run RUN` names the reason',
      });
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}
