/** `actguard secrets set|get|list|rotate|scan`: the secrets file of a project, and whether a run leaks what is in it. */
import { statSync } from 'node:fs';
import { relative } from 'node:path';
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { ActGuardError } from '../../governance/errors.ts';
import type { Json } from '../../governance/json.ts';
import type { Io } from './io.ts';
import { EXIT } from './output.ts';

interface Options {
  readonly config?: string;
  readonly tenant?: string;
  readonly user?: string;
}

const store = () => import('../../worker/secret-store.ts');

/** Registers the commands. */
export function register(program: Command, io: Io): void {
  const secrets = program
    .command('secrets')
    .description('the secrets file of a project, encrypted with age; whether a run leaks');
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
  secrets
    .command('scan')
    .description(
      'run your agent with a canary for every secret, then look for them everywhere; exit 1 when one is found',
    )
    .argument('[what]', "a project's folder, or the request that opens the agent's run")
    .option('--input <request>', "the request; default: what the project's actguard.scan.ts says")
    .option('--config <file>', 'your actguard.config.ts; default: found from here upwards')
    .option('--agent <name>', 'default: the first one')
    .option(
      '--call <tool=args>',
      'also call this tool, e.g. orders.find={"orderId":"1042"}; several times',
      collect,
      [],
    )
    .option('--own-values', "use the environment's values as canaries, where a receiver checks them")
    .option('--timeout <seconds>', 'how long a run may take', seconds, 120)
    .action((what: string | undefined, options: ScanFlags) => scan(what, options, io));
  command('rotate', 'replace a value that is there; without a name: encrypt the file for a new identity')
    .argument('[name]')
    .action((name: string | undefined, options: Options) =>
      name === undefined ? rotate(options, io) : set(name, options, io, true),
    );
}

interface ScanFlags {
  readonly input?: string;
  readonly config?: string;
  readonly agent?: string;
  readonly call: readonly { readonly tool: string; readonly args: Json }[];
  readonly ownValues?: boolean;
  readonly timeout: number;
}

async function scan(what: string | undefined, flags: ScanFlags, io: Io): Promise<void> {
  const project = what !== undefined && statSync(what, { throwIfNoEntry: false })?.isDirectory() ? what : undefined;
  const input = flags.input ?? (project === undefined ? what : undefined);
  const { scanSecrets } = await import('../../worker/scan.ts');
  const { ok, leaks, used, unused, searched } = await scanSecrets({
    ...(flags.config === undefined ? {} : { configPath: flags.config }),
    ...(project === undefined ? {} : { project }),
    ...(flags.agent === undefined ? {} : { agent: flags.agent }),
    ...(input === undefined ? {} : { input }),
    calls: flags.call,
    ownValues: flags.ownValues === true,
    timeoutMs: flags.timeout * 1000,
    environment: process.env,
    onProgress: (message) => io.progress(message),
  });
  io.json({ ok, leaks: leaks as unknown as Json, used, unused, searched });
  for (const { secret, where } of leaks) io.line(`FOUND  ${secret}  in ${where}`);
  if (unused.length > 0) io.line(`not used in this run, so nothing is known of them: ${unused.join(', ')}`);
  io.line(
    used.length === 0
      ? 'the run used no secret: it proves nothing'
      : `${leaks.length === 0 ? 'nothing found' : `${leaks.length} found`}; ${used.join(', ')} used, ${searched} texts searched`,
  );
  if (!ok) io.exitWith(EXIT.failed);
}

function collect(text: string, before: ScanFlags['call']): ScanFlags['call'] {
  const at = text.indexOf('=');
  try {
    return [...before, { tool: text.slice(0, at), args: JSON.parse(text.slice(at + 1)) as Json }];
  } catch {
    throw new InvalidArgumentError('write the tool and its arguments in JSON, e.g. orders.find={"orderId":"1042"}');
  }
}

function seconds(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('write a whole number of seconds');
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
