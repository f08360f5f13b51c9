/** `actguard secrets set|get|list|rotate`: the secrets file of a project, encrypted with age. */
import { relative } from 'node:path';
import type { Command } from 'commander';
import { ActGuardError } from '../../governance/errors.ts';
import type { Json } from '../../governance/json.ts';
import type { Io } from './io.ts';

interface Options {
  readonly config?: string;
  readonly tenant?: string;
  readonly user?: string;
}

const store = () => import('../../worker/secret-store.ts');

/** Registers the commands. */
export function register(program: Command, io: Io): void {
  const secrets = program.command('secrets').description('the secrets file of a project, encrypted with age');
  const command = (name: string, description: string): Command =>
    secrets
      .command(name)
      .description(description)
      .option('--config <file>', 'your actguard.config.ts; default: found from here upwards')
      .option('--tenant <tenant>', "a tenant's own value")
      .option('--user <user>', "a user's own value; with --tenant");
  command('set', 'set a value, read from standard input or typed; makes file and identity where there are none')
    .argument('<name>', 'e.g. payments/api-key')
    .action((name: string, options: Options) => set(name, options, io, false));
  command('get', 'print a value to standard output')
    .argument('<name>')
    .action((name: string, options: Options) => get(name, options, io));
  secrets
    .command('list')
    .description('names, owners and when they were set; never values')
    .option('--config <file>', 'your actguard.config.ts; default: found from here upwards')
    .action((options: Options) => list(options, io));
  command('rotate', 'replace a value that is there; without a name: encrypt the file for a new identity')
    .argument('[name]')
    .action((name: string | undefined, options: Options) =>
      name === undefined ? rotate(options, io) : set(name, options, io, true),
    );
}

async function set(name: string, options: Options, io: Io, mustExist: boolean): Promise<void> {
  const { findStore, setSecret } = await store();
  const found = await findStore(options.config);
  const value = await io.secret(`value of ${name}: `);
  const { made } = await setSecret(found, name, ownerOf(options), value, mustExist);
  const { path, identityFile } = found.place;
  io.json({ name, file: path, made, usedWithinMs: found.cacheMs });
  io.line(`${mustExist ? 'rotated' : 'set'} ${name} in ${short(path)}`);
  if (made && found.place.identity === undefined)
    io.line(`keep ${short(identityFile)} safe, and out of git: it opens it`);
  if (found.cacheMs !== null) io.line(`running workers use it within ${Math.ceil(found.cacheMs / 1000)} s`);
  else io.progress("no configuration reads this file yet: add { kind: 'file' } to secrets.from");
}

async function get(name: string, options: Options, io: Io): Promise<void> {
  const { findStore, getSecret } = await store();
  const value = await getSecret(await findStore(options.config), name, ownerOf(options));
  io.json({ name, value });
  io.line(value);
}

async function list(options: Options, io: Io): Promise<void> {
  const { findStore, listSecrets } = await store();
  const secrets = await listSecrets(await findStore(options.config));
  io.json(secrets as unknown as Json);
  for (const { name, tenant, user, setAt } of secrets) {
    const whose = user !== null ? `user ${tenant ?? ''}/${user}` : tenant !== null ? `tenant ${tenant}` : 'worker';
    io.line(`${name.padEnd(32)} ${whose.padEnd(24)} ${setAt}`);
  }
}

async function rotate(options: Options, io: Io): Promise<void> {
  if (options.tenant !== undefined || options.user !== undefined) {
    throw new ActGuardError('ARGUMENTS_INVALID', 'a tenant or user goes with the name of a secret');
  }
  const { findStore, rotateIdentity } = await store();
  const found = await findStore(options.config);
  const { recipient, old } = await rotateIdentity(found);
  io.json({ file: found.place.path, recipient, old });
  io.line(`encrypted ${short(found.place.path)} for a new identity ${recipient}`);
  io.line(`give ${short(found.place.identityFile)} to the workers, then destroy ${short(old)}`);
}

function ownerOf({ tenant, user }: Options): { tenant?: string; user?: string } {
  return { ...(tenant === undefined ? {} : { tenant }), ...(user === undefined ? {} : { user }) };
}

function short(path: string): string {
  const inside = relative(process.cwd(), path);
  return inside.startsWith('..') ? path : inside;
}
