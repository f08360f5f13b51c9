/** `actguard doctor`: what is wrong here, and how to mend each thing. */
import type { Command } from 'commander';
import type { Json } from '../../governance/json.ts';
import { examine } from '../../worker/examine.ts';
import type { Io } from './io.ts';
import { EXIT } from './output.ts';

const MARKS = { ok: 'ok  ', warn: 'note', fail: 'FAIL' } as const;

/** Registers the command. */
export function register(program: Command, io: Io): void {
  program
    .command('doctor')
    .description('what is wrong, and how to mend it')
    .option('--config <file>', 'your actguard.config.ts; default: found from here upwards')
    .action(async (options: { config?: string }) => {
      const findings = await examine({
        cwd: process.cwd(),
        ...(options.config === undefined ? {} : { configPath: options.config }),
      });
      const ok = findings.every((finding) => finding.state !== 'fail');
      io.json({ ok, checks: findings as unknown as Json });
      for (const { state, name, detail, fix } of findings) {
        io.line(`${MARKS[state]}  ${name.padEnd(18)} ${detail}`);
        if (fix !== undefined && state !== 'ok') for (const line of fix.split('\n')) io.line(`      ${line}`);
      }
      io.line(ok ? 'nothing stands in the way' : 'mend what is marked FAIL, then run doctor again');
      if (!ok) io.exitWith(EXIT.failed);
    });
}
