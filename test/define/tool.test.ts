import { expect, test } from 'vitest';
import { z } from 'zod';
import { z as zod3 } from 'zod/v3';
import { digestOf } from '../../governance/digest.ts';
import type { Json } from '../../governance/json.ts';
import { define, read, refusal, write } from './tools.ts';
import type { Options } from '../../define/check.ts';

const receiver = { receiver: { header: 'idempotency-key' } };
const schema = (shape: Parameters<typeof z.strictObject>[0]) => ({ inputSchema: z.strictObject(shape) });

/** [what is promised, base, what breaks it, words of the refusal, the valid twin] */
const corpus: readonly (readonly [string, Options, Options, readonly string[], Options])[] = [
  ['a name is small letters', read, { name: 'Orders Find' }, ['`name`', 'is not a name'], { name: 'orders_find-2' }],
  ['a name is at most 60', read, { name: 'a'.repeat(61) }, ['`name`'], { name: 'a'.repeat(60) }],
  ['a name is required', read, { name: undefined }, ['`name`', 'is required'], { name: 'a' }],
  ['a description is text', read, { description: ' ' }, ['`description`'], { description: 'x' }],
  ['an effect is required', read, { effect: undefined }, ['`effect`', 'is required'], { effect: 'read' }],
  ['an effect is one of two', read, { effect: 'delete' }, ['`effect`', '`delete`'], { effect: 'write' }],
  ['reach is one of two', read, { reach: 'far' }, ['`reach`', '`internal`'], { reach: 'internal' }],
  ['execute is required', read, { execute: undefined }, ['`execute`', 'is required'], { execute: () => null }],
  ['execute is a function', read, { execute: 'x' }, ['`execute`', 'function'], { execute: async () => null }],
  ['D4 an unknown option', read, { timeOut: '1s' }, ['`timeOut`', 'is not an option', 'timeout'], { timeout: '1s' }],
  ['undo is not enforced yet', write, { undo: () => null }, ['`undo`', 'not enforced yet'], {}],
  [
    'PV1 outputTrust is one of three',
    read,
    { outputTrust: 'safe' },
    ['`outputTrust`', '`internal`'],
    { outputTrust: 'internal' },
  ],
  [
    'PV1 outputTrust names fields of the output',
    read,
    { outputTrust: { ref: 'trusted' } },
    ['`outputTrust.ref`', '`totalCents`'],
    { outputTrust: { id: 'trusted' } },
  ],
  [
    'PV1 outputTrust of a field is one of four',
    read,
    { outputTrust: { id: 'secret' } },
    ['`outputTrust.id`', '`secret`'],
    { outputTrust: { id: 'private', totalCents: 'internal' } },
  ],
  ['PV7 private lists fields of the output', read, { private: ['ref'] }, ['`private.0`', '`ref`'], { private: ['id'] }],
  ['PV7 private is a list', read, { private: 'id' }, ['`private`', 'list'], { private: [] }],
  [
    'PV1 declassify names a field',
    read,
    { declassify: { ref: 'x' } },
    ['`declassify.ref`'],
    { declassify: { id: 'x' } },
  ],
  [
    'PV1 declassify gives a reason',
    read,
    { declassify: { id: ' ' } },
    ['`declassify.id`', 'is not a reason'],
    { declassify: { id: 'our own numbers' } },
  ],
  ['PV1 declassify is no list', read, { declassify: ['id'] }, ['`declassify`', 'object'], { declassify: {} }],
  [
    'PV4 argumentTrust names arguments',
    write,
    { argumentTrust: { order: 'deny' } },
    ['`argumentTrust.order`', '`orderId`'],
    { argumentTrust: { orderId: 'deny' } },
  ],
  [
    'PV4 argumentTrust is one of four',
    write,
    { argumentTrust: { orderId: 'maybe' } },
    ['`argumentTrust.orderId`', '`user`'],
    { argumentTrust: { orderId: 'user', amountCents: 'allow' } },
  ],
  [
    'PV4 argumentTrust is an object',
    write,
    { argumentTrust: 'deny' },
    ['`argumentTrust`', 'object'],
    { argumentTrust: {} },
  ],
  [
    'O4 a loose object',
    read,
    { inputSchema: z.object({ a: z.string() }) },
    ['unknown keys', 'z.strictObject'],
    schema({ a: z.string() }),
  ],
  ['O4 a passthrough object', read, { inputSchema: z.looseObject({}) }, ['unknown keys', 'z.strictObject'], schema({})],
  [
    'O4 a loose object inside',
    read,
    schema({ a: z.array(z.object({ b: z.string() })).optional() }),
    ['`inputSchema.a.items`', 'z.strictObject'],
    schema({ a: z.array(z.strictObject({ b: z.string() })).optional() }),
  ],
  ['a schema of zod 3', read, { inputSchema: zod3.object({}).strict() }, ['zod 3', 'install zod 4'], schema({})],
  ['no schema', read, { inputSchema: undefined }, ['`inputSchema`', 'is required'], schema({})],
  ['JSON Schema instead of zod', read, { inputSchema: { type: 'object' } }, ['must be a zod schema'], schema({})],
  [
    'a list as arguments',
    read,
    { inputSchema: z.array(z.string()) },
    ['must be an object schema', '`array`'],
    schema({}),
  ],
  ['a date', read, schema({ a: z.date() }), ['`inputSchema.a`', 'Date'], schema({ a: z.iso.date() })],
  ['a bigint', read, schema({ a: z.bigint() }), ['`inputSchema.a`', 'BigInt'], schema({ a: z.int() })],
  [
    'a map',
    read,
    schema({ a: z.map(z.string(), z.string()) }),
    ['`inputSchema.a`', 'Map'],
    schema({ a: z.record(z.string(), z.string()) }),
  ],
  [
    'a transform without representation',
    read,
    schema({ a: z.transform((x) => x) }),
    ['`inputSchema.a`', 'ransform'],
    schema({ a: z.string().trim() }),
  ],
  ['a file', read, schema({ a: z.file() }), ['`inputSchema.a`', 'not JSON'], schema({ a: z.base64() })],
  [
    'an outputSchema of zod 3',
    read,
    { outputSchema: zod3.string(), proves: undefined },
    ['`outputSchema`', 'zod 3'],
    { outputSchema: z.string(), proves: undefined },
  ],
  ['TO1 a timeout of zero', read, { timeout: 0 }, ['`timeout`'], { timeout: 1 }],
  ['TO1 a timeout without a unit', read, { timeout: '10' }, ['`timeout`', '10s'], { timeout: '10s' }],
  ['a negative settlesWithin', write, { settlesWithin: -1 }, ['`settlesWithin`'], { settlesWithin: '1m' }],
];

test.each(corpus)('CONFIG_INVALID: %s', (_title, base, broken, words, twin) => {
  const text = refusal(() => define({ ...base, ...broken }));
  expect(text).toMatch(/^1 problem in /);
  for (const word of words) expect(text).toContain(word);
  expect(refusal(() => define({ ...base, ...twin }))).toBe('');
});

test('P5 a refused credential is not repeated', () => {
  expect(refusal(() => define({ ...read, credentials: { a: 'sk-0123456789abcdef' } }))).not.toContain('sk-0123');
});

test('every problem of a tool is listed at once, with tool and field', () => {
  const text = refusal(() => define({ ...read, timeout: 0, effect: 'x', cost: { usd: 'a' }, maxCallsPerRun: -1 }));
  expect(text).toContain('4 problems in tool `orders.find`');
  for (const field of ['timeout', 'effect', 'cost.usd', 'maxCallsPerRun']) {
    expect(text).toContain(`tool \`orders.find\`, field \`${field}\``);
  }
});

test('hidden characters of a name are shown escaped', () => {
  expect(refusal(() => define({ ...read, name: 'a\u202eb`' }))).toContain('a\\u202eb\\u0060');
});

test('defaults are those of the table', () => {
  const { manifest } = define(write);
  expect(manifest).toMatchObject({
    modelName: 'payments_refund',
    reach: 'external',
    timeoutMs: 30_000,
    settlesWithinMs: 300_000,
  });
  expect(manifest).toMatchObject({
    retry: null,
    maxCallsPerRun: null,
    rateLimit: null,
    circuitBreaker: null,
    cost: null,
  });
  expect(manifest.facts).toEqual({ ttlMs: 300_000, max: 200, onTooMany: 'deny' });
  expect(manifest.definiteStatuses).toEqual([400, 401, 403, 404, 405, 410, 415, 422]);
  const retry = {
    ...{ maximumAttempts: 3, initialIntervalMs: 1000, backoffCoefficient: 2, maximumIntervalMs: 30_000 },
    on: ['transport', 'timeout', 'overloaded', 'throttled'],
  };
  expect(define(read).manifest.retry).toEqual(retry);
  expect(define({ ...write, idempotency: receiver }).manifest.retry).toEqual(retry);
  expect(define({ ...write, idempotency: { ...receiver } }).manifest.idempotency).toEqual({
    ...{ scope: 'run', ttlMs: null, onDuplicate: 'return' },
    receiver: { header: 'idempotency-key', keyTtlMs: null },
  });
  expect(define({ ...write, idempotency: { key: () => 'k' } }).manifest.idempotency?.scope).toBe('tenant');
  expect(define({ ...read, rateLimit: { maxCalls: 1, period: 1 } }).manifest.rateLimit).toEqual({
    ...{ maxCalls: 1, periodMs: 1, scope: 'tool', onLimit: 'deny' },
  });
  expect(define({ ...read, circuitBreaker: { name: 'b', ignoreOn: ['timeout'] } }).manifest.circuitBreaker).toEqual({
    ...{ name: 'b', maxFails: 3, resetTimeoutMs: 60_000 },
    ...{ failOn: ['overloaded', 'transport'], ignoreOn: ['timeout'] },
  });
});

test('BU4 the decimals of a cost are what was written', () => {
  const worst = (usd: number) => define({ ...read, cost: { usd } }).manifest.cost?.worstMicros;
  expect([0.07, 0.000001, 1.1, 0].map(worst)).toEqual([70_000, 1, 1_100_000, 0]);
});

test('the digest covers the manifest and nothing else', () => {
  const { digest, ...rest } = define(read).manifest;
  expect(digest).toBe(digestOf(rest as unknown as Json));
  expect(define({ ...read, execute: () => null }).manifest.digest).toBe(digest);
  expect(define({ ...read, timeout: '31s' }).manifest.digest).not.toBe(digest);
  expect(JSON.parse(JSON.stringify(rest))).toEqual(rest);
});

test('models are shown strict arguments', () => {
  expect(define(read).manifest.inputJsonSchema).toEqual({
    ...{ type: 'object', properties: { orderId: { type: 'string' }, note: { type: 'string' } } },
    ...{ required: ['orderId'], additionalProperties: false },
  });
  expect(define(read).code.optionalArguments).toEqual(['note']);
});
