/** The SQL functions of functions/*.sql: replaced in the database when their text changed. */
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import { ActGuardError } from '../governance/errors.ts';
import { packageVersion } from './version.ts';

const DIRECTORY = fileURLToPath(new URL('./functions/', import.meta.url));

/** Functions named seal_… are the sealer's: a worker that could call them could grow the tree without the sealing key. */
const SEALER_ONLY = `do $$ declare f regprocedure; begin
  for f in select oid::regprocedure from pg_proc where pronamespace = 'actguard'::regnamespace and starts_with(proname, 'seal_') loop
    execute format('revoke execute on function %s from actguard_worker, actguard_functions', f);
    execute format('grant execute on function %s to actguard_sealer', f);
  end loop;
end $$`;

/** A function that changes nothing says so (stable, immutable): a reader may call it. */
const READERS = `do $$ declare f regprocedure; begin
  for f in select oid::regprocedure from pg_proc where pronamespace = 'actguard'::regnamespace and provolatile <> 'v' loop
    execute format('grant execute on function %s to actguard_reader', f);
  end loop;
end $$`;

/** Called by functions that have bound a tenant and see what those see; nobody may call them by themselves. */
export const INNER_FUNCTIONS: readonly string[] = [
  'account_of', 'accounts_for', 'gone_accounts', 'ensure_accounts', 'recount_account', 'reserve_accounts', 'settle_accounts', 'settle_call',
  'recharge_call', 'gates_answered', 'live_roles', 'note_sign_count', 'take_over', 'claimed_again', 'abort_calls', 'lift_freeze', 'active_policy',
  'activated_policy', 'may_command', 'check_run', 'note_gap', 'own_result',
  'entry_matches', 'entry_json', 'write_entries', 'settle_late',
]; // prettier-ignore
const INNER_ONLY = `do $$ declare f regprocedure; begin
  for f in select oid::regprocedure from pg_proc where pronamespace = 'actguard'::regnamespace
    and proname in (${INNER_FUNCTIONS.map((name) => `'${name}'`).join(', ')})
  loop execute format('revoke execute on function %s from actguard_worker, actguard_reader', f); end loop;
end $$`;

/** What a database says about its functions; null: none were applied yet. */
export interface FunctionsMark {
  /** Of the package that brought them, `1.2.3`. */
  readonly version: string;
  /** SHA-256 over all files, hex. */
  readonly digest: string;
}

/** All function files as one text, in the order of their names: they refer to each other, bodies are checked at use. */
function functionsText(): string {
  const names = readdirSync(DIRECTORY).filter((name) => name.endsWith('.sql'));
  return names
    .sort()
    .map((name) => readFileSync(`${DIRECTORY}${name}`, 'utf8'))
    .join('\n');
}

/** SHA-256 over the functions that this code brings, hex. */
export function functionsDigest(): string {
  return createHash('sha256').update(functionsText()).digest('hex');
}

/** What the database has; the numbered migrations must have run. */
export async function readFunctionsMark(client: pg.Client): Promise<FunctionsMark | null> {
  const { rows } = await client.query<{ version: string; digest: string }>(
    'select version, digest from actguard.functions',
  );
  return rows[0] ?? null;
}

/**
 * Replaces the functions, all in one transaction, unless they stand there already; the caller holds the migration lock.
 * Throws CONFIG_INVALID where a newer version of the package brought the ones that stand there: running workers need them.
 */
export async function applyFunctions(client: pg.Client, where: string): Promise<void> {
  const digest = functionsDigest();
  const version = packageVersion();
  const stands = await readFunctionsMark(client);
  if (stands?.digest === digest) return;
  if (stands && newer(stands.version, version)) {
    throw new ActGuardError(
      'CONFIG_INVALID',
      `the functions of the database at ${where} are newer than this version of actguard`,
      {
        details: { database: stands.version, code: version },
        hint: `install actguard ${stands.version}`,
      },
    );
  }
  await client.query('begin');
  try {
    await client.query('set local check_function_bodies = off');
    await client.query('set local search_path = actguard, pg_temp'); // whatever the login is called
    await client.query(functionsText());
    await client.query('revoke execute on all functions in schema actguard from public');
    await client.query('grant execute on all functions in schema actguard to actguard_worker, actguard_functions');
    await client.query(READERS);
    await client.query(SEALER_ONLY);
    await client.query(INNER_ONLY);
    await client.query(
      `insert into actguard.functions (version, digest) values ($1, $2)
       on conflict (one) do update set version = excluded.version, digest = excluded.digest, applied_at = clock_timestamp()`,
      [version, digest],
    );
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
}

/** Whether version `a` is above version `b`; by numbers, part for part. */
function newer(a: string, b: string): boolean {
  const [left, right] = [a, b].map((v) => v.split(/[.-]/).map((part) => Number(part) || 0));
  for (let i = 0; i < 3; i += 1) {
    const difference = (left?.[i] ?? 0) - (right?.[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}
