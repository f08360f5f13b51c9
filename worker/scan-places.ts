/** Looks for canaries wherever a run leaves traces: Temporal's histories, every row of the database, files. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import pg from 'pg';
import { SecretSet } from '../activities/scrub.ts';

/** A canary that was found, and where. */
export interface Leak {
  readonly secret: string;
  readonly where: string;
}

/** Folders that no run writes to, and files of databases: those are searched through their own doors. */
const SKIPPED = new Set([
  'node_modules',
  '.git',
  'dist',
  'postgres',
  'temporal.db',
  'temporal.db-wal',
  'temporal.db-shm',
]);
const MAX_FILE_BYTES = 64 * 1024 * 1024;

/** Looks at texts, one canary at a time, so that a leak is named. */
export class CanarySearch {
  readonly leaks: Leak[] = [];
  /** Texts that were looked at. */
  searched = 0;
  readonly #canaries: readonly (readonly [name: string, known: SecretSet])[];

  constructor(canaries: Readonly<Record<string, string>>) {
    this.#canaries = Object.entries(canaries).map(([name, value]) => {
      const known = new SecretSet();
      known.add(value);
      return [name, known] as const;
    });
  }

  /** Looks at a text, and at what stands in it as base64 (payloads) or as Postgres writes bytes: a form in a form. */
  lookInside(where: string, text: string): void {
    this.look(where, text);
    for (const [, hex = ''] of text.matchAll(/\\x((?:[0-9a-f]{2}){8,})/g)) {
      this.look(where, Buffer.from(hex, 'hex').toString('utf8'));
    }
    for (const [piece] of text.matchAll(/[A-Za-z0-9+/]{16,}={0,2}/g)) {
      const bytes = Buffer.from(piece, 'base64');
      this.look(where, bytes.toString('latin1'));
      this.look(where, bytes.toString('utf8'));
    }
  }

  /** Looks at a text as it stands, and without the line ends that mails put into it. */
  look(where: string, text: string): void {
    this.searched += 1;
    const unfolded = text.replace(/=\r?\n/g, ''); // soft line ends of mails
    for (const [secret, known] of this.#canaries) {
      if (!known.found(text) && !known.found(unfolded)) continue;
      if (!this.leaks.some((leak) => leak.secret === secret && leak.where === where))
        this.leaks.push({ secret, where });
    }
  }
}

/** Every workflow of the namespace: its history, and what is pending. */
export async function searchTemporal(search: CanarySearch, address: string, namespace: string): Promise<void> {
  const connection = await Connection.connect({ address });
  const { workflow, workflowService } = new Client({ connection, namespace });
  try {
    for await (const { workflowId, runId } of workflow.list()) {
      const where = `Temporal: ${workflowId}`;
      const execution = { workflowId, runId };
      const described = await workflowService.describeWorkflowExecution({ namespace, execution });
      search.lookInside(where, JSON.stringify(described, bytesAsBase64));
      search.lookInside(where, historyToJSON(await workflow.getHandle(workflowId, runId).fetchHistory()));
    }
  } finally {
    await connection.close();
  }
}

function bytesAsBase64(_name: string, value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value;
}

/** Every row of every table of ours, bytes included. */
export async function searchPostgres(search: CanarySearch, url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const tables = await client.query<{ name: string }>(
      `select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema')`,
    );
    for (const { name } of tables.rows) {
      const rows = await client.query<{ row: string }>(`select t::text as row from ${name} t`);
      for (const { row } of rows.rows) search.lookInside(`Postgres: ${name}`, row);
    }
  } finally {
    await client.end();
  }
}

/** Files below a folder that changed since. */
export function searchFiles(search: CanarySearch, folder: string, label: string, sinceMs: number): void {
  for (const item of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, item.name);
    if (SKIPPED.has(item.name)) continue;
    if (item.isDirectory()) searchFiles(search, path, `${label}/${item.name}`, sinceMs);
    if (!item.isFile()) continue;
    const { mtimeMs, size } = statSync(path);
    if (mtimeMs < sinceMs || size > MAX_FILE_BYTES) continue;
    search.look(`file: ${label}/${item.name}`, item.name);
    search.look(`file: ${label}/${item.name}`, readFileSync(path, 'utf8'));
  }
}
