/** Workers whose clocks differ: ages and times are the database's (issue: clock skew between workers). */
import { expect, test, vi } from 'vitest';
import { z } from 'zod';
import { DatabaseClock } from '../../activities/clock.ts';
import { defineTool } from '../../define/index.ts';
import type { LiveFact } from '../../governance/call.ts';
import { desk } from '../support/calls.ts';

let calls = 0;
const HOUR_MS = 3_600_000;
const find = defineTool({
  name: 'find', description: 'Find', effect: 'read', reach: 'internal', inputSchema: z.strictObject({ id: z.string() }),
  outputSchema: z.object({ id: z.string() }), proves: { id: 'order' }, facts: { ttl: '5m' }, execute: ({ id }) => ({ id }),
}); // prettier-ignore
const refund = defineTool({
  name: 'refund', description: 'Refund', effect: 'write', inputSchema: z.strictObject({ id: z.string() }),
  requires: { id: 'order' }, execute: () => ({ ok: true }),
}); // prettier-ignore
const world = desk();
// a run is minutes old at most, and so is a fact, whatever the worker's clock says
const policies = `permit (principal, action, resource) when { context.runAgeMs < 600000 };
@id("old-fact") forbid (principal, action == Action::"refund", resource)
when { context.proofs has id && context.proofs.id.ageMs > 300000 };`;

test.each([
  ['an hour ahead', HOUR_MS],
  ['an hour behind', -HOUR_MS],
])(
  'P7 FA1 a worker whose clock is %s proves what another one takes, and no longer than it lives',
  async (_name, aheadMs) => {
    const skewed = world.worker([find, refund], { policies, aheadMs });
    const honest = world.worker([find, refund], { policies });
    const run = await skewed.run();
    const found = await run.call('find', { id: '7' });
    if (found.kind !== 'done') throw new Error(JSON.stringify(found));
    const { provedAtMs } = found;
    const [row] = await world.db().query<{ ms: string }>('select actguard.ms(clock_timestamp()) as ms');
    expect(Math.abs(provedAtMs - Number(row?.ms))).toBeLessThan(HOUR_MS / 2);
    const facts: LiveFact[] = found.facts.map(({ ttlMs, ...fact }) => ({ ...fact, provedAtMs, expiresAtMs: provedAtMs + ttlMs, call: 'c1' })); // prettier-ignore
    expect(await run.on(honest).call('refund', { id: '7' }, { facts })).toMatchObject({ kind: 'done' });
    expect(await run.call('refund', { id: '7' }, { facts, call: 'c3' })).not.toMatchObject({
      denial: { code: 'FACT_MISSING' },
    });
    const dead = facts.map((fact) => ({
      ...fact,
      provedAtMs: provedAtMs - HOUR_MS,
      expiresAtMs: provedAtMs - HOUR_MS / 2,
    }));
    for (const on of [run, run.on(honest)]) {
      expect(await on.call('refund', { id: '7' }, { facts: dead, call: `d${++calls}` })).toMatchObject({ denial: { code: 'FACT_MISSING' } }); // prettier-ignore
    }
  },
);

test.each([
  ['an hour ahead', HOUR_MS],
  ['an hour behind', -HOUR_MS],
])('CB2 CB3 a worker whose clock is %s says when a circuit closes as the database counts', async (_name, aheadMs) => {
  const name = `bank-${++calls}`;
  const pay = defineTool({
    name: 'pay', description: 'Pay', effect: 'write', inputSchema: z.strictObject({ n: z.int() }),
    circuitBreaker: { name, maxFails: 1, resetTimeout: '60s' },
    execute: () => { throw Object.assign(new Error('down'), { code: 'ECONNREFUSED' }); },
  }); // prettier-ignore
  const run = await world.worker([pay]).run();
  expect((await run.call('pay', { n: 1 })).kind).toBe('failed');
  const real = Date.now.bind(Date);
  const skewed = vi.spyOn(Date, 'now').mockImplementation(() => real() + aheadMs);
  const refused = await run.call('pay', { n: 2 }).finally(() => skewed.mockRestore());
  if (refused.kind !== 'denied') throw new Error(JSON.stringify(refused));
  expect(refused.denial.code).toBe('CIRCUIT_OPEN');
  expect(refused.denial.retryAfterMs).toBeGreaterThan(30_000);
  expect(refused.denial.retryAfterMs).toBeLessThanOrEqual(60_000);
});

test('a clock that was never compared is the worker’s own; one whose database is away keeps what it knew', async () => {
  const clock = new DatabaseClock(() => 5_000);
  expect(clock.now()).toBe(5_000);
  await clock.sync({ query: () => Promise.resolve([{ ms: '4000' }] as never) });
  expect(clock.now()).toBe(4_000);
  await expect(clock.sync({ query: () => Promise.reject(new Error('away')) })).rejects.toThrow('away');
  expect(clock.now()).toBe(4_000);
});
