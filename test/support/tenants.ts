/** What a tenant has in the database, as one digest: unchanged means that nobody wrote there. */
import type pg from 'pg';

type Rows = { query<R extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<{ rows: R[] } | R[]> };
const rowsOf = async <R extends pg.QueryResultRow>(db: Rows, text: string, values: unknown[] = []): Promise<R[]> => {
  const result = await db.query<R>(text, values);
  return Array.isArray(result) ? result : result.rows;
};

/** The tables that name a tenant, by their names; which login belongs to whom is nobody's. `db` may read tables. */
export async function tenantTables(db: Rows): Promise<string[]> {
  const rows = await rowsOf<{ name: string }>(
    db,
    `select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid
     where c.relnamespace = 'actguard'::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
       and c.relname <> 'tenant_logins' group by c.relname having bool_or(a.attname = 'tenant') order by 1`,
  );
  return rows.map(({ name }) => name);
}

/** A digest of every row of a tenant. */
export async function digestOfTenant(db: Rows, tables: readonly string[], tenant: string): Promise<string> {
  const parts: string[] = [];
  for (const name of tables) {
    const [row] = await rowsOf<{ d: string }>(
      db,
      `select coalesce(md5(string_agg(md5(t::text), '' order by md5(t::text))), '') as d from actguard.${name} t where tenant = $1`,
      [tenant],
    );
    parts.push(`${name}:${row?.d}`);
  }
  return parts.join('\n');
}
