/** The janitor: claims of dead workers, questions of runs that have ended, runs whose workflow is gone. */
import { beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { askQuestion } from '../../activities/ask-question.ts';
import { sweep, type WorkflowView } from '../../activities/janitor.ts';
import type { CallInfo } from '../../activities/prepared.ts';
import type { SweepResult } from '../../activities/janitor-types.ts';
import { defineTool } from '../../define/index.ts';
import type { Reconciled } from '../../define/types.ts';
import { desk, type TestRun, type TestWorker } from '../support/calls.ts';

const { db, worker } = desk();
beforeEach(async () => {
  await db().query('truncate actguard.calls, actguard.runs cascade');
});

const effects: number[] = [];
let answer: Reconciled = { kind: 'stillUnknown' };
let last = 0;
const tool = (name: string, more: object = {}) =>
  defineTool({
    name,
    description: name,
    effect: 'write',
    inputSchema: z.strictObject({ n: z.int() }),
    execute: async ({ n }) => {
      effects.push(n);
      return Promise.resolve({ n });
    },
    ...more,
  });
const tools = [
  tool('plain'),
  tool('asked', { reconcile: () => Promise.resolve(answer) }),
  tool('kept', { idempotency: { key: ({ n }: { n: number }) => `k:${n}`, receiver: { header: 'idempotency-key' } } }),
];

/** A call as a worker leaves it that is killed between claim and outcome. */
async function died(w: TestWorker, name: string, run?: TestRun): Promise<{ run: TestRun; n: number }> {
  const made = run ?? (await w.run());
  const n = (last += 1);
  await made.call(name, { n }, { call: name });
  await db().query(
    `update actguard.calls set state = 'claimed', result = null, finished_at = null,
     lease_until = clock_timestamp() - interval '21 s' where run = $1 and call = $2`,
    [made.run, name],
  );
  return { run: made, n };
}
const states: { [workflow: string]: string } = {};
const told: string[] = [];
let away = false;
const tell = (workflowId: string, call: string): Promise<void> =>
  away ? Promise.reject(new Error('Temporal is away')) : Promise.resolve(void told.push(`${workflowId}/${call}`));
const look = (w: TestWorker): Promise<SweepResult> =>
  sweep(w.shared, {
    tell,
    describe: (workflowId): Promise<WorkflowView | null> =>
      Promise.resolve(
        states[workflowId] === 'GONE' ? null : { status: states[workflowId] ?? 'RUNNING', temporalRun: 't' },
      ),
    history: () => Promise.resolve(null),
  });
const info: CallInfo = {
  workflowId: 'actguard-janitor',
  temporalRun: 'j',
  attempt: 1,
  cancelled: new AbortController().signal,
  heartbeat: () => undefined,
  tell,
};
const ask = (w: TestWorker, run: string, call: string): Promise<{ known: boolean }> =>
  askQuestion(w.shared, { run, call }, info);
const stateOf = async (run: TestRun, call: string): Promise<string> =>
  (
    await db().query<{ state: string }>('select state from actguard.calls where run = $1 and call = $2', [
      run.run,
      call,
    ])
  )[0]?.state ?? 'none';
const end = (run: TestRun): Promise<unknown> =>
  db().query(`update actguard.runs set status = 'terminated' where run = $1`, [run.run]);
const age = (what: string): Promise<unknown> =>
  db().query(`update actguard.runs set opened_at = opened_at - $1::interval`, [what]);

describe('claims of dead workers', () => {
  test('P1 EX2 one that nobody took over is unknown, with its question; one whose lease lives is left alone', async () => {
    const w = worker(tools);
    const lost = await died(w, 'plain');
    const alive = await died(w, 'plain');
    const justNow = await died(w, 'plain');
    await db().query(`update actguard.calls set lease_until = clock_timestamp() + interval '5 s' where run = $1`, [
      alive.run.run,
    ]);
    await db().query(`update actguard.calls set lease_until = clock_timestamp() - interval '5 s' where run = $1`, [
      justNow.run.run,
    ]);
    expect((await look(w)).lostClaims).toBe(1);
    expect(await Promise.all([lost, alive, justNow].map(({ run }) => stateOf(run, 'plain')))).toEqual([
      'unknown',
      'claimed',
      'claimed',
    ]);
    expect((await look(w)).lostClaims).toBe(0);
    const [question] = await db().query<{ q: object }>('select actguard.list_questions(null) as q');
    expect(question?.q).toMatchObject({
      run: lost.run.run,
      call: 'plain',
      tool: 'plain',
      needsPerson: true,
      runStatus: 'open',
    });
    // a worker that was only slow still tells what became of it
    expect((await lost.run.call('plain', { n: lost.n }, { call: 'plain', again: true })).kind).toBe('unknown');
    expect(effects.filter((n) => n === lost.n)).toHaveLength(1);
  });

  test('EX2 a read, and a pause between attempts, of a run that has ended are failed: nothing can have landed', async () => {
    const read = tool('look', { effect: 'read' });
    const w = worker([...tools, read]);
    const { run } = await died(w, 'look');
    await died(w, 'plain', run);
    await db().query(`update actguard.calls set state = 'retrying', sends = true where run = $1 and call = 'plain'`, [
      run.run,
    ]);
    expect((await look(w)).lostClaims).toBe(0); // its run lives: Temporal tries again
    await end(run);
    expect((await look(w)).lostClaims).toBe(2);
    expect([await stateOf(run, 'look'), await stateOf(run, 'plain')]).toEqual(['failed', 'failed']);
  });
});

describe('questions of runs that have ended', () => {
  test('EX5 a receiver that honours the key is sent to again, one that can be asked is asked, the third waits for a person', async () => {
    const w = worker(tools);
    const run = await w.run();
    const [plain, asked, kept] = [await died(w, 'plain', run), await died(w, 'asked', run), await died(w, 'kept', run)];
    await end(run);
    const { lostClaims, questions } = await look(w);
    expect(lostClaims).toBe(3);
    expect(questions.map((q) => q.call).sort()).toEqual(['asked', 'kept']);
    answer = { kind: 'happened', result: { n: asked.n } };
    expect(await ask(w, run.run, 'asked')).toEqual({ known: true });
    expect(await ask(w, run.run, 'kept')).toEqual({ known: true });
    expect([await stateOf(run, 'asked'), await stateOf(run, 'kept'), await stateOf(run, 'plain')]).toEqual([
      'succeeded',
      'succeeded',
      'unknown',
    ]);
    expect([asked, kept, plain].map(({ n }) => effects.filter((e) => e === n).length)).toEqual([1, 2, 1]); // `kept` under its key
    expect((await look(w)).questions).toEqual([]);
    expect(told).toEqual([]);
  });

  test('EX5 a receiver that cannot say yet is asked later; a run that lives is told what is known', async () => {
    const w = worker(tools);
    const { run, n } = await died(w, 'asked');
    await look(w);
    answer = { kind: 'stillUnknown' };
    expect(await ask(w, run.run, 'asked')).toEqual({ known: false });
    expect((await look(w)).questions).toEqual([]); // its run asks itself, for now
    await db().query(`update actguard.calls set ask_after = clock_timestamp() - interval '21 s'`);
    expect((await look(w)).questions).toMatchObject([{ run: run.run, call: 'asked' }]);
    answer = { kind: 'happened', result: { n } };
    expect(await ask(w, run.run, 'asked')).toEqual({ known: true });
    expect(told).toEqual([`actguard-run-${run.run}/asked`]);
    expect(await run.call('asked', { n }, { call: 'asked', again: true })).toMatchObject({
      kind: 'done',
      output: { n },
    });
  });

  test('EX5 P1 a question that became known while whoever found out died before telling the run: the run is told, once', async () => {
    const w = worker(tools);
    const { run, n } = await died(w, 'asked');
    const { run: ended } = await died(w, 'asked');
    await look(w);
    answer = { kind: 'happened', result: { n } };
    const dies = { ...info, tell: () => Promise.reject(new Error('the worker died')) };
    for (const r of [run, ended]) {
      await expect(askQuestion(w.shared, { run: r.run, call: 'asked' }, dies)).rejects.toThrow('died');
    }
    await end(ended);
    told.length = 0;
    await look(w);
    expect(told).toEqual([]); // it was known just now: the run may be looking already
    await db().query(`update actguard.calls set finished_at = finished_at - interval '21 s'`);
    away = true;
    await look(w);
    away = false;
    for (let round = 0; round < 2; round += 1) await look(w);
    expect(told).toEqual([`actguard-run-${run.run}/asked`]);
    // one that has looked by itself is not told
    await db().query('update actguard.calls set untold = true');
    await run.call('asked', { n }, { call: 'asked', again: true });
    await look(w);
    expect(told).toHaveLength(1);
  });

  test('EX5 arguments that were erased, a tool that is gone, a freeze: nothing is sent', async () => {
    const w = worker(tools);
    const { run, n } = await died(w, 'kept');
    await look(w);
    await db().query(`select actguard.set_freeze($1::jsonb)`, [
      JSON.stringify({ tenant: 'acme', scope: 'tool', value: 'kept', by: 'op', reason: 'odd', entries: [] }),
    ]);
    expect(await ask(w, run.run, 'kept')).toEqual({ known: false });
    await db().query('delete from actguard.freezes');
    expect(await ask(worker([tool('other')]), run.run, 'kept')).toEqual({ known: false });
    await db().query(`update actguard.entry_contents set content = '{}'`);
    expect(await ask(w, run.run, 'kept')).toEqual({ known: false });
    expect(effects.filter((e) => e === n)).toHaveLength(1);
    const [question] = await db().query<{ q: object }>('select actguard.list_questions(null) as q');
    expect(question?.q).toMatchObject({ needsPerson: true, reason: expect.stringContaining('erased') });
  });
});

describe('runs whose workflow is gone', () => {
  test('P1 is closed as terminated, with its last number; what lives stays open; each is looked at once a minute', async () => {
    const w = worker(tools);
    const [alive, killed, deleted] = [await w.run(), await w.run(), await w.run()];
    await killed.call('plain', { n: (last += 1) });
    states[`actguard-run-${killed.run}`] = 'TERMINATED';
    states[`actguard-run-${deleted.run}`] = 'GONE';
    expect((await look(w)).closedRuns).toBe(0); // opened just now
    await age('61 s');
    expect((await look(w)).closedRuns).toBe(2);
    const rows = await db().query<{ run: string; status: string; last_seq: number }>(
      'select run, status, last_seq from actguard.runs',
    );
    const of = (run: TestRun) => rows.find((r) => r.run === run.run);
    expect([of(alive)?.status, of(killed)?.status, of(deleted)?.status]).toEqual(['open', 'terminated', 'terminated']);
    expect(of(killed)?.last_seq).toBe(1);
    const [entry] = await db().query<{ body: string }>(
      `select convert_from(body, 'UTF8') as body from actguard.entries where run = $1 and kind = 'run.closed'`,
      [killed.run],
    );
    expect(JSON.parse(entry?.body ?? '{}')).toMatchObject({
      data: { status: 'terminated', lastSeq: 1, by: 'janitor', temporal: 'terminated' },
    });
    expect(await killed.call('plain', { n: (last += 1) })).toMatchObject({
      kind: 'denied',
      denial: { code: 'CONFLICT' },
    });
    states[`actguard-run-${alive.run}`] = 'TERMINATED';
    expect((await look(w)).closedRuns).toBe(0); // looked at a moment ago
  });
});
