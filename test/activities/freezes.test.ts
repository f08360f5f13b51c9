import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { changeFreeze } from '../../activities/freezes.ts';
import type { FreezeInput } from '../../activities/request-types.ts';
import { makeCommand, makeFreeze, makeThaw } from '../../client/commands.ts';
import { listFreezes } from '../../client/freezes.ts';
import { generateKey, signEnvelope, type SigningKey } from '../../client/keys.ts';
import { defineTool } from '../../define/index.ts';
import { commandStatement, type Command } from '../../governance/command.ts';
import { APPROVAL_PAYLOAD_TYPE, COMMAND_PAYLOAD_TYPE } from '../../governance/dsse.ts';
import { parseFreezeTarget, type FreezeScope } from '../../governance/freeze.ts';
import type { Json } from '../../governance/json.ts';
import { MAX_UNSIGNED_FREEZES_PER_HOUR } from '../../governance/limits.ts';
import { impostor, makeDeps, person } from '../approvals/fixture.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import { desk, type TestRun } from '../support/calls.ts';

const tool = (name: string) =>
  defineTool({ name, description: name, effect: 'write', inputSchema: z.strictObject({ n: z.int() }), execute: () => ({ ok: true }) }); // prettier-ignore
const world = desk();
const root = generateKey('');
let n = 0;
const nonce = (): string => (++n).toString(16).padStart(32, '0');
const freezeOf = (target: string, tenant: string, more: object = {}): FreezeInput =>
  ({ v: 1, kind: 'freeze', nonce: nonce(), tenant, target, by: 'olga', reason: 'looks odd', ...more }) as FreezeInput;
const scopeOf = (target: string, tenant: string): FreezeScope => {
  const parsed = parseFreezeTarget(target, tenant);
  if (parsed.kind === 'invalid') throw new Error(parsed.reason);
  return parsed.value;
};
const thaw = (envelope: unknown): FreezeInput => ({ v: 1, kind: 'thaw', nonce: nonce(), envelope: envelope as Json });

describe('P7 a freeze holds for what it names and only for that', () => {
  test.each([
    ['tool:pay', 'acme', ['acme alice desk pay']],
    ['agent:other', 'acme', ['acme alice other pay', 'acme alice other look']],
    ['user:bob', 'acme', ['acme bob desk pay', 'acme bob desk look']],
    ['tenant:globex', 'globex', ['globex alice desk pay', 'globex alice desk look']],
    ['tool:pay', '*', ['acme alice desk pay', 'acme alice other pay', 'acme bob desk pay', 'globex alice desk pay']],
    ['all', '*', 'everything'],
  ] as [string, string, string[] | 'everything'][])('P7 %s of %s', async (target, tenant, expected) => {
    const worker = world.worker([tool('pay'), tool('look')], { roots: [root.keyId] });
    const { deps } = worker.shared;
    const runs: { name: string; run: TestRun }[] = [];
    for (const [t, user, agent] of [
      ['acme', 'alice', 'desk'],
      ['acme', 'alice', 'other'],
      ['acme', 'bob', 'desk'],
      ['globex', 'alice', 'desk'],
    ] as const) {
      runs.push({ name: `${t} ${user} ${agent}`, run: await worker.run({ tenant: t, user, agent }) });
    }
    const frozen = async (): Promise<string[]> => {
      const found: string[] = [];
      for (const { name, run } of runs) {
        for (const called of ['pay', 'look']) {
          const result = await run.call(called, { n: ++n });
          if (result.kind === 'denied') {
            expect(result.denial).toMatchObject({ code: 'FROZEN', details: { by: 'olga', reason: 'looks odd' } });
            expect(result.denial.details['scope']).toBe(target.split(':')[0]);
            found.push(`${name} ${called}`);
          } else expect(result.kind).toBe('done');
        }
      }
      return found;
    };
    expect(await frozen()).toEqual([]);
    expect(await changeFreeze(deps, freezeOf(target, tenant))).toMatchObject({ kind: 'set', by: 'olga' });
    const all = runs.flatMap(({ name }) => [`${name} pay`, `${name} look`]);
    const held = await frozen();
    if (expected === 'everything') expect(held).toEqual(all);
    else if (target.startsWith('tool') && tenant === 'acme')
      expect(held).toEqual(all.filter((c) => /^acme.*pay/.test(c)));
    else expect(held).toEqual(expected);
    expect(await listFreezes(deps.db, tenant)).toMatchObject([{ tenant, by: 'olga', reason: 'looks odd' }]);

    const operator = tenant === '*' ? root : await person(deps, root, 'olga', ['operator'], tenant);
    const envelope = makeThaw(scopeOf(target, tenant), 'looked at', operator, Date.now());
    expect(await changeFreeze(deps, thaw(envelope))).toMatchObject({ kind: 'lifted' });
    expect(await frozen()).toEqual([]);
  });
});

test('P7 a frozen run is FROZEN in its claims, others go on; nothing is left of the freeze when the run has ended', async () => {
  const worker = world.worker([tool('pay')]);
  const { deps } = worker.shared;
  const [mine, other] = [await worker.run({ tenant: 'runs' }), await worker.run({ tenant: 'runs' })];
  expect(await changeFreeze(deps, freezeOf(`run:${mine.run}`, 'elsewhere'))).toMatchObject({ kind: 'rejected', reason: 'no such run is open in that tenant' }); // prettier-ignore
  expect(await changeFreeze(deps, freezeOf(`run:${mine.run}`, 'runs'))).toMatchObject({ kind: 'set' });
  expect(await mine.call('pay', { n: ++n })).toMatchObject({
    kind: 'denied',
    denial: { code: 'FROZEN', details: { scope: 'run', value: mine.run, by: 'olga', reason: 'looks odd' } },
  });
  expect((await other.call('pay', { n: ++n })).kind).toBe('done');
  expect(await listFreezes(deps.db, 'runs')).toHaveLength(1);
  await deps.db.query('select actguard.record_run($1::jsonb)', [JSON.stringify({ run: mine.run, status: 'stopped', lastSeq: 1, entries: [] })]); // prettier-ignore
  expect(await listFreezes(deps.db, 'runs')).toEqual([]);
  expect((await changeFreeze(deps, freezeOf(`run:${mine.run}`, 'runs'))).kind).toBe('rejected');
});

test('P7 a freeze waits for a claim that is deciding, and the next claim waits for the freeze', async () => {
  const worker = world.worker([tool('pay')], { roots: [root.keyId] });
  const { deps } = worker.shared;
  const [before, after] = [await worker.run(), await worker.run()];
  const waiting = async (): Promise<void> => {
    for (let i = 0; i < 400; i += 1) {
      const [row] = await deps.db.query<{ c: number }>(
        `select count(*)::int as c from pg_locks l join pg_database d on d.oid = l.database
         where d.datname = current_database() and l.locktype = 'advisory' and not l.granted`,
      );
      if (row && row.c > 0) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error('nobody waits');
  };
  const url = new URL(world.url());
  const claimer = new pg.Client({ connectionString: url.href });
  await claimer.connect();
  try {
    // a claim that has looked and not committed
    await claimer.query('begin');
    await claimer.query(`select actguard.share_control('acme')`);
    const freezing = changeFreeze(deps, freezeOf('tool:pay', 'acme'));
    await waiting();
    const late = after.call('pay', { n: ++n }); // queues behind the freeze
    await claimer.query('commit');
    expect(await freezing).toMatchObject({ kind: 'set' });
    expect((await late).kind).toBe('denied');
    expect(await before.call('pay', { n: ++n })).toMatchObject({ kind: 'denied', denial: { code: 'FROZEN' } });
  } finally {
    await claimer.end();
    await changeFreeze(deps, thaw(makeThaw(scopeOf('tool:pay', 'acme'), 'ok', await person(deps, root, 'otto', ['operator']), Date.now()))); // prettier-ignore
  }
});

describe('P4 thaws are signed', () => {
  let fresh: FreshDatabase;
  let deps: ReturnType<typeof makeDeps>;
  let operator: SigningKey;
  let clerk: SigningKey;
  beforeAll(async () => {
    fresh = await freshDatabase();
    deps = makeDeps(fresh.db, [root.keyId]);
    operator = await person(deps, root, 'olga', ['operator']);
    clerk = await person(deps, root, 'clerk', ['finance']);
  });
  afterAll(() => fresh?.drop());

  const command = (more: Partial<Command> = {}): Command => ({
    v: 1, verb: 'thaw', tenant: 'acme', target: 'tool:pay', nonce: nonce(),
    exp: new Date(Date.now() + 60_000).toISOString(), reason: 'ok', data: {}, ...more,
  }); // prettier-ignore
  const signed = (c: object, key = operator, type = COMMAND_PAYLOAD_TYPE): Json =>
    signEnvelope(type, commandStatement(c as Command), [key]);
  const send = (envelope: unknown, delivery?: string) => changeFreeze(deps, thaw(envelope), delivery);

  test.each([
    ['no operator', () => signed(command(), clerk), /neither operator nor administrator/],
    ['a run', () => signed(command({ target: `run:${'0'.repeat(26)}` })), /takes its thaw itself/],
    ['another tenant', () => signed(command({ tenant: 'globex' })), /unknown/],
    ['every tenant by an operator', () => signed(command({ tenant: '*' })), /unknown/],
    [
      'every tenant by a root without its key',
      () => signed(command({ tenant: '*', target: 'all' }), root),
      /public key/,
    ],
    ['all in a tenant', () => signed(command({ target: 'all' })), /every tenant/],
    ['a root in a tenant', () => signed(command(), root), /unknown/],
    ['expired', () => signed(command({ exp: new Date(Date.now() - 1).toISOString() })), /expired/],
    ['good for ever', () => signed(command({ exp: '2099-01-01T00:00:00.000Z' })), /too long/],
    ['forged', () => signed(command(), impostor(operator.publicKey, operator.keyId, 'olga')), /does not verify/],
    ['unknown key', () => signed(command(), generateKey('olga')), /unknown/],
    ['another verb', () => signed(command({ verb: 'topUp' })), /no thaw/],
    ['signed as an approval', () => signed(command(), operator, APPROVAL_PAYLOAD_TYPE), /payload type/],
    ['not an envelope', () => ['thaw'], /not an object/],
    ['no envelope', () => undefined, /./],
    ['too large', () => ({ payload: 'x'.repeat(20_000) }), /too large/],
  ] as [string, () => unknown, RegExp][])('P4 does not lift: %s; its twin does', async (_name, make, reason) => {
    await changeFreeze(deps, freezeOf('tool:pay', 'acme'));
    expect(await send(make())).toMatchObject({ kind: 'rejected', reason: expect.stringMatching(reason) as string });
    expect(await listFreezes(fresh.db, null)).toHaveLength(1);
    expect(await send(signed(command()))).toMatchObject({ kind: 'lifted', by: 'olga' });
    expect(await listFreezes(fresh.db, null)).toEqual([]);
  });

  test('P4 a thaw is used once: a retry of its delivery is the same use, a replay lifts no later freeze', async () => {
    const envelope = makeCommand('thaw', { tenant: 'acme', target: 'tool:pay', reason: 'ok' }, operator, Date.now());
    expect(await send(envelope, 'd1')).toMatchObject({ kind: 'absent' });
    await changeFreeze(deps, freezeOf('tool:pay', 'acme'));
    expect(await send(envelope, 'd1')).toMatchObject({ kind: 'lifted' });
    expect(await send(envelope, 'd1')).toMatchObject({ kind: 'lifted' });
    await changeFreeze(deps, freezeOf('tool:pay', 'acme'));
    expect(await send(envelope, 'd2')).toMatchObject({ kind: 'rejected', reason: 'the command was used already' });
    expect(await listFreezes(fresh.db, 'acme')).toHaveLength(1);
    expect(await send(signed(command()))).toMatchObject({ kind: 'lifted' });
    const kinds = await fresh.db.query<{ kind: string }>(
      `select distinct kind from actguard.entries where run = '' order by 1`,
    );
    expect(kinds.map((k) => k.kind)).toEqual(
      expect.arrayContaining(['command.invalid', 'freeze.lifted', 'freeze.set']),
    );
  });

  test.each([
    ['another scope', freezeOf('room:x', 'acme')],
    ['no run id', freezeOf('run:x', 'acme')],
    ['a run that is not there', freezeOf(`run:${'0'.repeat(26)}`, 'acme')],
    ['a run of every tenant', freezeOf(`run:${'0'.repeat(26)}`, '*')],
    ['a scope without a name', freezeOf('tool:', 'acme')],
    ['another tenant’s', freezeOf('tenant:acme', 'globex')],
    ['all in one tenant', freezeOf('all', 'acme')],
    ['tenant:*', freezeOf('tenant:*', '*')],
    ['no reason', freezeOf('tool:pay', 'acme', { reason: '' })],
    ['hidden characters in who', freezeOf('tool:pay', 'acme', { by: 'a\u202eb' })],
    ['a field more', freezeOf('tool:pay', 'acme', { entries: [] })],
    ['another version', freezeOf('tool:pay', 'acme', { v: 2 })],
    ['nothing', null as unknown as FreezeInput],
  ])('P7 a freeze that would hold for nothing is refused: %s; its twin is set', async (_name, bad) => {
    expect((await changeFreeze(deps, bad)).kind).toBe('rejected');
    expect(await listFreezes(fresh.db, null)).toEqual([]);
    expect((await changeFreeze(deps, freezeOf('tool:pay', 'acme', { reason: 'nul \u0000' }))).kind).toBe('set');
    expect((await send(signed(command()))).kind).toBe('lifted');
  });
});

describe('P7 a flood of unsigned freezes ends, and keeps no operator from freezing', () => {
  test('P7 past the limit of an hour a freeze has to be signed; other tenants and what holds are not touched', async () => {
    const { deps } = world.worker([tool('pay')], { roots: [root.keyId] }).shared;
    const set = (i: number, tenant = 'flooded') => changeFreeze(deps, freezeOf(`user:u${i}`, tenant));
    for (let i = 0; i < MAX_UNSIGNED_FREEZES_PER_HOUR; i += 1) expect((await set(i)).kind).toBe('set');
    expect(await set(-1)).toMatchObject({ kind: 'rejected', reason: expect.stringContaining('--key') as string });
    expect((await set(0)).kind).toBe('set'); // holds already
    expect((await set(-1, 'dry')).kind).toBe('set');
    const olga = await person(deps, root, 'olga', ['operator'], 'flooded');
    const signedFreeze = (key: SigningKey, target = 'tool:pay'): FreezeInput => {
      const envelope = makeFreeze(scopeOf(target, 'flooded'), 'now', false, key, Date.now());
      return { v: 1, kind: 'signed-freeze', nonce: nonce(), envelope };
    };
    const clerk = await person(deps, root, 'clerk', ['finance'], 'flooded');
    expect((await changeFreeze(deps, signedFreeze(clerk))).kind).toBe('rejected');
    expect((await changeFreeze(deps, signedFreeze(generateKey('olga')))).kind).toBe('rejected');
    const good = signedFreeze(olga);
    expect(await changeFreeze(deps, good)).toMatchObject({ kind: 'set', by: 'olga' });
    expect(await changeFreeze(deps, good)).toMatchObject({ kind: 'rejected', reason: 'the command was used already' });
    expect(await listFreezes(deps.db, 'flooded')).toHaveLength(MAX_UNSIGNED_FREEZES_PER_HOUR + 1);
    const kinds = await deps.db.query(
      `select 1 from actguard.entries where tenant = 'flooded' and kind = 'freeze.set'`,
    );
    expect(kinds).toHaveLength(MAX_UNSIGNED_FREEZES_PER_HOUR + 1);
  });
});
