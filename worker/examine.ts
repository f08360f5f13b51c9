/** The checks of `actguard doctor`: each looks at one thing, changes nothing, and says how to mend it. */
import { existsSync } from 'node:fs';
import { access, constants, statfs } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { Connection } from '@temporalio/client';
import type { ConnectionOptions } from '@temporalio/client';
import { codeVersion, schemaMarker } from '../activities/migrate.ts';
import { loadPolicies, policySources, readPolicyDirectory } from '../activities/policy-load.ts';
import { databasePlace } from '../activities/postgres.ts';
import { isActGuardError } from '../governance/errors.ts';
import { findDevStack, STATE_DIRECTORY } from './dev-file.ts';
import type { DevFile } from './dev-file.ts';
import { findConfig, loadConfig } from './load-config.ts';
import type { LoadedConfig } from './load-config.ts';
import { undelivered } from './undelivered.ts';
import { SEARCH_ATTRIBUTES } from './search-attributes.ts';
import { findTemporal, missingSearchAttributes } from './temporal-server.ts';

/** What a check found. */
export interface Finding {
  readonly name: string;
  readonly state: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  readonly fix?: string;
}

const LEAST_FREE_BYTES = 1024 ** 3;
const CONNECT_TIMEOUT_MS = 5_000;

/** Runs every check; never throws. */
export async function examine(options: { readonly cwd: string; readonly configPath?: string }): Promise<Finding[]> {
  const dev = findDevStack(options.cwd);
  const findings: Finding[] = [nodeVersion(), platform()];
  const { finding, loaded } = await configuration(options.cwd, options.configPath);
  findings.push(finding);
  if (loaded) findings.push(policies(loaded));
  const state = join(loaded?.directory ?? options.cwd, STATE_DIRECTORY);
  findings.push(
    ...(await Promise.all([temporal(dev), postgres(dev), mail(dev), stateDirectory(state), disk(options.cwd)])),
  );
  return findings;
}

function nodeVersion(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const good = major > 22 || (major === 22 && minor >= 18);
  return {
    name: 'Node',
    state: good ? 'ok' : 'fail',
    detail: `${process.versions.node} at ${process.execPath}`,
    fix: 'install Node 24, or beside this one: npm install --save-dev node@24',
  };
}

/** Whether this Linux has musl instead of glibc: Temporal's native worker does not run there. */
export function isAlpine(release = '/etc/alpine-release'): boolean {
  if (process.platform !== 'linux') return false;
  if (existsSync(release)) return true;
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return report.header?.glibcVersionRuntime === undefined;
}

function platform(): Finding {
  const detail = `${process.platform} ${process.arch}`;
  if (isAlpine()) {
    return {
      name: 'platform',
      state: 'fail',
      detail: `${detail}: Alpine (musl) is not supported, Temporal's worker needs glibc`,
      fix: 'use a Debian-based image, e.g. node:24-slim',
    };
  }
  const known = ['linux x64', 'linux arm64', 'darwin x64', 'darwin arm64', 'win32 x64'].includes(detail);
  return { name: 'platform', state: known ? 'ok' : 'warn', detail: known ? detail : `${detail}: not tested` };
}

async function configuration(cwd: string, path?: string): Promise<{ finding: Finding; loaded?: LoadedConfig }> {
  const name = 'configuration';
  try {
    if (path === undefined && findConfig(undefined, cwd) === undefined) {
      return {
        finding: {
          name,
          state: 'warn',
          detail: 'no actguard.config.ts here or above',
          fix: 'change to your project, or write one (README)',
        },
      };
    }
    const loaded = await loadConfig(path, cwd);
    const { tools, agents } = loaded.config;
    return {
      finding: { name, state: 'ok', detail: `${loaded.path}: ${agents.length} agents, ${tools.length} tools` },
      loaded,
    };
  } catch (error) {
    return { finding: failed(name, error, 'mend the file and run doctor again') };
  }
}

function policies({ config, directory }: LoadedConfig): Finding {
  const folder = resolve(directory, config.policies);
  try {
    const { digest } = loadPolicies({ files: readPolicyDirectory(folder), ...policySources(config) });
    return { name: 'policies', state: 'ok', detail: `${folder}: they load (${digest.slice(0, 12)})` };
  } catch (error) {
    return failed('policies', error, 'mend the policies: nothing is allowed until they load');
  }
}

async function temporal(dev: DevFile | undefined): Promise<Finding> {
  const name = 'Temporal';
  let options: ConnectionOptions;
  let namespace: string;
  if (dev?.temporal) {
    ({ namespace } = dev.temporal);
    options = { address: dev.temporal.address };
  } else if (process.env['TEMPORAL_ADDRESS']) {
    try {
      const loaded = loadClientConnectConfig();
      options = loaded.connectionOptions;
      namespace = loaded.namespace ?? 'default';
    } catch (error) {
      return failed(name, error, 'check the TEMPORAL_* variables');
    }
  } else {
    return findTemporal({ download: false }).then(
      ({ path, how }) => ({ name, state: 'ok', detail: `no server yet; \`actguard dev\` starts ${path} (${how})` }),
      () => ({
        name,
        state: 'warn',
        detail: 'no server yet; `actguard dev` downloads it (about 45 MB)',
        fix: 'or install it: brew install temporal',
      }),
    );
  }
  const where = options.address ?? 'its address';
  try {
    const connection = await Connection.connect({ ...options, connectTimeout: CONNECT_TIMEOUT_MS });
    try {
      const missing = await missingSearchAttributes(connection, namespace);
      if (missing.length === 0) {
        const open = !dev && !options.tls && !options.apiKey;
        return open
          ? {
              name,
              state: 'warn',
              detail: `${where}, namespace ${namespace}: neither TLS nor an API key`,
              fix: 'whoever can write to the namespace is trusted: protect it (SECURITY.md)',
            }
          : { name, state: 'ok', detail: `${where}, namespace ${namespace}` };
      }
      const flags = missing.map(
        (attribute) => `--name ${attribute} --type ${SEARCH_ATTRIBUTES[attribute as keyof typeof SEARCH_ATTRIBUTES]}`,
      );
      return {
        name,
        state: 'fail',
        detail: `namespace ${namespace} lacks search attributes: ${missing.join(', ')}`,
        fix: `temporal operator search-attribute create --namespace ${namespace} ${flags.join(' ')}`,
      };
    } finally {
      await connection.close();
    }
  } catch {
    return { name, state: 'fail', detail: `${where} does not answer`, fix: 'start it, or check TEMPORAL_ADDRESS' };
  }
}

async function postgres(dev: DevFile | undefined): Promise<Finding> {
  const name = 'Postgres';
  const url = dev?.postgres?.url ?? process.env['ACTGUARD_DATABASE_URL'];
  if (!url) return { name, state: 'ok', detail: 'none yet; `actguard dev` starts one' };
  try {
    const marker = await schemaMarker(url);
    const where = databasePlace(url);
    if (marker === codeVersion()) return { name, state: 'ok', detail: `${where}, migration ${marker}` };
    if (typeof marker === 'number' && marker > codeVersion()) {
      return {
        name,
        state: 'fail',
        detail: `${where} is newer (${marker}) than this version (${codeVersion()})`,
        fix: 'install the version that migrated it',
      };
    }
    const detail =
      typeof marker === 'number'
        ? `${where} is at migration ${marker} of ${codeVersion()}`
        : `${where} has not been migrated`;
    return {
      name,
      state: 'warn',
      detail,
      fix: 'a worker migrates it when it starts; `actguard dev` needs --init for an empty or foreign one',
    };
  } catch (error) {
    return failed(name, error, 'start it, or check ACTGUARD_DATABASE_URL');
  }
}

async function mail(dev: DevFile | undefined): Promise<Finding> {
  const name = 'mail';
  const url = dev?.mail?.smtp ?? process.env['ACTGUARD_SMTP_URL'];
  if (!url) return { name, state: 'ok', detail: 'none yet; `actguard dev` starts an inbox' };
  let host: string;
  let port: number;
  try {
    const parsed = new URL(url);
    host = parsed.hostname;
    port = Number(parsed.port || (parsed.protocol === 'smtps:' ? 465 : 587));
  } catch {
    return {
      name,
      state: 'fail',
      detail: 'ACTGUARD_SMTP_URL is not a URL',
      fix: 'write it as smtp://user:password@host:587',
    };
  }
  const reached = await new Promise<boolean>((done) => {
    const socket = connect({ host, port, timeout: CONNECT_TIMEOUT_MS });
    const end = (good: boolean) => {
      socket.destroy();
      done(good);
    };
    socket.once('connect', () => end(true));
    socket.once('timeout', () => end(false));
    socket.once('error', () => end(false));
  });
  const lost = await undelivered(dev?.postgres?.url ?? process.env['ACTGUARD_DATABASE_URL']);
  if (reached && lost !== null)
    return {
      name,
      state: 'warn',
      detail: lost,
      fix: 'they are tried again for a day; check the mail server’s own log',
    };
  return reached
    ? { name, state: 'ok', detail: `${host}:${port}` }
    : { name, state: 'fail', detail: `${host}:${port} does not answer`, fix: 'start it, or check ACTGUARD_SMTP_URL' };
}

async function stateDirectory(path: string): Promise<Finding> {
  const name = 'state directory';
  let there = path;
  while (!existsSync(there) && there !== dirname(there)) there = dirname(there);
  return access(there, constants.W_OK).then(
    () => ({ name, state: 'ok', detail: path }),
    () => ({
      name,
      state: 'fail',
      detail: `${path} cannot be written`,
      fix: 'run in a directory of your own, or use `actguard dev --ephemeral`',
    }),
  );
}

async function disk(path: string): Promise<Finding> {
  const name = 'disk space';
  try {
    const { bavail, bsize } = await statfs(path);
    const free = bavail * bsize;
    const detail = `${(free / 1024 ** 3).toFixed(1)} GB free`;
    return free < LEAST_FREE_BYTES
      ? { name, state: 'fail', detail, fix: 'make room: at least 1 GB' }
      : { name, state: 'ok', detail };
  } catch (error) {
    return failed(name, error, 'check the file system');
  }
}

function failed(name: string, error: unknown, fix: string): Finding {
  const message = error instanceof Error ? error.message : String(error);
  const hint = isActGuardError(error) ? error.hint : undefined;
  return { name, state: 'fail', detail: message, fix: hint ?? fix };
}
