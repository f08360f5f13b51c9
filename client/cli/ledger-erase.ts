/** `actguard ledger erase`: takes away what lies beside entries; signed, recorded, and proofs stay valid. */
import type { Command } from 'commander';
import { type Erasure, parseErasure } from '../../governance/erasure.ts';
import { ActGuardError } from '../../governance/errors.ts';
import { eraseContent } from '../erase.ts';
import { tenantOf } from '../run-commands.ts';
import { withActguard } from './doors.ts';
import type { Io } from './io.ts';
import { ownKey } from './own-key.ts';
import { visible } from './show-approval.ts';

interface Flags {
  readonly reason: string;
  readonly tenant?: string;
  readonly key?: string;
}

/** Registers the command. */
export function registerErase(ledger: Command, io: Io): void {
  ledger
    .command('erase')
    .description('erase arguments, outputs, shown texts and transcripts; entries stay and stay provable')
    .argument('<what>', 'RUN, RUN/CALL or user:NAME: everything of it has to have ended')
    .requiredOption('--reason <text>', 'why; it stands in the ledger')
    .option('--tenant <tenant>', 'where: for user:NAME')
    .option('--key <file>', 'your key; default: the key of the dev stack')
    .action((what: string, flags: Flags) =>
      withActguard(io, async (actguard) => {
        const erasure = erasureOf(what);
        if (erasure.scope === 'user' && flags.tenant === undefined) {
          throw new ActGuardError('ARGUMENTS_INVALID', `\`${visible(what)}\` is erased in a tenant`, {
            hint: 'name it with `--tenant NAME`',
          });
        }
        const tenant = flags.tenant ?? (await tenantOf(actguard, 'run' in erasure ? erasure.run : ''));
        const key = await ownKey(io, actguard.target.stateDirectory, flags.key);
        if (!(await io.confirm(`erase content of ${visible(what)} in ${visible(tenant)} for ever?`))) return;
        const entries = await eraseContent(actguard, { tenant, erasure, reason: flags.reason }, key);
        io.line(`erased     content of ${entries} entries of ${visible(what)}, signed by ${visible(key.person)}`);
        io.line('           Temporal keeps its history of these runs until its retention ends; backups keep theirs');
        io.json({ ...erasure, tenant, entries, person: key.person });
      }),
    );
}

/** @throws ARGUMENTS_INVALID */
function erasureOf(what: string): Erasure {
  const known = /^(run|call|user):/.test(what);
  const parsed = parseErasure(known ? what : what.includes('/') ? `call:${what}` : `run:${what}`);
  if (parsed.kind === 'ok') return parsed.value;
  throw new ActGuardError('ARGUMENTS_INVALID', parsed.reason, { hint: 'write RUN, RUN/CALL or user:NAME' });
}
