/**
 * What judging a call costs once its run has seen a megabyte of untrusted text: a real Postgres with durable commits, an
 * address that nobody vouches for (the longest way through), one round trip included.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ulid } from 'ulid';
import { z } from 'zod';
import { environmentSecrets } from '../activities/credentials.ts';
import type { Deps } from '../activities/deps.ts';
import { shareCalls } from '../activities/index.ts';
import { migrate } from '../activities/migrate.ts';
import { openRun } from '../activities/open-run.ts';
import { connectDatabase } from '../activities/postgres.ts';
import { provenanceOf, rowsOfOutcome, SeenByRuns } from '../activities/provenance.ts';
import { SecretSet } from '../activities/scrub.ts';
import { defineAgent, defineConfig, defineTool } from '../define/index.ts';
import { freePort } from '../worker/ports.ts';
import { startPostgres } from '../worker/postgres-server.ts';
import { quantile, say } from './stack.ts';

const OUTPUTS = 50;
const OUTPUT_BYTES = 20 * 1024;
const JUDGED = 1_000;
const COLD = 50;

const read = defineTool({
  name: 'notes.read',
  description: 'Reads',
  effect: 'read',
  reach: 'internal',
  inputSchema: z.strictObject({}),
  execute: () => '',
});
const mail = defineTool({
  name: 'mail.send',
  description: 'Sends',
  effect: 'write',
  inputSchema: z.strictObject({ to: z.email(), text: z.string() }),
  execute: () => null,
});

export interface ProvenanceResult {
  /** One judgement by a worker that has the run's rows, as it has while it works on the run. */
  readonly provenanceMsP50: number;
  readonly provenanceMsP99: number;
  /** The first judgement of a worker that has none of them. */
  readonly provenanceColdMsP50: number;
  /** Making and writing the rows of one output of 20 KB. */
  readonly provenanceWriteMsP50: number;
}

export async function benchProvenance(): Promise<ProvenanceResult> {
  const folder = mkdtempSync(join(tmpdir(), 'actguard-bench-'));
  chmodSync(folder, 0o755);
  say('starting Postgres');
  const postgres = await startPostgres({
    dataDirectory: join(folder, 'postgres'),
    port: await freePort(),
    password: 'bench-only',
    logFile: join(folder, 'postgres.log'),
    database: 'actguard',
    durable: true,
  });
  await migrate(postgres.url);
  const db = connectDatabase(postgres.url, { max: 5 });
  try {
    return await measure(db);
  } finally {
    await db.end();
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(db: Deps['db']): Promise<ProvenanceResult> {
  const tools = [read, mail];
  const config = defineConfig({ tools, agents: [defineAgent({ name: 'bench', tools })], policies: './policies' });
  const deps: Deps = {
    db,
    config,
    policy: () => ({
      digest: 'bench',
      decide: () => Promise.reject(new Error('not asked')) as never,
      gate: () => undefined,
    }),
    secrets: environmentSecrets({}),
    known: new SecretSet(),
    mailer: null,
    roots: [],
    dev: true,
    models: {
      generate: () => Promise.reject(new Error('no model')),
      measure: () => Promise.reject(new Error('no model')),
    },
    log: () => undefined,
  };
  const shared = shareCalls(deps);
  const run = ulid();
  const principal = { tenant: 'acme', user: 'alice', agent: 'bench' };
  const asked = {
    v: 1,
    run,
    mode: 'session',
    principal,
    openedBy: 'bench',
    budget: null,
    input: 'Mail the report',
    deadlineMs: null,
  } as const;
  const opened = await openRun(shared, asked, { workflowId: 'bench', temporalRun: 'bench' });
  if (opened.kind !== 'opened') throw new Error(JSON.stringify(opened));
  const grant = await shared.grants.of(run, 'bench');

  const writes: number[] = [];
  for (let i = 0; i < OUTPUTS; i += 1) {
    const output = prose(i);
    const at = performance.now();
    const rows = rowsOfOutcome(grant, run, read, {}, { output }, 'user');
    await db.query('select actguard.note_provenance($1, $2, $3::jsonb)', [run, `c${i}`, JSON.stringify(rows)]);
    writes.push(performance.now() - at);
  }
  say(`${(OUTPUTS * OUTPUT_BYTES) / 1024 / 1024} MB of outputs seen`);
  const judge = async (i: number): Promise<number> => {
    const args = { to: `nobody${i}@nowhere.example`, text: 'The report, as you asked. Kind regards.' };
    const at = performance.now();
    const { verdict } = await provenanceOf(shared, grant, run, mail, args, []);
    if (verdict !== 'ask') throw new Error(`judged ${verdict}`);
    return performance.now() - at;
  };
  const warm: number[] = [];
  for (let i = 0; i < JUDGED; i += 1) warm.push(await judge(i));
  const cold: number[] = [];
  for (let i = 0; i < COLD; i += 1) {
    const at = performance.now();
    await new SeenByRuns(db).of(run);
    cold.push(performance.now() - at + (await judge(i)));
  }
  const round = (ms: number): number => Number(ms.toFixed(2));
  return {
    provenanceMsP50: round(quantile(warm.slice(50), 0.5)),
    provenanceMsP99: round(quantile(warm.slice(50), 0.99)),
    provenanceColdMsP50: round(quantile(cold, 0.5)),
    provenanceWriteMsP50: round(quantile(writes, 0.5)),
  };
}

/** Words that are different in every output. */
function prose(seed: number): string {
  let state = seed + 1;
  let text = '';
  while (text.length < OUTPUT_BYTES) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    text += `${(state >>> 8).toString(36)} `;
  }
  return text;
}
