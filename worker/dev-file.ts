/** `.actguard/dev.json`: what runs here, for clients and for the next start. It is also the lock: one stack a directory. */
import { existsSync, readFileSync } from 'node:fs';
import { link, mkdir, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { ActGuardError } from '../governance/errors.ts';
import { isRunning, thisProcess } from './children.ts';
import type { ProcessRef } from './children.ts';

/** The folder of the dev stack's state in a project. */
export const STATE_DIRECTORY = '.actguard';

/** A child as the next start may have to end it. */
export interface DevChild extends ProcessRef {
  readonly name: string;
  readonly signal: NodeJS.Signals;
}

/** What the file says. Addresses are absent until their part runs. */
export interface DevFile extends ProcessRef {
  readonly v: 1;
  readonly ready: boolean;
  readonly temporal?: { readonly address: string; readonly namespace: string; readonly ui: string | null };
  readonly postgres?: { readonly url: string };
  readonly mail?: { readonly smtp: string; readonly directory: string | null };
  /** Its URL and its public key, as verifiers want it. */
  readonly witness?: { readonly url: string; readonly key: string };
  /** The approval page: `http://localhost:8400`. */
  readonly page?: { readonly url: string };
  readonly worker: { readonly pid: number } | null;
  readonly children: readonly DevChild[];
  /** ISO 8601. */
  readonly startedAt: string;
}

/** Where the file lies in a state directory. */
export function devFilePath(stateDirectory: string): string {
  return join(stateDirectory, 'dev.json');
}

/**
 * The dev stack that runs in `cwd` or above, for clients; undefined: none. A file of a stack that died counts as none.
 */
export function findDevStack(cwd: string = process.cwd()): DevFile | undefined {
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    const path = devFilePath(join(folder, STATE_DIRECTORY));
    if (existsSync(path)) {
      const file = parse(readFileSync(path, 'utf8'));
      if (file && isRunning(file)) return file;
    }
    if (folder === dirname(folder)) return undefined;
  }
}

/** The file of this process: written whole each time, 0600, since it holds the database's password. */
export interface DevFileHandle {
  readonly current: () => DevFile;
  update(change: Partial<DevFile>): Promise<void>;
  release(): Promise<void>;
}

/** What {@link claimDevFile} found. */
export type Claim =
  | { readonly kind: 'claimed'; readonly file: DevFileHandle; readonly leftover: DevFile | undefined }
  | { readonly kind: 'running'; readonly file: DevFile };

/** Takes the state directory for this process, or says who has it. Of two that start at once, one gets it. */
export async function claimDevFile(stateDirectory: string): Promise<Claim> {
  const path = devFilePath(stateDirectory);
  let leftover: DevFile | undefined;
  let current: DevFile = {
    v: 1,
    ...thisProcess(),
    ready: false,
    worker: null,
    children: [],
    startedAt: new Date().toISOString(),
  };
  const fresh = `${path}.${process.pid}`;
  for (let attempt = 0; attempt < 5; attempt++) {
    await writeFile(fresh, JSON.stringify(current), { mode: 0o600 });
    // A link appears whole or not at all, and never replaces what is there.
    const won = await link(fresh, path).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'EEXIST') return false;
        throw error;
      },
    );
    await unlink(fresh);
    if (won) return { kind: 'claimed', file: handle(), leftover };
    const text = await readFile(path, 'utf8').catch(() => '');
    const other = parse(text);
    if (other && isRunning(other)) return { kind: 'running', file: other };
    leftover = (await takeAway(path, text)) ? (other ?? leftover) : leftover;
  }
  throw new ActGuardError('CONFLICT', `\`${path}\` is being taken by others again and again`);

  function handle(): DevFileHandle {
    let last: Promise<void> = Promise.resolve();
    const write = async () => {
      await writeFile(fresh, `${JSON.stringify(current, null, 2)}\n`, { mode: 0o600 });
      await rename(fresh, path);
    };
    return {
      current: () => current,
      update(change) {
        current = { ...current, ...change };
        last = last.catch(() => undefined).then(write);
        return last;
      },
      async release() {
        await last.catch(() => undefined);
        await rm(path, { force: true });
      },
    };
  }
}

/**
 * Makes the state directory and checks that it can be written to. Throws BACKEND_UNAVAILABLE that says why not: read-only,
 * not ours, full.
 */
export async function prepareStateDirectory(directory: string): Promise<void> {
  const probe = join(directory, `probe.${process.pid}`);
  try {
    // As root others pass through (Postgres runs as another user); what is secret in it is 0600.
    await makeFolder(directory, process.getuid?.() === 0 ? 0o711 : 0o700);
    await makeFolder(join(directory, 'logs'), 0o700);
    await writeFile(probe, Buffer.alloc(64 * 1024), { mode: 0o600 });
    await rm(probe);
  } catch (error) {
    await rm(probe, { force: true }).catch(() => undefined);
    throw stateTrouble(error, directory);
  }
  await writeFile(join(directory, '.gitignore'), '*\n').catch(() => undefined);
}

// One level only: Node's recursive mkdir never ends where the system answers ENOENT below an existing folder.
async function makeFolder(path: string, mode: number): Promise<void> {
  await mkdir(path, { mode }).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST' || !(await stat(path)).isDirectory()) throw error;
  });
}

/** Names what is wrong with a directory; other errors come back unchanged. */
export function stateTrouble(error: unknown, directory: string): unknown {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const why: { [code: string]: string } = {
    EROFS: 'is read-only',
    EACCES: 'may not be written to by this user',
    EPERM: 'may not be written to by this user',
    ENOSPC: 'is on a full disk',
    EDQUOT: 'is over its quota',
    ENOTDIR: 'is not a directory',
    EEXIST: 'is not a directory',
    ENOENT: 'cannot be made',
  };
  if (!why[code]) return error;
  return new ActGuardError('BACKEND_UNAVAILABLE', `the state directory \`${directory}\` ${why[code]}`, {
    details: { directory, reason: code },
    hint:
      code === 'ENOSPC' || code === 'EDQUOT'
        ? 'make room and start again'
        : 'start in a directory of your own, or with --ephemeral',
    cause: error,
  });
}

// Removes a dead stack's file, unless somebody replaced it meanwhile: then it is put back.
async function takeAway(path: string, expected: string): Promise<boolean> {
  const aside = `${path}.dead.${process.pid}`;
  try {
    await rename(path, aside);
    const same = (await readFile(aside, 'utf8')) === expected;
    if (!same) await link(aside, path).catch(() => undefined);
    await unlink(aside);
    return same;
  } catch {
    return false;
  }
}

function parse(text: string): DevFile | undefined {
  try {
    const value = JSON.parse(text) as DevFile;
    return value.v === 1 && Number.isInteger(value.pid) && Array.isArray(value.children) ? value : undefined;
  } catch {
    return undefined;
  }
}
