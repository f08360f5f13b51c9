/**
 * `ctx.transaction`: an effect in the user's tables of the same database joins the outcome's transaction. Both are
 * committed together or not at all, so that nobody has to ask what became of it.
 */
import { ActGuardError } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import type { OutcomeAnswer } from './claim.ts';
import type { ContentDatabase, Database, OpenTransaction } from './deps.ts';
import { unwatched } from './watch-sockets.ts';

/** Runs one statement inside the transaction: values as `$1`, `$2` …; answers its rows. */
export type Sql = (
  text: string,
  values?: readonly Json[],
) => Promise<readonly { readonly [column: string]: unknown }[]>;

/** The one transaction of an attempt; opened with its first use. */
export class AttemptTransaction {
  readonly #db: Pick<Database, 'begin'>;
  #open: Promise<OpenTransaction> | null = null;
  #closed = false;

  constructor(db: Pick<Database, 'begin'>) {
    this.#db = db;
  }

  /** What the tool calls. @throws what its statements throw; DEADLINE_EXCEEDED once the call is over */
  readonly run = async <T>(work: (sql: Sql) => Promise<T>): Promise<T> => {
    if (this.#closed) throw over();
    this.#open ??= unwatched(() => this.#db.begin());
    const open = await this.#open;
    return work(async (text, values = []) => {
      if (this.#closed) throw over();
      return open.query(text, values);
    });
  };

  /** Whether the tool has used it. */
  get used(): boolean {
    return this.#open !== null;
  }

  /** No further statement of the tool; the open transaction, for the outcome; null: it was not used. */
  async close(): Promise<OpenTransaction | null> {
    this.#closed = true;
    return this.#open === null ? null : this.#open.catch(() => null);
  }

  /** Undoes everything. Never throws: a connection that is lost undoes it, too. */
  async rollback(): Promise<void> {
    const open = await this.close();
    await open?.rollback().catch(() => undefined);
  }
}

function over(): ActGuardError {
  return new ActGuardError('DEADLINE_EXCEEDED', 'this call is over: its transaction takes nothing more', {});
}

/**
 * Writes the outcome in the tool's own transaction and commits both, or neither where the outcome is not taken.
 * @throws BACKEND_UNAVAILABLE: whether it was committed stands in the call's row; else what made it impossible
 */
export async function commitWith(
  open: OpenTransaction,
  write: (db: ContentDatabase) => Promise<OutcomeAnswer>,
): Promise<OutcomeAnswer> {
  let answer: OutcomeAnswer;
  try {
    answer = await write(open);
  } catch (error) {
    await open.rollback().catch(() => undefined);
    throw error;
  }
  if (answer.kind === 'ok') await open.commit();
  else await open.rollback().catch(() => undefined);
  return answer;
}
