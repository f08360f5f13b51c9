/** Asks the sources of secrets in their order and keeps what they gave for a stated time, in memory only. */
import type { SecretOwner } from '../define/secret-types.ts';
import { MAX_CACHED_SECRETS } from '../governance/limits.ts';
import type { SecretSource } from './deps.ts';

/** A value and, where its source says so, for how long it is good. */
export interface FoundSecret {
  readonly value: string;
  readonly goodForMs?: number;
}

/** One place where secrets are. */
export interface SecretOrigin {
  /** undefined or empty: the next one is asked. @throws BACKEND_UNAVAILABLE, CREDENTIAL_MISSING, CONFIG_INVALID */
  find(name: string, env: string, owner: SecretOwner): Promise<FoundSecret | undefined>;
}

interface Kept {
  readonly value: Promise<string | undefined>;
  until: number;
}

/**
 * One source out of several. Callers that ask at the same time share one answer; what is missing, or failed, is asked
 * for again the next time.
 *
 * @param cacheMs how long a value stays; a changed one is used after that, without a restart
 * @param now a monotonic clock in ms
 */
export function cachedSecrets(
  origins: readonly SecretOrigin[],
  cacheMs: number,
  now: () => number = () => performance.now(),
): SecretSource {
  const kept = new Map<string, Kept>();
  const ask = async (key: string, name: string, env: string, owner: SecretOwner): Promise<string | undefined> => {
    let last: string | undefined;
    for (const origin of origins) {
      const found = await origin.find(name, env, owner);
      last = found?.value ?? last;
      if (!found?.value) continue; // an empty one counts where no other source has a value
      const entry = kept.get(key);
      if (entry) entry.until = now() + Math.min(cacheMs, found.goodForMs ?? cacheMs);
      return found.value;
    }
    kept.delete(key);
    return last;
  };
  return {
    read(name, env, owner = {}) {
      const key = JSON.stringify([name, env, owner.tenant ?? null, owner.user ?? null]);
      const known = kept.get(key);
      if (known && now() < known.until) return known.value;
      kept.delete(key);
      if (kept.size >= MAX_CACHED_SECRETS) forgetFirst(kept);
      let settle: (value: Promise<string | undefined>) => void = () => undefined;
      const value = new Promise<string | undefined>((resolve) => (settle = resolve));
      kept.set(key, { value, until: Infinity });
      settle(ask(key, name, env, owner));
      value.catch(() => kept.delete(key));
      return value;
    },
  };
}

function forgetFirst(kept: Map<string, Kept>): void {
  for (const key of kept.keys()) {
    kept.delete(key);
    return;
  }
}
