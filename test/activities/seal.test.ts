/** P6: what waits is sealed in order, whole and once; what does not extend what was signed is not signed. */
import pg from 'pg';
import { afterAll, beforeEach, expect, test } from 'vitest';
import type { Database } from '../../activities/deps.ts';
import { WORKER_ROLE, connectDatabase } from '../../activities/postgres.ts';
import { headOf, lookAtTree, proveExtension, sealOnce } from '../../activities/seal.ts';
import { rootOf } from '../../governance/merkle.ts';
import { noteKeyText } from '../../governance/note.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { LOG, appendEntries, rootOver, sealAll, sealDeps, sealedBodies, signerOf } from '../support/ledger.ts';
import { noteKey } from '../support/note-keys.ts';
import { tlogverify } from '../support/tlogverify.ts';

let database: FreshDatabase;
let deps: ReturnType<typeof sealDeps>;
const ended: (() => Promise<void>)[] = [];
beforeEach(async () => {
  database = await freshDatabase();
  deps = sealDeps(database.url);
  const { drop } = database;
  const { db } = deps;
  ended.push(async () => {
    await db.end();
    await drop();
  });
});
afterAll(async () => {
  for (const end of ended) await end();
});

const notes = (): Promise<{ size: number; note: string }[]> =>
  database.db.query('select size, note from actguard.ledger_checkpoints order by size');

test('P6: an independent verifier accepts every checkpoint, each extends the one before, all leaves give the root', async () => {
  for (const count of [1, 3, 1, 7, 20, 1]) {
    await appendEntries(database.db, count, (await sealedBodies(database.db)).length);
    await sealAll(deps);
  }
  const checkpoints = await notes();
  expect(checkpoints.map((c) => c.size)).toEqual([1, 4, 5, 12, 32, 33]);
  const bodies = await sealedBodies(database.db);
  const consistency = [];
  for (const from of checkpoints) {
    for (const to of checkpoints.filter((c) => c.size >= from.size)) {
      const proof = await proveExtension(deps, from.size, to.size);
      consistency.push({
        from: String(from.size),
        to: String(to.size),
        proof: proof.map((h) => Buffer.from(h).toString('base64')),
      });
    }
  }
  const [result] = tlogverify([
    {
      origin: LOG,
      vkeys: [noteKeyText(noteKey(LOG).key)],
      checkpoints: Object.fromEntries(checkpoints.map((c) => [String(c.size), c.note])),
      consistency,
      trees: checkpoints.map((c) => ({
        checkpoint: String(c.size),
        leaves: bodies.slice(0, c.size).map((b) => b.toString('base64')),
      })),
    },
  ]);
  expect(result?.checks.filter((check) => !check.ok)).toEqual([]);
  expect(result?.checks).toHaveLength(6 + 21 + 6);
});

test('P6: nothing is signed where nothing waits', async () => {
  const state = await sealAll(deps);
  expect(state.note).toBeNull();
  await appendEntries(database.db, 2);
  await sealAll(deps);
  await sealAll(deps);
  expect(await notes()).toHaveLength(1);
});

test('P6: an entry that commits later than a younger one is sealed after it, without a gap', async () => {
  const slow = new pg.Client({ connectionString: database.url });
  await slow.connect();
  try {
    await slow.query('begin');
    await appendEntries(
      { query: async (text, values) => (await slow.query(text, values as unknown[])).rows as never },
      1,
      0,
    );
    await appendEntries(database.db, 1, 1);
    await sealAll(deps);
    await slow.query('commit');
    await sealAll(deps);
  } finally {
    await slow.end();
  }
  const numbers = (await sealedBodies(database.db)).map((b) => (JSON.parse(b.toString()) as { data: unknown }).data);
  expect(numbers).toMatchObject([{ number: 1 }, { number: 0 }]);
});

test('P6: an entry whose transaction is rolled back is never sealed', async () => {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    await client.query('begin');
    await appendEntries(
      { query: async (text, values) => (await client.query(text, values as unknown[])).rows as never },
      3,
      0,
    );
    await client.query('rollback');
  } finally {
    await client.end();
  }
  await appendEntries(database.db, 1, 9);
  await sealAll(deps);
  expect(await sealedBodies(database.db)).toHaveLength(1);
});

test('P6: two sealers at once: no gap, no fork, every entry once', async () => {
  const other = sealDeps(database.url);
  ended.unshift(() => other.db.end());
  const work = async (own: typeof deps): Promise<number> => {
    let lost = 0;
    for (let i = 0; i < 40;) {
      const looked = await lookAtTree(own, null);
      if (looked.kind === 'broken') throw new Error(looked.trouble.reason);
      const sealed = await sealOnce(own, looked.state, 3).catch((error: unknown) => {
        if ((error as { code?: string }).code === '40001') return null;
        throw error;
      });
      if (sealed === null) lost += 1;
      else i += 1;
    }
    return lost;
  };
  const writing = (async () => {
    for (let i = 0; i < 60; i += 1) await appendEntries(database.db, 2, i * 2);
  })();
  await Promise.all([work(deps), work(other), writing]);
  await sealAll(deps);
  const bodies = await sealedBodies(database.db);
  expect(bodies).toHaveLength(120);
  expect(new Set(bodies.map(String)).size).toBe(120);
  for (const { size, note } of await notes()) expect(note.split('\n')[2]).toBe(rootOver(bodies.slice(0, size)));
});

test.each(['seal_pending', 'seal_append'])(
  'P6: a sealer that dies around %s leaves no gap and no fork',
  async (name) => {
    await appendEntries(database.db, 5);
    await sealAll(deps);
    await appendEntries(database.db, 5, 5);
    for (const after of [false, true]) {
      const dying: Pick<Database, 'query'> = {
        async query<R>(text: string, values?: readonly unknown[]): Promise<R[]> {
          if (!text.includes(name)) return deps.db.query<R>(text, values);
          if (after) await deps.db.query<R>(text, values);
          throw new Error('died');
        },
      };
      await expect(sealAll({ ...deps, db: dying })).rejects.toThrow('died');
    }
    const state = await sealAll(deps);
    expect(state.peaks.size).toBe(10);
    expect(Buffer.from(rootOf(state.peaks)).toString('base64')).toBe(rootOver(await sealedBodies(database.db)));
  },
);

test('P6: a key that cannot sign seals nothing', async () => {
  await appendEntries(database.db, 2);
  const away = { key: noteKey(LOG).key, sign: () => Promise.reject(new Error('key service away')) };
  await expect(sealAll({ ...deps, signers: [away] })).rejects.toThrow('key service away');
  expect(await notes()).toEqual([]);
  expect((await sealAll(deps)).peaks.size).toBe(2);
});

test('P6: keys rotate: both sign for a while, then the new one alone', async () => {
  const next = noteKey(LOG, 'log', 'the next key');
  await appendEntries(database.db, 1);
  await sealAll(deps);
  await appendEntries(database.db, 1, 1);
  await sealAll({ ...deps, signers: [noteKey(LOG), next].map(signerOf) });
  await appendEntries(database.db, 1, 2);
  await sealAll({ ...deps, signers: [signerOf(next)] });
  const [first, both, last] = (await notes()).map((n) => n.note);
  const check = (vkey: string, note: string): boolean | undefined =>
    tlogverify([{ origin: LOG, vkeys: [vkey], checkpoints: { main: note } }])[0]?.ok;
  const [before, after] = [noteKeyText(noteKey(LOG).key), noteKeyText(next.key)];
  expect([check(before, first ?? ''), check(before, both ?? ''), check(before, last ?? '')]).toEqual([
    true,
    true,
    false,
  ]);
  expect([check(after, first ?? ''), check(after, both ?? ''), check(after, last ?? '')]).toEqual([false, true, true]);
  // without the old key the old checkpoint counts no more, and the sealer says so instead of signing on
  await database.db.query('delete from actguard.ledger_checkpoints where size > 1');
  const looked = await lookAtTree({ ...deps, signers: [signerOf(next)] }, null);
  expect(looked).toMatchObject({ kind: 'broken' });
});

test('P6: the tripwire: a database behind what was signed, or beside it, is not signed on', async () => {
  await appendEntries(database.db, 6);
  const yesterday = headOf((await sealAll(deps)).peaks);
  await appendEntries(database.db, 6, 6);
  const today = headOf((await sealAll(deps)).peaks);
  expect(await lookAtTree(deps, yesterday)).toMatchObject({ kind: 'ok' });
  expect(await lookAtTree(deps, today)).toMatchObject({ kind: 'ok' });

  await database.db.query('delete from actguard.ledger_checkpoints where size > 6');
  await database.db.query('delete from actguard.ledger_leaves where idx >= 6');
  expect(await lookAtTree(deps, yesterday)).toMatchObject({ kind: 'ok' });
  expect(await lookAtTree(deps, today)).toMatchObject({ kind: 'broken', trouble: { kind: 'behind', head: yesterday } });

  // the stolen key signs another history of the same length: the database alone cannot tell, the memory can
  await database.db.query('delete from actguard.ledger_nodes');
  await database.db.query('delete from actguard.ledger_leaves');
  await database.db.query('delete from actguard.ledger_checkpoints');
  await database.db.query('delete from actguard.ledger_pending');
  await appendEntries(database.db, 12, 100);
  await sealAll(deps);
  expect(await lookAtTree(deps, null)).toMatchObject({ kind: 'ok' });
  expect(await lookAtTree(deps, today)).toMatchObject({ kind: 'broken', trouble: { kind: 'fork' } });
  expect(await lookAtTree(deps, yesterday)).toMatchObject({ kind: 'broken', trouble: { kind: 'fork' } });
});

test.each([
  ['a checkpoint of a stranger', `update actguard.ledger_checkpoints set note = replace(note, $1, 'x')`, 'ot ours'],
  ['a leaf more', `insert into actguard.ledger_leaves (idx, entry_id, hash) values (6, 999, sha256('x'))`, 'leaves'],
  ['a node changed', `update actguard.ledger_nodes set hash = sha256('x') where level = 2`, 'last checkpoint signs'],
  ['a node gone', `delete from actguard.ledger_nodes where level = 2`, 'missing'],
  ['the last leaves gone', `delete from actguard.ledger_leaves where idx > 3`, 'leaves'],
])('P6: nothing is signed over %s', async (_what, statement, reason) => {
  await appendEntries(database.db, 6);
  await sealAll(deps);
  expect(await lookAtTree(deps, null)).toMatchObject({ kind: 'ok' });
  await database.db.query(statement, statement.includes('$1') ? [LOG] : []);
  const looked = await lookAtTree(deps, null);
  expect(looked.kind === 'broken' ? looked.trouble.reason : '').toContain(reason);
});

test.each([3, 40])(
  'P1 P6: %i entries at once: each once, in order, its content beside it, all waiting to be sealed',
  async (count) => {
    const content = { argsSalt: 'x' };
    await appendEntries(database.db, count, 0, { content });
    await appendEntries(database.db, count + 2, 0, { content: { argsSalt: 'written twice' } });
    const rows = await database.db.query<{ key: string; content: object; waits: boolean }>(
      `select e.key, c.content, p.entry_id is not null as waits from actguard.entries e
     left join actguard.entry_contents c on c.entry_id = e.id left join actguard.ledger_pending p on p.entry_id = e.id order by e.id`,
    );
    expect(rows.map((r) => r.key)).toEqual(Array.from({ length: count + 2 }, (_, i) => `t:${i}`));
    expect(rows.every((r) => r.waits)).toBe(true);
    expect(rows.map((r) => r.content)).toEqual(
      rows.map((_, i) => (i < count ? content : { argsSalt: 'written twice' })),
    );
  },
);

test('P6: workers cannot seal, the sealer can do nothing else', async () => {
  const worker = connectDatabase(database.url, { role: WORKER_ROLE, max: 1 });
  ended.unshift(() => worker.end());
  for (const call of ['seal_head()', 'seal_pending(1)', `seal_cosigned(1, 'a', 'a')`]) {
    await expect(worker.query(`select actguard.${call}`), call).rejects.toMatchObject({ code: '42501' });
    await expect(deps.db.query(`select actguard.${call}`), call).resolves.toBeDefined();
  }
  for (const statement of [
    'select * from actguard.entries',
    'delete from actguard.ledger_checkpoints',
    `select actguard.append_entries('[]')`,
    `select actguard.list_entries('{}')`,
  ]) {
    await expect(deps.db.query(statement), statement).rejects.toMatchObject({ code: '42501' });
  }
});
