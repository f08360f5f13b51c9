/** `actguard codec`: keys that encrypt payloads, and the server that decodes them for Temporal's Web UI. */
import { existsSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import {
  addPayloadKey,
  openPayloadKeys,
  readPayloadKeys,
  usePayloadKey,
  writePayloadKeys,
} from '../../activities/payload-keys.ts';
import { ActGuardError } from '../../governance/errors.ts';
import type { Json } from '../../governance/json.ts';
import { findTarget, openDatabase } from '../connection.ts';
import { PAYLOAD_KEYS_ENV, payloadKeysFile } from '../data-converter.ts';
import { registerDestroy } from './codec-destroy.ts';
import type { Io } from './io.ts';
import { stopped } from './stopped.ts';

const MIN_TOKEN_CHARS = 16;

/** Registers the commands. */
export function register(program: Command, io: Io): void {
  const codec = program
    .command('codec')
    .description('encryption of payloads and content: its keys, and decoding for the Web UI');
  const command = (name: string, description: string): Command =>
    codec
      .command(name)
      .description(description)
      .option('--keys <file>', `the file of keys; default: ${PAYLOAD_KEYS_ENV}`);
  command('key', 'add a key that encrypts from now on; makes the file where there is none')
    .option('--tenant <tenant>', "a tenant's own key")
    .option('--later', 'only make it known: `codec use` makes it the one that encrypts')
    .action((options: { keys?: string; tenant?: string; later?: boolean }) => addKey(options, io));
  command('use', 'encrypt with this key from now on')
    .argument('<id>')
    .action((id: string, options: { keys?: string }) => {
      const file = fileOf(options.keys);
      writePayloadKeys(file, usePayloadKey(readPayloadKeys(file), id));
      io.json({ id, file });
      io.line(`${id} encrypts from now on`);
    });
  command('list', 'ids, tenants and which keys encrypt; never keys').action((options: { keys?: string }) => {
    const keys = readPayloadKeys(fileOf(options.keys)).map(({ secret: _, ...key }) => key);
    io.json(keys as unknown as Json);
    for (const key of keys) {
      io.line(
        `${key.id.padEnd(16)} ${(key.tenant ?? 'the rest').padEnd(24)} ${key.current ? 'encrypts' : 'reads'}  ${key.madeAt}`,
      );
    }
  });
  registerDestroy(command, fileOf, io);
  command('serve', "decode for Temporal's Web UI; each use is an entry in the ledger")
    .option('--port <port>', 'default: any free one', port, 0)
    .option('--host <host>', 'where to listen', '127.0.0.1')
    .option('--origin <origin>', "the Web UI's origin; default: the dev stack's")
    .action((options: ServeOptions) => serve(options, io));
}

interface ServeOptions {
  readonly keys?: string;
  readonly port: number;
  readonly host: string;
  readonly origin?: string;
}

function addKey(options: { keys?: string; tenant?: string; later?: boolean }, io: Io): void {
  const file = fileOf(options.keys);
  const tenant = options.tenant ?? null;
  const before = existsSync(file) ? readPayloadKeys(file) : [];
  if (before.length === 0 && tenant !== null) {
    throw new ActGuardError('ARGUMENTS_INVALID', 'the first key is for what belongs to no tenant', {
      hint: 'run `actguard codec key` without --tenant first',
    });
  }
  const keys = addPayloadKey(before, tenant, options.later === true);
  writePayloadKeys(file, keys);
  const { id, current } = keys.at(-1) as { id: string; current: boolean };
  io.json({ id, tenant, current, file });
  io.line(`added ${id} to ${file}${current ? ': it encrypts from now on' : ''}`);
  if (before.length === 0) io.line(`give the file to every worker and client: ${PAYLOAD_KEYS_ENV}=${file}`);
}

async function serve(options: ServeOptions, io: Io): Promise<void> {
  const target = findTarget();
  const origin = options.origin ?? (target.ui === null ? null : URL.parse(target.ui)?.origin);
  if (!origin)
    throw new ActGuardError('ARGUMENTS_INVALID', 'the origin of the Web UI is not known', { hint: 'give --origin' });
  const token = process.env['ACTGUARD_CODEC_TOKEN'] ?? randomBytes(24).toString('base64url');
  if (!/^[\w-]+$/.test(token) || token.length < MIN_TOKEN_CHARS) {
    const hint = `at least ${MIN_TOKEN_CHARS} letters, digits, _ and -`;
    throw new ActGuardError('CONFIG_INVALID', 'ACTGUARD_CODEC_TOKEN is no token', { hint });
  }
  const stop = stopped();
  const { startCodecServer } = await import('../../worker/codec-server.ts');
  const db = openDatabase(target);
  const keys = openPayloadKeys(fileOf(options.keys));
  const server = await startCodecServer({ keys, db, token, origin, host: options.host, port: options.port });
  const endpoint = `${server.address}/${token}`;
  io.json({ endpoint, origin });
  io.line(`codec endpoint for the Web UI (its data encoder settings): ${endpoint}`);
  if (!['127.0.0.1', '::1', 'localhost'].includes(options.host)) {
    io.progress('it listens beyond this machine: whoever has the token reads everything');
  }
  await stop;
  await server.close();
  await db.end();
}

function fileOf(given: string | undefined): string {
  const file = given ?? payloadKeysFile();
  if (file !== null) return resolve(file);
  throw new ActGuardError('ARGUMENTS_INVALID', 'nothing says where the payload keys are', {
    hint: `give --keys, or set ${PAYLOAD_KEYS_ENV}`,
  });
}

function port(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && value <= 65_535) return value;
  throw new InvalidArgumentError('a port is a number from 0 to 65535');
}
