/** `actguard approve ID` and `actguard reject ID`: shows what is signed, signs it, sends it, says what came of it. */
import type { Command } from 'commander';
import { ActGuardError } from '../../governance/errors.ts';
import { awaitAnswer, makeAnswer, readApproval } from '../approvals.ts';
import { checkAnswer } from '../check-answer.ts';
import { type Connected, type Doors, connected } from './doors.ts';
import { ownKey } from './own-key.ts';
import { showApproval } from './show-approval.ts';

/** Registers both commands. */
export function register(program: Command, doors: Doors): void {
  for (const decision of ['approve', 'reject'] as const) {
    program
      .command(decision)
      .description(`${decision} an ask with your key`)
      .argument('<id>', 'the ask, as `actguard approvals` lists it')
      .option('--key <file>', 'your key; default: the key of the dev stack')
      .option('--yes', 'do not ask again')
      .action(async (id: string, options: { key?: string; yes?: boolean }) => {
        await connected(doors, (connection) => answer(doors, connection, decision, id, options));
      });
  }
}

async function answer(
  doors: Doors,
  connection: Connected,
  decision: 'approve' | 'reject',
  id: string,
  options: { key?: string; yes?: boolean },
): Promise<void> {
  const ask = await readApproval(connection.db, id);
  for (const line of showApproval(ask, Date.now())) doors.line(line);
  if (ask.state !== 'open') {
    throw new ActGuardError('CONFLICT', `the ask \`${id}\` is ${ask.state}`, {
      hint: 'see what waits with `actguard approvals`',
    });
  }
  const key = await ownKey(doors, connection.stateDirectory, options.key);
  doors.line(`signing    as ${key.person} with key ${key.keyId.slice(0, 16)}${key.dev ? ' (dev key)' : ''}`);
  if (options.yes !== true && !(await doors.confirm(`${decision} this?`))) {
    throw new ActGuardError('APPROVAL_REJECTED', 'nothing was sent');
  }
  const signed = makeAnswer(ask.request, decision, key, Date.now());
  // what can never count is refused here and leaves no trace in the run's history; a worker decides
  await checkAnswer(connection.db, id, signed.envelope, { passkeys: null });
  await connection.answer(ask.request, signed);
  const outcome = await awaitAnswer(connection.db, id, key.person);
  doors.json({ approvalId: id, decision, person: key.person, counted: outcome.counted, state: outcome.state });
  if (!outcome.counted) {
    throw new ActGuardError(
      'APPROVAL_INVALID',
      `the answer was sent and has not counted; the ask is ${outcome.state}`,
      {
        hint: 'see why with `actguard ledger list`: approval.invalid names the reason',
      },
    );
  }
  doors.line(`counted    the ask is ${outcome.state}`);
}
