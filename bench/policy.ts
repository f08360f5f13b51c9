/**
 * What deciding costs, beside preparsed Cedar alone, and a rate limit's hot key, taken by two processes, beside a bare
 * upsert of one row. Overruns: claims that found their window full; there has to be none.
 */
import { fork } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { preparsePolicySet, preparseSchema, statefulIsAuthorized } from '@cedar-policy/cedar-wasm/nodejs';
import { z } from 'zod';
import { migrate } from '../activities/migrate.ts';
import { loadPolicies } from '../activities/policy-load.ts';
import { policyTexts } from '../activities/policy-texts.ts';
import { connectDatabase } from '../activities/postgres.ts';
import type { Database, PolicyRequest } from '../activities/deps.ts';
import { defineTool } from '../define/index.ts';
import { freePort } from '../worker/ports.ts';
import { startPostgres } from '../worker/postgres-server.ts';
import { benchProvenance } from './provenance.ts';
import type { RateOrder, RateReport } from './rate-process.ts';
import { median, quantile, say } from './stack.ts';

const POLICIES = 50;
const DECISIONS = 3_000;
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 3);
const ROUND_MS = 3_000;
/** Processes, and connections of each. */
const PROCESSES = 2;
const CONNECTIONS = 8;
/** A limit that is not reached, in a window that always holds a good hundred hits. */
const ROOMY = { maxCalls: 1_000, periodMs: 250 };
/** The window whose overruns are looked for: small, so that it is full most of the time. */
const TIGHT = { maxCalls: 20, periodMs: 100 };

/** Times in milliseconds. Cedar alone: the same requests, preparsed, with nothing of ours around it. */
export interface PolicyResult {
  readonly decisionMsP50: number;
  readonly decisionMsP99: number;
  readonly cedarMsP50: number;
  readonly cedarMsP99: number;
  /** Slots of one hot key as a claim takes them, and upserts of one hot row: one statement each, over two processes. */
  readonly rateLimitPerSecond: number;
  readonly rateLimitBarePerSecond: number;
  readonly rateLimitRatio: number;
  /** Whole claims that share the key: also a call, its effect key and its entry. */
  readonly rateLimitClaimsPerSecond: number;
  readonly rateLimitOverruns: number;
  /** How many claims were looked at for that. */
  readonly rateLimitClaims: number;
}

/** Runs all of it; about half a minute. */
export async function benchPolicy(): Promise<PolicyResult & { readonly provenanceMsP50: number }> {
  say(`deciding ${DECISIONS} calls under ${POLICIES} policies`);
  const decisions = benchDecisions();
  const rates = await benchRates();
  return { ...decisions, ...rates, ...(await benchProvenance()) };
}

const refund = defineTool({
  name: 'payments.refund',
  description: 'Refund',
  effect: 'write',
  inputSchema: z.strictObject({ orderId: z.string(), amountCents: z.int(), note: z.string() }),
  execute: () => ({}),
}).manifest;

function benchDecisions() {
  const text = policySet();
  const files = [{ name: 'bench.cedar', text }];
  const engine = loadPolicies({ files, tools: [refund], agents: ['desk'] });
  const request = (n: number): PolicyRequest => ({
    principal: { tenant: 'acme', user: `user-${n % 7}`, agent: 'desk' },
    run: '01J00000000000000000000000',
    tool: refund,
    args: { orderId: String(1_000 + n), amountCents: n % 9_000, note: 'x'.repeat(150) },
    facts: [{ kind: 'order', value: String(1_000 + n) }],
    left: { usdMicros: 400_000, calls: 20 },
    callsSoFar: n % 10,
    nowMs: Date.UTC(2026, 10, 24, 12, 0, n % 60),
    approved: [],
  });
  const kept = Array.from({ length: 200 }, (_, n) => engine.decide(request(n)).request);
  const name = 'bench-alone';
  const schema = preparseSchema(name, engine.schema);
  const policies = preparsePolicySet(name, {
    staticPolicies: Object.fromEntries(policyTexts(files).map((policy) => [policy.id, policy.text])),
  });
  if (schema.type !== 'success' || policies.type !== 'success') throw new Error('the bench set does not preparse');
  const ours: number[] = [];
  const alone: number[] = [];
  for (let n = 0; n < DECISIONS; n += 1) {
    const asked = request(n);
    ours.push(timed(() => engine.decide(asked)));
    const call = { ...kept[n % kept.length], preparsedSchemaName: name, preparsedPolicySetId: name };
    alone.push(timed(() => statefulIsAuthorized({ ...call, validateRequest: true } as never)));
  }
  const warm = (times: readonly number[]): number[] => times.slice(DECISIONS / 10);
  return {
    decisionMsP50: round(quantile(warm(ours), 0.5)),
    decisionMsP99: round(quantile(warm(ours), 0.99)),
    cedarMsP50: round(quantile(warm(alone), 0.5)),
    cedarMsP99: round(quantile(warm(alone), 0.99)),
  };
}

function policySet(): string {
  const action = 'action == Action::"payments.refund"';
  const gates = Array.from(
    { length: 5 },
    (_, i) => `@id("g${i}") @gate("approval") forbid (principal, ${action}, resource)
when { context.args.amountCents > ${10_000 + i} } unless { context.approved.contains(Gate::"g${i}") };`,
  );
  const forbids = Array.from(
    { length: POLICIES - 6 },
    (_, i) => `@id("f${i}") forbid (principal == User::"mallory-${i}", ${action}, resource)
when { context.args.orderId == "no-${i}" && context.callsSoFar > ${i} };`,
  );
  return ['@id("all") permit (principal, action, resource);', ...gates, ...forbids].join('\n');
}

async function benchRates() {
  const folder = mkdtempSync(join(tmpdir(), 'actguard-bench-'));
  chmodSync(folder, 0o755); // Postgres runs as another user when we are root
  say('starting Postgres');
  const postgres = await startPostgres({
    dataDirectory: join(folder, 'postgres'),
    port: await freePort(),
    password: 'bench-only',
    logFile: join(folder, 'postgres.log'),
    database: 'actguard',
    durable: true,
  });
  try {
    await migrate(postgres.url);
    const db = connectDatabase(postgres.url, { max: 2 });
    try {
      await db.query('create table public.bench_hot (id int primary key, n bigint not null)');
      return await measureRates(postgres.url, db);
    } finally {
      await db.end();
    }
  } finally {
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measureRates(url: string, db: Database) {
  const bare: number[] = [];
  const taken: number[] = [];
  const claimed: number[] = [];
  for (let i = 0; i <= ROUNDS; i += 1) {
    say(i === 0 ? 'warming up' : `round ${i} of ${ROUNDS}`);
    const upserts = await inProcesses({ url, what: 'upsert', bucket: 'hot', maxCalls: 0, periodMs: 0 });
    const slots = await inProcesses({ url, what: 'slot', bucket: `slots-${i}`, ...ROOMY });
    const claims = await inProcesses({ url, what: 'claim', bucket: `claims-${i}`, ...ROOMY });
    if (i === 0) continue;
    bare.push(upserts.done);
    taken.push(slots.done);
    claimed.push(claims.done);
  }
  say('looking for overruns');
  // the instants that count, as the database saw them
  await db.query('create table public.bench_hits (at timestamptz not null)');
  await db.query(`create function public.bench_hit() returns trigger language plpgsql security definer as $$ begin
    insert into public.bench_hits values (new.hits[cardinality(new.hits)]); return null; end $$`);
  await db.query(
    'create trigger bench_hit after update on actguard.rate_slots for each row execute function public.bench_hit()',
  );
  const tight = await inProcesses({ url, what: 'claim', bucket: 'tight', ...TIGHT });
  const [found] = await db.query<{ claims: number; overruns: number }>(
    `select count(*)::int as claims, count(*) filter (where (select count(*) from public.bench_hits other
       where other.at > h.at - make_interval(secs => $1::float8) and other.at <= h.at) > $2)::int as overruns from public.bench_hits h`,
    [TIGHT.periodMs / 1_000, TIGHT.maxCalls],
  );
  if (tight.refused === 0) throw new Error('the tight limit was never reached: the overruns say nothing');
  const perSecond = (counts: readonly number[]): number => Math.round((median(counts) * 1_000) / ROUND_MS);
  return {
    rateLimitPerSecond: perSecond(taken),
    rateLimitBarePerSecond: perSecond(bare),
    rateLimitRatio: round(median(taken) / median(bare)),
    rateLimitClaimsPerSecond: perSecond(claimed),
    rateLimitOverruns: found?.overruns ?? -1,
    rateLimitClaims: found?.claims ?? 0,
  };
}

/** Two processes at the same time; the sum of what they did. */
async function inProcesses(order: Omit<RateOrder, 'connections' | 'forMs'>): Promise<RateReport> {
  const reports = await Promise.all(
    Array.from(
      { length: PROCESSES },
      () =>
        new Promise<RateReport>((resolve, reject) => {
          const child = fork(fileURLToPath(new URL('./rate-process.ts', import.meta.url)), [], {
            execArgv: process.execArgv,
          });
          child.once('message', (message) => resolve(message as RateReport));
          child.once('error', reject);
          child.once('exit', (code) => code !== 0 && reject(new Error(`a bench process ended with ${code}`)));
          child.send({ ...order, connections: CONNECTIONS, forMs: ROUND_MS } satisfies RateOrder);
        }),
    ),
  );
  return {
    done: reports.reduce((sum, { done }) => sum + done, 0),
    refused: reports.reduce((sum, { refused }) => sum + refused, 0),
  };
}

function timed(work: () => unknown): number {
  const from = performance.now();
  work();
  return performance.now() - from;
}

function round(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
