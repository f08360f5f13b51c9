import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BUDGET_UNITS, newBudget, ZERO, type BudgetState } from '../../governance/budget.ts';
import type { Amount, Limit } from '../../governance/call.ts';
import {
  addEntry,
  admit,
  denyHere,
  freeze,
  giveBack,
  newState,
  recorded,
  settleCall,
  thaw,
  uncharge,
  type GovernorState,
} from '../../workflows/governor-state.ts';
import { TOOL } from '../support/scripted.ts';

const DEADLINE = 10_000;
const priced = { ...TOOL, cost: { worstMicros: 4, fixed: true }, maxCallsPerRun: 2 };
const fresh = (limit: Limit = {}): GovernorState =>
  newState('r', { tenant: 'acme', user: 'alice', agent: 'desk' }, limit, DEADLINE, [priced]);

/** Admits or fails. */
function admitted(state: GovernorState): GovernorState {
  const result = admit(state, priced, 0);
  if (result.kind !== 'admitted') throw new Error(result.denial.code);
  return result.state;
}

test('O1 the first to refuse names the code: freeze, deadline, call limit, budget', () => {
  const codeOf = (state: GovernorState, nowMs: number) => {
    const result = admit(state, priced, nowMs);
    return result.kind === 'denied' ? result.denial.code : 'admitted';
  };
  const spent = { ...fresh({ usdMicros: 3 }), used: { [priced.name]: 2 } };
  expect(codeOf(freeze(spent, 'op', '', 0), DEADLINE)).toBe('FROZEN');
  expect(codeOf(spent, DEADLINE)).toBe('DEADLINE_EXCEEDED');
  expect(codeOf(spent, DEADLINE - 1)).toBe('CALLS_EXHAUSTED');
  expect(codeOf({ ...spent, used: {} }, 0)).toBe('BUDGET_EXCEEDED');
  expect(codeOf(fresh({ usdMicros: 4 }), 0)).toBe('admitted'); // D10: exactly what is left runs
});

test('O2 a refusal spends nothing, what is given back is as if it had never been', () => {
  const state = fresh({ usdMicros: 10, calls: 5 });
  const after = admitted(state);
  expect(after.budget.reserved).toEqual({ usdMicros: 4, tokens: 0, calls: 1 });
  const back = giveBack(after, priced.name, { usdMicros: 4, tokens: 0, calls: 1 });
  expect(back.budget).toEqual(state.budget);
  expect(back.used[priced.name]).toBe(0);
});

test('BU2 five parallel calls of 4 against 10: exactly two run', () => {
  let state = fresh({ usdMicros: 10 });
  let ran = 0;
  for (let i = 0; i < 5; i += 1) {
    const result = admit(state, { ...priced, maxCallsPerRun: null }, 0);
    if (result.kind === 'admitted') {
      state = result.state;
      ran += 1;
    } else
      expect(result.denial).toMatchObject({ code: 'BUDGET_EXCEEDED', details: { neededMicros: 4, reservedMicros: 8 } });
  }
  expect(ran).toBe(2);
});

test('P3 whatever is admitted, given back and settled, spend and reservations never pass the limit', () => {
  const moves = fc.array(
    fc.record({ cost: fc.nat(50), spent: fc.nat(50), ends: fc.constantFrom('run', 'refuse', 'open') }),
  );
  fc.assert(
    fc.property(moves, fc.integer({ min: 1, max: 200 }), (list, limit) => {
      let state = fresh({ usdMicros: limit });
      for (const { cost, spent, ends } of list) {
        const result = admit(state, { ...TOOL, cost: { worstMicros: cost, fixed: false } }, 0);
        if (result.kind === 'denied') continue;
        state = result.state;
        if (ends === 'refuse') state = giveBack(state, TOOL.name, result.reserved);
        if (ends === 'run') {
          state = settleCall(state, result.reserved, { ...ZERO, usdMicros: Math.min(spent, cost), calls: 1 });
        }
        expect(state.budget.spent.usdMicros + state.budget.reserved.usdMicros).toBeLessThanOrEqual(limit);
      }
    }),
  );
});

test('P3 run and labels together, in any interleaving: all or none, never over, and at the end exactly what was spent', () => {
  const labels = ['report', 'report/search', 'mail', undefined] as const;
  const step = fc.record({
    op: fc.constantFrom('reserve', 'settle', 'refuse', 'unknown', 'known'),
    ...{ label: fc.constantFrom(...labels), cost: fc.nat(9), share: fc.nat(100), pick: fc.nat() },
  });
  const limits = fc.record({ run: fc.integer({ min: 1, max: 60 }), report: fc.integer({ min: 1, max: 30 }) });
  fc.assert(
    fc.property(limits, fc.array(step, { maxLength: 60 }), ({ run, report }, steps) => {
      let state: GovernorState = {
        ...fresh({ usdMicros: run, calls: 20 }),
        labels: { report: newBudget({ usdMicros: report }), 'report/search': newBudget({ calls: 3 }) },
      };
      interface Open {
        readonly label: string | undefined;
        readonly reserved: Amount;
        readonly unknown: boolean;
      }
      const open: Open[] = [];
      const spent = { run: 0, report: 0, search: 0 };
      const count = (label: string | undefined, micros: number): void => {
        spent.run += micros;
        if (label?.startsWith('report')) spent.report += micros;
        if (label === 'report/search') spent.search += micros;
      };
      const end = ({ label, reserved, unknown }: Open, share: number): void => {
        const micros = Math.floor((reserved.usdMicros * share) / 100);
        if (unknown) {
          state = uncharge(state, reserved, label);
          count(label, -reserved.usdMicros);
        }
        state = settleCall(state, unknown ? ZERO : reserved, { ...ZERO, usdMicros: micros, calls: 1 }, label);
        count(label, micros);
      };
      for (const { op, label, cost, share, pick } of steps) {
        if (op === 'reserve') {
          const before = state;
          const result = admit(state, { ...TOOL, cost: { worstMicros: cost, fixed: false } }, 0, label);
          if (result.kind === 'admitted') {
            ({ state } = result);
            open.push({ label, reserved: result.reserved, unknown: false });
          } else expect(state).toBe(before);
        } else if (open.length > 0) {
          const [call] = open.splice(pick % open.length, 1) as [Open];
          if (op === 'settle' || op === 'known' || call.unknown) end(call, share);
          else if (op === 'refuse') state = giveBack(state, TOOL.name, call.reserved, call.label);
          else {
            state = settleCall(state, call.reserved, call.reserved, call.label);
            count(call.label, call.reserved.usdMicros);
            open.push({ ...call, unknown: true });
          }
        }
        for (const budget of [state.budget, ...Object.values(state.labels ?? {})]) {
          for (const unit of BUDGET_UNITS) {
            expect(Math.min(budget.spent[unit], budget.reserved[unit])).toBeGreaterThanOrEqual(0);
            expect(budget.spent[unit] + budget.reserved[unit]).toBeLessThanOrEqual(budget.limit[unit] ?? Infinity);
          }
        }
      }
      while (open.length > 0) end(open.pop() as Open, 50);
      const { report: r, 'report/search': q } = state.labels as { [label: string]: BudgetState };
      expect([state.budget, r, q].map((b) => b?.reserved)).toEqual([ZERO, ZERO, ZERO]);
      expect([state.budget, r, q].map((b) => b?.spent.usdMicros)).toEqual([spent.run, spent.report, spent.search]);
    }),
    { numRuns: 300 },
  );
});

test('entries are numbered without gaps and leave the state only when they are recorded', () => {
  let state = denyHere(
    fresh(),
    { call: 'c1', seq: 1, tool: 'pay' },
    { code: 'FROZEN', reason: '', hint: '', details: {} },
    5,
  );
  state = freeze(state, 'op', 'why', 6);
  state = freeze(state, 'op', 'again', 7); // frozen already: nothing new
  state = thaw(state, 'op', 'fine', 8);
  expect(state.entries.map((e) => [e.number, e.kind])).toEqual([
    [1, 'call.denied'],
    [2, 'run.frozen'],
    [3, 'run.thawed'],
  ]);
  state = addEntry(recorded(state, 2), { kind: 'budget.exhausted', atMs: 9, data: {} });
  expect(state.entries.map((e) => e.number)).toEqual([3, 4]);
});

test('the state is plain JSON: what continue-as-new carries is what it was', () => {
  const state = freeze(admitted(fresh({ usdMicros: 10, tokens: 5 })), 'op', 'why', 6);
  expect(JSON.parse(JSON.stringify(state))).toEqual(state);
});
