/** What a model is saying now, for `run.events()`: asked for with each look, and with it the worker learns that somebody reads along. */
import type { Database } from '../activities/deps.ts';
import { WATCH_MS } from '../governance/limits.ts';

/** More of one call's text. */
export interface Said {
  readonly call: string;
  readonly text: string;
}

/** Follows one run: every piece of a call's text once, and at its end what was not heard of it. */
export class LiveReader {
  readonly #db: Database;
  readonly #run: string;
  /** What was passed on of calls that are under way. */
  readonly #heard = new Map<string, string>();
  readonly #ended = new Set<string>();

  constructor(db: Database, run: string) {
    this.#db = db;
    this.#run = run;
  }

  /** What is new. It is a view: where it cannot be read, the text comes in full with its entry. */
  async look(): Promise<readonly Said[]> {
    // Postgres counts characters, not halves of them
    const seen = Object.fromEntries([...this.#heard].map(([call, text]) => [call, [...text].length]));
    try {
      const [row] = await this.#db.query<{ said: readonly Said[] }>('select actguard.watch_run($1::jsonb) as said', [
        JSON.stringify({ run: this.#run, seen, untilMs: WATCH_MS }),
      ]);
      return row?.said ?? [];
    } catch {
      return [];
    }
  }

  /** What of it is to be passed on: nothing of a call that has ended meanwhile. */
  hear(said: readonly Said[]): readonly Said[] {
    const fresh = said.filter(({ call }) => !this.#ended.has(call));
    for (const { call, text } of fresh) this.#heard.set(call, (this.#heard.get(call) ?? '') + text);
    return fresh;
  }

  /** The call has ended with this text: what was not passed on of it. */
  end({ call, text }: Said): readonly Said[] {
    const heard = this.#heard.get(call) ?? '';
    this.#heard.delete(call);
    this.#ended.add(call);
    return text.startsWith(heard) && text.length > heard.length ? [{ call, text: text.slice(heard.length) }] : [];
  }
}
