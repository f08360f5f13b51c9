import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeOutcome } from '../../activities/claim.ts';
import type { Burst, BurstAnswer } from '../support/claim-process.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';

let fresh: FreshDatabase;
let processes: readonly ChildProcess[];
beforeAll(async () => {
  fresh = await freshDatabase();
  const program = fileURLToPath(new URL('../support/claim-process.ts', import.meta.url));
  processes = [1, 2].map(() => fork(program, [], { execArgv: [] }));
});
afterAll(async () => {
  const ended = processes.map((child) => once(child, 'exit'));
  processes.forEach((child) => child.disconnect());
  await Promise.all(ended);
  await fresh.drop();
});

/** Every process claims so many calls at the same moment. */
async function burst(of: Omit<Burst, 'url'>): Promise<BurstAnswer[]> {
  const answers = await Promise.all(
    processes.map(async (child) => {
      const answered = once(child, 'message');
      child.send({ ...of, url: fresh.url } satisfies Burst);
      return (await answered)[0] as BurstAnswer[];
    }),
  );
  return answers.flat();
}
const kinds = (answers: readonly BurstAnswer[]): { [kind: string]: number } =>
  answers.reduce<{ [kind: string]: number }>((sum, { kind }) => ({ ...sum, [kind]: (sum[kind] ?? 0) + 1 }), {});

test('CB3 CB4 two worker processes share one breaker: of forty calls at its reset exactly one probes', async () => {
  const breaker = { key: '["acme","bank"]', resetMs: 60_000 };
  const at = { tenant: 'acme', calls: 20, breaker, rate: null };
  const settle = (probe: BurstAnswer | undefined, verdict: 'success' | 'fail') =>
    writeOutcome(fresh.db, {
      tenant: 'acme',
      run: probe?.run ?? '',
      call: 'c1',
      token: probe?.token ?? '',
      state: verdict === 'success' ? 'succeeded' : 'failed',
      result: null,
      failed: verdict === 'success' ? 0 : 1,
      keyTtlMs: null,
      breakerVerdict: verdict,
      maxFails: 3,
      resolved: null,
      entries: [],
    } as never);
  const reset = () => fresh.db.query(`update actguard.breakers set opened_at = opened_at - interval '61 s'`);

  expect(kinds(await burst(at))).toEqual({ claimed: 40 }); // closed
  await fresh.db.query(`update actguard.breakers set opened_at = clock_timestamp(), fails = 3`);
  expect(kinds(await burst(at))).toEqual({ open: 40 });
  await reset();
  const first = await burst(at);
  expect(kinds(first)).toEqual({ claimed: 1, open: 39 });
  expect(kinds(await burst(at))).toEqual({ open: 40 }); // as long as the probe lives
  await settle(first.find(({ kind }) => kind === 'claimed'), 'fail'); // prettier-ignore
  expect(kinds(await burst(at))).toEqual({ open: 40 }); // open again for the full time
  await reset();
  const second = await burst(at);
  expect(kinds(second)).toEqual({ claimed: 1, open: 39 });
  await settle(second.find(({ kind }) => kind === 'claimed'), 'success'); // prettier-ignore
  expect(kinds(await burst(at))).toEqual({ claimed: 40 });
});

test('RL2 RL3 two worker processes share one bucket: never one too many, and a refused claim leaves nothing behind', async () => {
  const rate = { bucket: 'shared', maxCalls: 7, periodMs: 3_600_000 };
  expect(kinds(await burst({ tenant: 'globex', calls: 20, breaker: null, rate }))).toEqual({ claimed: 7, rate: 33 });
  const [slots] = await fresh.db.query<{ n: number }>(`select cardinality(hits) as n from actguard.rate_slots where bucket = 'shared'`); // prettier-ignore
  const calls = await fresh.db.query(`select 1 from actguard.calls where tenant = 'globex'`);
  expect([slots?.n, calls.length]).toEqual([7, 7]);
  // one leaves the window: exactly one of forty takes its place
  await fresh.db.query(`update actguard.rate_slots set hits = array(select case when i = 1 then h - interval '1 h' else h end
    from unnest(hits) with ordinality t (h, i)) where bucket = 'shared'`); // prettier-ignore
  expect(kinds(await burst({ tenant: 'globex', calls: 20, breaker: null, rate }))).toEqual({ claimed: 1, rate: 39 });
});

test.each([
  [[0, 6], 9, 1_000],
  [[0, 6], 10, null],
  [[0, 6, 10], 11, 5_000],
  [[0, 6, 10], 16, null],
  [[6], 6, null],
  [[], 0, null],
] as [number[], number, number | null][])(
  'RL1 the database agrees: 2 in 10 s, hits at %j, asked at %i s',
  async (hits, at, wait) => {
    const [row] = await fresh.db.query<{ w: string | null }>(
      `select actguard.rate_wait(array(select to_timestamp(h) from unnest($1::float8[]) with ordinality t (h, i) order by i), 2,
       interval '10 s', to_timestamp($2)) as w`,
      [hits, at],
    );
    expect(row?.w === null ? null : Number(row?.w)).toBe(wait);
  },
);
