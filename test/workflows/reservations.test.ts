import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { ulid } from 'ulid';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ModelOutcome, ReserveModelInput, SettleModelInput } from '../../activities/reservation-types.ts';
import type { RunResult } from '../../governance/call.ts';
import {
  MAX_OPEN_RESERVATIONS,
  RESERVATION_LEASE_MS,
  RESERVE_WAIT_MS,
  SESSION_IDLE_MS,
} from '../../governance/limits.ts';
import {
  callUpdate,
  closeSignal,
  reserveUpdate,
  settleUpdate,
  stateQuery,
  type ReserveAsked,
  type ReserveResult,
  type RunState,
  type SessionInput,
  type SettleResult,
} from '../../workflows/messages.ts';
import { workflowIdOf } from '../../workflows/ids.ts';
import { keepHistory } from '../support/histories.ts';
import { PRICE, runInput, says, withScript, type Script, type World } from '../support/scripted.ts';
import { timeSkippingEnv } from '../support/temporal.ts';

const SECOND = 1_000;
const usage = (inputTokens: number, outputTokens: number): ModelOutcome => ({
  kind: 'used',
  usage: { inputTokens, outputTokens, cachedInputTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 },
});
/** With framing: 100 input tokens and 20 of output, a micro-dollar each. */
const SMALL = { model: 'openai/m', promptBytes: 20, messages: 1, maxOutputTokens: 20 };
const WORST = 120;

// time is global to its server, and runs on after a result: each test has its own
let env: TestWorkflowEnvironment;
beforeEach(async () => {
  env = await timeSkippingEnv();
});
afterEach(() => env?.teardown());

interface Opened {
  readonly handle: WorkflowHandle;
  readonly world: World;
  readonly reserved: ReserveModelInput[];
  readonly settled: SettleModelInput[];
  readonly reserve: (callId: string, more?: Partial<ReserveAsked>) => Promise<ReserveResult>;
  readonly settle: (callId: string, outcome?: ModelOutcome) => Promise<SettleResult>;
  readonly state: () => Promise<RunState>;
}

function withSession(
  script: Partial<Script>,
  work: (s: Opened) => Promise<void>,
  more: Partial<SessionInput> = {},
): Promise<void> {
  const [reserved, settled]: [ReserveModelInput[], SettleModelInput[]] = [[], []];
  const { reservations = {}, ...rest } = script;
  const watched: NonNullable<Script['reservations']> = {
    ...reservations,
    reserveModel: (input) => {
      reserved.push(input);
      return reservations.reserveModel?.(input) ?? Promise.resolve({ kind: 'reserved' });
    },
    settleModel: (input) => {
      settled.push(input);
      const { outcome } = input;
      const spent =
        outcome.kind === 'used'
          ? { usdMicros: outcome.usage.inputTokens, tokens: outcome.usage.inputTokens, calls: 1 }
          : outcome.kind === 'nothing'
            ? { usdMicros: 0, tokens: 0, calls: 0 }
            : input.reserved;
      return (
        reservations.settleModel?.(input) ??
        Promise.resolve({ kind: 'settled', spent, flagged: ['unknown', 'expired'].includes(outcome.kind) })
      );
    },
  };
  const all = { model: () => says('never asked'), ...rest, reservations: watched };
  return withScript(env, all, async (world, _start, taskQueue) => {
    const run = ulid();
    const handle = await env.client.workflow.start('session', {
      taskQueue,
      workflowId: workflowIdOf(run),
      args: [{ ...runInput(run), session: 's', ...more }],
    });
    await work({
      ...{ handle, world, reserved, settled },
      reserve: (callId, more = {}) =>
        handle.executeUpdate(reserveUpdate, { args: [{ v: 1, callId, ...SMALL, ...more }] }),
      settle: (callId, outcome = usage(50, 0)) =>
        handle.executeUpdate(settleUpdate, { args: [{ v: 1, callId, outcome: outcome as never }] }),
      state: () => handle.query(stateQuery),
    });
  });
}

const spentOf = async (state: () => Promise<RunState>) => {
  const { usage: used, reserved } = await state();
  return { spent: used.usdMicros, reserved: reserved.usdMicros };
};

test('P3 a model call made elsewhere is reserved at its worst case and settled by the truth, once', () =>
  withSession({ limit: { usdMicros: 1_000 } }, async ({ handle, reserve, settle, state, reserved, settled }) => {
    const granted = await reserve('a');
    expect(granted).toMatchObject({ kind: 'reserved', reserved: { usdMicros: WORST }, maxOutputTokens: 20 });
    expect(await spentOf(state)).toEqual({ spent: 0, reserved: WORST });
    expect(await reserve('a')).toEqual(granted);
    expect(await reserve('a', { promptBytes: 21 })).toMatchObject({ denial: { code: 'IDEMPOTENCY_CONFLICT' } });
    expect(await settle('a')).toMatchObject({ kind: 'settled', spent: { usdMicros: 50 }, usage: { usdMicros: 50 } });
    expect(await settle('a', usage(999, 0))).toMatchObject({ spent: { usdMicros: 50 } });
    expect(await settle('b')).toMatchObject({ denial: { code: 'NOT_FOUND' } });
    expect(await spentOf(state)).toEqual({ spent: 50, reserved: 0 });
    expect([reserved.length, settled.length]).toEqual([1, 1]);
    await handle.signal(closeSignal);
    expect(await handle.result()).toMatchObject({ status: 'stopped', usage: { usdMicros: 50, calls: 1 } });
    await keepHistory('session-reservations', handle);
  }));

test('BU2 BU3 five at once against a budget for two: exactly two are reserved; the cap is lowered to what is left', () =>
  withSession({ limit: { usdMicros: 2 * WORST } }, async ({ reserve, settle, state }) => {
    const answers = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((id) => reserve(id)));
    const kinds = answers.map((a) => (a.kind === 'denied' ? a.denial.code : a.kind)).sort();
    expect(kinds).toEqual([...Array<string>(3).fill('BUDGET_EXCEEDED'), 'reserved', 'reserved']);
    expect(await spentOf(state)).toEqual({ spent: 0, reserved: 2 * WORST });
    const first = answers.find((a) => a.kind === 'reserved');
    await settle(first?.callId ?? '', { kind: 'nothing' });
    expect(await reserve('f', { maxOutputTokens: 500 })).toMatchObject({ kind: 'reserved', maxOutputTokens: 20 });
  }));

test('BU5 a caller that vanishes pays its reservation when its lease ends; its late word changes nothing', () =>
  withSession({ limit: { usdMicros: 1_000 } }, async ({ handle, reserve, settle, state, settled }) => {
    await reserve('gone');
    await env.sleep(RESERVATION_LEASE_MS / 2);
    await reserve('lives');
    expect(await spentOf(state)).toEqual({ spent: 0, reserved: 2 * WORST });
    await env.sleep(RESERVATION_LEASE_MS / 2 + SECOND);
    expect(await spentOf(state)).toEqual({ spent: WORST, reserved: WORST });
    expect(settled.map((s) => [s.call, s.outcome.kind])).toEqual([['model gone', 'expired']]);
    expect(await settle('gone')).toMatchObject({ kind: 'late', spent: { usdMicros: WORST }, flagged: true });
    await settle('lives');
    expect(await spentOf(state)).toEqual({ spent: WORST + 50, reserved: 0 });
    const { events } = await handle.fetchHistory();
    // the idle end, the first lease, the rest of the second, …
    expect(events?.filter((e) => e.timerStartedEventAttributes).length).toBeLessThanOrEqual(4);
  }));

test('a closed session waits for what is settled, and ends when the rest has expired', () =>
  withSession({ limit: { usdMicros: 1_000 } }, async ({ handle, reserve, settle, world }) => {
    await reserve('settles');
    await reserve('vanishes');
    await handle.signal(closeSignal);
    expect(await reserve('late')).toMatchObject({ denial: { code: 'CONFLICT' } });
    expect(await settle('settles')).toMatchObject({ kind: 'settled' });
    expect(world.records.some((r) => r.closed !== null)).toBe(false);
    const { usage: used } = (await handle.result()) as RunResult;
    expect(used.usdMicros).toBe(WORST + 50);
    expect(world.records.at(-1)?.closed).toEqual({ status: 'stopped', lastSeq: 2 });
  }));

test('D3 one callId is one call: a reservation and a tool call never share it', () =>
  withSession({}, async ({ handle, reserve }) => {
    const call = (callId: string) =>
      handle.executeUpdate(callUpdate, { args: [{ v: 1, callId, tool: 'pay', args: { to: 'bob' } }] });
    await reserve('a');
    expect(await call('a')).toMatchObject({ denial: { code: 'IDEMPOTENCY_CONFLICT' } });
    expect((await call('b')).kind).toBe('done');
    expect(await reserve('b')).toMatchObject({ denial: { code: 'IDEMPOTENCY_CONFLICT' } });
  }));

test('BU2 where only others’ reservations are in the way it waits, holds nothing, and keeps its number; not for ever', () => {
  const denial = {
    code: 'BUDGET_EXCEEDED',
    reason: 'others hold it',
    hint: 'h',
    details: {},
    retryAfterMs: 1_000,
  } as const;
  let busy = 2;
  const reservations: Script['reservations'] = {
    reserveModel: () => Promise.resolve(busy-- > 0 ? { kind: 'denied', denial, waitMs: 30_000 } : { kind: 'reserved' }),
  };
  return withSession({ reservations, limit: { usdMicros: 1_000 } }, async ({ reserve, state, reserved }) => {
    expect(await reserve('a')).toMatchObject({ kind: 'reserved' });
    expect(reserved.map(({ seq, call }) => [seq, call])).toEqual(Array(3).fill([1, 'model a']));
    expect(await spentOf(state)).toEqual({ spent: 0, reserved: WORST });
    busy = Infinity;
    const [refused] = await Promise.all([reserve('b'), env.sleep(2 * RESERVE_WAIT_MS)]);
    expect(refused).toMatchObject({ kind: 'denied', denial: { code: 'BUDGET_EXCEEDED', retryAfterMs: 1_000 } });
    const asked = reserved.filter(({ call }) => call === 'model b').length;
    expect(asked).toBeGreaterThan(2);
    expect(asked).toBeLessThan(8);
    expect(await spentOf(state)).toEqual({ spent: 0, reserved: WORST });
    busy = 0;
    await reserve('c');
    expect(reserved.at(-1)).toMatchObject({ seq: 3, entries: [{ kind: 'call.denied', seq: 2, call: 'model b' }] });
  });
});

test('BU3 what is declared beyond the bytes is reserved with them, carried to both activities, and checked', () =>
  withSession({ limit: { usdMicros: 1_000, tokens: 1_000 } }, async ({ reserve, settle, reserved, settled }) => {
    const declared = { usdMicros: 100, tokens: 50 };
    const granted = await reserve('a', { declared });
    expect(granted).toMatchObject({ reserved: { usdMicros: WORST + 100 + 50, tokens: WORST + 50 } });
    await settle('a');
    expect([reserved[0]?.declared, settled[0]?.declared]).toEqual([declared, declared]);
    for (const bad of [
      null,
      {},
      { usdMicros: -1, tokens: 0 },
      { usdMicros: 0, tokens: 0.5 },
      { usdMicros: 1e13, tokens: 0 },
    ])
      await expect(reserve('bad', { declared: bad as never })).rejects.toThrow();
  }));

test('BU4 a model without a price is refused; a price that rose is read anew, once', () => {
  let asked = 0;
  const stale = { code: 'BUDGET_EXCEEDED', reason: 'dearer', hint: 'h', details: { stalePrice: true } } as const;
  const reservations: Script['reservations'] = {
    priceModel: ({ model }) => {
      asked += 1;
      const price = { ...PRICE, inputMicrosPerMTok: asked === 1 ? 1 : 1_000_000 };
      return Promise.resolve({ price: model === 'openai/none' ? null : price });
    },
    reserveModel: ({ price }) =>
      Promise.resolve(price.inputMicrosPerMTok === 1 ? { kind: 'denied', denial: stale } : { kind: 'reserved' }),
  };
  return withSession({ reservations, limit: { usdMicros: 1_000 } }, async ({ reserve, state }) => {
    expect(await reserve('a')).toMatchObject({ kind: 'reserved', reserved: { usdMicros: WORST } });
    expect(await spentOf(state)).toEqual({ spent: 0, reserved: WORST });
    await reserve('b');
    expect(asked).toBe(2);
    expect(await reserve('c', { model: 'openai/none' })).toMatchObject({ denial: { code: 'PRICE_UNKNOWN' } });
  });
});

test('a reservation whose activity cannot be carried out holds nothing; a settlement then costs its reservation', () => {
  const fails = (): never => {
    throw ApplicationFailure.create({ message: 'no', type: 'FORBIDDEN', nonRetryable: true });
  };
  let failing = true;
  const reservations: Script['reservations'] = {
    reserveModel: () => (failing ? fails() : Promise.resolve({ kind: 'reserved' })),
    settleModel: fails,
  };
  return withSession({ reservations, limit: { usdMicros: 1_000 } }, async ({ reserve, settle, state }) => {
    await expect(reserve('a')).rejects.toThrow();
    expect(await spentOf(state)).toEqual({ spent: 0, reserved: 0 });
    failing = false;
    await reserve('a');
    expect(await settle('a')).toMatchObject({ kind: 'late', spent: { usdMicros: WORST }, flagged: true });
    expect(await spentOf(state)).toEqual({ spent: WORST, reserved: 0 });
  });
});

test('what cannot be read is refused and leaves no event; more than may be open is LIMIT_EXCEEDED', () =>
  withSession({}, async ({ handle, reserve, settle, reserved }) => {
    await reserve('warm');
    const accepted = async () =>
      (await handle.fetchHistory()).events?.filter((e) => e.workflowExecutionUpdateAcceptedEventAttributes).length;
    for (const bad of [{ model: 'gpt-4o' }, { promptBytes: -1 }, { messages: 0.5 }, { maxOutputTokens: 0 }]) {
      await expect(reserve('bad', bad)).rejects.toThrow();
    }
    for (const bad of [null, { kind: 'free' }, { kind: 'used' }, { kind: 'expired' }, usage(-1, 0), usage(1e12, 0)]) {
      await expect(settle('warm', bad as never)).rejects.toThrow();
    }
    expect(await accepted()).toBe(1);
    for (let i = 1; i < MAX_OPEN_RESERVATIONS; i += 1) await reserve(`n-${i}`);
    expect(await reserve('more')).toMatchObject({ denial: { code: 'LIMIT_EXCEEDED' } });
    expect(reserved).toHaveLength(MAX_OPEN_RESERVATIONS);
  }));

test.each([
  { idleMs: undefined, endsMs: SESSION_IDLE_MS },
  { idleMs: 3_600_000, endsMs: 3_600_000 },
])('a session without calls ends after $endsMs ms; each call begins the time anew', ({ idleMs, endsMs }) =>
  withSession(
    {},
    async ({ handle, world }) => {
      const call = (callId: string) =>
        handle.executeUpdate(callUpdate, { args: [{ v: 1, callId, tool: 'pay', args: { to: callId } }] });
      await call('a');
      await env.sleep(endsMs - 60 * SECOND);
      expect(await call('b')).toMatchObject({ kind: 'done' });
      await env.sleep(endsMs - 60 * SECOND);
      expect((await handle.describe()).status.name).toBe('RUNNING');
      expect(await handle.result()).toMatchObject({ status: 'stopped', usage: { calls: 2 } });
      expect(world.records.at(-1)?.closed).toEqual({ status: 'stopped', lastSeq: 2 });
    },
    idleMs === undefined ? {} : { idleMs },
  ),
);
