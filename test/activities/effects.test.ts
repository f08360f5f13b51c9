/** Attempts that overlap, answers that are lost, receivers that are asked: what a call's outcome may become, and what not. */
import { randomUUID } from 'node:crypto';
import { SecretSet } from '../../activities/scrub.ts';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { defineTool } from '../../define/index.ts';
import type { Reconciled } from '../../define/types.ts';
import type { Database } from '../../activities/deps.ts';
import type { CallToolResult } from '../../activities/types.ts';
import { guardedFetch, type Traffic } from '../../activities/guarded-fetch.ts';
import { networkOf } from '../../activities/network.ts';
import { applyResolve } from '../../activities/resolve.ts';
import { checkCompleteness } from '../../governance/completeness.ts';
import { ActGuardError } from '../../governance/errors.ts';
import type { Json, JsonObject } from '../../governance/json.ts';
import { desk, told, type TestRun } from '../support/calls.ts';

const { db, worker } = desk();

/** A receiver: every POST that it takes is an effect, once per key where it is asked to honour keys. */
const plan: (number | 'drop' | Promise<void>)[] = [];
const effects: { n: number; key: string | undefined }[] = [];
let server: Server;
let url = '';
/** Nobody listens there. */
let closed = '';
let arrived: () => void = () => undefined;

beforeAll(async () => {
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (part: Buffer) => (body += part.toString()));
    request.on('end', () => {
      const key = request.headers['idempotency-key'] as string | undefined;
      const next = plan.shift() ?? 200;
      const { n } = JSON.parse(body || '{"n":0}') as { n: number };
      if (typeof next !== 'number' || next < 400) {
        if (key === undefined || !effects.some((e) => e.key === key)) effects.push({ n, key });
      }
      arrived();
      if (next === 'drop') request.socket.destroy();
      else if (typeof next === 'number') response.writeHead(next).end(JSON.stringify({ receipt: n }));
      else void next.then(() => response.end(JSON.stringify({ receipt: n })));
    });
  });
  const once = createServer();
  await new Promise<void>((resolve) => once.listen(0, '127.0.0.1', resolve));
  closed = `http://127.0.0.1:${(once.address() as AddressInfo).port}/`;
  await new Promise((resolve) => once.close(resolve));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

let last = 0;
/** Arguments that no other test has. */
const fresh = (): { n: number } => ({ n: (last += 1) });
const count = (n: number): number => effects.filter((e) => e.n === n).length;
const pay = (more: object = {}) =>
  defineTool({
    name: 'pay',
    description: 'Pay',
    effect: 'write',
    inputSchema: z.strictObject({ n: z.int() }),
    execute: async (args, { fetch }) =>
      (await fetch(url, { method: 'POST', body: JSON.stringify(args) })).json() as Promise<unknown>,
    ...more,
  });
const kept = (more: object = {}) =>
  pay({
    idempotency: { key: ({ n }: { n: number }) => `pay:${n}`, receiver: { header: 'idempotency-key' } },
    retry: { maximumAttempts: 1 },
    ...more,
  });
const code = (result: CallToolResult): string =>
  result.kind === 'denied' ? result.denial.code : result.kind === 'failed' ? result.error.code : result.kind;

interface Row {
  readonly state: string;
  readonly key_hash: string | null;
  readonly question: string | null;
  readonly needs_person: boolean;
  readonly asks: boolean;
}
async function rowOf(run: TestRun, call: string): Promise<Row> {
  const [row] = await db().query<Row>(
    'select state, key_hash, question, needs_person, ask_after is not null as asks from actguard.calls where run = $1 and call = $2',
    [run.run, call],
  );
  if (!row) throw new Error('the call has no row');
  return row;
}
const kinds = async (run: TestRun): Promise<string[]> =>
  (await db().query<{ kind: string }>('select kind from actguard.entries where run = $1 order by id', [run.run])).map(
    (r) => r.kind,
  );
/** The lease of a call runs out, as when its worker is stopped. */
const expire = (run: TestRun): Promise<unknown> =>
  db().query(`update actguard.calls set lease_until = clock_timestamp() - interval '1 ms' where run = $1`, [run.run]);
/** Time passes for what was sent. */
const age = (run: TestRun, interval: string): Promise<unknown> =>
  db().query('update actguard.calls set last_send_at = last_send_at - $2::interval where run = $1', [
    run.run,
    interval,
  ]);

/** What the ledger says became of call `x`: an audit holds it against the call's row. */
async function toldOf(run: TestRun): Promise<string | null | undefined> {
  const rows = await db().query<{ body: string }>(
    `select convert_from(body, 'UTF8') as body from actguard.entries where run = $1 order by id`,
    [run.run],
  );
  const told = checkCompleteness({ keepCalls: true });
  for (const { body } of rows) told.entry(JSON.parse(body) as JsonObject);
  return told.end().calls.find(({ call }) => call === 'x')?.state;
}

/** An attempt that is stopped in the middle and taken over; `resume` lets it end. */
async function overtaken(tool: ReturnType<typeof pay>, args: { n: number }) {
  const run = await worker([tool]).run();
  let go: () => void = () => undefined;
  plan.push(new Promise<void>((resolve) => (go = resolve)));
  const came = new Promise<void>((resolve) => (arrived = resolve));
  const slow = run.call('pay', args, { call: 'x' });
  await came;
  await expire(run);
  return { run, resume: () => (go(), slow) };
}

describe('an earlier attempt that may have landed', () => {
  test('EX5 P2 a later attempt that certainly failed proves nothing about it: unknown, the key is kept', async () => {
    for (const second of [422, 'refused'] as const) {
      const args = fresh();
      const run = await worker([kept()]).run();
      plan.push('drop');
      expect((await run.call('pay', args, { call: 'x' })).kind).toBe('unknown');
      const nobody = kept({
        execute: (_a: unknown, { fetch }: { fetch: typeof globalThis.fetch }) => fetch(closed),
      });
      if (second === 422) plan.push(422);
      const again = second === 422 ? run : run.on(worker([nobody]));
      expect((await again.call('pay', args, { call: 'x', again: true })).kind).toBe('unknown');
      expect(await rowOf(run, 'x')).toMatchObject({ state: 'unknown', key_hash: expect.any(String) });
      expect(await run.call('pay', args, { call: 'x', again: true })).toMatchObject({ kind: 'done' });
      expect(count(args.n)).toBe(1);
    }
  });

  test('EX2 a call between two attempts is in progress for others, whatever became of its lease', async () => {
    const args = fresh();
    const refused = kept({
      retry: { maximumAttempts: 3 },
      execute: (_a: unknown, { fetch }: { fetch: typeof globalThis.fetch }) => fetch(closed),
    });
    const run = await worker([refused]).run();
    await expect(run.call('pay', args, { call: 'x' })).rejects.toMatchObject({ type: 'TOOL_FAILED' });
    expect((await rowOf(run, 'x')).state).toBe('retrying');
    expect(code(await run.call('pay', args, { call: 'y' }))).toBe('IN_PROGRESS');
    expect(await run.on(worker([kept()])).call('pay', args, { call: 'x', attempt: 2 })).toMatchObject({ kind: 'done' });
    expect(count(args.n)).toBe(1);
  });

  test('EX2 RT1 the retries of one call keep what its first attempt may have done', async () => {
    const args = fresh();
    const tool = kept({ retry: { maximumAttempts: 3, on: ['transport', 'overloaded'] } });
    const run = await worker([tool]).run();
    plan.push('drop');
    await expect(run.call('pay', args, { call: 'x' })).rejects.toMatchObject({ type: 'TOOL_FAILED' });
    plan.push(503);
    await expect(run.call('pay', args, { call: 'x', attempt: 2 })).rejects.toMatchObject({ type: 'TOOL_FAILED' });
    plan.push(422);
    expect((await run.call('pay', args, { call: 'x', attempt: 3 })).kind).toBe('unknown');
    expect(await rowOf(run, 'x')).toMatchObject({ state: 'unknown', asks: true, needs_person: false });
  });

  test('EX5 a 409 "in progress" of the receiver is no answer: unknown, asked again by itself', async () => {
    const args = fresh();
    const run = await worker([kept()]).run();
    plan.push('drop', 409);
    await run.call('pay', args, { call: 'x' });
    expect(await run.call('pay', args, { call: 'x', again: true })).toMatchObject({
      kind: 'unknown',
      askAgainMs: 4_000,
    });
    expect(await run.call('pay', args, { call: 'x', again: true })).toMatchObject({ kind: 'done' });
    expect(count(args.n)).toBe(1);
  });

  test('EX5 past keyTtl the receiver may have forgotten the key: nothing is sent again', async () => {
    const ttl = (keyTtl: string) =>
      kept({
        idempotency: { key: ({ n }: { n: number }) => `pay:${n}`, receiver: { header: 'idempotency-key', keyTtl } },
      });
    for (const [keyTtl, sent] of [
      ['1d', true],
      ['1h', false],
    ] as const) {
      const args = fresh();
      const run = await worker([ttl(keyTtl)]).run();
      plan.push('drop');
      await run.call('pay', args, { call: 'x' });
      await db().query(`update actguard.calls set claimed_at = claimed_at - interval '55 min' where run = $1`, [
        run.run,
      ]);
      expect((await run.call('pay', args, { call: 'x', again: true })).kind).toBe(sent ? 'done' : 'unknown');
      expect((await rowOf(run, 'x')).needs_person).toBe(!sent);
    }
  });
});

describe('reconcile', () => {
  const asked = async (answer: () => unknown, more: object = {}) => {
    const args = fresh();
    const tool = pay({ reconcile: answer as () => Promise<Reconciled>, ...more });
    const run = await worker([tool]).run();
    plan.push('drop');
    await run.call('pay', args, { call: 'x' });
    return { run, args, ask: () => run.call('pay', args, { call: 'x', again: true }) };
  };

  test('EX5 one that throws, hangs or answers nonsense leaves it unknown, and says so in the question', async () => {
    const nonsense: (() => unknown)[] = [
      () => Promise.reject(new Error('the bank is closed')),
      () => {
        throw new Error('at once');
      },
      () => 'happened',
      () => null,
      () => ({ kind: 'happened' }),
      () => ({ kind: 'maybe' }),
      () => new Promise(() => undefined),
    ];
    for (const answer of nonsense) {
      const { run, args, ask } = await asked(answer, { timeout: '1s' });
      expect(await ask()).toMatchObject({ kind: 'unknown', askAgainMs: expect.any(Number) });
      expect(await rowOf(run, 'x')).toMatchObject({ state: 'unknown', needs_person: false, asks: true });
      expect((await rowOf(run, 'x')).question).toMatch(/could not be asked/);
      expect(count(args.n)).toBe(1);
    }
  });

  test('EX5 "never" counts only after the last possible send and settlesWithin; asking moves neither', async () => {
    let answer: Reconciled = { kind: 'neverWill' };
    const { run, args, ask } = await asked(() => answer);
    expect((await ask()).kind).toBe('unknown');
    await age(run, '4 min 50 s');
    expect(await ask()).toMatchObject({ kind: 'unknown', askAgainMs: expect.any(Number) });
    await age(run, '4 s');
    const soon = await ask(); // sooner than the pause of this ask
    expect(soon.kind === 'unknown' && soon.askAgainMs).toBeLessThan(6_100);
    await age(run, '8 s');
    expect(await ask()).toMatchObject({ kind: 'failed' });
    expect((await rowOf(run, 'x')).key_hash).toBeNull();
    // the key is free: the same effect may be asked for again
    answer = { kind: 'stillUnknown' };
    expect((await run.call('pay', args, { call: 'y' })).kind).toBe('done');
  });

  test('EX5 a receiver that still cannot say past the horizon: a person is needed', async () => {
    const { run, ask } = await asked(() => ({ kind: 'stillUnknown' }));
    await ask();
    expect((await rowOf(run, 'x')).needs_person).toBe(false);
    await age(run, '6 min');
    expect((await ask()).kind).toBe('unknown');
    expect(await rowOf(run, 'x')).toMatchObject({
      needs_person: true,
      question: expect.stringContaining('cannot say'),
    });
  });

  test('EX5 EX6 what it says happened is judged like an output', async () => {
    const schema = { outputSchema: z.object({ receipt: z.int() }) };
    const good = await asked(() => ({ kind: 'happened', result: { receipt: 7 } }), schema);
    expect(await good.ask()).toMatchObject({ kind: 'done', output: { receipt: 7 } });
    const bad = await asked(() => ({ kind: 'happened', result: { receipt: 'seven' } }), schema);
    expect(code(await bad.ask())).toBe('OUTPUT_INVALID');
    expect((await rowOf(bad.run, 'x')).state).toBe('succeeded');
  });
});

describe('late outcomes', () => {
  test('EX2 a success answers the question; the same call gets it as its own result', async () => {
    const args = fresh();
    const { run, resume } = await overtaken(pay(), args);
    expect((await run.call('pay', args, { call: 'x', attempt: 2 })).kind).toBe('unknown');
    await expect(resume()).rejects.toMatchObject({ type: 'IN_PROGRESS' });
    expect(await rowOf(run, 'x')).toMatchObject({ state: 'succeeded', asks: false });
    expect(told).toEqual([`${run.workflowId}/x`]); // whoever waits for the question
    expect(await run.call('pay', args, { call: 'x', attempt: 3 })).toMatchObject({
      kind: 'done',
      output: { receipt: args.n },
    });
    expect(await kinds(run)).toEqual(['run.opened', 'call.started', 'call.unknown', 'call.late']);
    expect(await toldOf(run)).toBe('succeeded');
    expect(count(args.n)).toBe(1);
  });

  test('EX2 EX4 a certain failure answers it where no other attempt can have landed, and frees the key', async () => {
    // `tries` 2: it would have been tried again, had it not been taken over
    for (const [others, tries] of [
      [0, 1],
      [0, 2],
      [1, 1],
    ]) {
      const args = fresh();
      let go: () => void = () => undefined;
      const gate = new Promise<void>((resolve) => (go = resolve));
      const begun = new Promise<void>((resolve) => (arrived = resolve));
      const refused = kept({
        retry: { maximumAttempts: tries },
        execute: async (_a: unknown, { fetch }: { fetch: typeof globalThis.fetch }) => {
          arrived();
          await gate;
          return fetch(closed);
        },
      });
      const run = await worker([refused]).run();
      const slow = run.call('pay', args, { call: 'x' });
      await begun;
      await expire(run);
      if (others === 1) {
        plan.push('drop');
        await run.on(worker([kept()])).call('pay', args, { call: 'x', attempt: 2 });
      } else {
        await run.on(worker([pay()])).call('pay', args, { call: 'x', attempt: 2 });
      }
      expect((await rowOf(run, 'x')).state).toBe('unknown');
      // its local lease still holds: only the record was taken over
      go();
      await expect(slow).rejects.toMatchObject({ type: 'IN_PROGRESS' });
      const row = await rowOf(run, 'x');
      expect(row.state).toBe(others === 0 ? 'failed' : 'unknown');
      expect(row.key_hash === null).toBe(others === 0);
      expect(await toldOf(run)).toBe(others === 0 ? 'failed' : 'unknown');
      if (others === 1) continue;
      const own = { kind: 'failed', error: { code: 'TOOL_FAILED', message: expect.any(String) } };
      expect(await run.call('pay', args, { call: 'x', attempt: 3 })).toMatchObject(own);
    }
  });

  test('EX2 a success that contradicts "did not happen" raises an alarm and takes the key back', async () => {
    const args = fresh();
    const said: string[] = [];
    const tool = pay({
      idempotency: { key: ({ n }: { n: number }) => `late:${n}` },
      reconcile: () => ({ kind: 'neverWill' }),
    });
    const w = worker([tool], { log: (level, message) => void (level === 'error' && said.push(message)) });
    const run = await w.run();
    let go: () => void = () => undefined;
    plan.push(new Promise<void>((resolve) => (go = resolve)));
    const came = new Promise<void>((resolve) => (arrived = resolve));
    const slow = run.call('pay', args, { call: 'x' });
    await came;
    await db().query(`update actguard.calls set lease_until = clock_timestamp() - interval '6 min' where run = $1`, [
      run.run,
    ]);
    expect((await run.call('pay', args, { call: 'x', attempt: 2 })).kind).toBe('failed');
    go();
    await expect(slow).rejects.toMatchObject({ type: 'IN_PROGRESS' });
    expect(said.join()).toMatch(/contradicts/);
    expect(await kinds(run)).toEqual(expect.arrayContaining(['call.failed', 'call.late', 'call.contradicted']));
    expect(await rowOf(run, 'x')).toMatchObject({ state: 'failed', key_hash: expect.any(String) });
    expect((await run.call('pay', args, { call: 'y' })).kind).toBe('denied');
    expect(count(args.n)).toBe(1);
  });

  test('EX2 EX5 what a person says against a late outcome: refused when that came first, an alarm when it comes after', async () => {
    const outputSchema = z.object({ receipt: z.int() });
    for (const first of ['late', 'person'] as const) {
      const args = fresh();
      const { run, resume } = await overtaken(pay({ outputSchema }), args);
      expect((await run.call('pay', args, { call: 'x', attempt: 2 })).kind).toBe('unknown');
      const says = (data: JsonObject) =>
        applyResolve(
          worker([pay({ outputSchema })]).shared,
          { v: 1, run: run.run, entries: [], envelope: {} },
          { kind: 'accepted', verb: 'resolve', person: 'olga', reason: 'I looked', data: { call: 'x', ...data } },
          run.workflowId,
        );
      expect(await says({ happened: false })).toMatchObject({ reason: expect.stringContaining('could still land') });
      const misfit = await says({ happened: true, result: { receipt: 'none' } });
      expect(misfit).toMatchObject({ kind: 'rejected', reason: expect.stringMatching(/none of pay.*receipt/s) });
      expect((await rowOf(run, 'x')).state).toBe('unknown');
      await age(run, '6 min');
      if (first === 'late') await expect(resume()).rejects.toMatchObject({ type: 'IN_PROGRESS' });
      const answer = await says({ happened: false });
      if (first === 'late') {
        expect(answer).toMatchObject({ kind: 'rejected', reason: expect.stringContaining('known: succeeded') });
        continue;
      }
      expect(answer.kind).toBe('accepted');
      await expect(resume()).rejects.toMatchObject({ type: 'IN_PROGRESS' });
      expect(await kinds(run)).toEqual(expect.arrayContaining(['call.resolved', 'call.late', 'call.contradicted']));
      expect(await rowOf(run, 'x')).toMatchObject({ state: 'failed', key_hash: expect.any(String) });
      expect(await toldOf(run)).toBe('failed');
      expect(count(args.n)).toBe(1);
    }
  });

  test('P2 EX2 EX5 a success that comes while somebody asks about it is not sent again when that one dies, too', async () => {
    for (const next of ['attempt', 'janitor', 'person'] as const) {
      const args = fresh();
      let answer: () => void = () => undefined;
      const answered = new Promise<void>((resolve) => (answer = resolve));
      let asks: () => void = () => undefined;
      const asking = new Promise<void>((resolve) => (asks = resolve));
      const reconcile = async (): Promise<Reconciled> => {
        asks();
        await answered;
        return { kind: 'neverWill' };
      };
      const { run, resume } = await overtaken(pay({ reconcile }), args);
      const second = run.call('pay', args, { call: 'x', attempt: 2 });
      await asking;
      await expect(resume()).rejects.toMatchObject({ type: 'IN_PROGRESS' });
      await expire(run); // of the one that asks
      if (next === 'janitor') {
        const [row] = await db().query<{ token: string }>('select token from actguard.calls where run = $1', [run.run]);
        const lost = { run: run.run, call: 'x', token: row?.token, from: 'claimed', state: 'failed', entries: [] };
        expect(await db().query('select actguard.lose_claim($1::jsonb) as lost', [JSON.stringify(lost)])).toEqual([{ lost: false }]); // prettier-ignore
      }
      if (next === 'person') {
        const said = JSON.stringify({
          run: run.run,
          call: 'x',
          state: 'failed',
          token: 'p',
          provenance: [],
          entries: [],
        });
        const [row] = await db().query<{ a: Json }>('select actguard.resolve_call($1::jsonb) as a', [said]);
        expect(row?.a).toMatchObject({ kind: 'known', state: 'succeeded' });
      }
      const own = { kind: 'done', output: { receipt: args.n } };
      expect(await run.call('pay', args, { call: 'x', attempt: 3 })).toMatchObject(own);
      expect(await rowOf(run, 'x')).toMatchObject({ state: 'succeeded', key_hash: expect.any(String) });
      expect(await toldOf(run)).toBe('succeeded');
      answer();
      await expect(second).rejects.toMatchObject({ type: 'IN_PROGRESS' });
      expect(count(args.n)).toBe(1);
    }
  });

  test('EX2 a success that comes while another attempt is under way is not undone by that one', async () => {
    const args = fresh();
    const { run, resume } = await overtaken(kept(), args);
    let go: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (go = resolve));
    const begun = new Promise<void>((resolve) => (arrived = resolve));
    const second = run
      .on(
        worker([
          kept({
            execute: async () => {
              arrived();
              await gate;
              throw new Error('it broke');
            },
          }),
        ]),
      )
      .call('pay', args, { call: 'x', attempt: 2 });
    await begun;
    await expect(resume()).rejects.toMatchObject({ type: 'IN_PROGRESS' });
    go();
    await expect(second).rejects.toMatchObject({ type: 'IN_PROGRESS' });
    expect(await run.call('pay', args, { call: 'x', attempt: 3 })).toMatchObject({ kind: 'done' });
    expect(await toldOf(run)).toBe('succeeded');
    expect(count(args.n)).toBe(1);
  });
});

describe('a database that loses its answers', () => {
  /** Statements that match are carried out, and their first answer is lost with the connection. */
  const losing =
    (what: RegExp) =>
    (real: Database): Database => {
      let lost = false;
      return {
        ...real,
        async query<R>(text: string, values?: readonly unknown[], name?: string): Promise<R[]> {
          const rows = await real.query<R>(text, values, name);
          if (lost || !what.test(text)) return rows;
          lost = true;
          throw new ActGuardError('BACKEND_UNAVAILABLE', 'the connection was lost');
        },
      };
    };

  test('EX2 P1 a claim whose answer is lost is the same claim again: the tool runs, once', async () => {
    const args = fresh();
    const run = await worker([pay()], { through: losing(/actguard\.claim\(/) }).run();
    expect(await run.call('pay', args)).toMatchObject({ kind: 'done' });
    expect(count(args.n)).toBe(1);
    expect(await kinds(run)).toEqual(['run.opened', 'call.started', 'call.succeeded']);
  });

  test('EX2 P1 an outcome whose answer is lost is written once and is no late one', async () => {
    const args = fresh();
    const run = await worker([pay()], { through: losing(/actguard\.outcome\(/) }).run();
    expect(await run.call('pay', args)).toMatchObject({ kind: 'done' });
    expect(count(args.n)).toBe(1);
    expect(await kinds(run)).toEqual(['run.opened', 'call.started', 'call.succeeded']);
  });
});

describe('what is not sent', () => {
  test('P2 a request whose call is over by the time its socket is there writes nothing', async () => {
    const before = effects.length;
    const traffic: Traffic = { sent: 0, neverLeft: 0, lastStatus: null, answered: 0, uses: [] };
    const network = networkOf({ tools: [], network: { privateHosts: [] } }, true);
    let looked = 0;
    const fetch = guardedFetch({
      network,
      known: new SecretSet(),
      credentials: [],
      keyHeader: null,
      signal: new AbortController().signal,
      // in time when `fetch` is called, over when the socket is there
      notAfter: () => ((looked += 1) === 1 ? Infinity : 0),
      traffic,
    });
    const sending = fetch(url, { method: 'POST', body: '{"n":0}' });
    await expect(sending).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(effects.length).toBe(before);
    expect(traffic).toMatchObject({ sent: 1, neverLeft: 1 });
    // its twin in time is sent
    const other = guardedFetch({
      network,
      known: new SecretSet(),
      credentials: [],
      keyHeader: null,
      signal: new AbortController().signal,
      notAfter: () => performance.now() + 1_000,
      traffic,
    });
    expect((await other(url, { method: 'POST', body: '{"n":0}' })).status).toBe(200);
  });

  test('D8 a tool that ignores its AbortSignal is left alone: unknown, and it sends nothing any more', async () => {
    const args = fresh();
    let later: unknown;
    let ended: () => void = () => undefined;
    const end = new Promise<void>((resolve) => (ended = resolve));
    const stubborn = pay({
      timeout: 50,
      execute: async (_a: unknown, { fetch, signal }: { fetch: typeof globalThis.fetch; signal: AbortSignal }) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        await fetch(url, { method: 'POST', body: JSON.stringify(args) }).catch((error: unknown) => (later = error));
        ended();
      },
    });
    const run = await worker([stubborn]).run();
    expect((await run.call('pay', args, { call: 'x' })).kind).toBe('unknown');
    await end;
    expect(later).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(count(args.n)).toBe(0);
  });
});

describe('outputs and keys', () => {
  test('EX6 D2 an output that is too large, not JSON or made to break its reader: the effect stays done', async () => {
    const outputs: [string, () => unknown][] = [
      ['LIMIT_EXCEEDED', () => 'x'.repeat(1024 * 1024 + 1)],
      ['OUTPUT_INVALID', () => ({ n: NaN })],
      ['OUTPUT_INVALID', () => new Map([[1, 2]])],
      ['OUTPUT_INVALID', () => ({ big: 10n })],
      [
        'OUTPUT_INVALID',
        () =>
          Object.defineProperty({}, 'status', {
            enumerable: true,
            get: () => {
              throw new Error('no');
            },
          }),
      ],
      [
        'OUTPUT_INVALID',
        () => {
          const loop: { me?: unknown } = {};
          loop.me = loop;
          return loop;
        },
      ],
    ];
    for (const [expected, output] of outputs) {
      const args = fresh();
      const run = await worker([
        pay({
          execute: async (_a: unknown, { fetch }: { fetch: typeof globalThis.fetch }) => {
            await fetch(url, { method: 'POST', body: JSON.stringify(args) });
            return output();
          },
        }),
      ]).run();
      expect(code(await run.call('pay', args, { call: 'x' }))).toBe(expected);
      expect(await rowOf(run, 'x')).toMatchObject({ state: 'succeeded', key_hash: expect.any(String) });
      expect(code(await run.call('pay', args, { call: 'x', again: true }))).toBe(expected);
      expect(await run.call('pay', args, { call: 'y' })).toMatchObject({
        error: { code: expected },
        repeats: `${run.run}:x`,
      });
      expect(count(args.n)).toBe(1);
    }
  });

  test('EX1 a key that is empty, not text, over 512 bytes, thrown or another each time: ARGUMENTS_INVALID, recorded, nothing runs', async () => {
    const bad: unknown[] = ['', 7, null, undefined, 'k'.repeat(513), 'é'.repeat(257), Promise.resolve('k')];
    for (const key of [
      ...bad.map((k) => () => k),
      () => {
        throw new Error('no key');
      },
      () => randomUUID(),
    ]) {
      const args = fresh();
      const run = await worker([pay({ idempotency: { key } })]).run();
      expect(code(await run.call('pay', args))).toBe('ARGUMENTS_INVALID');
      expect(await kinds(run)).toEqual(['run.opened', 'call.denied']);
      expect(count(args.n)).toBe(0);
    }
    const args = fresh();
    const run = await worker([pay({ idempotency: { key: () => `${args.n}`.padEnd(512, 'k') } })]).run();
    expect(code(await run.call('pay', args))).toBe('done');
  });

  test('EX3 the ttl of a key runs from when the call is known to be done', async () => {
    const args = fresh();
    const tool = pay({ idempotency: { key: ({ n }: { n: number }) => `ttl:${n}`, ttl: '1h' } });
    const { run, resume } = await overtaken(tool, args);
    await run.call('pay', args, { call: 'x', attempt: 2 });
    await expect(resume()).rejects.toMatchObject({ type: 'IN_PROGRESS' });
    const [row] = await db().query<{ left: number }>(
      'select round(extract(epoch from key_expires_at - clock_timestamp()))::int as left from actguard.calls where run = $1',
      [run.run],
    );
    expect(row?.left).toBeGreaterThan(3_500);
    expect(row?.left).toBeLessThanOrEqual(3_600);
  });
});
