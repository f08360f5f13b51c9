/** Waits for a backend at start: says which one is away, tries again with progress, gives up after a minute. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Deps } from '../activities/deps.ts';
import { ActGuardError, isActGuardError } from '../governance/errors.ts';

/** A backend that is not there after this long will not come by waiting. */
const GIVE_UP_AFTER_MS = 60_000;
const LONGEST_PAUSE_MS = 5_000;

/** @throws BACKEND_UNAVAILABLE after a minute; every other error of `connect` at once */
export async function untilReachable<T>(
  name: string,
  log: Deps['log'],
  signal: AbortSignal,
  connect: () => Promise<T>,
): Promise<T> {
  const startedAt = performance.now();
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await connect();
    } catch (error) {
      if (isActGuardError(error) && error.code !== 'BACKEND_UNAVAILABLE') throw error;
      const waitedMs = performance.now() - startedAt;
      const reason = error instanceof Error ? error.message : String(error);
      if (waitedMs > GIVE_UP_AFTER_MS || signal.aborted) {
        throw new ActGuardError('BACKEND_UNAVAILABLE', `${name} cannot be reached: ${reason}`, {
          details: { backend: name.toLowerCase() },
          hint: 'start it or check its address; `actguard doctor` tells more',
          cause: error,
        });
      }
      log('warn', `${name} cannot be reached yet, trying again (${Math.round(waitedMs / 1000)} s): ${reason}`);
      await sleep(Math.min(250 * 2 ** attempt, LONGEST_PAUSE_MS), undefined, { signal }).catch(() => undefined);
    }
  }
}
