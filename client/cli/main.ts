/** The `actguard` program: registers commands and turns every error into one line, a hint and an exit code. */
import { Command, CommanderError, Option } from 'commander';
import { connect } from '../client.ts';
import { manifest, missingPackage } from './missing-package.ts';
import { createOutput, EXIT } from './output.ts';
import type { Io } from './io.ts';
import { connectDoors } from './io.ts';

type Register = { register(program: Command, io: Io): void };

/** One line a file: the names it registers, and how it is loaded (only when asked for: some pull in the whole worker). */
const COMMANDS: readonly (readonly [names: readonly string[], load: () => Promise<Register>])[] = [
  [['init'], () => import('./init.ts')],
  [['dev'], () => import('./dev.ts')],
  [['worker'], () => import('./worker.ts')],
  [['witness'], () => import('./witness.ts')],
  [['doctor'], () => import('./doctor.ts')],
  [['approvals'], () => import('./approvals.ts')],
  [['approval'], () => import('./approval.ts')],
  [['approve', 'reject'], () => import('./approve.ts')],
  [['keys'], () => import('./keys.ts')],
  [['gateway'], () => import('./gateway.ts')],
  [['approver'], () => import('./approver.ts')],
  [['token'], () => import('./token.ts')],
  [['run'], () => import('./run.ts')],
  [['runs'], () => import('./runs.ts')],
  [['show'], () => import('./show.ts')],
  [['cancel'], () => import('./cancel.ts')],
  [['freeze', 'thaw'], () => import('./freeze.ts')],
  [['freezes'], () => import('./freezes.ts')],
  [['topup'], () => import('./topup.ts')],
  [['budget'], () => import('./budget.ts')],
  [['spend'], () => import('./spend.ts')],
  [['questions'], () => import('./questions.ts')],
  [['resolve'], () => import('./resolve.ts')],
  [['recover'], () => import('./recover.ts')],
  [['ledger'], () => import('./ledger.ts')],
  [['policy'], () => import('./policy.ts')],
  [['secrets'], () => import('./secrets.ts')],
  [['codec'], () => import('./codec.ts')],
];

/** Runs the program with its arguments (without node and script) and sets the exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('actguard');
  const output = createOutput(() => program.opts<{ output: string }>().output === 'json');
  const io: Io = { ...output, connect: connectDoors, actguard: () => connect() };
  program
    .description('runtime control for AI agents, as durable workflows')
    .version(manifest()?.version ?? 'unknown')
    .addOption(new Option('--output <format>', 'for people or for programs').choices(['text', 'json']).default('text'))
    .exitOverride();
  followParent();
  try {
    // Options before the command are skipped; unknown words load everything, so that help and suggestions are complete.
    const asked = COMMANDS.filter(([names]) => argv.some((word) => names.includes(word)));
    const needed = asked.length > 0 ? asked : /^(-V|--version)$/.test(argv[0] ?? '') ? [] : COMMANDS;
    for (const [names, load] of needed) {
      try {
        (await load()).register(program, io);
      } catch (error) {
        const missing = asked.length > 0 ? null : missingPackage(error);
        if (!missing) throw error;
        for (const name of names) program.command(name).description(`${missing.message}; ${missing.hint ?? ''}`);
      }
    }
    inheritExit(program);
    await program.parseAsync([...argv], { from: 'user' });
  } catch (error) {
    // Commander has printed already: help and version are fine, everything else is wrong usage.
    process.exitCode =
      error instanceof CommanderError
        ? error.exitCode === 0
          ? EXIT.ok
          : EXIT.invalid
        : output.error(missingPackage(error) ?? error);
  }
}

function inheritExit(command: Command): void {
  for (const child of command.commands) {
    child.exitOverride();
    inheritExit(child);
  }
}

// Started by an older Node (bin/actguard.mjs) or by a dev stack: whoever started us being gone is a reason to end.
function followParent(): void {
  if (process.channel === undefined || process.channel === null) return;
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  process.channel.unref();
}
