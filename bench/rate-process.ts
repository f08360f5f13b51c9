/**
 * One process of the rate-limit bench, over several connections until its time is up: claims one key, takes its slots as
 * a claim does, or upserts one row.
 */
import { randomUUID } from 'node:crypto';
import { claim, type ClaimRequest } from '../activities/claim.ts';
import type { Database } from '../activities/deps.ts';
import { WORKER_ROLE, connectDatabase } from '../activities/postgres.ts';
import { makeEntry } from '../governance/entry.ts';

/** What to do. */
export interface RateOrder {
  readonly url: string;
  readonly what: 'claim' | 'slot' | 'upsert';
  /** The hot key; claims carry it as their tenant, too. */
  readonly bucket: string;
  readonly maxCalls: number;
  readonly periodMs: number;
  readonly connections: number;
  readonly forMs: number;
}

/** What was done. */
export interface RateReport {
  readonly done: number;
  readonly refused: number;
}

process.once('message', (order) => {
  void work(order as RateOrder).then((report) => {
    process.send?.(report);
    process.disconnect();
  });
});

async function work(order: RateOrder): Promise<RateReport> {
  const role = order.what === 'claim' ? { role: WORKER_ROLE } : {};
  const db = connectDatabase(order.url, { max: order.connections, ...role });
  const untilMs = performance.now() + order.forMs;
  const report = { done: 0, refused: 0 };
  const one = { claim: () => claiming(db, order), slot: () => taking(db, order), upsert: () => upserting(db) }[
    order.what
  ]();
  const loop = async (): Promise<void> => {
    const next = await one();
    while (performance.now() < untilMs) {
      if (await next()) report.done += 1;
      else report.refused += 1;
    }
  };
  await Promise.all(Array.from({ length: order.connections }, loop));
  await db.end();
  return report;
}

type Once = () => Promise<boolean>;

function upserting(db: Database): () => Promise<Once> {
  const text = 'insert into public.bench_hot as hot (id, n) values (1, 1) on conflict (id) do update set n = hot.n + 1';
  return () =>
    Promise.resolve(async () => {
      await db.query(text, [], 'bench_hot');
      return true;
    });
}

function taking(db: Database, { bucket, maxCalls, periodMs }: RateOrder): () => Promise<Once> {
  const text = 'select actguard.take_slot($1, $2, actguard.ms_interval($3)) as wait';
  return () =>
    Promise.resolve(async () => {
      const [row] = await db.query<{ wait: string | null }>(text, [bucket, maxCalls, periodMs], 'bench_slot');
      return row?.wait === null;
    });
}

/** Each loop has a run of its own: what they share is the key. */
function claiming(db: Database, { bucket, maxCalls, periodMs }: RateOrder): () => Promise<Once> {
  return async () => {
    const run = randomUUID();
    const opened = { run, tenant: bucket, user: 'u', agent: 'a', mode: 'session', workflowId: run, temporalRun: 't', grant: {}, entries: [] }; // prettier-ignore
    await db.query('select actguard.open_run($1::jsonb)', [JSON.stringify(opened)]);
    let seq = 0;
    return async () => {
      seq += 1;
      const answer = await claim(db, requestOf(run, bucket, seq, { bucket, maxCalls, periodMs }));
      if (answer.kind !== 'claimed' && answer.kind !== 'rate') throw new Error(`the claim answered ${answer.kind}`);
      return answer.kind === 'claimed';
    };
  };
}

function requestOf(run: string, tenant: string, seq: number, rate: NonNullable<ClaimRequest['rate']>): ClaimRequest {
  const call = `c${seq}`;
  const entry = makeEntry({ kind: 'call.started', tenant, run, key: `c:${seq}:started`, seq, call, atMs: Date.now(), data: { tool: 'bench' } }); // prettier-ignore
  return {
    run,
    temporalRun: 't',
    continuedFrom: null,
    tenant,
    call,
    seq,
    tool: 'bench',
    effect: 'write',
    argsDigest: call,
    token: randomUUID(),
    leaseMs: 10_000,
    settlesWithinMs: 0,
    key: { hash: `${run}:${call}`, scope: run, onDuplicate: 'return' },
    keyTtlMs: null,
    receiver: null,
    rate,
    breaker: null,
    approval: null,
    policy: null,
    reserved: { usdMicros: 0, tokens: 0, calls: 1 },
    label: null,
    after: null,
    before: [],
    entries: [entry],
  };
}
