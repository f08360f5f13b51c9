import { expect, test } from 'vitest';
import { z } from 'zod';
import { INFRA_ONLY, STRICT } from '../../governance/failure.ts';
import { secret } from '../../define/secret.ts';
import { atMost, forbidPattern } from '../../define/rules.ts';
import { define, key, read, refusal, write } from './tools.ts';
import type { Options } from '../../define/check.ts';

const number = atMost(5);
const receiver = { receiver: { header: 'idempotency-key' } };

/** [what is promised, base, what breaks it, words of the refusal, the valid twin] */
const corpus: readonly (readonly [string, Options, Options, readonly string[], Options])[] = [
  [
    'RT1 retry on a write without a receiver',
    write,
    { retry: {} },
    ['`retry`', 'never sent again', 'idempotency.receiver'],
    { retry: {}, idempotency: receiver },
  ],
  [
    'RT1 endless attempts',
    read,
    { retry: { maximumAttempts: 0 } },
    ['`retry.maximumAttempts`'],
    { retry: { maximumAttempts: 1 } },
  ],
  [
    'RT1 an unknown kind',
    read,
    { retry: { on: ['boom'] } },
    ['`retry.on.0`', '`boom`'],
    { retry: { on: ['conflict'] } },
  ],
  [
    'RT1 a shrinking pause',
    read,
    { retry: { backoffCoefficient: 0.5 } },
    ['`retry.backoffCoefficient`'],
    { retry: { backoffCoefficient: 1 } },
  ],
  [
    'RT1 a longest pause below the first',
    read,
    { retry: { initialInterval: '2s', maximumInterval: '1s' } },
    ['shorter'],
    { retry: { initialInterval: '1m' } },
  ],
  ['MC1 no calls at all', read, { maxCallsPerRun: 0 }, ['`maxCallsPerRun`', '`0`'], { maxCallsPerRun: 1 }],
  ['MC1 half a call', read, { maxCallsPerRun: 1.5 }, ['`maxCallsPerRun`'], { maxCallsPerRun: 2 }],
  [
    'RL4 no calls',
    read,
    { rateLimit: { maxCalls: 0, period: '1s' } },
    ['`rateLimit.maxCalls`'],
    { rateLimit: { maxCalls: 1, period: '1s' } },
  ],
  [
    'RL4 NaN calls',
    read,
    { rateLimit: { maxCalls: NaN, period: 1 } },
    ['`rateLimit.maxCalls`', '`NaN`'],
    { rateLimit: { maxCalls: 1, period: 1 } },
  ],
  [
    'RL4 no period',
    read,
    { rateLimit: { maxCalls: 1, period: 0 } },
    ['`rateLimit.period`'],
    { rateLimit: { maxCalls: 1, period: '1d' } },
  ],
  [
    'RL4 period is required',
    read,
    { rateLimit: { maxCalls: 1 } },
    ['`rateLimit.period`', 'is required'],
    { rateLimit: { maxCalls: 1, period: 5 } },
  ],
  [
    'RL3 a scope of no argument',
    read,
    { rateLimit: { maxCalls: 1, period: 1, scope: { argument: 'user' } } },
    ['no argument `user`', '`orderId`'],
    { rateLimit: { maxCalls: 1, period: 1, scope: { argument: 'orderId' } } },
  ],
  [
    'RL3 an unknown scope',
    read,
    { rateLimit: { maxCalls: 1, period: 1, scope: 'world' } },
    ['`rateLimit.scope`', '`world`'],
    { rateLimit: { maxCalls: 1, period: 1, scope: 'tenant' } },
  ],
  [
    'RL5 an unknown onLimit',
    read,
    { rateLimit: { maxCalls: 1, period: 1, onLimit: 'drop' } },
    ['`rateLimit.onLimit`'],
    { rateLimit: { maxCalls: 1, period: 1, onLimit: 'wait' } },
  ],
  [
    'CB1 sets that overlap',
    read,
    { circuitBreaker: { name: 'b', failOn: ['auth'], ignoreOn: ['auth'] } },
    ['`auth`', 'ignoreOn as well'],
    { circuitBreaker: { name: 'b', failOn: ['auth'], ignoreOn: ['throttled'] } },
  ],
  [
    'CB2 no fails',
    read,
    { circuitBreaker: { name: 'b', maxFails: 0 } },
    ['`circuitBreaker.maxFails`'],
    { circuitBreaker: { name: 'b', maxFails: 1 } },
  ],
  [
    'CB4 a breaker has a name',
    read,
    { circuitBreaker: {} },
    ['`circuitBreaker.name`'],
    { circuitBreaker: { name: 'b' } },
  ],
  [
    'RU1 a rule on no argument',
    write,
    { rules: { amount: number } },
    ['no argument `amount`', '`amountCents`'],
    { rules: { amountCents: number } },
  ],
  [
    'RU1 something that is no rule',
    write,
    { rules: { amountCents: 5 } },
    ['`rules.amountCents`', 'is not a rule'],
    { rules: { amountCents: [number] } },
  ],
  [
    'RU1 a rule on the wrong type',
    write,
    { rules: { orderId: number } },
    ['judges a number', '`string`'],
    { rules: { orderId: forbidPattern(/x/) } },
  ],
  [
    'FA2 a fact for no argument',
    write,
    { requires: { order: 'order' } },
    ['no argument `order`'],
    { requires: { orderId: 'order' } },
  ],
  [
    'FA2 an empty kind',
    write,
    { requires: { orderId: '' } },
    ['`requires.orderId`'],
    { requires: { orderId: 'order' } },
  ],
  [
    'FA1 a field that the output lacks',
    read,
    { proves: { orderId: 'order' } },
    ['no field `orderId`', '`totalCents`'],
    { proves: { totalCents: 'total' } },
  ],
  [
    'FA1 a function without its kinds',
    read,
    { proves: () => [] },
    ['`provesKinds`', 'is required'],
    { proves: () => [], provesKinds: ['order'] },
  ],
  ['FA1 kinds without a function', read, { provesKinds: ['order'] }, ['`provesKinds`'], {}],
  [
    'FA1 no facts at most',
    read,
    { facts: { max: 0 } },
    ['`facts.max`'],
    { facts: { max: 1, ttl: '1h', onTooMany: 'truncate' } },
  ],
  ['FA1 facts that live no time', read, { facts: { ttl: 0 } }, ['`facts.ttl`'], { facts: { ttl: 1 } }],
  ['EX1 a key on a read', read, { idempotency: {} }, ['`idempotency`', 'a read'], { effect: 'write', idempotency: {} }],
  [
    'EX3 a run key across runs',
    write,
    { idempotency: { scope: 'tenant' } },
    ['`idempotency.scope`'],
    { idempotency: { scope: 'tenant', key: () => 'k' } },
  ],
  [
    'EX5 a receiver with a bad header',
    write,
    { idempotency: { receiver: { header: 'a b' } } },
    ['`idempotency.receiver.header`'],
    { idempotency: receiver },
  ],
  [
    'EX4 a status that decides nothing',
    write,
    { definiteStatuses: [200] },
    ['`definiteStatuses.0`'],
    { definiteStatuses: [409] },
  ],
  [
    'EX5 reconcile on a read',
    read,
    { reconcile: () => null },
    ['`reconcile`'],
    { effect: 'write', reconcile: () => null },
  ],
  ['EX7 repeatable is a boolean', write, { repeatable: 'yes' }, ['`repeatable`', '`yes`'], { repeatable: true }],
  ['BU1 a negative cost', read, { cost: { usd: -1 } }, ['`cost.usd`', '`-1`'], { cost: { usd: 0 } }],
  ['BU1 a cost that is no number', read, { cost: { usd: NaN } }, ['`cost.usd`'], { cost: { usd: 0.01 } }],
  ['BU2 two costs', read, { cost: { usd: 1, maxUsd: 1 } }, ['either'], { cost: { maxUsd: 1, actual: () => 1 } }],
  [
    'BU2 a ceiling without a price',
    read,
    { cost: { maxUsd: 1 } },
    ['`cost.actual`'],
    { cost: { maxUsd: 0.5, actual: () => 0 } },
  ],
  [
    'P5 a secret as text',
    read,
    { credentials: { a: 'sk-0123456789abcdef' } },
    ['`credentials.a`', 'secret('],
    { credentials: { a: key } },
  ],
  [
    'P5 two credentials in one header',
    read,
    { credentials: { a: key, b: secret('other/key', { host: 'payments.example' }) } },
    ['`credentials.b`', 'same place'],
    { credentials: { a: key, b: secret('other/key', { host: 'payments.example', header: 'x-key', format: '{}' }) } },
  ],
  [
    'P5 two credentials that meet in one path',
    read,
    { credentials: { a: key, b: secret('other/key', { host: 'payments.example', path: '/v1' }) } },
    ['`credentials.b`', 'same place'],
    { credentials: { a: key, b: secret('other/key', { host: 'payments.example:8443', path: '/v1' }) } },
  ],
];

test('every problem is listed, those that name fields of a refused schema too', () => {
  const loose = { ...read, effect: 'x', inputSchema: z.object({ a: z.string() }), retry: { maximumAttempts: 0 } };
  const text = refusal(() =>
    define({ ...loose, rules: { zz: number }, requires: { yy: 'order' }, argumentTrust: { xx: 'ask' } }),
  );
  for (const field of ['effect', 'inputSchema', 'retry.maximumAttempts', 'rules.zz', 'requires.yy', 'argumentTrust.xx'])
    expect(text).toContain(`field \`${field}\``);
});

test('CB1 D6 the sets are checked as they take effect: a breaker that counts nothing is refused', () => {
  const ignoring = (ignoreOn: readonly string[]) =>
    refusal(() => define({ ...read, circuitBreaker: { name: 'x', ignoreOn } }));
  expect(ignoring(['transport', 'timeout', 'overloaded'])).toContain('never open');
  expect(ignoring(['transport', 'timeout'])).toBe('');
  expect([STRICT, INFRA_ONLY].every(Object.isFrozen)).toBe(true);
});

test.each(corpus)('CONFIG_INVALID: %s', (_title, base, broken, words, twin) => {
  const text = refusal(() => define({ ...base, ...broken }));
  expect(text).toMatch(/^1 problem in /);
  for (const word of words) expect(text).toContain(word);
  expect(refusal(() => define({ ...base, ...twin }))).toBe('');
});
