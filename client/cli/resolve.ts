/** `actguard resolve RUN/CALL`: says what happened to a call whose outcome is unknown, signed with your key. */
import type { Command } from 'commander';
import { ActGuardError } from '../../governance/errors.ts';
import type { Json } from '../../governance/json.ts';
import { makeCommand } from '../commands.ts';
import { commandRun, tenantOf } from '../run-commands.ts';
import { type Doors, withActguard } from './doors.ts';
import { ownKey } from './own-key.ts';

/** Registers the command. */
export function register(program: Command, doors: Doors): void {
  program
    .command('resolve')
    .description('say what happened to a call whose outcome is unknown')
    .argument('<call>', 'RUN/CALL, as the run shows it')
    .option('--happened <json>', 'it happened, with this result')
    .option('--did-not-happen', 'it did not happen (refused while it could still land)')
    .requiredOption('--reason <text>', 'how you know; it stands in the ledger')
    .option('--key <file>', 'your key; default: the key of the dev stack')
    .action((id: string, flags: { happened?: string; didNotHappen?: boolean; reason: string; key?: string }) =>
      withActguard(doors, async (actguard) => {
        const [run = '', call = ''] = id.split('/', 2);
        if (!call || (flags.happened === undefined) === (flags.didNotHappen !== true)) {
          throw new ActGuardError(
            'ARGUMENTS_INVALID',
            'say RUN/CALL and either `--happened JSON` or `--did-not-happen`',
          );
        }
        const data =
          flags.happened === undefined
            ? { call, happened: false }
            : { call, happened: true, result: parse(flags.happened) };
        const tenant = await tenantOf(actguard, run);
        const key = await ownKey(doors, actguard.target.stateDirectory, flags.key);
        // carried out next to the effect's row, whether its run lives or not; one that lives is told
        const envelope = makeCommand('resolve', { tenant, run, reason: flags.reason, data }, key, Date.now());
        await commandRun(actguard, run, envelope);
        doors.line(`resolved   ${id}`);
        doors.json({ run, call, happened: data.happened });
      }),
    );
}

function parse(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    throw new ActGuardError('ARGUMENTS_INVALID', 'the result after `--happened` is not JSON', {
      hint: `for example: --happened '{"refundId":"r-7"}'`,
    });
  }
}
