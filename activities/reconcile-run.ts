/**
 * `run.reconciled`: once a run has ended, its calls are compared with the workflow's history, as long as Temporal keeps
 * it, and the history's length and digest are sealed with the answer. Done by the janitor: no call waits for it.
 */
import { makeEntry } from '../governance/entry.ts';
import { compareHistory } from '../governance/history.ts';
import { JANITOR_BATCH, RUN_CHECK_MS } from '../governance/limits.ts';
import type { Deps } from './deps.ts';
import type { WorkflowEyes } from './janitor.ts';
import { pgJson } from './pg-json.ts';

/** An ended run is compared with its history after this: its workflow has a last step to do. */
const RECONCILE_AFTER_MS = 5_000;
/** A workflow that goes on after its run (a user's own) is compared as it is then. */
const RECONCILE_WITHIN_MS = 60 * 60_000;
/** Calls that one entry names. */
const MAX_NAMED_CALLS = 50;

interface EndedRun {
  readonly run: string;
  readonly tenant: string;
  readonly workflowId: string;
  readonly endedAgoMs: number;
}

/** One round; answers how many runs were compared. What cannot be read now is looked at again. @throws BACKEND_UNAVAILABLE */
export async function reconcileRuns(deps: Pick<Deps, 'db' | 'dev' | 'log'>, eyes: WorkflowEyes): Promise<number> {
  const rows = await deps.db.query<{ r: EndedRun }>('select actguard.unreconciled_runs($1::jsonb) as r', [
    pgJson({ afterMs: RECONCILE_AFTER_MS, everyMs: RUN_CHECK_MS, limit: JANITOR_BATCH }),
  ]);
  let compared = 0;
  for (const { r: ended } of rows) {
    try {
      if (await reconcile(deps, eyes, ended)) compared += 1;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      deps.log('warn', `a run could not be compared with its history yet: ${reason}`, { run: ended.run });
    }
  }
  return compared;
}

async function reconcile(
  deps: Pick<Deps, 'db' | 'dev'>,
  eyes: WorkflowEyes,
  { run, tenant, workflowId, endedAgoMs }: EndedRun,
): Promise<boolean> {
  const seen = await eyes.history(workflowId, run);
  // the workflow ends a moment after its run; a workflow of a user's own may go on for long
  if (seen?.status === 'RUNNING' && endedAgoMs < RECONCILE_WITHIN_MS) return false;
  const told = await deps.db.query<{ call: string; started: boolean }>('select * from actguard.told_calls($1)', [run]);
  const difference = compareHistory(seen?.calls ?? [], told);
  const agrees = difference.notInLedger.length === 0 && difference.notInHistory.length === 0;
  const entries =
    seen === null
      ? []
      : [
          makeEntry({
            kind: 'run.reconciled',
            tenant,
            run,
            key: 'reconciled',
            atMs: Date.now(),
            data: {
              workflow: seen.status.toLowerCase(),
              historyLength: seen.length,
              digest: seen.digest,
              agrees,
              notInLedger: difference.notInLedger.slice(0, MAX_NAMED_CALLS),
              notInHistory: difference.notInHistory.slice(0, MAX_NAMED_CALLS),
              ...(seen.unreadable > 0 ? { unreadable: seen.unreadable } : {}),
              ...(deps.dev ? { dev: true } : {}),
            },
          }),
        ];
  const [row] = await deps.db.query<{ done: boolean }>('select actguard.reconcile_run($1::jsonb) as done', [
    pgJson({ run, entries }),
  ]);
  return row?.done === true && seen !== null;
}
