/** What the live audit compares entries with: the platform's runs, calls and approvals, and workflow histories; both ways. */
import type { Database } from '../activities/deps.ts';
import type { SeenHistory } from '../activities/history.ts';
import { type ToldCall, differencesOf } from '../governance/completeness.ts';
import { compareHistory } from '../governance/history.ts';

type Db = Pick<Database, 'query'>;
type Say = (problem: string) => void;
const PAGE = 1_000;

/** What the entries told (governance/completeness.ts). */
export interface Told {
  readonly calls: readonly ToldCall[];
  readonly runs: ReadonlyMap<string, { readonly opened: boolean; readonly reconciled: boolean }>;
}

/** Which entries were read: all that were written before `cutMs`, unless some of those still wait to be sealed. */
export interface Since {
  readonly cutMs: number;
  readonly waiting: boolean;
}

/** Calls: the same ones, in the same state. What is younger than the entries that were read is not judged. */
export async function compareCalls(db: Db, told: readonly ToldCall[], since: Since, absent: Say): Promise<void> {
  const { cutMs, waiting } = since;
  const left = new Map(told.filter((c) => c.started).map((c) => [`${c.run}/${c.call}`, c]));
  let after = { run: '', call: '' };
  for (;;) {
    const rows = await db.query<CallRow>('select * from actguard.ledger_calls($1, $2, $3, $4)', [
      after.run,
      after.call,
      PAGE,
      cutMs,
    ]);
    for (const row of rows) {
      const key = `${row.run}/${row.call}`;
      const entry = left.get(key);
      left.delete(key);
      if (row.fresh) continue;
      if (!entry) {
        if (!waiting) absent(`run ${row.run}: call ${row.call} was made, the ledger has no start of it`);
      } else if (!waiting && !row.open && stateOf(row.state) !== entry.state) {
        absent(
          `run ${row.run}: call ${row.call} is ${row.state}, the ledger says ${entry.state ?? 'nothing of its end'}`,
        );
      } else if (row.approval !== null && entry.approval !== row.approval) {
        absent(`run ${row.run}: call ${row.call} used approval ${row.approval}, the ledger does not say so`);
      }
    }
    const last = rows.at(-1);
    if (!last || rows.length < PAGE) break;
    after = last;
  }
  for (const { run, call } of left.values())
    absent(`run ${run}: call ${call} is in the ledger, the platform does not know it`);
}

interface CallRow {
  readonly run: string;
  readonly call: string;
  readonly state: string;
  readonly approval: string | null;
  readonly open: boolean;
  readonly fresh: boolean;
}

/** A model call whose worker died is paid in full: the ledger calls it failed. */
function stateOf(state: string): string {
  return state === 'lost' ? 'failed' : state;
}

/** Approvals that were used, and the calls that say so. */
export async function compareApprovals(db: Db, told: readonly ToldCall[], since: Since, absent: Say): Promise<void> {
  const { cutMs, waiting } = since;
  const left = new Map(told.flatMap((c) => (c.started && c.approval !== null ? [[c.approval, c] as const] : [])));
  for (let after = ''; ;) {
    const rows = await db.query<{ approval: string; run: string; call: string; fresh: boolean }>(
      'select * from actguard.ledger_approvals($1, $2, $3)',
      [after, PAGE, cutMs],
    );
    for (const { approval, run, call, fresh } of rows) {
      const used = left.get(approval);
      left.delete(approval);
      if (fresh) continue;
      if (used ? used.run !== run || used.call !== call : !waiting)
        absent(`run ${run}: call ${call} used approval ${approval}, the ledger has no such call`);
    }
    const last = rows.at(-1);
    if (!last || rows.length < PAGE) break;
    after = last.approval;
  }
  for (const [approval, { run, call }] of left)
    absent(`run ${run}: call ${call} says that it used approval ${approval}, the platform does not know that`);
}

/** Runs: the same ones; and their workflows' histories, where Temporal still has them. @throws when Temporal cannot be asked */
export async function compareRuns(
  db: Db,
  told: Told,
  {
    history,
    allHistories = false,
  }: {
    readonly history?: (workflowId: string, run: string) => Promise<SeenHistory | null>;
    readonly allHistories?: boolean;
  },
  since: Since,
  absent: Say,
): Promise<void> {
  const { cutMs, waiting } = since;
  const callsOf = new Map<string, ToldCall[]>();
  for (const call of told.calls) callsOf.set(call.run, [...(callsOf.get(call.run) ?? []), call]);
  const left = new Set([...told.runs].flatMap(([run, { opened }]) => (opened ? [run] : [])));
  for (let after = ''; ;) {
    const rows = await db.query<{ run: string; workflow_id: string; fresh: boolean; ended: boolean }>(
      'select * from actguard.ledger_runs($1, $2, $3)',
      [after, PAGE, cutMs],
    );
    for (const { run, workflow_id, fresh, ended } of rows) {
      const known = told.runs.get(run);
      left.delete(run);
      if (fresh) continue;
      if (!known?.opened) {
        if (!waiting) absent(`run ${run} was opened, the ledger has nothing of it`);
        continue;
      }
      if (!history || !ended || waiting || (known.reconciled && !allHistories)) continue;
      const seen = await history(workflow_id, run);
      if (seen === null) continue;
      const { notInLedger, notInHistory } = compareHistory(seen.calls, callsOf.get(run) ?? []);
      for (const problem of differencesOf(notInLedger, notInHistory)) absent(`run ${run}: ${problem}`);
    }
    const last = rows.at(-1);
    if (!last || rows.length < PAGE) break;
    after = last.run;
  }
  for (const run of left) absent(`run ${run} is in the ledger, the platform does not know it`);
}
