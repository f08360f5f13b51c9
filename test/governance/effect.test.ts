import { expect, test } from 'vitest';
import {
  afterEvent,
  askAgainMs,
  judgeFailure,
  keyHeld,
  withEarlier,
  type EffectEvent,
  type EffectState,
  type FailedAttempt,
} from '../../governance/effect.ts';
import { DEFAULT_DEFINITE_STATUSES } from '../../governance/limits.ts';
import { neverLeft } from '../../governance/never-left.ts';

const write: FailedAttempt = {
  effect: 'write',
  sent: 'other',
  status: null,
  definiteStatuses: DEFAULT_DEFINITE_STATUSES,
  nothingHappened: false,
  usedOther: false,
  stopped: false,
};

test('EX4 what fetch refuses by itself never left; the same words of somebody else say nothing', () => {
  const failed = (cause: Error): Error => new TypeError('fetch failed', { cause });
  expect(neverLeft(failed(new Error('bad port')))).toBe(true); // 127.0.0.1:1
  expect(neverLeft(failed(Object.assign(new Error('x'), { code: 'ECONNREFUSED' })))).toBe(true);
  expect(neverLeft(new Error('bad port'))).toBe(false);
  expect(neverLeft(failed(Object.assign(new Error('bad port'), { code: 'UND_ERR_SOCKET' })))).toBe(false);
  expect(neverLeft(failed(new Error('other side closed')))).toBe(false);
});

test('EX4 nothing left the machine: failed', () => {
  expect(judgeFailure({ ...write, sent: 'nothing' })).toBe('failed');
});

test('EX4 one request with a definite refusal: failed; with any other answer: unknown', () => {
  for (const status of [400, 401, 403, 404, 405, 410, 415, 422]) {
    expect(judgeFailure({ ...write, sent: 'one-answered', status })).toBe('failed');
    expect(judgeFailure({ ...write, sent: 'other', status })).toBe('unknown');
  }
  for (const status of [200, 302, 402, 406, 408, 409, 412, 423, 429, 500, 502, 503, 504, null]) {
    expect(judgeFailure({ ...write, sent: 'one-answered', status })).toBe('unknown');
  }
  expect(judgeFailure({ ...write, sent: 'one-answered', status: 409, definiteStatuses: [409] })).toBe('failed');
});

test('EX4 the tool says that nothing happened: failed', () => {
  expect(judgeFailure({ ...write, nothingHappened: true })).toBe('failed');
});

test('EX4 D8 own sockets and ctx.reveal cannot be watched: unknown', () => {
  expect(judgeFailure({ ...write, sent: 'nothing', usedOther: true })).toBe('unknown');
  expect(judgeFailure({ ...write, sent: 'one-answered', status: 404, usedOther: true })).toBe('unknown');
});

test('TO2 D8 a write that was stopped is unknown whatever it did', () => {
  expect(judgeFailure({ ...write, sent: 'nothing', nothingHappened: true, stopped: true })).toBe('unknown');
});

test('a read has no effect: it has failed', () => {
  expect(judgeFailure({ ...write, effect: 'read', stopped: true, usedOther: true })).toBe('failed');
});

test('EX2 claimed to succeeded, failed or unknown to resolved; what is known never changes', () => {
  const states: EffectState[] = ['claimed', 'retrying', 'succeeded', 'failed', 'unknown'];
  const events: EffectEvent[] = [
    'succeed',
    'fail',
    'retry',
    'lose',
    'claim-again',
    'late-success',
    'late-failure',
    'happened',
    'never-will',
  ];
  const table = Object.fromEntries(states.map((s) => [s, events.map((e) => afterEvent(s, e))]));
  expect(table).toEqual({
    claimed: ['succeeded', 'failed', 'retrying', 'unknown', 'claimed', null, null, null, null],
    retrying: [null, 'failed', null, 'unknown', 'claimed', null, null, null, null],
    succeeded: [null, null, null, null, null, null, null, null, null],
    failed: [null, null, null, null, null, null, null, null, null],
    unknown: [null, null, null, null, 'claimed', 'succeeded', 'failed', 'succeeded', 'failed'],
  });
  expect(states.filter((s) => !keyHeld(s))).toEqual(['failed']);
});

test('EX5 a certain failure after an attempt that may have landed is unknown; a success is a success', () => {
  expect(withEarlier('failed', true)).toBe('unknown');
  expect(withEarlier('failed', false)).toBe('failed');
  expect(withEarlier('succeeded', true)).toBe('succeeded');
});

test('EX5 an unknown outcome is asked for again, more and more rarely, and as soon as the answer is final', () => {
  const at = { nowMs: 0, settledAtMs: 1_000_000 };
  const pauses = [0, 1, 2, 3, 20].map((asked) => askAgainMs({ way: 'send', asked, ...at }));
  expect(pauses).toEqual([2_000, 4_000, 8_000, 16_000, 300_000]);
  expect(askAgainMs({ way: 'ask', asked: 20, ...at })).toBe(300_000);
  expect(askAgainMs({ way: 'ask', asked: 5, nowMs: 0, settledAtMs: 500 })).toBe(500);
  expect(askAgainMs({ way: 'ask', asked: 5, nowMs: 500, settledAtMs: 500 })).toBe(64_000);
  expect(askAgainMs({ way: 'none', asked: 0, ...at })).toBeNull();
});
