/** The ledger beside bare inserts of the same bytes: writing, sealing, proving, verifying; one Postgres, durable commits. */
import { chmodSync, createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { sign } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Database } from '../activities/deps.ts';
import { migrate } from '../activities/migrate.ts';
import { SEALER_ROLE, connectDatabase } from '../activities/postgres.ts';
import { type SealDeps, lookAtTree, sealOnce } from '../activities/seal.ts';
import { signatureChecks, verifySignature } from '../activities/signatures.ts';
import { generateKey } from '../client/keys.ts';
import { exportLines, proveLeaf, readCheckpoint } from '../client/ledger-export.ts';
import { verifyExport } from '../client/ledger-verify.ts';
import { makeEntry } from '../governance/entry.ts';
import { MAX_SEAL_BATCH, SEAL_EVERY_MS } from '../governance/limits.ts';
import { freePort } from '../worker/ports.ts';
import { startPostgres } from '../worker/postgres-server.ts';
import { quantile, say } from './stack.ts';

const BATCH = 64;
const SECONDS = 5;
/** Entries in the tree when proofs and verification are measured. */
const GROWN = Number(process.env['ACTGUARD_BENCH_LEDGER_ENTRIES'] ?? 200_000);
const PROOFS = 500;

/** Writers alternate with their bare twin, so that both meet the same machine; the sealer runs all the while. */
export async function benchLedger(): Promise<object> {
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
  const db = connectDatabase(postgres.url, { max: 4, statementTimeoutMs: 0 });
  const sealDb = connectDatabase(postgres.url, { max: 2, role: SEALER_ROLE, statementTimeoutMs: 0 });
  const key = generateKey('bench.log');
  const log = { name: 'bench.log', kind: 'log', publicKey: key.publicKey } as const;
  const signer = { key: log, sign: (m: Uint8Array) => Promise.resolve(new Uint8Array(sign(null, m, key.privateKey))) };
  const sealer = seal({ db: sealDb, origin: 'bench.log', signers: [signer] }, db);
  try {
    await db.query(
      'create table public.bare (id bigint generated always as identity primary key, body bytea not null)',
    );
    say('writing one by one');
    const single = await writers(db, 1);
    say(`writing ${BATCH} at once`);
    const batched = await writers(db, BATCH);
    const sealLagMsP99 = sealer.lagMsP99();
    say(`growing to ${GROWN} entries`);
    while (appended < GROWN) await append(db, MAX_SEAL_BATCH / 10);
    await sealer.end();
    say('proving and verifying');
    const checkpoint = await readCheckpoint(db);
    const proofs: number[] = [];
    for (let i = 0; i < PROOFS; i += 1) {
      const began = performance.now();
      await proveLeaf(db, Math.floor((i / PROOFS) * checkpoint.size), checkpoint);
      proofs.push(performance.now() - began);
    }
    const file = join(folder, 'export.jsonl');
    const out = createWriteStream(file);
    for await (const line of exportLines(db, { tenant: null, contents: false })) {
      if (!out.write(`${line}\n`)) await once(out, 'drain');
    }
    out.end();
    await once(out, 'finish');
    const began = performance.now();
    const verdict = await verifyExport(file, {
      keys: [log],
      witness: null,
      checkpoint: null,
      verify: verifySignature,
      commands: { roots: null, checks: signatureChecks },
    });
    const seconds = (performance.now() - began) / 1000;
    if (verdict.integrity !== 'valid') throw new Error(`the export does not verify: ${verdict.problems.join('; ')}`);
    say(`${verdict.size} entries proven from and verified`);
    return {
      entriesPerSecondSingle: Math.round(single.own),
      barePerSecondSingle: Math.round(single.bare),
      entriesPerSecondBatched: Math.round(batched.own),
      barePerSecondBatched: Math.round(batched.bare),
      sealLagMsP99: Math.round(sealLagMsP99),
      proofMsP95: Number(quantile(proofs, 0.95).toFixed(2)),
      verifyEntriesPerSecond: Math.round(verdict.size / seconds),
    };
  } finally {
    await sealer.end();
    await sealDb.end();
    await db.end();
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

let written = 0;
/** Of those, entries of ours: the bare twins are none. */
let appended = 0;

function entries(count: number): ReturnType<typeof makeEntry>[] {
  return Array.from({ length: count }, () => {
    written += 1;
    const data = {
      tool: 'payments.refund',
      user: 'alice',
      agent: 'desk',
      number: written,
      argsCommitment: 'a'.repeat(64),
    };
    const run = `bench-${Math.floor(written / 100)}`;
    return makeEntry({
      kind: 'call.started',
      tenant: 'acme',
      run,
      key: `c:${written}`,
      seq: 1,
      call: 'c1',
      atMs: 0,
      data,
    });
  });
}

async function append(db: Database, count: number): Promise<void> {
  await db.query('select actguard.append_entries($1::jsonb)', [JSON.stringify(entries(count))]);
  appended += count;
}

async function bare(db: Database, count: number): Promise<void> {
  const bodies = entries(count).map((e) => e.body);
  await db.query(`insert into public.bare (body) select convert_to(b, 'UTF8') from unnest($1::text[]) b`, [bodies]);
}

/** Entries a second of both, in turns of a second. */
async function writers(db: Database, count: number): Promise<{ own: number; bare: number }> {
  const done = { own: 0, bare: 0 };
  for (let turn = 0; turn < 2 * SECONDS; turn += 1) {
    const which = turn % 2 === 0 ? 'own' : 'bare';
    for (const until = performance.now() + 1_000; performance.now() < until; done[which] += count) {
      await (which === 'own' ? append(db, count) : bare(db, count));
    }
  }
  return { own: done.own / SECONDS, bare: done.bare / SECONDS };
}

/** Seals as the sealer does. `lagMsP99`: how long the oldest entry had waited so far, 99th percentile; `end` drains. */
function seal(deps: SealDeps, db: Database): { lagMsP99(): number; end(): Promise<void> } {
  const lags: number[] = [];
  let stopping = false;
  const running = (async () => {
    const looked = await lookAtTree(deps, null);
    if (looked.kind === 'broken') throw new Error(looked.trouble.reason);
    let { state } = looked;
    for (;;) {
      const [row] = await db.query<{ w: { oldestMs: number | null; nowMs: number } }>(
        `select jsonb_build_object('oldestMs', (select actguard.ms(e.inserted_at) from actguard.ledger_pending p
           join actguard.entries e on e.id = p.entry_id order by p.entry_id limit 1), 'nowMs', actguard.ms(clock_timestamp())) as w`,
      );
      const began = performance.now();
      const sealed = await sealOnce(deps, state);
      if (sealed === null) throw new Error('somebody else sealed');
      state = sealed.state;
      const w = row?.w;
      if (w && w.oldestMs !== null) lags.push(w.nowMs - w.oldestMs + performance.now() - began);
      if (sealed.taken === MAX_SEAL_BATCH) continue;
      if (stopping && sealed.taken === 0) return;
      await pause(stopping ? 0 : SEAL_EVERY_MS);
    }
  })();
  return {
    lagMsP99: () => quantile(lags, 0.99),
    async end() {
      stopping = true;
      await running;
    },
  };
}
