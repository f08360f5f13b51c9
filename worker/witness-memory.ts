/** What a witness remembers, in a file of its own: written whole and flushed before anything is signed. */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { ActGuardError } from '../governance/errors.ts';
import type { Seen } from '../governance/witness.ts';

/** The memory of one witness; only one process may use a file. */
export interface WitnessMemory {
  readonly seen: (origin: string) => Seen | null;
  /** Remembers, durably. */
  readonly remember: (origin: string, seen: Seen) => void;
  /** Forgets a log: its operator answers for what that means. False: it was not known. */
  readonly forget: (origin: string) => boolean;
}

interface Kept {
  readonly size: number;
  readonly root: string;
}

/** Opens the memory, empty where there is no file yet. @throws CONFIG_INVALID for a file that is none */
export function openWitnessMemory(file: string): WitnessMemory {
  const logs = new Map<string, Kept>(Object.entries(read(file)));
  const write = (): void => {
    const fresh = `${file}.new`;
    const handle = openSync(fresh, 'w', 0o600);
    try {
      writeSync(handle, `${JSON.stringify({ v: 1, logs: Object.fromEntries(logs) }, null, 2)}\n`);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    renameSync(fresh, file);
    flushFolder(dirname(file));
  };
  return {
    seen(origin) {
      const kept = logs.get(origin);
      return kept ? { size: kept.size, root: new Uint8Array(Buffer.from(kept.root, 'hex')) } : null;
    },
    remember(origin, { size, root }) {
      logs.set(origin, { size, root: Buffer.from(root).toString('hex') });
      write();
    },
    forget(origin) {
      const known = logs.delete(origin);
      if (known) write();
      return known;
    },
  };
}

function flushFolder(folder: string): void {
  try {
    const handle = openSync(folder, 'r');
    fsyncSync(handle);
    closeSync(handle);
  } catch {
    // Not every system opens folders; the file itself is flushed.
  }
}

function read(file: string): { [origin: string]: Kept } {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
  try {
    const value = JSON.parse(text) as { v: unknown; logs: { [origin: string]: Kept } };
    const sound = Object.values(value.logs).every(
      (kept) => Number.isSafeInteger(kept.size) && kept.size >= 0 && /^[0-9a-f]{64}$/.test(kept.root),
    );
    if (value.v === 1 && sound) return value.logs;
  } catch {
    // said below: a witness that starts over without its memory is none
  }
  throw new ActGuardError('CONFIG_INVALID', `\`${file}\` is not the memory of a witness`, {
    hint: 'bring back its backup; without it the witness would sign whatever it is shown first',
  });
}
