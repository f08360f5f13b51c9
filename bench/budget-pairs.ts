/** Reserve and settle alone, beside bare transactions that change the same rows: two round trips each, many at once. */
import { randomUUID } from 'node:crypto';
import { ulid } from 'ulid';
import { claim, writeOutcome, type ClaimRequest } from '../activities/claim.ts';
import { openRun } from '../activities/open-run.ts';
import { shareCalls } from '../activities/index.ts';
import { accountId } from '../governance/account.ts';
import { LEASE_MS } from '../governance/limits.ts';
import { workflowIdOf } from '../workflows/ids.ts';
import type { BenchStack } from './stack.ts';

const LANES = 16;
const ROUND_MS = 3_000;
const ROUNDS = 3;
const TENANT = 'pairs';

/** Pairs of a reservation and its settlement per second, ours and bare, alternated. */
export async function pairsPerSecond(
  stack: BenchStack,
): Promise<{ reservationsPerSecond: number; barePerSecond: number }> {
  const { db } = stack.deps;
  const run = ulid();
  const temporalRun = randomUUID();
  await openRun(
    shareCalls(stack.deps),
    {
      ...{ v: 1, run, mode: 'workflow', openedBy: 'bench', budget: null, input: '', deadlineMs: null },
      principal: { tenant: TENANT, user: 'u', agent: 'bench' },
    },
    { workflowId: workflowIdOf(run), temporalRun },
  );
  const account = accountId({ tenant: TENANT, scope: 'tenant', value: TENANT });
  const reserved = { usdMicros: 1, tokens: 0, calls: 1 };
  let n = 0;
  const ours = async (): Promise<void> => {
    const [call, token] = [`o${++n}`, randomUUID()];
    const request: ClaimRequest = {
      ...{ run, temporalRun, continuedFrom: null, tenant: TENANT, call, seq: n, tool: 'bench.search', effect: 'read' },
      ...{ argsDigest: 'd', token, leaseMs: LEASE_MS, settlesWithinMs: 1_000, key: null, rate: null, breaker: null },
      ...{
        approval: null,
        after: null,
        keyTtlMs: null,
        receiver: null,
        policy: null,
        reserved,
        label: null,
        before: [],
        entries: [],
      },
    };
    const claimed = await claim(db, request);
    if (claimed.kind !== 'claimed') throw new Error(JSON.stringify(claimed));
    await writeOutcome(db, {
      tenant: request.tenant,
      ...{ run, call, token, state: 'succeeded', result: null, spentMicros: 1, failed: 0, landed: 'maybe' },
      ...{ question: null, provenance: [], breakerVerdict: 'none', maxFails: 1, resolved: null, entries: [] },
    });
  };
  const bare = async (): Promise<void> => {
    const call = `b${++n}`;
    await db.query(RESERVE, [account, run, call, n, TENANT, JSON.stringify(reserved)], 'bare_reserve');
    await db.query(SETTLE, [account, run, call], 'bare_settle');
  };
  await ours(); // the account's window is there from here on
  const rates = { ours: [] as number[], bare: [] as number[] };
  for (let i = 0; i < ROUNDS; i += 1) {
    rates.ours.push(await rate(ours));
    rates.bare.push(await rate(bare));
  }
  return { reservationsPerSecond: best(rates.ours), barePerSecond: best(rates.bare) };
}

const RESERVE = `with w as (update actguard.account_windows set reserved = array[reserved[1] + 1, reserved[2], reserved[3] + 1]
    where account = $1 and spent[1] + reserved[1] + 1 < 1000000000000 returning 1)
  insert into actguard.calls (run, call, seq, tenant, tool, effect, args_digest, state, token, lease_until, settles_within_ms, reserved,
    claimed_at, last_claim_at) select $2, $3, $4, $5, 'bare', 'read', 'd', 'claimed', 't', now(), 1000, $6::jsonb, now(), now() from w`;
const SETTLE = `with w as (update actguard.account_windows set reserved = array[reserved[1] - 1, reserved[2], reserved[3] - 1],
    spent = array[spent[1] + 1, spent[2], spent[3] + 1] where account = $1)
  update actguard.calls set state = 'succeeded', finished_at = now() where run = $2 and call = $3`;

async function rate(pair: () => Promise<void>): Promise<number> {
  const at = performance.now();
  let done = 0;
  const lane = async (): Promise<void> => {
    while (performance.now() - at < ROUND_MS) {
      await pair();
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return done / ((performance.now() - at) / 1_000);
}

function best(rates: readonly number[]): number {
  return Math.round(Math.max(...rates));
}
