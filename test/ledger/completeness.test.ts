/** P1 P3 P6: completeness and budgets judged from entries alone, and histories compared with them; each beside a twin that is whole. */
import { describe, expect, test } from 'vitest';
import { checkCompleteness } from '../../governance/completeness.ts';
import { compareHistory } from '../../governance/history.ts';
import type { JsonObject } from '../../governance/json.ts';
import { checkBudgets } from '../../governance/ledger-budget.ts';

const entry = (kind: string, more: JsonObject = {}, data: JsonObject = {}): JsonObject => ({
  kind,
  run: 'r',
  tenant: 'acme',
  data,
  ...more,
});
const call = (kind: string, seq: number, data: JsonObject = {}): JsonObject =>
  entry(`call.${kind}`, { call: `c${seq}`, seq }, data);
const opened = (limit: JsonObject = {}): JsonObject => entry('run.opened', {}, { limit });
const closed = (lastSeq: number): JsonObject => entry('run.closed', {}, { lastSeq });
const granted = (seq: number, approvalId: string): JsonObject =>
  entry('approval.granted', { call: `c${seq}` }, { approvalId });
const approved = { authorization: 'approved', approval: 'a1' };

function missing(...entries: JsonObject[]): readonly string[] {
  const [light, full] = [checkCompleteness(), checkCompleteness({ keepCalls: true })];
  for (const one of entries) for (const check of [light, full]) check.entry(one);
  expect(light.end().missing).toEqual(full.end().missing);
  expect(light.end().calls.length).toBeLessThanOrEqual(full.end().calls.length);
  return light.end().missing;
}

describe('P1 P6 what is missing is named', () => {
  test.each<[string, JsonObject[], string[]]>([
    ['whole', [opened(), call('started', 1), call('succeeded', 1), closed(1)], []],
    ['whole, sealed out of order', [call('started', 2), call('started', 1), opened(), call('succeeded', 1), closed(2), call('failed', 2)], []],
    ['whole, denied and asked', [opened(), call('denied', 1), call('asked', 2), granted(2, 'a1'), call('started', 2, approved), call('succeeded', 2), closed(2)], []],
    ['whole, unknown and resolved after the end', [opened(), call('started', 1), call('unknown', 1), closed(1), call('resolved', 1, { happened: true })], []],
    ['open: the last ones may be under way', [opened(), call('started', 2)], []],
    ['its opening', [call('started', 1), call('succeeded', 1), closed(1)], ['run r: its opening is missing']],
    ['an end', [opened(), call('started', 1), closed(1)], ['run r: call c1 started and has no end']],
    ['a start', [opened(), call('succeeded', 1), closed(1)], ['run r: call c1 ended and has no start']],
    ['a number', [opened(), call('started', 1), call('succeeded', 1), closed(3)], ['run r: call number 2 is missing', 'run r: call number 3 is missing']],
    ['a yes', [opened(), call('started', 1, approved), call('succeeded', 1), closed(1)], ['run r: call c1 says approved, its yes is missing']],
    ['a yes to another call', [opened(), granted(2, 'a1'), call('denied', 2), call('started', 1, approved), call('succeeded', 1), closed(2)], ['run r: call c1 says approved, its yes is missing']],
    [
      'what the history says otherwise',
      [opened(), call('started', 1), call('succeeded', 1), closed(1), entry('run.reconciled', {}, { agrees: false, notInLedger: ['c7'], notInHistory: ['c1'] })],
      ["run r: call c7 is in the workflow's history and not in the ledger", "run r: call c1 is in the ledger and not in the workflow's history"],
    ],
    ['whole, and its history says so', [opened(), call('started', 1), call('succeeded', 1), closed(1), entry('run.reconciled', {}, { agrees: true, notInLedger: [], notInHistory: [] })], []],
  ])('%s', (_name, entries, expected) => expect(missing(...entries)).toEqual(expected)); // prettier-ignore

  test('a judgement keeps nothing of calls and runs that are whole', () => {
    const check = checkCompleteness();
    for (let run = 0; run < 1_000; run += 1) {
      const of = (e: JsonObject): JsonObject => ({ ...e, run: `r${run}` });
      for (const e of [opened(), call('started', 1), call('succeeded', 1), closed(1)]) check.entry(of(e));
    }
    expect(check.end().calls).toEqual([]);
    expect(check.end().runs.size).toBe(0);
  });
});

describe('P3 budgets add up entry by entry', () => {
  const usd = (usdMicros: number, tokens = 0): JsonObject => ({ usdMicros, tokens, calls: 1 });
  const started = (seq: number, micros: number, tokens = 0) => call('started', seq, { reserved: usd(micros, tokens) });
  const ended = (seq: number, micros: number, more: JsonObject = {}) =>
    call('succeeded', seq, { spentMicros: micros, ...more });
  test.each<[string, JsonObject[], string[]]>([
    ['exactly the limit', [opened({ usdMicros: 10 }), started(1, 6), started(2, 4), ended(1, 6), ended(2, 4)], []],
    ['given back, then taken again', [opened({ usdMicros: 10 }), started(1, 10), ended(1, 1), started(2, 9), ended(2, 9)], []],
    ['topped up', [opened({ usdMicros: 10 }), started(1, 10), ended(1, 10), entry('budget.topped-up', {}, { more: { usdMicros: 5 } }), started(2, 5)], []],
    ['no limit', [opened(), started(1, 99)], []],
    ['tokens', [opened({ tokens: 5 }), started(1, 0, 5), call('succeeded', 1, { spent: usd(0, 3) }), started(2, 0, 2)], []],
    ['above its maximum, and it says so', [opened({ usdMicros: 10 }), started(1, 10), ended(1, 12, { aboveMaximum: true })], []],
    ['a child', [opened({ usdMicros: 10 }), entry('child.started', {}, { run: 'k', reserved: usd(9) }), entry('child.ended', {}, { run: 'k', spent: usd(2) }), started(1, 8)], []],
    ['one too many at once', [opened({ usdMicros: 10 }), started(1, 6), started(2, 5)], ['run r: at call c2 its budget does not add up: 11 usdMicros of 10']],
    ['spent and started again', [opened({ usdMicros: 10 }), started(1, 6), ended(1, 6), started(2, 5)], ['run r: at call c2 its budget does not add up: 11 usdMicros of 10']],
    ['an unknown call holds its worst case', [opened({ usdMicros: 10 }), started(1, 6), call('unknown', 1, { spentMicros: 6 }), started(2, 5)], ['run r: at call c2 its budget does not add up: 11 usdMicros of 10']],
    ['tokens above', [opened({ tokens: 5 }), started(1, 0, 6)], ['run r: at call c1 its budget does not add up: 6 tokens of 5']],
    ['more than was reserved, in silence', [opened({ usdMicros: 10 }), started(1, 2), ended(1, 3)], ['run r: call c1 cost 3 usdMicros, 2 were reserved for it']],
  ])('%s', (_name, entries, expected) => {
    const check = checkBudgets();
    for (const one of entries) check.entry(one);
    expect(check.end()).toEqual(expected);
  }); // prettier-ignore
});

test('P1 P6: a history and the entries are compared both ways', () => {
  const history = [
    { call: 'c1', recorded: false },
    { call: 'c1', recorded: true },
    { call: 'c2', recorded: false }, // cancelled before a worker had it
    { call: 'c3', recorded: true },
  ];
  const started = (call: string) => ({ call, started: true });
  expect(
    compareHistory(history, [started('c1'), started('c3'), { call: 'denied in the workflow', started: false }]),
  ).toEqual({ notInLedger: [], notInHistory: [] });
  expect(compareHistory(history, [started('c1'), started('smuggled')])).toEqual({
    notInLedger: ['c3'],
    notInHistory: ['smuggled'],
  });
});
