/**
 * What keeping secrets costs: a megabyte scrubbed of twenty of them, and the governed rate with payloads and content in
 * clear and encrypted, alternated on one stack; medians.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Worker, bundleWorkflowCode } from '@temporalio/worker';
import { createActivities } from '../activities/index.ts';
import { addPayloadKey, openPayloadKeys, writePayloadKeys } from '../activities/payload-keys.ts';
import { connectDatabase } from '../activities/postgres.ts';
import { SecretSet } from '../activities/scrub.ts';
import { dataConverterOf } from '../client/data-converter.ts';
import { keepSyntax } from '../worker/bundle-syntax.ts';
import { failureConverterPath, payloadConverterPath } from '../workflows/converter-path.ts';
import { spineStack, throughput, type Round } from './spine.ts';
import { median, say, type BenchStack } from './stack.ts';

/** Rates swing by more than encryption costs where the machine has other work: many short rounds. */
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 8);
const SCRUBS = 50;
const SECRETS = 20;

export interface CredentialsResult {
  /** Milliseconds for a text of 1 MB, five of the twenty secrets in it in several forms. */
  readonly scrubMsP50: number;
  readonly plainPerSecond: number;
  readonly encryptedPerSecond: number;
  /** Median over the rounds of what encryption takes away, in percent. */
  readonly encryptionCostPercent: number;
  /** CPU of worker and client a call, in ms: less noisy than rates on a machine with other work. */
  readonly plainCpuMs: number;
  readonly encryptedCpuMs: number;
}

export async function benchCredentials(): Promise<CredentialsResult> {
  const scrubMsP50 = scrubbing();
  const stack = await spineStack();
  const folder = mkdtempSync(join(tmpdir(), 'actguard-bench-keys-'));
  try {
    const sealed = await sealedStack(stack, join(folder, 'keys.json'));
    const rounds = await stack.run(() => sealed.run(() => compare(stack, sealed)));
    await sealed.end();
    return {
      scrubMsP50: round(scrubMsP50),
      plainPerSecond: round(median(rounds.map((r) => r.plain.perSecond))),
      encryptedPerSecond: round(median(rounds.map((r) => r.encrypted.perSecond))),
      encryptionCostPercent: round(median(rounds.map((r) => (1 - r.encrypted.perSecond / r.plain.perSecond) * 100))),
      plainCpuMs: round(median(rounds.map((r) => r.plain.cpuMs))),
      encryptedCpuMs: round(median(rounds.map((r) => r.encrypted.cpuMs))),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await stack.end();
  }
}

/** An output of the largest size that is kept, in base64, which is the hardest to tell from a secret. */
function scrubbing(): number {
  const known = new SecretSet();
  const secrets = Array.from({ length: SECRETS }, () => `sk_test_${randomBytes(18).toString('base64url')}`);
  for (const secret of secrets) known.add(secret);
  const pad = (): string => randomBytes(150 * 1024).toString('base64');
  const text = secrets
    .slice(0, 5)
    .map((secret, i) => pad() + (i % 2 === 0 ? secret : Buffer.from(`x${secret}y`).toString('base64')))
    .join('\n');
  const times = Array.from({ length: SCRUBS }, () => {
    const before = performance.now();
    known.text(text);
    return performance.now() - before;
  });
  return median(times);
}

/** Another worker and client on the same servers, whose payloads are encrypted, as is what they keep in Postgres. */
async function sealedStack(stack: BenchStack, keysFile: string): Promise<BenchStack> {
  writePayloadKeys(keysFile, addPayloadKey(addPayloadKey([], null, false), 'acme', false)); // the bench's runs are acme's
  const dataConverter = dataConverterOf(keysFile);
  const db = connectDatabase(stack.databaseUrl, { max: 20, keys: openPayloadKeys(keysFile) });
  const deps = { ...stack.deps, db };
  const nativeConnection = await NativeConnection.connect({ address: stack.address });
  const connection = await Connection.connect({ address: stack.address });
  const taskQueue = 'bench-sealed';
  const worker = await Worker.create({
    connection: nativeConnection,
    taskQueue,
    workflowBundle: await bundleWorkflowCode({
      workflowsPath: fileURLToPath(new URL('./workflows.ts', import.meta.url)),
      payloadConverterPath,
      failureConverterPath,
      webpackConfigHook: keepSyntax,
      logger: new DefaultLogger('WARN'),
    }),
    dataConverter,
    activities: createActivities(deps),
  });
  return {
    ...stack,
    deps,
    client: new Client({ connection, dataConverter }),
    taskQueue,
    run: (work) => worker.runUntil(work),
    async end() {
      await connection.close();
      await nativeConnection.close();
      await db.end();
    },
  };
}

interface Pair {
  readonly plain: Round;
  readonly encrypted: Round;
}

async function compare(plain: BenchStack, encrypted: BenchStack): Promise<Pair[]> {
  say('warming up');
  for (const stack of [plain, encrypted]) await throughput(stack, 'governedLoop');
  const rounds: Pair[] = [];
  for (let i = 1; i <= ROUNDS; i += 1) {
    // who goes first takes turns: what the machine does meanwhile falls on both
    const turned = i % 2 === 0;
    const first = await throughput(turned ? encrypted : plain, 'governedLoop');
    const second = await throughput(turned ? plain : encrypted, 'governedLoop');
    const pair = turned ? { plain: second, encrypted: first } : { plain: first, encrypted: second };
    rounds.push(pair);
    say(`round ${i} of ${ROUNDS}: in clear ${shown(pair.plain)}, encrypted ${shown(pair.encrypted)}`);
  }
  return rounds;
}

function shown({ perSecond, cpuMs }: Round): string {
  return `${perSecond.toFixed(1)}/s (${cpuMs.toFixed(2)} ms CPU a call)`;
}

function round(value: number): number {
  return Number(value.toFixed(2));
}
