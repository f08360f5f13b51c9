/**
 * One Postgres and one Temporal dev server for a whole test run, on free ports, gone afterwards. What a killed run left
 * behind is swept by the next one. Tests reach them through `freshDatabase()` and `temporalAddress()`. At the end every
 * decision of the run, in whichever process, is made again by a second implementation of Cedar.
 */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { migrate } from '../../activities/migrate.ts';
import { endProcess, isRunning, thisProcess } from '../../worker/children.ts';
import type { ProcessRef } from '../../worker/children.ts';
import { freePort } from '../../worker/ports.ts';
import { startPostgres } from '../../worker/postgres-server.ts';
import { findTemporal, startTemporal } from '../../worker/temporal-server.ts';
import { disagreements, hasGo, recordedDecisions } from './cedar-go.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The migrated template database. */
    templateUrl: string;
    temporalAddress: string;
    /** Origin of its Web UI. */
    temporalUi: string;
  }
}

interface RunRecord {
  readonly parent: ProcessRef;
  readonly children: readonly (ProcessRef & { readonly signal: NodeJS.Signals })[];
  readonly folder: string;
}

const RECORDS = join(tmpdir(), `actguard-test-${process.getuid?.() ?? 0}`);

const RECORDER = new URL('record-decisions.mjs', import.meta.url).href;

// Rooms whose tests need no servers: asked for alone, nothing is started.
const PURE = /test\/(governance|define|tidy|policy)\//;

/** vitest's globalSetup: returns the teardown. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const asked = (project.vitest as unknown as { filenamePattern?: readonly string[] }).filenamePattern ?? [];
  const decisions = recordDecisions();
  const decided = (): void => {
    const found = otherwise(decisions);
    rmSync(decisions, { recursive: true, force: true });
    if (found.length > 0) throw new Error(`cedar-go decides otherwise:\n${found.slice(0, 10).join('\n')}`);
  };
  if (asked.length > 0 && asked.every((pattern) => PURE.test(pattern))) return () => Promise.resolve(decided());
  mkdirSync(RECORDS, { recursive: true, mode: 0o700 });
  await sweep();
  const folder = mkdtempSync(join(tmpdir(), 'actguard-services-'));
  chmodSync(folder, 0o755); // Postgres runs as another user when we are root
  const recordFile = join(RECORDS, `${process.pid}-${project.name || 'run'}.json`);
  const started: { stop(): Promise<void> }[] = [];
  const children: RunRecord['children'][number][] = [];
  const record = () =>
    writeFileSync(recordFile, JSON.stringify({ parent: thisProcess(), children, folder } satisfies RunRecord));
  record();
  const teardown = async () => {
    await Promise.all(started.map((server) => server.stop()));
    rmSync(folder, { recursive: true, force: true });
    rmSync(recordFile, { force: true });
    decided();
  };
  const postgres = async () => {
    const server = await startPostgres({
      dataDirectory: join(folder, 'postgres'),
      port: await freePort(),
      password: 'test-only',
      logFile: join(folder, 'postgres.log'),
      database: 'template_actguard',
      durable: false,
      maxConnections: 300,
    });
    started.push(server);
    children.push({ pid: server.child.pid, startTime: server.child.startTime, signal: 'SIGINT' });
    record();
    await migrate(server.url);
    project.provide('templateUrl', server.url);
  };
  const temporal = async () => {
    const { path } = await findTemporal({ onProgress: (message) => console.log(message) });
    const server = await startTemporal({
      program: path,
      port: await freePort(),
      uiPort: await freePort(),
      databaseFile: null,
      logFile: join(folder, 'temporal.log'),
    });
    started.push(server);
    children.push({ pid: server.child.pid, startTime: server.child.startTime, signal: 'SIGTERM' });
    record();
    project.provide('temporalAddress', server.address);
    project.provide('temporalUi', server.ui ?? '');
  };
  const results = await Promise.allSettled([postgres(), temporal()]);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) {
    await teardown();
    throw failed.reason;
  }
  return teardown;
}

/** A folder that every process of the run writes its decisions to (record-decisions.mjs). */
function recordDecisions(): string {
  const folder = mkdtempSync(join(tmpdir(), 'actguard-decisions-'));
  process.env['ACTGUARD_TEST_DECISIONS'] = folder;
  process.env['NODE_OPTIONS'] = `${process.env['NODE_OPTIONS'] ?? ''} --import=${RECORDER}`.trim();
  return folder;
}

/** Decisions of the run that the second implementation makes otherwise. Without Go test/policy/cedar-go.test.ts fails. */
function otherwise(folder: string): string[] {
  if (readdirSync(folder).length === 0 || !hasGo()) return [];
  let count = 0;
  const found: string[] = [];
  for (const made of recordedDecisions(folder)) {
    count += made.length;
    found.push(...disagreements(made));
  }
  console.log(`cedar-go made ${count} decisions again, ${found.length} otherwise`);
  return found;
}

// Ends the servers of runs whose own process is gone, by pid and start time.
async function sweep(): Promise<void> {
  for (const name of readdirSync(RECORDS)) {
    const file = join(RECORDS, name);
    try {
      const record = JSON.parse(readFileSync(file, 'utf8')) as RunRecord;
      if (isRunning(record.parent)) continue;
      for (const child of record.children) await endProcess(child, child.signal, 5_000);
      rmSync(record.folder, { recursive: true, force: true });
    } catch {
      // Unreadable: nothing in it can be trusted.
    }
    rmSync(file, { force: true });
  }
}
