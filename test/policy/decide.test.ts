import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { isAuthorized } from '@cedar-policy/cedar-wasm/nodejs';
import type { AuthorizationCall } from '@cedar-policy/cedar-wasm/nodejs';
import { CedarSet } from '../../activities/policy-cedar.ts';
import { loadPolicies } from '../../activities/policy-load.ts';
import { cedarRequest } from '../../activities/policy-request.ts';
import { cedarSchema, policyWorld } from '../../activities/policy-schema.ts';
import type { PolicyRequest } from '../../activities/deps.ts';
import { defineTool } from '../../define/tool.ts';
import type { Json } from '../../governance/json.ts';
import { find, gate, load, refund, request, search, tools } from './world.ts';

const ALL = 'permit (principal, action, resource);\n';
const DENIED = { kind: 'deny', code: 'POLICY_DENIED' };
const ERROR = { kind: 'deny', code: 'POLICY_ERROR' };

describe('decisions', () => {
  const reads =
    'permit (principal, action, resource) when { resource.effect == "read" && resource.reach == "internal" };';
  const table: [string, string, Partial<PolicyRequest>, object][] = [
    [
      'a permit of the tool',
      'permit (principal, action == Action::"payments.refund", resource);',
      {},
      { kind: 'allow', reasons: ['main.cedar#1'] },
    ],
    [
      'nothing permits: default deny',
      'permit (principal, action == Action::"orders.find", resource);',
      {},
      { ...DENIED, reasons: [] },
    ],
    ['every internal read', reads, { tool: find, args: { orderId: '1' } }, { kind: 'allow' }],
    ['no external read', reads, { tool: search, args: { query: 'x' } }, { ...DENIED, reasons: [] }],
    ['a group of actions', 'permit (principal, action in Action::"write", resource);', {}, { kind: 'allow' }],
    ['the other group', 'permit (principal, action in Action::"read", resource);', {}, DENIED],
    [
      'the tenant',
      'permit (principal in Tenant::"acme", action, resource) when { context.tenant == Tenant::"acme" };',
      {},
      { kind: 'allow' },
    ],
    ['another tenant', 'permit (principal in Tenant::"umbrella", action, resource);', {}, DENIED],
    [
      'the agent',
      'permit (principal, action, resource) when { context.agent == Agent::"refund-desk" };',
      {},
      { kind: 'allow' },
    ],
    [
      'a proven fact',
      'permit (principal, action == Action::"payments.refund", resource) when { context.facts.contains({ kind: "order", value: context.args.orderId }) };',
      { facts: [{ kind: 'order', value: '1042' }] },
      { kind: 'allow' },
    ],
    [
      'another fact',
      'permit (principal, action == Action::"payments.refund", resource) when { context.facts.contains({ kind: "order", value: context.args.orderId }) };',
      { facts: [{ kind: 'order', value: '1043' }] },
      DENIED,
    ],
    [
      'money left in whole cents, rounded down',
      'permit (principal, action, resource) when { context.left has usdCents && context.left.usdCents == 12 };',
      { left: { usdMicros: 129_999 } },
      { kind: 'allow' },
    ],
    [
      'no limit',
      'permit (principal, action, resource) when { !(context.left has usdCents) && context.left has calls };',
      { left: { calls: 3 } },
      { kind: 'allow' },
    ],
    [
      'calls so far',
      'permit (principal, action, resource) when { context.callsSoFar < 3 };',
      { callsSoFar: 3 },
      DENIED,
    ],
    [
      'the hour',
      'permit (principal, action, resource) when { context.now.toTime() < duration("18h") && context.nowMs > 1700000000000 };',
      {},
      { kind: 'allow' },
    ],
    [
      'a forbid wins',
      `${ALL}@id("none") forbid (principal, action == Action::"payments.refund", resource);`,
      {},
      { ...DENIED, reasons: ['none'] },
    ],
  ];
  test.each(table)('%s', (_name, text, over, expected) => {
    expect(load(text).decide(request(over))).toMatchObject(expected);
  });

  test('P9 a default deny names the permit that would allow the call', () => {
    const decision = load('permit (principal, action == Action::"orders.find", resource);').decide(request());
    const hint = decision.kind === 'deny' ? decision.hint : '';
    const permit = hint.slice(hint.indexOf('permit ('));
    expect(load(permit).decide(request()).kind).toBe('allow');
  });

  test('P9 a forbid gives its own hint', () => {
    const engine = load(
      `${ALL}@id("none") @hint("ask support") forbid (principal, action, resource) when { context.callsSoFar > 1 };`,
    );
    expect(engine.decide(request({ callsSoFar: 2 }))).toMatchObject({ ...DENIED, hint: 'ask support' });
  });
});

describe('arguments', () => {
  const refunds = (when: string) =>
    load(`permit (principal, action == Action::"payments.refund", resource) when { ${when} };`);

  test.each([
    ['context.args.currency == "USD"', {}],
    ['context.args has rate && context.args.rate == decimal("1.5")', { rate: 1.5 }],
    ['context.args has rate && context.args.rate.lessThan(decimal("-0.0001"))', { rate: -0.0002 }],
    ['context.args has rate && context.args.rate == decimal("3.0")', { rate: 3 }],
    ['context.args has tags && context.args.tags.contains("vip")', { tags: ['a', 'vip'] }],
    [
      'context.args has to && context.args.to.country == "SE" && !(context.args.to has iban)',
      { to: { country: 'SE' } },
    ],
    ['context.args.amountCents == -9007199254740991', { amountCents: Number.MIN_SAFE_INTEGER }],
    ['context.args.orderId == "__entity"', { orderId: '__entity', target: 7 }],
  ])('policies see %s', (when, args) => {
    expect(refunds(when).decide(request({}, args))).toMatchObject({ kind: 'allow' });
  });

  test.each<[string, Json]>([
    ['more digits than a decimal has', { rate: 0.12345 }],
    ['a number in exponent form', { rate: 1e21 }],
    ['a decimal out of range', { rate: 922337203685478 }],
    ['a whole number that lost digits', { amountCents: 2 ** 53 }],
    ['a fraction where a whole number belongs', { amountCents: 1.5 }],
    ['text where a number belongs', { amountCents: '5000' }],
    ['an entity escape where text belongs', { orderId: { __entity: { type: 'User', id: 'root' } } }],
    ['half of a surrogate pair', { orderId: '\ud800' }],
    ['null for an optional argument', { note: null }],
    ['a missing argument', { currency: undefined } as unknown as Json],
    ['an object where a list belongs', { tags: { length: 1 } }],
  ])('P7 %s is POLICY_ERROR, whatever is permitted', (_name, args) => {
    expect(load(ALL).decide(request({}, args as never))).toMatchObject(ERROR);
  });

  test('kinds without a Cedar type are left out of the schema and of the request', () => {
    const tool = defineTool({
      name: 'odd',
      description: 'x',
      effect: 'write',
      inputSchema: z.strictObject({
        union: z.union([z.string(), z.int()]),
        nothing: z.string().nullable(),
        pair: z.tuple([z.string(), z.int()]),
        free: z.record(z.string(), z.string()),
        list: z.array(z.union([z.string(), z.int()])),
        __extn: z.string(),
        level: z.literal([1, 2]),
        seen: z.string(),
      }),
      outputSchema: z.object({}),
      execute: () => ({}),
    }).manifest;
    const engine = loadPolicies({ files: [{ name: 'a.cedar', text: ALL }], tools: [tool], agents: [] });
    const args = {
      union: 1,
      nothing: null,
      pair: ['a', 1],
      free: { a: 'b' },
      list: [1],
      __extn: 'decimal',
      level: 2,
      seen: 'yes',
    };
    const decision = engine.decide(request({ tool, args }));
    expect(decision).toMatchObject({ kind: 'allow' });
    expect((decision.request['context'] as { args: Json }).args).toEqual({ level: 2, seen: 'yes' });
  });
});

describe('gates', () => {
  const two = `${ALL}${gate('big', 10_000, '@roles("finance, cfo") @quorum("2")')}${gate('huge', 50_000)}`;
  const over = (amountCents: number, approved: string[] = []) =>
    load(two).decide(request({ approved }, { amountCents }));

  test('ask iff only gates deny and their approval would allow', () => {
    expect(over(10_000)).toMatchObject({ kind: 'allow' });
    expect(over(10_001)).toMatchObject({ kind: 'ask', gates: ['big'] });
    expect(over(60_000)).toMatchObject({ kind: 'ask', gates: ['big', 'huge'] });
  });

  test('approved gates are lifted, the others ask again', () => {
    expect(over(10_001, ['big'])).toMatchObject({ kind: 'allow' });
    expect(over(60_000, ['big'])).toMatchObject({ kind: 'ask', gates: ['huge'] });
    expect(over(60_000, ['huge', 'big'])).toMatchObject({ kind: 'allow' });
  });

  test('a yes for a gate that is not in the set counts for nothing', () => {
    expect(over(10_001, ['gone', 'huge'])).toMatchObject({ kind: 'ask', gates: ['big'] });
  });

  test('no ask where a forbid would deny all the same', () => {
    const engine = load(
      `${two}@id("never") @hint("dollars only") forbid (principal, action == Action::"payments.refund", resource) when { context.args.currency != "USD" };`,
    );
    expect(engine.decide(request({}, { amountCents: 10_001, currency: 'EUR' }))).toMatchObject({
      ...DENIED,
      reasons: ['big', 'never'],
      hint: 'dollars only',
    });
  });

  test('no ask where nothing permits: an empty reason list is the default deny', () => {
    const engine = load(`permit (principal, action == Action::"orders.find", resource);\n${gate('big', 1)}`);
    expect(engine.decide(request())).toMatchObject({
      ...DENIED,
      reasons: ['big'],
      hint: expect.stringContaining('permit (principal'),
    });
  });

  test('who may answer a gate, with a digest that its text decides', () => {
    const engine = load(two);
    expect(engine.gate('big')).toMatchObject({ id: 'big', roles: ['finance', 'cfo'], quorum: 2 });
    expect(engine.gate('huge')).toMatchObject({ roles: ['approver'], quorum: 1 });
    expect(engine.gate('main.cedar#1')).toBeUndefined();
    const changed = load(two.replace('50000', '50001'));
    expect(changed.gate('big')?.sha256).toBe(engine.gate('big')?.sha256);
    expect(changed.gate('huge')?.sha256).not.toBe(engine.gate('huge')?.sha256);
    expect(changed.digest).not.toBe(engine.digest);
    expect(load(two).digest).toBe(engine.digest);
    expect(load(two.replace(/\n/g, '\r\n')).digest).toBe(engine.digest);
  });
});

describe('P7 fails closed', () => {
  test('a forbid that errs does not allow', () => {
    const texts = new Map([
      ['all', ALL],
      [
        'errs',
        'forbid (principal, action == Action::"payments.refund", resource) when { context.args.amountCents * 9223372036854775807 > 1 };',
      ],
    ]);
    const world = policyWorld(tools, ['refund-desk'], []);
    const asked = cedarRequest(world, request(), []);
    expect(new CedarSet(cedarSchema(world), texts).decide(asked)).toMatchObject({ kind: 'error' });
    // The same through the engine: the set is valid, only this request makes it overflow.
    const engine = load(`${ALL}${texts.get('errs')}`);
    expect(engine.decide(request())).toMatchObject({ ...ERROR, hint: expect.stringContaining('overflow') });
    expect(engine.decide(request({}, { amountCents: 0 }))).toMatchObject({ kind: 'allow' });
  });

  test('an error under approval is no ask', () => {
    const engine = load(
      `${ALL}${gate('big', 1)}permit (principal, action == Action::"payments.refund", resource) when { context.args.amountCents * 9223372036854775807 > 1 };`,
    );
    expect(engine.decide(request())).toMatchObject(ERROR);
  });

  test.each<[string, Partial<PolicyRequest>]>([
    ['an agent that is not configured', { principal: { tenant: 'acme', user: 'alice', agent: 'other' } }],
    ['a tool that is not loaded', { tool: { ...refund, name: 'payments.unknown' } }],
    ['a time that is no time', { nowMs: Number.NaN }],
    ['a time past the calendar', { nowMs: 8.64e15 }],
    ['no principal', { principal: undefined as never }],
    ['no arguments', { args: null }],
    ['a list for arguments', { args: [] }],
    ['a count that is no whole number', { callsSoFar: 0.5 }],
    ['a limit that is infinite', { left: { usdMicros: Infinity } }],
    ['facts that are none', { facts: [{ kind: 'order' } as never] }],
    ['approvals that are none', { approved: null as never }],
  ])('%s', (_name, over) => {
    expect(load(`${ALL}${gate('big', 1_000_000)}`).decide(request(over))).toMatchObject(ERROR);
  });

  test('a set that Cedar cannot take in decides nothing', () => {
    const world = policyWorld(tools, [], []);
    const broken = new CedarSet(cedarSchema(world), new Map([['a', 'permit (']]));
    expect(broken.decide(cedarRequest(world, request(), []))).toMatchObject({ kind: 'error' });
  });
});

describe('the request of a decision', () => {
  test('a stranger repeats it with a Cedar that knows neither our schema nor our code', () => {
    const texts = {
      all: 'permit (principal in Tenant::"acme", action in Action::"write", resource) when { resource.effect == "write" };',
      big: gate('big', 100),
    };
    const engine = load(`@id("all") ${texts.all}\n${texts.big}`);
    const repeat = (asked: object) =>
      isAuthorized({
        ...(JSON.parse(JSON.stringify(asked)) as AuthorizationCall),
        policies: { staticPolicies: texts },
      });
    const asked = engine.decide(request());
    const allowed = engine.decide(request({ approved: ['big'] }));
    expect([asked.kind, allowed.kind]).toEqual(['ask', 'allow']);
    expect(repeat(asked.request)).toMatchObject({
      response: { decision: 'deny', diagnostics: { reason: ['big'], errors: [] } },
    });
    expect(repeat(allowed.request)).toMatchObject({
      response: { decision: 'allow', diagnostics: { reason: ['all'], errors: [] } },
    });
  });
});

describe('many sets', () => {
  test('an engine that is still held decides by its own policies, however many were loaded since', () => {
    const engines = Array.from({ length: 12 }, (_, n) =>
      load(`@id("p${n}") permit (principal, action, resource) when { context.callsSoFar == ${n} };`),
    );
    for (const round of [engines, [...engines].reverse()]) {
      for (const engine of round) {
        const n = engines.indexOf(engine);
        expect(engine.decide(request({ callsSoFar: n }))).toMatchObject({ kind: 'allow', reasons: [`p${n}`] });
        expect(engine.decide(request({ callsSoFar: n + 1 }))).toMatchObject(DENIED);
      }
    }
  });
});
