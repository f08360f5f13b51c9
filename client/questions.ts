/** Open questions: calls whose outcome nobody knows. */
import type { ContentDatabase } from '../activities/deps.ts';

/** A question as people see it. Times in milliseconds since the epoch, on the database's clock. */
export interface ListedQuestion {
  readonly run: string;
  readonly call: string;
  readonly tenant: string;
  readonly tool: string;
  readonly agent: string;
  readonly user: string;
  /** Why nobody knows. */
  readonly reason: string | null;
  readonly openedAtMs: number;
  /** How often its receiver was asked, or sent to again. */
  readonly asked: number;
  /** It is asked again by itself then; null: by nobody. */
  readonly askAfterMs: number | null;
  /** A person has to say what happened: `actguard resolve`. */
  readonly needsPerson: boolean;
  /** From here on "it did not happen" can be said. */
  readonly settledAtMs: number;
  readonly nowMs: number;
  readonly runStatus: string;
}

/** Open questions, oldest first, at most 1,000; null: of every tenant. @throws BACKEND_UNAVAILABLE */
export async function listQuestions(db: ContentDatabase, tenant: string | null): Promise<ListedQuestion[]> {
  const rows = await db.query<{ q: ListedQuestion }>('select actguard.list_questions($1) as q', [tenant]);
  return rows.map(({ q }) => ({
    ...q,
    reason: q.reason === null ? null : db.content.showText('question', q.tenant, q.reason),
  }));
}
