/** A database of a test's own, copied from the migrated template. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import type { Database } from '../../activities/deps.ts';
import { connectDatabase } from '../../activities/postgres.ts';
import { misfits } from './entry-schema.ts';

/** What {@link freshDatabase} gives. */
export interface FreshDatabase {
  readonly url: string;
  readonly db: Database;
  /** Closes `db` and drops the database. */
  drop(): Promise<void>;
}

/**
 * Makes a database with the current schema and no rows (about 50 ms). Call `drop` in `afterAll`.
 *
 * @example
 * const { db, url, drop } = await freshDatabase();
 * afterAll(drop);
 */
export async function freshDatabase(options: { readonly max?: number } = {}): Promise<FreshDatabase> {
  const { url, drop } = await createDatabase('template_actguard');
  const db = connectDatabase(url, { max: options.max ?? 5, applicationName: 'actguard-test' });
  return {
    url,
    db,
    async drop() {
      // whatever a test wrote through the product is an entry of the published kinds; a database that is broken on purpose has none
      const problems = await misfits(db).catch(() => []);
      await db.end();
      await drop();
      if (problems.length > 0)
        throw new Error(`entries do not fit docs/ledger-entry.schema.json:\n${problems.join('\n')}`);
    },
  };
}

/** Makes a database without our schema. */
export function emptyDatabase(): Promise<{ url: string; drop(): Promise<void> }> {
  return createDatabase('template0');
}

async function createDatabase(template: string): Promise<{ url: string; drop(): Promise<void> }> {
  const name = `t_${randomBytes(6).toString('hex')}`;
  await asAdmin(`create database ${name} template ${template} strategy file_copy`);
  const url = new URL(inject('templateUrl'));
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => asAdmin(`drop database if exists ${name} with (force)`) };
}

async function asAdmin(statement: string): Promise<void> {
  const url = new URL(inject('templateUrl'));
  url.pathname = '/postgres';
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
