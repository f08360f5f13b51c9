/** Runs commands of the command line in this process against a platform of a test's own. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Command } from 'commander';
import { sendAnswer } from '../../client/approvals.ts';
import type { ActGuard } from '../../client/index.ts';
import type { ApprovalRequest } from '../../governance/approval.ts';
import type { ApprovalSignal } from '../../workflows/messages.ts';
import type { Io } from '../../client/cli/io.ts';
import type { Json } from '../../governance/json.ts';
import type { Platform } from './platform.ts';

/** What a command printed. */
export interface Printed {
  readonly lines: readonly string[];
  readonly progress: readonly string[];
  readonly json: Json;
  readonly exit: number;
}

/** The commands, as a person in the platform's own directory would run them; errors are thrown as the program gets them. */
export function commandLine(
  p: Platform,
  commands: readonly { register(program: Command, io: Io): void }[],
): (...args: string[]) => Promise<Printed> {
  const actguard = new Proxy(p.actguard, {
    get(target, name) {
      if (name === 'target') return { ...target.target, stateDirectory: p.directory };
      if (name === 'close') return () => Promise.resolve();
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value as (...a: unknown[]) => unknown).bind(target) : value;
    },
  });
  return async (...args) => {
    const lines: string[] = [];
    const progress: string[] = [];
    const printed = { lines, progress, json: null as Json, exit: 0 };
    const io = {
      actguard: () => Promise.resolve(actguard as ActGuard),
      connect: () =>
        Promise.resolve({
          db: p.actguard.db,
          stateDirectory: p.directory,
          answer: (request: ApprovalRequest, signal: ApprovalSignal) => sendAnswer(p.actguard.client, request, signal),
          close: () => Promise.resolve(),
        }),
      line: (text: string) => lines.push(text),
      json: (value: Json) => (printed.json = value),
      isJson: () => false,
      progress: (text: string) => progress.push(text),
      exitWith: (code: number) => (printed.exit = code),
      error: () => 1,
      passphrase: () => Promise.resolve('correct horse'),
      confirm: () => Promise.resolve(true),
    } as unknown as Io;
    const program = new Command().exitOverride();
    for (const command of commands) command.register(program, io);
    await program.parseAsync(args, { from: 'user' });
    return printed;
  };
}

/** Writes a configuration file that loads outside the checkout: zod is the user's own dependency. */
export function writeConfig(directory: string, text: string): string {
  const zod = join(directory, 'node_modules/zod');
  mkdirSync(zod, { recursive: true });
  const real = createRequire(import.meta.url).resolve('zod');
  writeFileSync(join(zod, 'package.json'), '{"name":"zod","main":"index.cjs"}');
  writeFileSync(join(zod, 'index.cjs'), `module.exports = require(${JSON.stringify(real)});`);
  const path = join(directory, 'actguard.config.ts');
  writeFileSync(path, text);
  return path;
}
