/** `actguard witness`: remembers what a log signed last and signs only what extends it. Own key, own memory, own machine. */
import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import { ActGuardError } from '../../governance/errors.ts';
import { type NoteKey, noteKeyText, parseNoteKey } from '../../governance/note.ts';
import { fileSigner } from '../../worker/sealing-key.ts';
import { openWitnessMemory } from '../../worker/witness-memory.ts';
import { startWitness } from '../../worker/witness-server.ts';
import { readKeyHead } from '../keys.ts';
import type { Io } from './io.ts';
import { stopped } from './stopped.ts';

interface Flags {
  readonly key: string;
  readonly memory: string;
  readonly log: readonly string[];
  readonly host: string;
  readonly port: number;
  readonly forget?: string;
}

/** Registers the command. */
export function register(program: Command, io: Io): void {
  program
    .command('witness')
    .description('watch a ledger from outside: sign each checkpoint that extends the one before (C2SP tlog-witness)')
    .requiredOption('--key <file>', 'the key of this witness: `actguard keys generate --person NAME`')
    .requiredOption('--memory <file>', 'what it saw last of each log; never restore it from a backup')
    .addOption(
      new Option('--log <key>', 'public key of a log that it watches (`actguard ledger key`); may be given again')
        .argParser((text: string, before: readonly string[]) => [...before, text])
        .default([]),
    )
    .option('--host <address>', 'where it listens', '127.0.0.1')
    .option('--port <port>', 'where it listens', port, 8401)
    .option('--forget <log>', 'forget a log that was recovered after a loss, and end: its next checkpoint is believed')
    .action((flags: Flags) => witness(flags, io));
}

async function witness(flags: Flags, io: Io): Promise<void> {
  const memory = openWitnessMemory(flags.memory);
  if (flags.forget !== undefined) {
    if (!memory.forget(flags.forget)) throw new ActGuardError('NOT_FOUND', 'this witness never saw that log');
    io.line(`forgot ${flags.forget}`);
    return io.json({ forgot: flags.forget });
  }
  if (flags.log.length === 0) {
    throw new ActGuardError('ARGUMENTS_INVALID', 'a witness watches at least one log', {
      hint: 'name it with `--log`',
    });
  }
  const logs = flags.log.map(logKey);
  const passphrase = readKeyHead(flags.key).encrypted ? await io.passphrase(`passphrase of ${flags.key}: `) : null;
  const signer = fileSigner(flags.key, 'witness', passphrase);
  const stop = stopped();
  const server = await startWitness({ signer, memory, logs, host: flags.host, port: flags.port });
  if (process.connected) process.send?.({ kind: 'ready', url: server.url }, undefined, undefined, () => undefined);
  io.line(`witness at ${server.url}`);
  io.line(`key ${noteKeyText(signer.key)}`);
  io.json({ url: server.url, key: noteKeyText(signer.key), logs: logs.map((log) => log.name) });
  await stop;
  await server.stop();
}

function logKey(text: string): NoteKey {
  const key = parseNoteKey(text);
  if (key.kind === 'ok' && key.value.kind === 'log') return key.value;
  const reason = key.kind === 'ok' ? 'it is the key of a witness' : key.reason;
  throw new ActGuardError('ARGUMENTS_INVALID', `\`--log\` is no public key of a log: ${reason}`, {
    hint: 'get it with `actguard ledger key`',
  });
}

function port(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 65_535)
    throw new InvalidArgumentError('a port is a number from 0 (any free one) to 65535');
  return value;
}
