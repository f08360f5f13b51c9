/** A freeze with `abort` reaches model calls in flight: whoever asks the provider looks for it, as tools do by their lease. */
import { LEASE_RENEW_MS } from '../governance/limits.ts';
import type { Database } from './deps.ts';

/** A look-out for the abort of one model call. */
export interface AbortWatch {
  /** Aborted when a freeze asked for it. */
  readonly signal: AbortSignal;
  stop(): void;
}

/** Looks every LEASE_RENEW_MS, one look at a time; a database that is away aborts nothing. */
export function watchForAbort(db: Database, run: string, call: string): AbortWatch {
  const abort = new AbortController();
  let looking = false;
  const timer = setInterval(() => {
    if (looking) return;
    looking = true;
    db.query<{ aborted: boolean | null }>('select actguard.model_call_aborted($1, $2) as aborted', [run, call])
      .then(
        ([row]) => row?.aborted === true && abort.abort(),
        () => undefined,
      ) // prettier-ignore
      .finally(() => (looking = false));
  }, LEASE_RENEW_MS);
  return { signal: abort.signal, stop: () => clearInterval(timer) };
}
