/**
 * The dev server's database file, made in full or not at all. A first start that was broken off (a full disk, a kill)
 * leaves a file that no later start can open; nothing was ever kept in it, so the next start makes it anew.
 */
import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';

/** SQLite's own files beside the database. */
const BESIDE = ['', '-journal', '-wal', '-shm'];

const markOf = (file: string): string => `${file}.unfinished`;

/** Before a start: removes what a broken first start left, and marks a first start as begun. */
export async function beginDatabase(file: string): Promise<void> {
  if (existsSync(markOf(file))) for (const suffix of BESIDE) await rm(`${file}${suffix}`, { force: true });
  if (!existsSync(file)) await writeFile(markOf(file), '');
}

/** The server is ready: from here on the file holds runs. */
export async function keepDatabase(file: string): Promise<void> {
  await rm(markOf(file), { force: true });
}
