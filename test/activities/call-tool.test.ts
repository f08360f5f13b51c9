import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { atMost, defineTool, nothingHappened, secret } from '../../define/index.ts';
import type { PolicyEngine } from '../../activities/deps.ts';
import type { CallToolResult } from '../../activities/types.ts';
import { ActGuardError } from '../../governance/errors.ts';
import { PERMIT_ALL, desk } from '../support/calls.ts';

const { db, worker } = desk();

/** A receiver with books of its own: every POST that arrives is an effect. */
interface Receiver {
  readonly url: string;
  readonly host: string;
  readonly effects: { body: string; key: string | undefined; authorization: string | undefined }[];
  /** What the next requests get: a status, or the socket closed after the effect. */
  next: (number | 'drop' | 'hang')[];
  /** Answers wait for this. */
  gate: Promise<void> | null;
}
let server: Server;
const receiver: Receiver = { url: '', host: '', effects: [], next: [], gate: null };

beforeAll(async () => {
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => (body += part));
    request.on('end', () => {
      const key = request.headers['idempotency-key'] as string | undefined;
      const plan = receiver.next.shift() ?? 200;
      const landed = typeof plan !== 'number' || plan < 400;
      if (landed && !(key !== undefined && receiver.effects.some((e) => e.key === key))) {
        receiver.effects.push({ body, key, authorization: request.headers.authorization });
      }
      if (plan === 'drop') return request.socket.destroy();
      if (plan === 'hang') return;
      void (receiver.gate ?? Promise.resolve()).then(() =>
        response
          .writeHead(plan, { 'content-type': 'application/json' })
          .end(JSON.stringify({ id: receiver.effects.length, echo: request.headers.authorization ?? null })),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  Object.assign(receiver, { url: `http://127.0.0.1:${port}/`, host: `127.0.0.1:${port}` });
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const amount = z.strictObject({ to: z.string(), cents: z.int() });
const pay = (more: object = {}) =>
  defineTool({
    name: 'pay',
    description: 'Pay somebody',
    effect: 'write',
    inputSchema: amount,
    execute: async (args, { fetch }) =>
      (await fetch(receiver.url, { method: 'POST', body: JSON.stringify(args) })).json() as Promise<unknown>,
    ...more,
  });
const code = (result: CallToolResult): string =>
  result.kind === 'denied' ? result.denial.code : result.kind === 'failed' ? result.error.code : result.kind;
/** A port where nobody listens. */
async function closedPort(): Promise<number> {
  const once = createServer();
  await new Promise<void>((resolve) => once.listen(0, '127.0.0.1', resolve));
  const { port } = once.address() as AddressInfo;
  await new Promise((resolve) => once.close(resolve));
  return port;
}
const counted = async (work: () => Promise<unknown>): Promise<number> => {
  const had = receiver.effects.length;
  await work();
  return receiver.effects.length - had;
};

describe('the order and the outcomes of a call', () => {
  test('an allowed call runs once and leaves started and succeeded in the ledger (P1)', async () => {
    const run = await worker([pay()]).run();
    let result: CallToolResult | undefined;
    expect(await counted(async () => (result = await run.call('pay', { to: 'bob', cents: 5 })))).toBe(1);
    expect(result).toMatchObject({ kind: 'done', output: { id: expect.any(Number) } });
    const kinds = await db().query<{ kind: string; body: string }>(
      `select kind, convert_from(body, 'UTF8') as body from actguard.entries where run = $1 order by id`,
      [run.run],
    );
    expect(kinds.map((k) => k.kind)).toEqual(['run.opened', 'call.started', 'call.succeeded']);
    expect(kinds[1]?.body).toContain('"authorization":"autonomous"');
    expect(kinds.map((k) => k.body).join()).not.toContain('bob');
  });

  test('O4 unknown keys and unstable parses are ARGUMENTS_INVALID, and nothing runs', async () => {
    const unstable = defineTool({
      name: 'grow',
      description: 'Its parse changes what it parsed',
      effect: 'write',
      inputSchema: z.strictObject({
        name: z
          .string()
          .transform((s) => `${s}x`)
          .pipe(z.string()),
      }),
      execute: () => ({}),
    });
    const run = await worker([pay(), unstable]).run();
    expect(
      await counted(async () => {
        expect(code(await run.call('pay', { to: 'bob', cents: 5, also: 1 }))).toBe('ARGUMENTS_INVALID');
        expect(code(await run.call('pay', { to: 'bob', cents: '5' }))).toBe('ARGUMENTS_INVALID');
        expect(code(await run.call('pay', 'bob'))).toBe('ARGUMENTS_INVALID');
        expect(code(await run.call('grow', { name: 'a' }))).toBe('ARGUMENTS_INVALID');
      }),
    ).toBe(0);
  });

  test('a tool the run was not opened with is TOOL_UNKNOWN; a workflow that did not open the run is refused', async () => {
    const run = await worker([pay()]).run();
    expect(code(await run.call('wire', {}))).toBe('TOOL_UNKNOWN');
    await expect(run.call('pay', { to: 'b', cents: 1 }, { workflowId: 'somebody-else' })).rejects.toMatchObject({
      code: 'FORBIDDEN',
    });
  });

  test('after a Temporal reset the run is FROZEN: no new effect', async () => {
    const run = await worker([pay()]).run();
    expect(
      await counted(async () =>
        expect(code(await run.call('pay', { to: 'b', cents: 1 }, { temporalRun: 'another' }))).toBe('FROZEN'),
      ),
    ).toBe(0);
  });

  test('RU1 the first failing rule is named with its limit; at the limit passes', async () => {
    const run = await worker([pay({ rules: { cents: atMost(50) } })]).run();
    expect(await run.call('pay', { to: 'b', cents: 51 })).toMatchObject({
      kind: 'denied',
      denial: { code: 'RULE_FAILED', details: { rule: 'atMost(50)', argument: 'cents' } },
    });
    expect(code(await run.call('pay', { to: 'b', cents: 50 }))).toBe('done');
  });

  test('FA2 a guarded argument that nobody proved is FACT_MISSING with the tools that prove it', async () => {
    const find = defineTool({
      name: 'people.find',
      description: 'Find people',
      effect: 'read',
      inputSchema: z.strictObject({}),
      outputSchema: z.object({ id: z.string() }),
      proves: { id: 'person' },
      execute: () => ({ id: 'bob' }),
    });
    const run = await worker([find, pay({ requires: { to: 'person' } })]).run();
    const denied = await run.call('pay', { to: 'eve', cents: 1 });
    expect(denied).toMatchObject({
      kind: 'denied',
      denial: { code: 'FACT_MISSING', details: { argument: 'to', kind: 'person', value: 'eve' } },
    });
    expect(denied.kind === 'denied' && denied.denial.hint).toContain('people_find');
    const found = await run.call('people.find', {});
    expect(found).toMatchObject({ kind: 'done', facts: [{ kind: 'person', value: 'bob' }] });
    const facts = [
      { kind: 'person', value: 'bob', provedAtMs: Date.now(), expiresAtMs: Date.now() + 60_000, call: 'c2' },
    ];
    expect(code(await run.call('pay', { to: 'bob', cents: 1 }, { facts }))).toBe('done');
  });
});

describe('exactly once', () => {
  test('EX1 EX2 a finished key returns the first result to another run; other arguments are a conflict', async () => {
    const tool = pay({ idempotency: { key: ({ to }: { to: string }) => `to:${to}` } });
    const w = worker([tool]);
    const [one, two] = [await w.run(), await w.run()];
    let first: CallToolResult | undefined;
    expect(
      await counted(async () => {
        first = await one.call('pay', { to: 'carl', cents: 5 });
        const again = await two.call('pay', { to: 'carl', cents: 5 });
        expect(again).toMatchObject({ kind: 'done', output: first?.kind === 'done' ? first.output : null });
        expect(again).toHaveProperty('repeats');
        expect(code(await two.call('pay', { to: 'carl', cents: 6 }))).toBe('IDEMPOTENCY_CONFLICT');
      }),
    ).toBe(1);
  });

  test('EX3 keys reach a tenant, or a run; never another tenant', async () => {
    const tool = pay({ idempotency: { key: ({ to }: { to: string }) => to, onDuplicate: 'deny' } });
    const inRun = pay({ name: 'pay.run', idempotency: { key: ({ to }: { to: string }) => to, scope: 'run' } });
    const w = worker([tool, inRun]);
    const [one, two, foreign] = [await w.run(), await w.run(), await w.run({ tenant: 'globex' })];
    expect(
      await counted(async () => {
        await one.call('pay', { to: 'dora', cents: 5 });
        expect(await two.call('pay', { to: 'dora', cents: 5 })).toMatchObject({
          denial: { code: 'DUPLICATE_EFFECT', firstResult: { id: expect.any(Number) } },
        });
        expect(code(await foreign.call('pay', { to: 'dora', cents: 5 }))).toBe('done');
        expect(code(await one.call('pay.run', { to: 'dora', cents: 5 }))).toBe('done');
        expect(code(await two.call('pay.run', { to: 'dora', cents: 5 }))).toBe('done');
      }),
    ).toBe(4);
  });

  test('EX7 the same write planned twice in a run is DUPLICATE_EFFECT with the first result, unless repeatable', async () => {
    const w = worker([pay(), pay({ name: 'ping', repeatable: true })]);
    const run = await w.run();
    expect(
      await counted(async () => {
        const first = await run.call('pay', { to: 'b', cents: 5 });
        expect(await run.call('pay', { cents: 5, to: 'b' })).toMatchObject({
          denial: { code: 'DUPLICATE_EFFECT', firstResult: first.kind === 'done' ? first.output : undefined },
        });
        expect(code(await (await w.run()).call('pay', { to: 'b', cents: 5 }))).toBe('done');
        await run.call('ping', { to: 'b', cents: 5 });
        expect(code(await run.call('ping', { to: 'b', cents: 5 }))).toBe('done');
      }),
    ).toBe(4);
  });

  test('D3 the same (run, call) gets its own result, also from another worker', async () => {
    const w = worker([pay()]);
    const run = await w.run();
    expect(
      await counted(async () => {
        const first = await run.call('pay', { to: 'b', cents: 7 }, { call: 'x' });
        const again = await run.on(worker([pay()])).call('pay', { to: 'b', cents: 7 }, { call: 'x', attempt: 2 });
        expect(again).toMatchObject({ kind: 'done', output: first.kind === 'done' ? first.output : null });
      }),
    ).toBe(1);
  });

  test('EX4 a definite refusal fails and frees the key; a dropped answer is unknown and its repeat OUTCOME_UNKNOWN', async () => {
    const run = await worker([pay()]).run();
    receiver.next = [422];
    expect(await run.call('pay', { to: 'e', cents: 1 })).toMatchObject({
      kind: 'failed',
      error: { code: 'TOOL_FAILED', cause: { kind: 'invalid', name: 'HttpStatusError' } },
    });
    expect(code(await run.call('pay', { to: 'e', cents: 1 }))).toBe('done');
    receiver.next = ['drop'];
    expect(
      await counted(async () => {
        expect((await run.call('pay', { to: 'f', cents: 1 })).kind).toBe('unknown');
        expect(code(await run.call('pay', { to: 'f', cents: 1 }))).toBe('OUTCOME_UNKNOWN');
      }),
    ).toBe(1);
    receiver.next = [503];
    expect((await run.call('pay', { to: 'g', cents: 1 })).kind).toBe('unknown');
  });

  test('EX4 refused connections, unused fetch and nothingHappened() are failures; own traffic is unknown', async () => {
    const write = (name: string, execute: () => Promise<unknown>) =>
      defineTool({ name, description: name, effect: 'write', inputSchema: z.strictObject({}), execute });
    const closed = `http://127.0.0.1:${await closedPort()}/`;
    const refused = defineTool({
      name: 'refused',
      description: 'Nobody listens there',
      effect: 'write',
      inputSchema: z.strictObject({}),
      execute: async (_args, { fetch }) => (await fetch(closed)).json() as Promise<unknown>,
    });
    const run = await worker([
      refused,
      write('throws', () => Promise.reject(new Error('before anything'))),
      write('own', async () => {
        await fetch(receiver.url, { method: 'POST', body: 'own' });
        throw new Error('after my own request');
      }),
      write('undone', async () => {
        await fetch(receiver.url, { method: 'POST', body: 'own' });
        throw nothingHappened('it was a dry run');
      }),
    ]).run();
    expect(await run.call('refused', {})).toMatchObject({ kind: 'failed', error: { cause: { kind: 'transport' } } });
    expect((await run.call('throws', {})).kind).toBe('failed');
    expect((await run.call('own', {})).kind).toBe('unknown');
    expect((await run.call('undone', {})).kind).toBe('failed');
  });

  test('TO1 TO2 a timed-out read fails with TOOL_TIMEOUT, a timed-out write is unknown; the tool sees its signal', async () => {
    let aborted: unknown;
    const slow = (name: string, effect: 'read' | 'write') =>
      defineTool({
        name,
        description: name,
        effect,
        timeout: 50,
        inputSchema: z.strictObject({}),
        retry: undefined,
        execute: (_args, { signal }) =>
          new Promise((_resolve, reject) =>
            signal.addEventListener('abort', () => reject((aborted = signal.reason) as Error)),
          ),
        ...(effect === 'read' ? { retry: { maximumAttempts: 1 } } : {}),
      });
    const run = await worker([slow('look', 'read'), slow('send', 'write')]).run();
    expect(await run.call('look', {})).toMatchObject({
      kind: 'failed',
      error: { code: 'TOOL_TIMEOUT', details: { tool: 'look', timeoutMs: 50 } },
    });
    expect((await run.call('send', {})).kind).toBe('unknown');
    expect(aborted).toMatchObject({ name: 'TimeoutError' });
  });

  test('P1 a tool that has answered sends nothing more', async () => {
    let later: unknown;
    let sent: Promise<void> | undefined;
    const hasty = defineTool({
      name: 'hasty',
      description: 'Answers, and goes on behind our back',
      effect: 'write',
      inputSchema: z.strictObject({}),
      execute: (_args, { fetch }) => {
        sent = new Promise((resolve) => setImmediate(resolve))
          .then(() => fetch(receiver.url, { method: 'POST', body: 'late' }))
          .then(
            () => undefined,
            (error: unknown) => void (later = error),
          );
        return {};
      },
    });
    const run = await worker([hasty]).run();
    expect(
      await counted(async () => {
        expect((await run.call('hasty', {})).kind).toBe('done');
        await sent;
      }),
    ).toBe(0);
    expect(later).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  });

  test('EX6 D2 an output that breaks its schema after the effect is OUTPUT_INVALID and stays done', async () => {
    const tool = pay({ outputSchema: z.object({ receipt: z.string() }) });
    const run = await worker([tool]).run();
    expect(
      await counted(async () => {
        const first = await run.call('pay', { to: 'h', cents: 1 }, { call: 'one' });
        expect(code(first)).toBe('OUTPUT_INVALID');
        const again = await run.call('pay', { to: 'h', cents: 1 });
        if (first.kind !== 'failed') throw new Error(first.kind);
        const { error } = first;
        expect(again).toMatchObject({ kind: 'failed', error, spentMicros: 0, repeats: `${run.run}:one` });
      }),
    ).toBe(1);
  });
});

describe('a worker that dies between claim and outcome', () => {
  /** Claims a call and stops there, as a killed worker does; its lease has run out. */
  async function died(tool: ReturnType<typeof pay>, call: string, args: { to: string; cents: number }) {
    const run = await worker([tool]).run();
    receiver.next = ['drop'];
    await run.call('pay', args, { call });
    await db().query(
      `update actguard.calls set state = 'claimed', result = null, lease_until = clock_timestamp() - interval '1 s' where run = $1 and call = $2`,
      [run.run, call],
    );
    return run;
  }

  test('EX5 P2 without a receiver key nothing is sent again: UNKNOWN', async () => {
    const run = await died(pay(), 'x', { to: 'i', cents: 1 });
    expect(
      await counted(async () =>
        expect((await run.call('pay', { to: 'i', cents: 1 }, { call: 'x', attempt: 2 })).kind).toBe('unknown'),
      ),
    ).toBe(0);
    const kinds = await db().query<{ kind: string }>(
      'select kind from actguard.entries where run = $1 and call = $2 order by id',
      [run.run, 'x'],
    );
    expect(kinds.map((k) => k.kind)).toContain('call.unknown');
  });

  test('EX5 with a receiver key the same key is sent again: one effect', async () => {
    const tool = pay({
      idempotency: { key: ({ to }: { to: string }) => `k:${to}`, receiver: { header: 'idempotency-key' } },
      retry: { maximumAttempts: 1 },
    });
    const run = await died(tool, 'x', { to: 'j', cents: 1 });
    expect(
      await counted(async () =>
        expect((await run.call('pay', { to: 'j', cents: 1 }, { call: 'x', attempt: 2 })).kind).toBe('done'),
      ),
    ).toBe(0);
    expect(receiver.effects.filter((e) => e.key === 'k:j')).toHaveLength(1);
  });

  test('EX5 reconcile answers what happened; "never" counts only after the horizon', async () => {
    const happened = pay({ reconcile: () => Promise.resolve({ kind: 'happened', result: { id: 77 } }) });
    const run = await died(happened, 'x', { to: 'k', cents: 1 });
    expect(await run.call('pay', { to: 'k', cents: 1 }, { call: 'x', attempt: 2 })).toMatchObject({
      kind: 'done',
      output: { id: 77 },
    });
    const never = pay({ reconcile: () => Promise.resolve({ kind: 'neverWill' }) });
    const early = await died(never, 'x', { to: 'l', cents: 1 });
    expect((await early.call('pay', { to: 'l', cents: 1 }, { call: 'x', attempt: 2 })).kind).toBe('unknown');
  });

  test('a claim whose lease lives is left alone', async () => {
    const run = await died(pay(), 'x', { to: 'm', cents: 1 });
    await db().query(`update actguard.calls set lease_until = clock_timestamp() + interval '1 h' where run = $1`, [
      run.run,
    ]);
    await expect(run.call('pay', { to: 'm', cents: 1 }, { call: 'x', attempt: 2 })).rejects.toMatchObject({
      type: 'IN_PROGRESS',
    });
  });
});

describe('rate limit and breaker', () => {
  test('RL2 RL3 refused calls spend nothing; the bucket is one for all workers', async () => {
    const tool = () => pay({ repeatable: true, rateLimit: { maxCalls: 2, period: '1h', scope: 'user' } });
    const [a, b] = [await worker([tool()]).run(), await worker([tool()]).run()];
    await a.call('pay', { to: 'n', cents: 1 });
    await b.call('pay', { to: 'n', cents: 2 });
    const denied = await a.call('pay', { to: 'n', cents: 3 });
    expect(denied).toMatchObject({
      denial: {
        code: 'RATE_LIMITED',
        details: { tool: 'pay', scope: 'user', value: 'alice', maxCalls: 2, periodMs: 3_600_000 },
      },
    });
    expect(code(await (await worker([tool()]).run({ user: 'bob' })).call('pay', { to: 'n', cents: 1 }))).toBe('done');
    const [row] = await db().query<{ n: number }>(
      `select cardinality(hits) as n from actguard.rate_slots where bucket like '%"alice"%'`,
    );
    expect(row?.n).toBe(2);
  });

  test('RL1 never one too many under concurrency', async () => {
    const tool = pay({ name: 'pay.hot', repeatable: true, rateLimit: { maxCalls: 3, period: '1h' } });
    const run = await worker([tool]).run();
    const results = await Promise.all(Array.from({ length: 10 }, (_, i) => run.call('pay.hot', { to: 'o', cents: i })));
    expect(results.filter((r) => r.kind === 'done')).toHaveLength(3);
  });

  test('CB2 CB3 CB4 maxFails opens for every tool of that name in the tenant; one probe passes; it closes', async () => {
    const breaker = { circuitBreaker: { name: 'bank', maxFails: 2, resetTimeout: '1h' } };
    const tools = [pay({ repeatable: true, ...breaker }), pay({ name: 'pay.other', repeatable: true, ...breaker })];
    const run = await worker(tools).run();
    receiver.next = [503, 422, 503];
    for (let i = 0; i < 3; i += 1) await run.call('pay', { to: 'p', cents: i });
    expect(
      await counted(async () => {
        const open = await run.on(worker(tools)).call('pay.other', { to: 'p', cents: 9 });
        expect(open).toMatchObject({
          denial: { code: 'CIRCUIT_OPEN', details: { name: 'bank', resetAt: expect.stringMatching(/^\d{4}-.*Z$/) } },
        });
      }),
    ).toBe(0);
    expect(code(await (await worker(tools).run({ tenant: 'globex' })).call('pay', { to: 'p', cents: 1 }))).toBe('done');
    await db().query(
      `update actguard.breakers set opened_at = opened_at - interval '1 h' where breaker = '["acme","bank"]'`,
    );
    // the probe is under way until its receiver is let go; everybody else is refused meanwhile
    let letGo: () => void = () => undefined;
    receiver.gate = new Promise((resolve) => (letGo = resolve));
    const had = receiver.effects.length;
    const probe = run.call('pay', { to: 'q', cents: 1 });
    while (receiver.effects.length === had) await new Promise((resolve) => setImmediate(resolve));
    expect(code(await run.call('pay.other', { to: 'q', cents: 2 }))).toBe('CIRCUIT_OPEN');
    letGo();
    expect(code(await probe)).toBe('done');
    receiver.gate = null;
    expect(code(await run.call('pay', { to: 'q', cents: 3 }))).toBe('done');
  });
});

describe('credentials', () => {
  const keyed = (name = 'pay') =>
    pay({ name, credentials: { bank: secret('bank/key', { host: receiver.host }) }, repeatable: true });

  test('injected for their host only, scrubbed from outputs, never in the ledger (P5)', async () => {
    const value = 'sk-very-secret-123456';
    const run = await worker([keyed()], { environment: { BANK_KEY: value } }).run();
    const result = await run.call('pay', { to: 'r', cents: 1 });
    expect(receiver.effects.at(-1)?.authorization).toBe(`Bearer ${value}`);
    expect(result).toMatchObject({ kind: 'done', output: { echo: 'Bearer [secret]' } });
    const [row] = await db().query<{ all: string }>(
      `select string_agg(convert_from(e.body, 'UTF8') || coalesce(c.content::text, ''), ' ') as all from actguard.entries e left join actguard.entry_contents c on c.entry_id = e.id where run = $1`,
      [run.run],
    );
    expect(row?.all).toContain('bank/key');
    expect(row?.all).not.toContain(value);
    expect(code(await run.call('pay', { to: value, cents: 1 }))).toBe('ARGUMENTS_INVALID');
  });

  test.each([
    ['missing', {}, 'CREDENTIAL_MISSING'],
    ['empty', { BANK_KEY: '' }, 'CONFIG_INVALID'],
    ['short', { BANK_KEY: 'sk-12345678' }, 'CONFIG_INVALID'],
    ['a common word', { BANK_KEY: 'administrator' }, 'CONFIG_INVALID'],
    ['with a line end, which no header can hold', { BANK_KEY: 'sk-first-0123\nsk-second-4567' }, 'CONFIG_INVALID'],
  ])('P5 P7 a secret that is %s has its code, nothing is sent, and the run is as it was', async (_what, bad, told) => {
    const run = await worker([keyed()], { environment: bad as Record<string, string> }).run();
    const sent = receiver.effects.length;
    const result = await run.call('pay', { to: 's', cents: 1 });
    expect(JSON.stringify(result)).toContain(told);
    expect(JSON.stringify(result)).not.toContain('sk-');
    expect(receiver.effects).toHaveLength(sent);
    // the twin: the same call with a secret that serves
    const mended = run.on(worker([keyed()], { environment: { BANK_KEY: 'sk-(.*)+-012345' } }));
    expect(await mended.call('pay', { to: 's', cents: 1 })).toMatchObject({ kind: 'done' });
    expect(receiver.effects.at(-1)?.authorization).toBe('Bearer sk-(.*)+-012345');
  });

  test('P7 a source that is away, or refuses, sends nothing and claims nothing; once it is back the same call goes through', async () => {
    const w = worker([keyed()]);
    const answers: (() => Promise<string>)[] = [
      () => Promise.reject(new ActGuardError('BACKEND_UNAVAILABLE', 'Vault is sealed')), // Temporal tries again
      () => Promise.reject(new ActGuardError('CREDENTIAL_MISSING', 'Vault answered 403', { details: { names: [] } })),
      () => Promise.reject(new ActGuardError('CONFIG_INVALID', 'cannot be opened with this identity')),
      () => Promise.resolve('sk-0123456789abc'),
    ];
    Object.assign(w.shared.deps, { secrets: { read: () => answers.shift()?.() } });
    const run = await w.run();
    const sent = receiver.effects.length;
    const args = { to: 'away', cents: 1 };
    await expect(run.call('pay', args, { call: 'x' })).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
    expect(code(await run.call('pay', args))).toBe('CREDENTIAL_MISSING');
    expect(code(await run.call('pay', args))).toBe('CONFIG_INVALID');
    expect(await db().query('select 1 from actguard.calls where run = $1', [run.run])).toHaveLength(0);
    expect(receiver.effects).toHaveLength(sent);
    expect(await run.call('pay', args, { call: 'x', attempt: 2 })).toMatchObject({ kind: 'done' });
    expect(receiver.effects).toHaveLength(sent + 1);
  });

  test('O1 P5 a source is asked once policy has said yes, before the claim, and not at all for what is denied', async () => {
    const asked: number[] = [];
    const never = { ...PERMIT_ALL, decide: () => ({ kind: 'deny' as const, code: 'POLICY_DENIED' as const, reasons: ['no'], hint: '', request: {} }) }; // prettier-ignore
    const claims = () => db().query('select 1 from actguard.calls where run = $1', [run.run]);
    const read = async (): Promise<undefined> => void asked.push((await claims()).length);
    const of = (policy: PolicyEngine) => {
      const w = worker([keyed()], { policy });
      Object.assign(w.shared.deps, { secrets: { read } });
      return w;
    };
    const run = await of(never).run();
    expect(code(await run.call('pay', { to: 's', cents: 1 }))).toBe('POLICY_DENIED');
    expect(code(await run.call('pay', { to: 's', cents: 'x' }))).toBe('ARGUMENTS_INVALID');
    expect(asked).toEqual([]);
    expect(code(await run.on(of(PERMIT_ALL)).call('pay', { to: 's', cents: 1 }))).toBe('CREDENTIAL_MISSING');
    expect(asked).toEqual([0]);
    expect(await claims()).toHaveLength(0);
  });
});
