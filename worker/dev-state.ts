/** Pieces of the dev stack's state: the database's password and the place of its files. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ActGuardError } from '../governance/errors.ts';
import { mayEnter, postgresUser } from './postgres-binaries.ts';

/** The embedded database's password: made once, kept in `dev.secret`, readable by its owner only. */
export async function devPassword(stateDirectory: string): Promise<string> {
  const path = join(stateDirectory, 'dev.secret');
  await writeFile(path, `${randomBytes(24).toString('hex')}\n`, { mode: 0o600, flag: 'wx' }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    },
  );
  return (await readFile(path, 'utf8')).trim();
}

/**
 * Where the cluster lies: beside the rest of the state, or in /var/tmp when Postgres's user may not enter there (root's
 * own home). `outside` is the folder to remove with it in that case.
 */
export async function devDatabaseDirectory(
  stateDirectory: string,
  say: (message: string) => void,
): Promise<{ readonly path: string; readonly outside: string | null }> {
  if (mayEnter(stateDirectory, postgresUser())) return { path: join(stateDirectory, 'postgres'), outside: null };
  const outside = `/var/tmp/actguard-${createHash('sha256').update(stateDirectory).digest('hex').slice(0, 12)}`;
  await mkdir(outside, { mode: 0o711 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  const { uid, mode } = await stat(outside);
  if (uid !== process.getuid?.() || (mode & 0o022) !== 0) {
    throw new ActGuardError('BACKEND_UNAVAILABLE', `\`${outside}\` belongs to somebody else`, {
      hint: 'remove it and start again',
    });
  }
  say(`keeping the database in ${outside}: Postgres's user may not enter ${stateDirectory}`);
  return { path: join(outside, 'postgres'), outside };
}
