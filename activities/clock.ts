/**
 * The database's time as a worker knows it: its own clock, corrected by what the database last said. What several workers
 * judge together (ages of facts and runs, the time that policies see) is judged by one clock, however theirs are set.
 */
import type { Database } from './deps.ts';

/** Corrected by {@link DatabaseClock.sync}; before that, the worker's own clock. */
export class DatabaseClock {
  readonly #own: () => number;
  #aheadMs = 0;

  /** @param own the worker's clock, milliseconds since the epoch */
  constructor(own: () => number = Date.now) {
    this.#own = own;
  }

  /** Compares both clocks, up to half a round trip. @throws BACKEND_UNAVAILABLE */
  async sync(db: Pick<Database, 'query'>): Promise<void> {
    const askedMs = this.#own();
    const [row] = await db.query<{ ms: string | number }>('select actguard.ms(clock_timestamp()) as ms');
    if (row) this.#aheadMs = (askedMs + this.#own()) / 2 - Number(row.ms);
  }

  /** Now, in whole milliseconds since the epoch. */
  now = (): number => Math.round(this.#own() - this.#aheadMs);
}

/** Now by the database's clock, where a worker keeps one. */
export function nowOf({ now }: { readonly now?: () => number }): number {
  return (now ?? Date.now)();
}
