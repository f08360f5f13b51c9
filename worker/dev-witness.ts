/** The dev stack's witness: a process of its own with a key and a memory beside the state, on a free port. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ActGuardError } from '../governance/errors.ts';
import { noteKeyText } from '../governance/note.ts';
import { type Child, cleanEnvironment, startChild } from './children.ts';
import { DEV_WITNESS_KEY_FILE, devSigner } from './sealing-key.ts';

const BIN = fileURLToPath(
  new URL(
    existsSync(new URL('../bin/actguard.mjs', import.meta.url)) ? '../bin/actguard.mjs' : '../../bin/actguard.mjs',
    import.meta.url,
  ),
);
const READY_TIMEOUT_MS = 30_000;

/** A running witness: where it is, its public key, its process. */
export interface DevWitness {
  readonly url: string;
  readonly key: string;
  readonly child: Child;
}

/** Starts it; it watches the log of this stack. @throws BACKEND_UNAVAILABLE when it does not come up */
export async function startDevWitness(stateDirectory: string): Promise<DevWitness> {
  const log = noteKeyText(devSigner(stateDirectory, 'log').key);
  const key = noteKeyText(devSigner(stateDirectory, 'witness').key);
  const logFile = join(stateDirectory, 'logs', 'witness.log');
  const files = ['--key', join(stateDirectory, DEV_WITNESS_KEY_FILE), '--memory', join(stateDirectory, 'witness.json')];
  let ready: (url: string) => void = () => undefined;
  const url = new Promise<string>((resolve) => (ready = resolve));
  const child = await startChild({
    name: 'witness',
    command: process.execPath,
    args: [BIN, 'witness', ...files, '--log', log, '--port', '0'],
    env: cleanEnvironment(),
    logFile,
    onMessage: (message) => ready((message as { url: string }).url),
  });
  let timer: NodeJS.Timeout | undefined;
  const failed = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), READY_TIMEOUT_MS);
    void child.exited.then(() => resolve(null));
  });
  const at = await Promise.race([url, failed]);
  clearTimeout(timer);
  if (at === null) {
    await child.stop();
    throw new ActGuardError('BACKEND_UNAVAILABLE', 'the witness does not start', { hint: `see ${logFile}` });
  }
  return { url: at, key, child };
}
