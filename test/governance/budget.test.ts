import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as budget from '../../governance/budget.ts';
import {
  BUDGET_UNITS,
  newBudget,
  parseLimit,
  release,
  reserve,
  settle,
  topUp,
  type BudgetState,
} from '../../governance/budget.ts';
import type { Amount, Limit } from '../../governance/call.ts';

type Step =
  | { readonly op: 'reserve'; readonly amount: Amount; readonly result: string }
  | { readonly op: 'settle'; readonly amount: Amount; readonly actual: Amount }
  | { readonly op: 'release'; readonly amount: Amount }
  | { readonly op: 'topUp'; readonly limit: Limit };
interface Vector {
  readonly name: string;
  readonly limit: Limit;
  readonly steps: readonly Step[];
  readonly left: Limit;
  readonly spent: Amount;
  readonly reserved: Amount;
}
const vectors = JSON.parse(readFileSync(new URL('../vectors/budget.json', import.meta.url), 'utf8')) as Vector[];

const amount = (usdMicros: number, tokens = 0, calls = 0): Amount => ({ usdMicros, tokens, calls });

function apply(state: BudgetState, step: Step): BudgetState {
  if (step.op === 'settle') return settle(state, step.amount, step.actual);
  if (step.op === 'release') return release(state, step.amount);
  if (step.op === 'topUp') return topUp(state, step.limit);
  const answer = reserve(state, step.amount);
  expect(answer.kind === 'ok' ? 'ok' : answer.unit).toBe(step.result);
  return answer.kind === 'ok' ? answer.state : state;
}

test.each(vectors)('vector: $name', ({ limit, steps, left, spent, reserved }) => {
  const end = steps.reduce(apply, newBudget(limit));
  expect(budget.left(end)).toEqual(left);
  expect(end).toMatchObject({ spent, reserved });
});

test('BU2 a refusal says what is left of which unit and changes nothing', () => {
  const state: BudgetState = { limit: { usdMicros: 10 }, spent: amount(3), reserved: amount(4) };
  const answer = reserve(state, amount(4));
  expect(answer).toEqual({ kind: 'exceeded', unit: 'usdMicros', limit: 10, spent: 3, reserved: 4, needed: 4 });
  expect(state).toEqual({ limit: { usdMicros: 10 }, spent: amount(3), reserved: amount(4) });
});

test('BU1 at the limit is out', () => {
  expect(budget.exhaustedUnit({ limit: { usdMicros: 10, tokens: 5 }, spent: amount(9, 5), reserved: amount(0) })).toBe(
    'tokens',
  );
  expect(budget.exhaustedUnit({ limit: { usdMicros: 10 }, spent: amount(9), reserved: amount(0) })).toBeNull();
  expect(budget.exhaustedUnit({ limit: { usdMicros: 10 }, spent: amount(9), reserved: amount(1) })).toBe('usdMicros');
  expect(budget.exhaustedUnit(newBudget({}))).toBeNull();
});

test('BU6 a budget that cannot be read is exhausted', () => {
  for (const state of [
    { limit: { usdMicros: NaN }, spent: amount(0), reserved: amount(0) },
    { limit: { usdMicros: 10 }, spent: amount(NaN), reserved: amount(0) },
    { limit: { usdMicros: null as never }, spent: amount(0), reserved: amount(0) },
  ]) {
    expect(reserve(state, amount(1)).kind).toBe('exceeded');
    expect(budget.left(state)).toEqual({ usdMicros: 0 });
  }
});

test('P7 amounts that are no whole numbers from 0 are refused', () => {
  for (const bad of [-1, NaN, 0.5, Infinity, '1' as never]) {
    expect(() => reserve(newBudget({}), amount(bad))).toThrow('whole number');
    expect(() => settle(newBudget({}), amount(0), amount(bad))).toThrow('whole number');
  }
});

test('a reservation is given back once: twice is refused, nothing is lost', () => {
  const reserved = reserve(newBudget({ usdMicros: 10 }), amount(4));
  const state = reserved.kind === 'ok' ? reserved.state : newBudget({});
  const back = release(state, amount(4));
  expect(back).toEqual(newBudget({ usdMicros: 10 }));
  expect(() => release(back, amount(4))).toThrow(expect.objectContaining({ code: 'CONFLICT' }));
});

describe('P3 BU2 any interleaving', () => {
  const small = fc.record({ usdMicros: fc.nat(6), tokens: fc.nat(6), calls: fc.nat(1) });
  const step = fc.record({
    op: fc.constantFrom('reserve', 'settle', 'release', 'topUp'),
    needed: small,
    pick: fc.nat(),
    share: fc.nat(100),
  });
  const limit = fc.record({ usdMicros: fc.integer({ min: 1, max: 30 }), tokens: fc.integer({ min: 1, max: 30 }), calls: fc.integer({ min: 1, max: 9 }) }, { requiredKeys: [] }); // prettier-ignore

  test('spent + reserved never passes a limit, nothing is negative, the sums are exact', () => {
    fc.assert(
      fc.property(limit, fc.array(step, { maxLength: 80 }), (start, steps) => {
        let state = newBudget(start);
        const open: Amount[] = [];
        let spent = budget.ZERO;
        for (const { op, needed, pick, share } of steps) {
          if (op === 'topUp') {
            state = topUp(state, { usdMicros: 1 + (share % 3) });
          } else if (op === 'reserve') {
            const answer = reserve(state, needed);
            const over = BUDGET_UNITS.find(
              (u) => needed[u] > 0 && state.spent[u] + state.reserved[u] + needed[u] > (state.limit[u] ?? Infinity),
            );
            expect(answer.kind === 'ok' ? undefined : answer.unit).toBe(over);
            if (answer.kind === 'ok') open.push(needed);
            if (answer.kind === 'ok') state = answer.state;
          } else if (open.length > 0) {
            const [held = budget.ZERO] = open.splice(pick % open.length, 1);
            const part = (n: number): number => (op === 'settle' ? Math.floor((n * share) / 100) : 0);
            const actual = { usdMicros: part(held.usdMicros), tokens: part(held.tokens), calls: part(held.calls) };
            state = op === 'settle' ? settle(state, held, actual) : release(state, held);
            spent = budget.addAmounts(spent, actual);
          }
          expect(state.spent).toEqual(spent);
          expect(state.reserved).toEqual(open.reduce(budget.addAmounts, budget.ZERO));
          const rest = budget.left(state);
          for (const u of BUDGET_UNITS) {
            const cap = state.limit[u];
            expect(rest[u]).toBe(cap === undefined ? undefined : cap - state.spent[u] - state.reserved[u]);
            expect(rest[u] ?? 0).toBeGreaterThanOrEqual(0);
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('BU1 limits', () => {
  test('as written, in micro-dollars', () => {
    expect(parseLimit({ usd: 0.25, tokens: 10_000 })).toEqual({ usdMicros: 250_000, tokens: 10_000 });
    expect(parseLimit({ usd: '0.25' })).toEqual({ usdMicros: 250_000 });
    expect(parseLimit({ calls: 3 })).toEqual({ calls: 3 });
  });

  test.each([
    {},
    { usd: 0 },
    { usd: -1 },
    { usd: 'lots' },
    { usd: NaN },
    { tokens: 0 },
    { tokens: 1.5 },
    { calls: -1 },
    { calls: '3' },
  ])('a budget of %o is refused', (written) => {
    expect(() => parseLimit(written as never)).toThrow(expect.objectContaining({ code: 'ARGUMENTS_INVALID' }));
  });

  test('the tighter of two, unit by unit', () => {
    expect(budget.tighterLimit({ usdMicros: 5, tokens: 9 }, { usdMicros: 7, calls: 2 })).toEqual({
      usdMicros: 5,
      tokens: 9,
      calls: 2,
    });
    expect(budget.tighterLimit({}, {})).toEqual({});
  });

  test('BU6 a limit that cannot be read is the tightest', () => {
    expect(budget.tighterLimit({ usdMicros: null as never }, { usdMicros: 5 })).toEqual({ usdMicros: 0 });
    expect(reserve(newBudget(budget.tighterLimit({ usdMicros: NaN }, {})), amount(1)).kind).toBe('exceeded');
  });

  test('a top-up of nothing, less than nothing or text is refused', () => {
    for (const bad of [0, -5, NaN, '5']) {
      expect(() => topUp(newBudget({ usdMicros: 5 }), { usdMicros: bad as number })).toThrow('not a budget');
    }
    expect(topUp(newBudget({ usdMicros: 5 }), { usdMicros: 2 }).limit).toEqual({ usdMicros: 7 });
  });
});
