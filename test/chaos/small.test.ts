/** The fault experiment, small: three workers, three receivers, faults at points of calls. `npm run chaos` is the large one. */
import { expect, test } from 'vitest';
import { planFaults } from '../../bench/chaos/faults.ts';
import { experiment } from '../../bench/chaos/experiment.ts';
import { judge } from '../../bench/chaos/judge.ts';
import { RECEIVERS } from '../../bench/chaos/config.ts';
import { POINTS } from '../../bench/chaos/proxies.ts';
import type { Database } from '../../activities/deps.ts';

test('P1 P2 P6 EX5 whatever is killed, stopped, dropped or restarted: nothing twice, nothing lost, nothing recorded wrongly', async () => {
  const report = await experiment({ seed: 3, calls: 20, faults: 6, workers: 3, limitMs: 165_000 });
  expect(report.wrong).toEqual([]);
  expect(report.result).toMatchObject({
    seed: 3,
    duplicates: 0,
    lost: 0,
    unknownWrong: 0,
    ledgerMismatches: 0,
    stuckRuns: 0,
  });
  expect(report.audit).toMatchObject({ integrity: 'valid', completeness: 'complete', waiting: 0 });
  expect(report.audit.size).toBeGreaterThan(60);
  expect(report.result.calls).toBeGreaterThanOrEqual(20);
  expect(report.result.faults).toBeGreaterThan(0);
  expect(report.questionsLeft + report.humanNotNeeded).toBe(0);
}, 400_000); // on a loaded machine the servers and workers alone need minutes

test('the plan of 200 faults strikes at every point of every receiver, and is the same for the same seed', () => {
  const plan = planFaults(200, 1, RECEIVERS);
  for (const point of POINTS) {
    for (const receiver of RECEIVERS) expect(plan.some((f) => f.point === point && f.receiver === receiver)).toBe(true);
  }
  expect(planFaults(200, 1, RECEIVERS)).toEqual(plan);
  expect(planFaults(200, 2, RECEIVERS)).not.toEqual(plan);
});

test('the judge finds what is wrong, and only that', async () => {
  const row = (order: string, state: string, kinds: string[], tool = 'payments.kept') => ({
    ...{
      run: 'r',
      call: `c${order}`,
      tool,
      state,
      order_id: order,
      refund_id: state === 'succeeded' ? 'r' : null,
      kinds: ['call.started', ...kinds],
    },
  });
  const rows = [
    row('1', 'succeeded', ['call.succeeded']),
    row('2', 'failed', ['call.failed']),
    row('3', 'unknown', ['call.unknown'], 'payments.plain'),
  ];
  const seeing = (found: object[]): Database => ({ query: () => Promise.resolve(found as never[]) }) as never;
  const book = (orderId: string) => ({ refundId: 'r', orderId });
  const fine = await judge(seeing(rows), [book('1')], new Set(['1']));
  expect(fine).toMatchObject({ duplicates: 0, lost: 0, unknown: 1, unknownWrong: 0, ledgerMismatches: 0, wrong: [] });
  const bad = await judge(
    seeing([
      ...rows,
      row('4', 'succeeded', []),
      row('5', 'succeeded', ['call.late']),
      row('6', 'unknown', ['call.unknown']),
      row('7', 'failed', ['call.failed', 'call.late', 'call.contradicted']),
      { ...row('8', 'succeeded', ['call.succeeded']), refund_id: 'another' },
    ]),
    [book('1'), book('1'), book('2'), book('4'), book('8')],
    new Set(['1']),
    2,
  );
  expect(bad).toMatchObject({ duplicates: 1, lost: 3, unknownWrong: 2, ledgerMismatches: 2, questionsLeft: 1 });
});
