/** Every entry that a test writes has to fit the published schema. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { Database } from '../../activities/deps.ts';

interface Published {
  readonly oneOf: readonly { readonly title: string }[];
}

const published = JSON.parse(
  readFileSync(new URL('../../docs/ledger-entry.schema.json', import.meta.url), 'utf8'),
) as Published;
type Schema = Parameters<typeof z.fromJSONSchema>[0];
const schemas = new Map<string, z.ZodType>();

/** Why an entry does not fit the schema of its kind; null: it fits. */
export function misfit(entry: unknown): string | null {
  const kind = String((entry as { kind?: unknown } | null)?.kind);
  const of = published.oneOf.find(({ title }) => title === kind);
  if (!of) return `${kind}: there is no such kind`;
  const schema = schemas.get(kind) ?? z.fromJSONSchema(of as unknown as Schema);
  schemas.set(kind, schema);
  const parsed = schema.safeParse(entry);
  if (parsed.success) return null;
  return `${kind}: ${parsed.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`).join('; ')}`;
}

/** Entries of a database that do not fit; at most five, each kind and problem once. What tests plant themselves (keys `t:…`) is not looked at. */
export async function misfits(db: Pick<Database, 'query'>): Promise<string[]> {
  const rows = await db.query<{ body: string }>(
    `select convert_from(body, 'UTF8') as body from actguard.entries where key not like 't:%' order by id limit 5000`,
  );
  const found = new Set(rows.map(({ body }) => misfit(JSON.parse(body))).filter((problem) => problem !== null));
  return [...found].slice(0, 5);
}
