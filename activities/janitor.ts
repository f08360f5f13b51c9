/**
 * What the janitor looks for: claims whose worker is gone and that nobody took over, questions that nobody asks, runs
 * whose workflow is gone. It only ever turns "nobody looks" into an open question or a closed run.
 */
import { settleDeadCalls } from './accounts.ts';
import { makeEntry } from '../governance/entry.ts';
import { CLAIM_GRACE_MS, JANITOR_BATCH, RUN_CHECK_MS } from '../governance/limits.ts';
import { dueMails } from './due-mails.ts';
import type { DueQuestion, SweepResult } from './janitor-types.ts';
import type { SeenHistory } from './history.ts';
import { pgJson } from './pg-json.ts';
import { reconcileRuns } from './reconcile-run.ts';
import type { CallShared } from './prepared.ts';

/** What Temporal knows of a workflow; null: nothing. */
export interface WorkflowView {
  /** `RUNNING`, `TERMINATED`, … */
  readonly status: string;
  /** Its Temporal run. */
  readonly temporalRun: string;
}

/** Temporal, as far as the janitor needs it. */
export interface WorkflowEyes {
  /** Tells a run that more is known of one of its calls. @throws when Temporal is away */
  tell(workflowId: string, call: string): Promise<void>;
  /** The latest execution of a workflow id. @throws when Temporal cannot be asked */
  describe(workflowId: string): Promise<WorkflowView | null>;
  /** The history of a run's workflow; null: it is gone. @throws when Temporal cannot be asked */
  history(workflowId: string, run: string): Promise<SeenHistory | null>;
}

interface LostClaim {
  readonly run: string;
  readonly call: string;
  readonly seq: number;
  readonly tool: string;
  readonly tenant: string;
  readonly user: string;
  readonly agent: string;
  readonly effect: 'read' | 'write';
  readonly state: 'claimed' | 'retrying';
  readonly token: string;
  readonly mayHaveLanded: boolean;
  readonly runStatus: string;
}

interface OpenRun {
  readonly run: string;
  readonly workflowId: string;
  readonly temporalRun: string;
  readonly tenant: string;
  readonly user: string;
  readonly agent: string;
  readonly lastSeq: number;
}

/** One round. Each part is bounded; what is left comes with the next one. */
export async function sweep(shared: CallShared, eyes: WorkflowEyes): Promise<SweepResult> {
  const closedRuns = await closeLostRuns(shared, eyes);
  const { notices } = await settleDeadCalls(shared.deps);
  const lostClaims = await loseClaims(shared);
  await shared.deps.db.query('select actguard.forget_live()');
  await tellRuns(shared, eyes);
  const questions = await dueQuestions(shared);
  const reconciledRuns = await reconcileRuns(shared.deps, eyes);
  const mails = await dueMails(shared.deps);
  return { closedRuns, lostClaims, notices, questions, reconciledRuns, ...(mails.length === 0 ? {} : { mails }) };
}

async function loseClaims(shared: CallShared): Promise<number> {
  const { db } = shared.deps;
  const rows = await db.query<{ c: LostClaim }>('select actguard.lost_claims($1::jsonb) as c', [
    pgJson({ graceMs: CLAIM_GRACE_MS, limit: JANITOR_BATCH }),
  ]);
  let lost = 0;
  for (const { c: claim } of rows) {
    // an attempt without an outcome did nothing: where its run lives, Temporal's next attempt does it
    if (isTransactional(shared, claim) && claim.runStatus === 'open') continue;
    const [row] = await db.query<{ done: boolean }>('select actguard.lose_claim($1::jsonb) as done', [
      pgJson(lossOf(shared, claim)),
    ]);
    if (row?.done) lost += 1;
  }
  return lost;
}

/** Questions that became known while whoever found it out died before they told the run. */
async function tellRuns({ deps: { db } }: CallShared, eyes: WorkflowEyes): Promise<void> {
  const rows = await db.query<{ c: { run: string; call: string; workflowId: string; runStatus: string } }>(
    'select actguard.untold_calls($1::jsonb) as c',
    [pgJson({ graceMs: CLAIM_GRACE_MS, limit: JANITOR_BATCH })],
  );
  for (const { c } of rows) {
    // one that cannot be told just now keeps no other waiting
    const told = c.runStatus !== 'open' || (await eyes.tell(c.workflowId, c.call).then(yes, no));
    if (told) await db.query('select actguard.call_told($1, $2)', [c.run, c.call]);
  }
}

const [yes, no] = [() => true, () => false];

function isTransactional(shared: CallShared, { tool }: LostClaim): boolean {
  return shared.tools.get(tool)?.manifest.transactional === true;
}

function lossOf(shared: CallShared, claim: LostClaim): object {
  const { run, call, seq, tool, tenant } = claim;
  const transactional = isTransactional(shared, claim);
  const mayHaveLanded = claim.mayHaveLanded && !transactional;
  const known = shared.tools.get(tool);
  const reason = `the worker that ran ${tool} is gone, and nobody saw what became of it`;
  const askable = (known?.manifest.idempotency?.receiver ?? null) !== null || known?.manifest.canReconcile === true;
  const entry = makeEntry({
    kind: mayHaveLanded ? 'call.unknown' : 'call.failed',
    tenant,
    run,
    key: `c:${seq}:${mayHaveLanded ? 'unknown' : 'failed'}`,
    seq,
    call,
    atMs: Date.now(),
    data: { tool, user: claim.user, agent: claim.agent, by: 'janitor', ...(shared.deps.dev ? { dev: true } : {}) },
  });
  const error = { code: 'TOOL_FAILED', message: `the worker that ran ${tool} is gone`, details: { tool } };
  return {
    run,
    call,
    token: claim.token,
    from: claim.state,
    transactional,
    state: mayHaveLanded ? 'unknown' : 'failed',
    question: { reason, needsPerson: !askable, askAgainMs: askable ? 0 : null },
    result: { kind: 'failed', ...(mayHaveLanded ? {} : { error }), spentMicros: 0, bytes: 0 },
    entries: [entry],
  };
}

async function dueQuestions(shared: CallShared): Promise<DueQuestion[]> {
  const rows = await shared.deps.db.query<{ q: { run: string; call: string; tool: string } }>(
    'select actguard.due_questions($1::jsonb) as q',
    [pgJson({ graceMs: CLAIM_GRACE_MS, limit: JANITOR_BATCH })],
  );
  return rows.map(({ q: { run, call, tool } }) => ({
    run,
    call,
    timeoutMs: shared.tools.get(tool)?.manifest.timeoutMs ?? 1_000,
  }));
}

/** Runs that the database calls open and that Temporal does not run any more: terminated, timed out, deleted. */
async function closeLostRuns(shared: CallShared, eyes: WorkflowEyes): Promise<number> {
  const { db } = shared.deps;
  const rows = await db.query<{ r: OpenRun }>('select actguard.unchecked_runs($1::jsonb) as r', [
    pgJson({ everyMs: RUN_CHECK_MS, limit: JANITOR_BATCH }),
  ]);
  let closed = 0;
  for (const { r: run } of rows) {
    const seen = await eyes.describe(run.workflowId);
    if (seen?.status === 'RUNNING' || seen?.status === 'PAUSED') continue;
    const [row] = await db.query<{ done: boolean }>('select actguard.close_lost_run($1::jsonb) as done', [
      pgJson({
        run: run.run,
        temporalRun: run.temporalRun,
        status: 'terminated',
        lastSeq: run.lastSeq,
        entries: [
          makeEntry({
            kind: 'run.closed',
            tenant: run.tenant,
            run: run.run,
            key: 'closed',
            atMs: Date.now(),
            data: {
              user: run.user,
              agent: run.agent,
              status: 'terminated',
              lastSeq: run.lastSeq,
              by: 'janitor',
              temporal: seen?.status.toLowerCase() ?? 'not found',
            },
          }),
        ],
      }),
    ]);
    if (row?.done) closed += 1;
  }
  return closed;
}
