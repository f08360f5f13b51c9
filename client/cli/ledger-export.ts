/** `actguard ledger export`, `prove` and `key`: what an auditor is given. */
import { existsSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { Option } from 'commander';
import { ActGuardError } from '../../governance/errors.ts';
import type { Json } from '../../governance/json.ts';
import { noteKeyText, parseNoteKey } from '../../governance/note.ts';
import { exportForTlogverify, exportLines, keptTenant, proveCall } from '../ledger-export.ts';
import { readKeyPublic } from '../keys.ts';
import type { Io } from './io.ts';
import { connected } from './doors.ts';

/** Pieces are a line each: they are written so many characters at once. */
const WRITE_CHARS = 64 * 1024;

interface ExportFlags {
  readonly tenant?: string;
  readonly contents?: boolean;
  readonly format: 'jsonl' | 'tlogverify';
  readonly key?: string;
  readonly out: string;
}

/** Registers the commands. */
export function registerExport(ledger: Command, io: Io): void {
  ledger
    .command('export')
    .description('write the sealed ledger to a file that a stranger verifies')
    .option(
      '--tenant <tenant>',
      'its entries in full, of all others bare hashes; default: everything that this connection reads',
    )
    .option('--contents', 'with what lies beside entries: arguments, outputs, envelopes')
    .addOption(new Option('--format <format>', 'how').choices(['jsonl', 'tlogverify']).default('jsonl'))
    .option('--key <key>', "the log's public key, for `tlogverify`; default: the dev stack's")
    .requiredOption('--out <file>', 'where to')
    .action((flags: ExportFlags) =>
      connected(io, async ({ db, stateDirectory }) => {
        const tenant = flags.tenant ?? (await keptTenant(db));
        const keys = flags.format === 'tlogverify' ? [flags.key ?? devKeyText(stateDirectory)] : [];
        const pieces =
          flags.format === 'jsonl'
            ? lineEnds(exportLines(db, { tenant, contents: flags.contents === true }))
            : exportForTlogverify(db, { tenant, keys, witnesses: [] });
        const bytes = await writeAll(flags.out, pieces);
        io.line(`wrote ${flags.out} (${bytes} bytes)`);
        io.json({ file: flags.out, bytes });
      }),
    );
  ledger
    .command('prove')
    .description('write the proof of one call: autonomous or approved, by whom, under which policies')
    .argument('<run/call>', 'the run, a slash, the call')
    .requiredOption('--out <file>', 'where to')
    .action((id: string, flags: { out: string }) =>
      connected(io, async ({ db }) => {
        const slash = id.indexOf('/');
        if (slash < 1) throw new ActGuardError('ARGUMENTS_INVALID', 'a call is named as RUN/CALL');
        const proof = await proveCall(db, id.slice(0, slash), id.slice(slash + 1));
        await writeAll(flags.out, lineEnds([JSON.stringify(proof)]));
        io.line(`wrote ${flags.out} (${proof.entries.length} entries)`);
        io.json({ file: flags.out, entries: proof.entries.length } satisfies Json);
      }),
    );
  ledger
    .command('key')
    .description('print the public key of a log or a witness from its key file, as verifiers want it')
    .argument('[file]', "the key file; default: the dev stack's log")
    .option('--witness', 'it is the key of a witness')
    .action(async (file: string | undefined, flags: { witness?: boolean }) => {
      const kind = flags.witness === true ? 'witness' : 'log';
      const text =
        file === undefined
          ? await connected(io, ({ stateDirectory }) => Promise.resolve(devKeyText(stateDirectory, kind)))
          : keyText(file, kind);
      io.line(text);
      io.json({ key: text });
    });
}

/** The public key of the dev stack's log or witness. @throws ARGUMENTS_INVALID where there is none */
export function devKeyText(stateDirectory: string | null, kind: 'log' | 'witness' = 'log'): string {
  const file = stateDirectory === null ? '' : join(stateDirectory, kind === 'log' ? 'ledger.key' : 'witness.key');
  if (existsSync(file)) return keyText(file, kind);
  throw new ActGuardError('ARGUMENTS_INVALID', "the log's public key is not known here", {
    hint: 'give it with `--key`; `actguard ledger key FILE` prints it where the sealing key is',
  });
}

function keyText(file: string, kind: 'log' | 'witness'): string {
  const { person, publicKey } = readKeyPublic(file);
  const text = noteKeyText({ name: person, kind, publicKey });
  const parsed = parseNoteKey(text);
  if (parsed.kind === 'ok') return text;
  throw new ActGuardError('ARGUMENTS_INVALID', `\`${file}\` is no key of a log or a witness: ${parsed.reason}`);
}

async function* lineEnds(lines: AsyncIterable<string> | Iterable<string>): AsyncGenerator<string> {
  for await (const line of lines) yield `${line}\n`;
}

/** Writes to a new file; returns its bytes. */
async function writeAll(file: string, pieces: AsyncIterable<string>): Promise<number> {
  const handle = await open(file, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
    throw new ActGuardError('CONFLICT', `the file \`${file}\` exists already`, {
      hint: 'name another one with `--out`',
    });
  });
  try {
    let [bytes, waiting] = [0, ''];
    const write = async (): Promise<void> => {
      await handle.appendFile(waiting);
      bytes += Buffer.byteLength(waiting);
      waiting = '';
    };
    for await (const piece of pieces) {
      waiting += piece;
      if (waiting.length >= WRITE_CHARS) await write();
    }
    await write();
    await handle.close();
    return bytes;
  } catch (error) {
    await handle.close();
    await rm(file, { force: true }); // ours, and only half of it
    throw error;
  }
}
