import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ulid } from 'ulid';
import { desk } from '../support/calls.ts';

const { db } = desk();

const rows = async (tenant: string) =>
  db().query<{ scope: string; limits: (string | null)[]; spent: string[]; reserved: string[] }>(
    `select a.scope, a.limits, w.spent, w.reserved from actguard.accounts a join actguard.account_windows w on w.account = a.id
     where a.tenant = $1`,
    [tenant],
  );

/** Three accounts of one call, each with limits of its own. */
async function accounts(tenant: string, limits: readonly (readonly (number | null)[])[]): Promise<string[]> {
  const scopes = ['label', 'user', 'tenant'] as const;
  const ids = scopes.map((scope) => JSON.stringify([tenant, scope, 'x']));
  for (const [i, scope] of scopes.entries()) {
    await db().query(
      `insert into actguard.accounts (id, tenant, scope, value, limits, window_kind, zone) values ($1, $2, $3, 'x', $4, 'total', 'UTC')`,
      [ids[i], tenant, scope, limits[i]],
    );
  }
  return ids;
}

const amount = fc.record({ usdMicros: fc.nat(6), tokens: fc.nat(4), calls: fc.constant(1) });
const limit = fc.tuple(fc.integer({ min: 1, max: 20 }), fc.option(fc.nat(12)), fc.option(fc.nat(8)));
const step = fc.record({
  op: fc.constantFrom('reserve', 'settle', 'release'),
  amount,
  pick: fc.nat(),
  share: fc.nat(100),
});

test('P3 any order of reserving, settling and releasing, many at once: never negative, never over, all or none, nothing left over', async () => {
  await fc.assert(
    fc.asyncProperty(fc.tuple(limit, limit, limit), fc.array(step, { maxLength: 25 }), async (limits, steps) => {
      const tenant = ulid();
      const ids = await accounts(tenant, limits);
      const open: { held: unknown; amount: { usdMicros: number; tokens: number; calls: number } }[] = [];
      const total = { usdMicros: 0, tokens: 0, calls: 0 };
      const settle = async (i: number, share: number): Promise<void> => {
        const [call] = open.splice(i, 1);
        if (!call) return;
        const part = (n: number): number => Math.floor((n * share) / 100);
        const spent = {
          usdMicros: part(call.amount.usdMicros),
          tokens: part(call.amount.tokens),
          calls: share > 0 ? 1 : 0,
        };
        for (const unit of ['usdMicros', 'tokens', 'calls'] as const) total[unit] += spent[unit];
        await db().query(
          'select actguard.settle_call($1::jsonb, $2::jsonb, null, $3::jsonb) from actguard.bind_tenant($4)',
          [JSON.stringify(call.held), JSON.stringify(call.amount), JSON.stringify(spent), tenant],
        );
      };
      // three reservations at once: they meet at the same rows
      for (let i = 0; i < steps.length; i += 3) {
        await Promise.all(
          steps.slice(i, i + 3).map(async ({ op, amount, pick, share }) => {
            if (op !== 'reserve')
              return settle(open.length === 0 ? 0 : pick % open.length, op === 'settle' ? share : 0);
            const [row] = await db().query<{ a: { kind: string; held: unknown } }>(
              'select actguard.reserve_accounts($1, $2, $3::jsonb) as a from actguard.bind_tenant($4)',
              [ids, 'x', JSON.stringify(amount), tenant],
            );
            if (row?.a.kind === 'held' && row.a.held !== null) open.push({ held: row.a.held, amount });
          }),
        );
        for (const { limits, spent, reserved } of await rows(tenant)) {
          for (const unit of [0, 1, 2]) {
            const [used, held] = [Number(spent[unit]), Number(reserved[unit])];
            expect(Math.min(used, held)).toBeGreaterThanOrEqual(0);
            if (limits[unit] != null) expect(used + held).toBeLessThanOrEqual(Number(limits[unit]));
          }
        }
      }
      while (open.length > 0) await settle(0, 50);
      const counted = (await rows(tenant)).map(({ reserved, spent }) => [reserved.map(Number), spent.map(Number)]);
      for (const [reserved, spent] of counted) {
        expect(reserved).toEqual([0, 0, 0]);
        // free of money and tokens: counted only where calls are limited
        expect([spent?.[0], spent?.[1]]).toEqual([total.usdMicros, total.tokens]);
      }
    }),
    { numRuns: 30 },
  );
});

test('a day has 23 or 25 hours where clocks change, a week begins on Monday, a month at its first', async () => {
  const window = async (kind: string, zone: string, at: string) => {
    const [row] = await db().query<{ key: string; starts: Date; ends: Date }>(
      'select key, starts_at as starts, ends_at as ends from actguard.window_of($1, $2, $3::timestamptz)',
      [kind, zone, at],
    );
    return [row?.key, row?.starts.toISOString(), row?.ends.toISOString()];
  };
  expect(await window('day', 'Europe/Berlin', '2026-03-29T12:00:00Z')).toEqual([
    'day:2026-03-29@Europe/Berlin',
    '2026-03-28T23:00:00.000Z',
    '2026-03-29T22:00:00.000Z',
  ]);
  expect(await window('day', 'Europe/Berlin', '2026-10-25T00:30:00Z')).toEqual([
    'day:2026-10-25@Europe/Berlin',
    '2026-10-24T22:00:00.000Z',
    '2026-10-25T23:00:00.000Z',
  ]);
  expect(await window('week', 'Asia/Tokyo', '2026-11-22T15:00:00Z')).toEqual([
    'week:2026-11-23@Asia/Tokyo',
    '2026-11-22T15:00:00.000Z',
    '2026-11-29T15:00:00.000Z',
  ]);
  expect((await window('month', 'America/New_York', '2026-12-01T04:59:59Z'))[0]).toBe(
    'month:2026-11-01@America/New_York',
  );
});
