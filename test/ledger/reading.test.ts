/** Reading the ledger as it grows and as people ask: tail, show, filters, pages. */
import { Command } from 'commander';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Io } from '../../client/cli/io.ts';
import { registerList } from '../../client/cli/ledger-list.ts';
import { type ListedEntry, followEntries, listEntries } from '../../client/ledger.ts';
import { makeEntry, type EntryInput } from '../../governance/entry.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { appendEntries, sealAll, sealDeps } from '../support/ledger.ts';

let fresh: FreshDatabase;
beforeAll(async () => {
  fresh = await freshDatabase();
});
afterAll(() => fresh.drop());

const written = (n: number, more: Partial<EntryInput> = {}) => appendEntries(fresh.db, 1, n, more);
const keys = (entries: readonly ListedEntry[]): string[] =>
  entries.map(({ body }) => (JSON.parse(body) as { key: string }).key);

async function actguard(...words: string[]): Promise<{ lines: string[]; json: unknown[] }> {
  const seen = { lines: [] as string[], json: [] as unknown[] };
  const io = {
    actguard: () => Promise.resolve({ db: fresh.db, close: () => Promise.resolve() }),
    line: (text: string) => void seen.lines.push(text),
    json: (value: unknown) => void seen.json.push(value),
    progress: () => undefined,
  } as unknown as Io;
  const program = new Command('actguard').exitOverride();
  registerList(program, io);
  await program.parseAsync(words, { from: 'user' });
  return seen;
}

test('P6: tail --follow shows every entry once, also one whose transaction ends after a younger one', async () => {
  await written(1);
  const late = await fresh.db.begin();
  const entry = makeEntry({
    kind: 'credential.used',
    tenant: 'acme',
    run: null,
    key: 't:late',
    atMs: 0,
    data: { uses: [] },
  });
  await late.query('select actguard.append_entries($1::jsonb)', [JSON.stringify([entry])]);
  await written(2); // has the higher id, and is there first
  const stop = new AbortController();
  const seen: string[] = [];
  for await (const found of followEntries(fresh.db, {}, { last: 1, follow: true, signal: stop.signal })) {
    seen.push(...keys([found]));
    if (seen.length === 1) await late.commit();
    if (seen.length === 2) await written(3);
    if (seen.length === 3) stop.abort();
  }
  expect(seen).toEqual(['t:2', 't:late', 't:3']);
  expect(keys((await actguard('tail', '-n', '2', '--jsonl')).json as ListedEntry[])).toEqual(['t:2', 't:3']);
  await expect(actguard('tail', '-n', '1001')).rejects.toMatchObject({ code: 'ARGUMENTS_INVALID' });
});

test('filters by user, code, time, amount, tool, kind and tenant; pages that nobody shifts', async () => {
  const denied = (n: number, data: object, tenant = 'filters') =>
    written(100 + n, {
      kind: 'call.denied',
      tenant,
      run: `r${n % 2}`,
      call: `c${n}`,
      data: { tool: 'pay', ...data } as never,
    });
  await denied(1, { user: 'alice', code: 'POLICY_DENIED' });
  await denied(2, { user: 'bob', code: 'RULE_FAILED' });
  const halfMs = Date.now() + 1;
  await fresh.db.query(
    `update actguard.entries set inserted_at = inserted_at - interval '3 days' where tenant = 'filters'`,
  );
  await denied(3, { user: 'alice', code: 'RULE_FAILED', tool: 'find' });
  await written(104, {
    kind: 'call.succeeded',
    tenant: 'filters',
    run: 'r9',
    call: 'c4',
    data: { tool: 'pay', user: 'carol', spentMicros: 2_500_000 },
  });
  await written(105, {
    kind: 'call.started',
    tenant: 'filters',
    run: 'r9',
    call: 'c5',
    data: { tool: 'pay', user: 'carol', reserved: { usdMicros: 100, tokens: 0, calls: 1 } },
  });
  await denied(6, { user: 'alice', code: 'RULE_FAILED' }, 'elsewhere');
  const found = async (...flags: string[]): Promise<string[]> => {
    const { json } = await actguard('list', '--tenant', 'filters', ...flags);
    return keys((json[0] as { entries: ListedEntry[] }).entries);
  };
  const t = (...n: number[]) => n.map((i) => `t:${100 + i}`);
  expect(await found()).toEqual(t(1, 2, 3, 4, 5));
  expect(await found('--user', 'alice')).toEqual(t(1, 3));
  expect(await found('--code', 'RULE_FAILED')).toEqual(t(2, 3));
  expect(await found('--user', 'alice', '--code', 'RULE_FAILED')).toEqual(t(3));
  expect(await found('--since', '1d')).toEqual(t(3, 4, 5));
  expect(await found('--until', new Date(halfMs - 86_400_000).toISOString())).toEqual(t(1, 2));
  expect(await found('--min-usd', '1')).toEqual(t(4));
  expect(await found('--max-usd', '1')).toEqual(t(5));
  expect(await found('--tool', 'find')).toEqual(t(3));
  expect(await found('--kind', 'call.denied', '--run', 'r1')).toEqual(t(1, 3));
  expect(await found('--user', 'nobody')).toEqual([]);
  expect((await actguard('list', '--tenant', 'nobody')).lines).toEqual(['no entries']);

  const first = await listEntries(fresh.db, { tenant: 'filters', limit: 2 });
  await denied(7, { user: 'dora', code: 'RULE_FAILED' }); // written between two pages
  const rest = await listEntries(fresh.db, { tenant: 'filters', limit: 9, after: first.at(-1)?.id ?? 0 });
  expect(keys([...first, ...rest])).toEqual(t(1, 2, 3, 4, 5, 7));
  const bad = actguard('list', '--since', 'yesterday', '--min-usd', 'lots', '--limit', '5');
  await expect(bad).rejects.toMatchObject({
    code: 'ARGUMENTS_INVALID',
    message: expect.stringMatching(/since[\s\S]*min-usd/) as string,
  });
});

test('ledger show: the bytes, what lies beside them, the place in the sealed ledger; NOT_FOUND, and no number', async () => {
  await written(200, { content: { note: 'kept' } });
  const [{ id = 0 } = {}] = await listEntries(fresh.db, { kind: 'credential.used', limit: 1_000 }).then((all) =>
    all.slice(-1),
  );
  expect((await actguard('show', String(id))).lines).toContain('waits to be sealed');
  const sealing = sealDeps(fresh.url);
  await sealAll(sealing);
  await sealing.db.end();
  const { lines, json } = await actguard('show', String(id));
  expect(lines.join('\n')).toMatch(/leaf \d+[\s\S]*"key":"t:200"[\s\S]*beside it: \{"note":"kept"\}/);
  expect(json[0]).toMatchObject({ id, content: { note: 'kept' } });
  await expect(actguard('show', '999999')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  for (const word of ['0', 'x', '1e3'])
    await expect(actguard('show', word)).rejects.toMatchObject({ code: 'ARGUMENTS_INVALID' });
});
