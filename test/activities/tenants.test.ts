/** Two tenants in one database: every table, and every function that a worker, a client or the page may call. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import pg from 'pg';
import { connectDatabase } from '../../activities/postgres.ts';
import type { Database } from '../../activities/deps.ts';
import { generateKey } from '../../client/keys.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import { digestOfTenant, tenantTables } from '../support/tenants.ts';
import { ask as openAsk, askInput, gate, makeDeps, openRun, person } from '../approvals/fixture.ts';

const OURS = 'acme';
const THEIRS = 'globex';
/** Stands in everything of theirs: who sees it sees too much. */
const MARK = 'globexmark';
const LOGIN = `globex_${process.pid}`;

let fresh: FreshDatabase;
let admin: pg.Client;
const run: { [tenant: string]: string } = {};
const ask: { [tenant: string]: string } = {};
const key: { [tenant: string]: string } = {};

let tables: readonly string[] = [];

beforeAll(async () => {
  fresh = await freshDatabase({ max: 2 });
  admin = new pg.Client({ connectionString: fresh.url });
  await admin.connect();
  const root = generateKey('root');
  for (const tenant of [OURS, THEIRS]) {
    const deps = makeDeps(fresh.db, [root.keyId]);
    key[tenant] = (await person(deps, root, `${tenant}-fred`, ['finance', 'operator'], tenant)).keyId;
    run[tenant] = await openRun(fresh.db, tenant);
    ask[tenant] = (await openAsk(deps, askInput(run[tenant], 'c1', [gate('big')], tenant))).approvalId;
  }
  await fill();
  await admin.query(`create role ${LOGIN} login password 'only-here' in role actguard_worker`);
  await admin.query('insert into actguard.tenant_logins (login, tenant) values ($1, $2)', [LOGIN, OURS]);
  tables = await tenantTables(admin);
  await admin.query('create schema theirs; grant usage on schema theirs to actguard_functions');
  for (const name of tables) {
    await admin.query(`create table theirs.${name} as select * from actguard.${name} where tenant = '${THEIRS}'`);
  }
  await admin.query('grant select on all tables in schema theirs to actguard_functions');
});
afterAll(async () => {
  await admin?.query(`drop owned by ${LOGIN}`).catch(() => undefined);
  await admin?.query(`drop role if exists ${LOGIN}`);
  await admin?.end();
  await fresh?.drop();
});

/** A row of each tenant in every table that the two runs did not fill by themselves. */
async function fill(): Promise<void> {
  for (const tenant of [OURS, THEIRS]) {
    const mark = tenant === THEIRS ? MARK : 'ours';
    const r = run[tenant];
    const account = JSON.stringify([tenant, 'tenant', tenant]);
    const statements: [string, unknown[]][] = [
      [`insert into actguard.calls (run, call, seq, tenant, tool, effect, args_digest, state, token, lease_until, settles_within_ms, reserved,
          result, question, needs_person, claimed_at, last_claim_at, finished_at, approval)
        values ($1, 'c1', 1, $2, $3, 'write', 'd', 'unknown', 't', now() - interval '1 hour', 1, '{}', jsonb_build_object('output', $3::text), $3, true,
          now() - interval '1 hour', now() - interval '1 hour', now(), $4)`, [r, tenant, mark, ask[tenant]]],
      [`insert into actguard.model_calls (run, call, seq, turn, model, reserved, result, tenant) values ($1, 'm1', 2, 1, $2, '{}', $2, $3)`, [r, mark, tenant]],
      [`insert into actguard.transcripts (run, turn, messages, digest, bytes, call, tenant) values ($1, 1, $2, 'd', 1, 'm1', $3)`, [r, mark, tenant]],
      [`insert into actguard.watchers (run, until, tenant) values ($1, now() + interval '1 hour', $2)`, [r, tenant]],
      [`insert into actguard.live_text (run, call, text, tenant) values ($1, 'm1', $2, $3)`, [r, mark, tenant]],
      [`insert into actguard.provenance (run, call, level, words, tokens, grams, tenant) values ($1, 'c1', 'user', true, $2, $2, $3)`, [r, Buffer.from(mark), tenant]],
      [`insert into actguard.accounts (id, tenant, scope, value, limits, window_kind, zone, frozen) values ($1, $2, 'tenant', $2, '{5,5,5}', 'total', 'UTC', jsonb_build_object('by', $3::text))`, [account, tenant, mark]],
      [`insert into actguard.account_windows (account, key, starts_at, tenant) values ($1, 'total', now(), $2)`, [account, tenant]],
      [`insert into actguard.account_waits (account, run, workflow_id, tenant) values ($1, $2, $3, $4)`, [account, r, mark, tenant]],
      [`insert into actguard.freezes (tenant, scope, value, set_by, reason) values ($1, 'tool', $2, $2, $2)`, [tenant, mark]],
      [`insert into actguard.command_nonces (tenant, nonce, target, person, key_id, envelope, delivery) values ($1, $2, 't', $2, 'k', '{}', 'd')`, [tenant, mark]],
      [`insert into actguard.sign_counts (tenant, key_id, count, signed_at, what) values ($1, $2, 1, now(), $3)`, [tenant, key[tenant], mark]],
      [`insert into actguard.page_sessions (token_sha256, nonce, tenant, person, key_id, expires_at) values ($3, $3, $1, $1 || '-fred', $2, now() + interval '1 day')`, [tenant, key[tenant], mark]],
      [`insert into actguard.invitations (invitation, token_sha256, tenant, person, roles, mail, signer, dev, expires_at)
        values ($2, $2, $1, $2, '{finance}', $2, 's', false, now() + interval '1 day')`, [tenant, mark]],
      [`insert into actguard.policy_sets (digest, files, source, pushed_by) values ($1, '[]', 'push', 'who') on conflict do nothing`, ['set']],
      [`with x as (insert into actguard.policy_activations (tenant, role, digest, people, evidence, reason) values ($1, 'enforced', 'set', array[$2], '[]', $2) returning id)
        insert into actguard.active_policies (tenant, role, digest, activation) select $1, 'enforced', 'set', id from x`, [tenant, mark]],
      [`insert into actguard.policy_proposals (tenant, digest, replaced, person, key_tenant, key_id, roles, root, evidence) values ($1, 'set', 'set', $2, $1, 'k', '{}', false, '{}')`, [tenant, mark]],
      [`insert into actguard.answers (approval, person, tenant, key_id, decision, roles, envelope, delivery, completed) values ($1, $2, $3, $4, 'approve', '{}', jsonb_build_object('x', $2::text), 'd', false)`, [ask[tenant], `${mark}-x`, tenant, key[tenant]]],
      [`update actguard.approvals set title = $2 where approval = $1`, [ask[tenant], mark]],
      [`with e as (insert into actguard.entries (tenant, run, key, kind, call, body) values ($1, $2, 't:k', 'call.started', 'c1', convert_to('{"data":{"requestCommitment":"' || $3 || '"}}', 'UTF8')) returning id)
        insert into actguard.entry_contents (entry_id, tenant, content) select id, $1, jsonb_build_object('args', $3::text) from e`, [tenant, r, mark]],
    ]; // prettier-ignore
    for (const [text, values] of statements) await admin.query(text, values);
  }
}

describe('P1 P7 rows of another tenant are not there, whatever a function asks for', () => {
  test('every table that names a tenant has row-level security, and rows of both tenants are in it here', async () => {
    const { rows } = await admin.query<{ name: string }>(
      `select relname as name from pg_class where relnamespace = 'actguard'::regnamespace and relkind = 'r' and relrowsecurity order by 1`,
    );
    expect(rows.map(({ name }) => name)).toEqual(tables);
    expect(tables.length).toBeGreaterThan(18);
    for (const name of tables) {
      const { rows: tenants } = await admin.query<{ tenant: string }>(`select distinct tenant from actguard.${name}`);
      expect(
        tenants
          .map((row) => row.tenant)
          .filter((t) => t === OURS || t === THEIRS)
          .sort(),
        name,
      ).toEqual([OURS, THEIRS]);
    }
  });

  test.each([
    ['nothing bound', ''],
    ['our tenant bound', OURS],
  ])('with %s, nothing of theirs is read, changed, removed or added', async (_what, bound) => {
    for (const name of tables) {
      await admin.query('begin');
      await admin.query('set local role actguard_functions');
      await admin.query(`select set_config('actguard.tenant', $1, true)`, [bound]);
      const seen = await admin.query<{ tenant: string }>(
        `select distinct tenant from actguard.${name} where tenant <> '*'`,
      );
      expect(
        seen.rows.map((row) => row.tenant),
        name,
      ).toEqual(bound === '' ? [] : [OURS]);
      for (const statement of [
        `update actguard.${name} set tenant = tenant where tenant = '${THEIRS}'`,
        `delete from actguard.${name} where tenant = '${THEIRS}'`,
      ]) {
        await admin.query('savepoint s');
        const done = await admin.query(statement).then(
          ({ rowCount }) => rowCount,
          (error: { code?: string }) => error.code,
        );
        await admin.query('rollback to savepoint s');
        expect([0, '42501'], statement).toContain(done);
      }
      await expect(
        admin.query(`insert into actguard.${name} overriding system value select * from theirs.${name}`),
        name,
      ).rejects.toMatchObject({ code: '42501' });
      await admin.query('rollback');
    }
  });
});

/** Arguments of a function by their names and types, all of them about `tenant`. */
function argumentsFor({ names, types, reads }: Callable, tenant: string): unknown[] {
  const mark = tenant === THEIRS ? MARK : 'ours';
  const about: { [name: string]: unknown } = {
    p_tenant: tenant, p_run: run[tenant], p_call: 'c1', p_approval: ask[tenant], p_key: key[tenant], p_person: `${tenant}-fred`,
    p_user: 'alice', p_agent: 'desk', p_tool: mark, p_token: mark, p_invitation: mark, p_account: JSON.stringify([tenant, 'tenant', tenant]),
    p_id: JSON.stringify([tenant, 'tenant', tenant]), p_workflow: 'w', p_state: 'revoked', p_reason: 'because', p_what: 'x', p_credential: mark,
    p_role: 'enforced', p_digest: 'set', p_temporal_run: 't', p_continued_from: null, p_effect: 'e', p_scope: 'tool', p_value: mark,
  }; // prettier-ignore
  const body = reads ? JSON.stringify({ tenant, by: 'tool' }) : JSON.stringify({
    run: run[tenant], tenant, call: 'c1', approval: ask[tenant], person: `${tenant}-fred`, keyTenant: tenant, keyId: key[tenant], key: 't:k',
    token: 't', tokenSha256: mark, from: 'unknown', state: 'failed', outcome: 'withdrawn', status: 'failed', lastSeq: 9, temporalRun: 't',
    scope: 'tool', value: mark, by: 'x', reason: 'x', abort: true, max: 100, limit: 100, graceMs: 0, everyMs: 0, modelMs: 0, maxOpen: 9, maxPerCall: 9,
    ttlMs: 1e6, skewMs: 1e6, nonce: 'fresh', delivery: 'd9', expMs: Date.now() + 1e6, expiresAtMs: Date.now() + 1e5, lifeMs: 1000, root: true, dev: false,
    roles: ['finance'], people: ['x'], evidence: [{}], entries: [], before: [], alarm: [], provenance: [], lostEntries: [], lateEntries: [],
    digest: 'set', replaces: 'set', role: 'enforced', propose: false, files: [], source: 'push', id: JSON.stringify([tenant, 'tenant', tenant]),
    account: JSON.stringify([tenant, 'tenant', tenant]), mark: 50, verb: 'limit', version: 0, newVersion: 1, window: 'total',
    limits: {}, argsDigest: 'd', tool: mark, effect: 'write', leaseMs: 1000, user: 'alice', agent: 'desk', mode: 'session', workflowId: 'w9', grant: {},
    seq: 3, turn: 2, model: mark, reserved: {}, refs: [], settlesWithinMs: 1, spentMicros: 0, failed: 0, resolved: {}, result: {}, decision: 'approve',
    envelope: {}, title: 'x', gates: [], request: '{}', content: {}, messageId: mark, what: 'x', target: 't', kind: 'x', fromMs: 0, invitation: `new-${mark}`,
    mail: null, signer: 's', chain: [], validFrom: '2020-01-01', signedAt: '2020-01-01', frozenAskMs: 1, question: { reason: 'x' }, transcript: null, label: 'x',
  }); // prettier-ignore
  return names.map((name, i) => {
    const type = types[i] ?? '';
    if (name in about) return about[name];
    if (type === 'jsonb') return name === 'p_refs' ? JSON.stringify([{ ref: 'r', run: run[tenant], call: 'c1' }]) : name === 'p_entries' || name === 'p_rows' || name === 'p_seeds' || name === 'p_held' ? JSON.stringify([{ tenant, run: run[tenant], key: 't:k9', kind: 'x', body: '{}' }]) : body; // prettier-ignore
    if (type === 'text[]') return name === 'p_calls' ? ['c1'] : [`${name}-${mark}`];
    if (type.endsWith('[]')) return [];
    if (type.startsWith('timestamp')) return new Date(0);
    if (type === 'boolean') return true;
    return type === 'text' ? 'x' : 0;
  });
}

interface Callable {
  readonly name: string;
  readonly names: readonly string[];
  readonly types: readonly string[];
  /** It says that it changes nothing. */
  readonly reads: boolean;
}

async function callables(): Promise<readonly Callable[]> {
  const { rows } = await admin.query<Callable>(
    `select p.proname as name, p.provolatile <> 'v' as reads, coalesce(p.proargnames[1:p.pronargs], '{}')::text[] as names,
       array(select format_type(t, null) from unnest(p.proargtypes) t) as types
     from pg_proc p where p.pronamespace = 'actguard'::regnamespace and p.prosecdef and has_function_privilege('actguard_worker', p.oid, 'execute')
       and not starts_with(p.proname, 'bind_') and p.proname not in ('kept_to', 'take_over', 'claimed_again', 'recharge_call') order by 1`,
  );
  return rows; // the last three take a row of `calls`, which a worker cannot name
}

const digestOf = (tenant: string): Promise<string> => digestOfTenant(admin, tables, tenant);

async function callAll(
  db: Database,
  tenant: string,
  which: 'all' | 'reads' = 'all',
): Promise<{ name: string; answer: string; ok: boolean }[]> {
  const answers: { name: string; answer: string; ok: boolean }[] = [];
  for (const callable of await callables()) {
    if (which === 'reads' && !callable.reads) continue;
    const { name, types } = callable;
    const values = argumentsFor(callable, tenant);
    const holes = types.map((type, i) => `$${i + 1}::${type}`).join(', ');
    const answer = await db.query(`select to_jsonb(f) as f from actguard.${name}(${holes}) f`, values).then(
      (rows) => ({ ok: true, answer: JSON.stringify(rows) }),
      (error: Error) => ({ ok: false, answer: String(error.message) }),
    );
    answers.push({ name, ...answer });
  }
  return answers;
}

test('P1 P7 a login of one tenant calls every function there is about another: it learns nothing and changes nothing', async () => {
  const url = new URL(fresh.url);
  url.username = LOGIN;
  url.password = 'only-here';
  const pinned = connectDatabase(url.href, { max: 1 });
  const asked = connectDatabase(fresh.url, { max: 1, role: 'actguard_worker', tenant: OURS });
  try {
    const before = await digestOf(THEIRS);
    for (const [db, which, least] of [
      [pinned, 'all', 80],
      [asked, 'reads', 30],
    ] as const) {
      const answers = await callAll(db, THEIRS, which);
      expect(answers.length).toBeGreaterThan(least);
      for (const { name, answer } of answers) expect(answer, name).not.toContain(MARK);
      expect(await digestOf(THEIRS)).toBe(before);
    }
    await expect(pinned.query(`select actguard.list_questions($1)`, [THEIRS])).rejects.toMatchObject({
      code: 'FORBIDDEN',
    });
    // its own wish does not widen what its login was given
    await pinned.query(`set actguard.session_tenant = '${THEIRS}'`);
    await pinned.query(`set actguard.tenant = '*'`);
    expect(JSON.stringify(await callAll(pinned, THEIRS))).not.toContain(MARK);
    expect(await digestOf(THEIRS)).toBe(before);
  } finally {
    await pinned.end();
    await asked.end();
  }
});

test('P1 the same calls about a tenant of one’s own are answered: what kept the others out was the tenant', async () => {
  const asked = connectDatabase(fresh.url, { max: 1, role: 'actguard_worker', tenant: THEIRS });
  try {
    const before = await digestOf(THEIRS);
    const answers = await callAll(asked, THEIRS, 'reads');
    const told = answers.filter(({ answer, ok }) => ok && answer.includes(MARK)).map(({ name }) => name);
    expect(told).toEqual(expect.arrayContaining([
      'list_accounts', 'list_approvals', 'list_entries', 'list_freezes', 'list_invitations', 'list_questions', 'list_policies', 'read_approval',
      'read_invitation', 'read_transcript', 'read_results', 'outputs_of', 'approval_evidence', 'page_inbox', 'recorded_decisions',
      'spend_by', 'freeze_of', 'question_call',
    ])); // prettier-ignore
    expect(await digestOf(THEIRS)).toBe(before); // what says that it only reads does
    await callAll(asked, THEIRS);
    expect(await digestOf(THEIRS)).not.toBe(before);
  } finally {
    await asked.end();
  }
});

test('P7 a reader calls what only reads', async () => {
  const { rows } = await admin.query<{ name: string }>(
    `select p.proname as name from pg_proc p where p.pronamespace = 'actguard'::regnamespace and p.prosecdef
       and has_function_privilege('actguard_reader', p.oid, 'execute') order by 1`,
  );
  const names = rows.map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(['list_entries', 'read_approval', 'ledger_page', 'spend_by']));
  for (const writes of [
    'claim',
    'outcome',
    'enrol_key',
    'append_entries',
    'set_freeze',
    'revoke_keys',
    'record_answer',
    'bind_tenant',
  ])
    expect(names).not.toContain(writes);
});
