import fc from 'fast-check';
import { expect, test } from 'vitest';
import { afterOutcome, lookAtBreaker, NEW_BREAKER, takeProbe, type BreakerState } from '../../governance/breaker.ts';
import { FAILURE_KINDS, type FailureKind } from '../../governance/errors.ts';
import { breakerKinds } from '../../governance/failure.ts';

const options = { ...breakerKinds(), maxFails: 3, resetTimeoutMs: 60_000 };

function after(
  outcomes: readonly (FailureKind | 'success')[],
  state: BreakerState = NEW_BREAKER,
  nowMs = 0,
): BreakerState {
  return outcomes.reduce((s, outcome) => afterOutcome(s, outcome, options, nowMs), state);
}

test('CB2 failOn adds one and opens at maxFails', () => {
  expect(after(['timeout', 'transport'])).toEqual({ fails: 2, openedAtMs: null, probeUntilMs: null });
  expect(after(['timeout', 'transport', 'overloaded'], NEW_BREAKER, 5)).toMatchObject({ fails: 3, openedAtMs: 5 });
});

test('CB2 success resets to zero, ignored and other kinds leave the count alone', () => {
  expect(after(['timeout', 'timeout', 'success', 'timeout', 'timeout'])).toMatchObject({ fails: 2, openedAtMs: null });
  for (const kind of FAILURE_KINDS.filter((k) => !options.failOn.includes(k))) {
    expect(after(['timeout', 'timeout', kind])).toMatchObject({ fails: 2, openedAtMs: null });
    expect(after(['timeout', 'timeout', kind, 'timeout'])).toMatchObject({ openedAtMs: 0 });
  }
});

const open = after(['timeout', 'timeout', 'timeout'], NEW_BREAKER, 1_000);

test('CB3 open until resetAt; at resetAt, inclusive, exactly one probe passes', () => {
  expect(lookAtBreaker(NEW_BREAKER, options, 0)).toEqual({ kind: 'closed' });
  expect(lookAtBreaker(open, options, 60_999)).toEqual({ kind: 'open', resetAtMs: 61_000 });
  expect(lookAtBreaker(open, options, 61_000)).toEqual({ kind: 'probe' });
  expect(lookAtBreaker(open, options, NaN).kind).toBe('open');
  const probing = takeProbe(open, 61_000, 10_000);
  expect(lookAtBreaker(probing, options, 61_000)).toEqual({ kind: 'open', resetAtMs: 71_000 });
});

test('CB3 the probe: success closes, failure reopens for the full time, a dead worker gives it back by time', () => {
  const probing = takeProbe(open, 61_000, 10_000);
  expect(afterOutcome(probing, 'success', options, 62_000, true)).toEqual(NEW_BREAKER);
  const reopened = afterOutcome(probing, 'timeout', options, 62_000, true);
  expect(lookAtBreaker(reopened, options, 121_999)).toEqual({ kind: 'open', resetAtMs: 122_000 });
  expect(lookAtBreaker(reopened, options, 122_000)).toEqual({ kind: 'probe' });
  expect(lookAtBreaker(probing, options, 71_000)).toEqual({ kind: 'probe' });
});

test('CB2 CB3 a probe with an ignored outcome changes nothing but gives the probe back', () => {
  const probing = takeProbe(open, 61_000, 10_000);
  expect(afterOutcome(probing, 'not_found', options, 62_000, true)).toEqual(open);
});

test('CB3 late outcomes of calls from before it opened neither close nor prolong it', () => {
  const probing = takeProbe(open, 61_000, 10_000);
  for (const outcome of ['success', 'timeout', 'invalid'] as const) {
    expect(afterOutcome(open, outcome, options, 30_000)).toEqual(open);
    expect(afterOutcome(probing, outcome, options, 62_000)).toEqual(probing);
  }
});

test('CB2 it is open exactly after maxFails failures without a success between', () => {
  const outcome = fc.constantFrom<FailureKind | 'success'>('success', ...FAILURE_KINDS);
  fc.assert(
    fc.property(fc.array(outcome, { maxLength: 12 }), (outcomes) => {
      let run = 0;
      let opened = false;
      for (const o of outcomes) {
        if (opened) break;
        run = o === 'success' ? 0 : run + (options.failOn.includes(o) ? 1 : 0);
        opened = run >= 3;
      }
      expect(after(outcomes).openedAtMs !== null).toBe(opened);
    }),
  );
});
