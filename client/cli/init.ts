/** `actguard init`: a first configuration and a first policy, which load as they are. Never overwrites. */
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { ActGuardError } from '../../governance/errors.ts';
import { configFile, ignoreLines, policyFile } from './init-files.ts';
import type { Io } from './io.ts';

const CONFIG = /^actguard\.config\.[cm]?[jt]s$/;

/** Registers the command. */
export function register(program: Command, io: Pick<Io, 'line' | 'json'>): void {
  program
    .command('init')
    .description('write a first actguard.config.ts and policies here; what exists is left as it is')
    .action(() => {
      const { created, kept } = init(process.cwd());
      io.json({ created, kept });
      for (const name of created) io.line(`wrote  ${name}`);
      for (const name of kept) io.line(`kept   ${name}`);
      io.line(created.length === 0 ? 'everything exists already' : 'next: npx actguard policy check');
    });
}

/** Writes what is missing in `folder`; names are relative to it. @throws CONFIG_INVALID when it cannot be written */
export function init(folder: string): { created: string[]; kept: string[] } {
  const created: string[] = [];
  const kept: string[] = [];
  const write = (name: string, text: string) => (writeNew(join(folder, name), text) ? created : kept).push(name);
  try {
    const config = readdirSync(folder).find((name) => CONFIG.test(name));
    if (config === undefined) write('actguard.config.ts', configFile());
    else kept.push(config);
    mkdirSync(join(folder, 'policies'), { recursive: true });
    // Beside somebody's own policies ours would permit more than they meant.
    const policy = readdirSync(join(folder, 'policies')).find((name) => name.endsWith('.cedar'));
    if (policy === undefined) write('policies/00-start.cedar', policyFile());
    else kept.push(`policies/${policy}`);
    const ignore = join(folder, '.gitignore');
    const missing = ignoreLines(existsSync(ignore) ? readFileSync(ignore, 'utf8') : '');
    if (missing !== '') appendFileSync(ignore, missing);
    (missing === '' ? kept : created).push('.gitignore');
  } catch (error) {
    throw new ActGuardError('CONFIG_INVALID', `cannot write into \`${folder}\``, {
      hint: 'change to a folder that you may write to, where `policies` is a folder or absent',
      cause: error,
    });
  }
  return { created, kept };
}

function writeNew(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
