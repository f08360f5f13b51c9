/** `actguard keys generate`: a key of your own, encrypted by a passphrase. */
import type { Command } from 'commander';
import { ActGuardError } from '../../governance/errors.ts';
import { NAME_PATTERN } from '../../governance/strict.ts';
import { generateKey, writeKeyFile } from '../keys.ts';
import type { Doors } from './doors.ts';

/** A passphrase guards a key that can release money. */
const MIN_PASSPHRASE_CHARS = 8;

/** Registers the command. */
export function register(program: Command, doors: Doors): void {
  const keys = program.command('keys').description('keys that sign approvals and commands');
  keys
    .command('generate')
    .description('make a key: `--root` for an administrator whose fingerprint goes into `approvals.roots`')
    .option('--person <name>', 'whose key it is')
    .option('--root', "an administrator's root key")
    .option('--out <file>', 'where to write it', 'actguard.key')
    .option('--no-passphrase', 'do not encrypt the file')
    .action(async (options: { person?: string; root?: boolean; out: string; passphrase: boolean }) => {
      const person = options.root === true ? '' : (options.person ?? '');
      if (options.root !== true && !NAME_PATTERN.test(person)) {
        throw new ActGuardError('ARGUMENTS_INVALID', 'a key belongs to a person', {
          hint: 'name one with `--person bob`, or use `--root`',
        });
      }
      const passphrase = options.passphrase ? await doors.passphrase('new passphrase: ') : null;
      if (passphrase !== null && passphrase.length < MIN_PASSPHRASE_CHARS) {
        throw new ActGuardError('ARGUMENTS_INVALID', `a passphrase has at least ${MIN_PASSPHRASE_CHARS} characters`, {
          hint: 'use a longer one, or `--no-passphrase` where the disk itself is protected',
        });
      }
      const key = generateKey(person);
      writeKeyFile(options.out, key, passphrase);
      doors.json({ file: options.out, keyId: key.keyId, person, encrypted: passphrase !== null });
      doors.line(`wrote ${options.out}`);
      doors.line(`fingerprint ${key.keyId}`);
    });
}
