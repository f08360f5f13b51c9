/** Looks for canaries wherever a run leaves traces: Temporal's histories, every row of the database, files. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
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

  /** Looks at a text as it stands, and at what its base64 pieces and its mail encoding hide. */
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
  const { workflowService } = connection;
  try {
    const { executions } = await workflowService.listWorkflowExecutions({ namespace, pageSize: 1_000 });
    for (const { execution } of executions ?? []) {
      if (!execution) continue;
      const where = `Temporal: ${execution.workflowId ?? ''}`;
      search.look(where, JSON.stringify(await workflowService.describeWorkflowExecution({ namespace, execution })));
      let nextPageToken: Uint8Array | undefined;
      do {
        const page = await workflowService.getWorkflowExecutionHistory({
          ...{ namespace, execution, maximumPageSize: 1_000 },
          ...(nextPageToken === undefined ? {} : { nextPageToken }),
        });
        const json = page.history ? historyToJSON(page.history as never) : '';
        search.look(where, json);
        for (const [piece] of json.matchAll(/[A-Za-z0-9+/]{16,}={0,2}/g)) {
          search.look(where, Buffer.from(piece, 'base64').toString('latin1'));
          search.look(where, Buffer.from(piece, 'base64').toString('utf8'));
        }
        nextPageToken = page.nextPageToken?.length ? page.nextPageToken : undefined;
      } while (nextPageToken);
    }
  } finally {
    await connection.close();
  }
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
      for (const { row } of rows.rows) search.look(`Postgres: ${name}`, row); // bytes stand there in hex
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
