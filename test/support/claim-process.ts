/** Another worker process as far as claims go: claims many calls at the same moment, answers what each was told. */
import { randomUUID } from 'node:crypto';
import { claim, type ClaimRequest } from '../../activities/claim.ts';
import { WORKER_ROLE, connectDatabase } from '../../activities/postgres.ts';

/** A burst of calls of one tool, each in a run of its own. */
export interface Burst {
  readonly url: string;
  readonly tenant: string;
  readonly calls: number;
  readonly breaker: ClaimRequest['breaker'];
  readonly rate: ClaimRequest['rate'];
}

/** One claim of a burst. */
export interface BurstAnswer {
  readonly kind: string;
  readonly run: string;
  readonly token: string;
}

const CONNECTIONS = 10;
let db: ReturnType<typeof connectDatabase> | undefined;

process.on('message', (burst) => {
  void answer(burst as Burst).then((answers) => process.send?.(answers));
});
process.once('disconnect', () => void db?.end().then(() => process.exit(0)));

async function answer({ url, tenant, calls, breaker, rate }: Burst): Promise<BurstAnswer[]> {
  const database = (db ??= connectDatabase(url, { max: CONNECTIONS, role: WORKER_ROLE }));
  const runs = Array.from({ length: calls }, () => randomUUID());
  for (const run of runs) {
    const opened = { run, tenant, user: 'u', agent: 'a', mode: 'session', workflowId: run, temporalRun: 't', grant: {}, entries: [] }; // prettier-ignore
    await database.query('select actguard.open_run($1::jsonb)', [JSON.stringify(opened)]);
  }
  return Promise.all(
    runs.map(async (run) => {
      const token = randomUUID();
      const { kind } = await claim(database, { ...REQUEST, run, tenant, token, breaker, rate });
      return { kind, run, token };
    }),
  );
}

const REQUEST = {
  temporalRun: 't',
  continuedFrom: null,
  call: 'c1',
  seq: 1,
  tool: 'pay',
  effect: 'write',
  argsDigest: 'a',
  leaseMs: 60_000,
  settlesWithinMs: 0,
  key: null,
  keyTtlMs: null,
  receiver: null,
  approval: null,
  policy: null,
  reserved: { usdMicros: 0, tokens: 0, calls: 1 },
  label: null,
  after: null,
  before: [],
  entries: [],
} as const;
