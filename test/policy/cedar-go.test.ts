import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import type { JsonObject } from '../../governance/json.ts';
import { builtProgram, decisionsOf, disagreements } from '../support/cedar-go.ts';
import { find, gate, load, refund, request, search } from './world.ts';

const SET = `@id("reads") permit (principal, action in Action::"read", resource);
@id("acme") permit (principal in Tenant::"acme", action, resource) when { context.callsSoFar < 9 };
@id("proven") permit (principal, action == Action::"payments.refund", resource)
when { context.facts.contains({ kind: "order", value: context.args.orderId }) };
@id("rates") forbid (principal, action == Action::"payments.refund", resource)
when { context.args has rate && context.args.rate.greaterThan(decimal("1.5")) };
@id("tags") forbid (principal, action == Action::"payments.refund", resource)
when { context.args has tags && context.args.tags.containsAny(["blocked", "fraud"]) };
@id("abroad") forbid (principal, action == Action::"payments.refund", resource)
when { context.args has to && context.args.to.country like "X*" && !(context.args.to has iban) };
@id("night") forbid (principal, action in Action::"write", resource) when { context.now.toTime() < duration("6h") };
@id("poor") forbid (principal, action, resource) when { context.left has usdCents && context.left.usdCents < 50 };
@id("bob") forbid (principal == User::"bob", action == Action::"web.search", resource);
@id("overflow") forbid (principal, action == Action::"payments.refund", resource)
when { context.args.amountCents * 2048 == 7 };
${gate('big', 10_000)}${gate('huge', 1_000_000)}`;

beforeAll(() => void builtProgram(), 600_000);

test('cedar-go agrees with every decision of a thousand random calls', () => {
  const engine = load(SET);
  const kinds = new Set<string>();
  const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
  const args = fc.record({
    orderId: fc.constantFrom('1042', '9999', 'é', '"', '\\', '*', ''),
    amountCents: fc.oneof(fc.integer({ min: -5, max: 2_000_000 }), fc.maxSafeInteger()),
    currency: fc.constantFrom('USD', 'EUR'),
    rate: optional(fc.constantFrom(0, 1.5, 1.5001, -3, 922337203685477)),
    tags: optional(fc.array(fc.constantFrom('vip', 'blocked', 'fraud', 'x'), { maxLength: 3 })),
    to: optional(fc.record({ country: fc.constantFrom('SE', 'XK', 'X'), iban: optional(fc.constant('SE1')) })),
  });
  const more = fc.record({
    user: fc.constantFrom('alice', 'bob'),
    tenant: fc.constantFrom('acme', 'globex'),
    callsSoFar: fc.integer({ min: 0, max: 12 }),
    hour: fc.integer({ min: 0, max: 23 }),
    cents: optional(fc.integer({ min: 0, max: 100 })),
    proven: fc.boolean(),
    approved: fc.subarray(['big', 'huge']),
    tool: fc.constantFrom('refund', 'find', 'search'),
  });
  const made = decisionsOf(() =>
    fc.assert(
      fc.property(args, more, (given, m) => {
        const { tool, ...plain } = { tool: m.tool, args: JSON.parse(JSON.stringify(given)) as JsonObject };
        const called =
        tool === 'find' ? { tool: find, args: { orderId: given.orderId } } : tool === 'search' ? { tool: search, args: { query: given.orderId } } : { tool: refund, ...plain }; // prettier-ignore
        const decision = engine.decide({
          ...request({
            principal: { tenant: m.tenant, user: m.user, agent: 'refund-desk' },
            callsSoFar: m.callsSoFar,
            nowMs: Date.UTC(2026, 10, 22, m.hour, 30),
            left: m.cents === undefined ? {} : { usdMicros: m.cents * 10_000 },
            facts: m.proven ? [{ kind: 'order', value: given.orderId }] : [],
            approved: m.approved,
          }),
          ...called,
        });
        kinds.add(decision.kind === 'deny' ? decision.code : decision.kind);
      }),
      { numRuns: 1_000, seed: 7 },
    ),
  );
  expect([...kinds].sort()).toEqual(['POLICY_DENIED', 'POLICY_ERROR', 'allow', 'ask']);
  expect(made.length).toBeGreaterThan(900);
  expect(disagreements(made)).toEqual([]);
});

test('cedar-go agrees under every set of the vectors', () => {
  const folder = new URL('../vectors/policies/', import.meta.url);
  const sets = readdirSync(folder).filter((name) => name.endsWith('.valid.cedar'));
  expect(sets.length).toBeGreaterThanOrEqual(20);
  const made = decisionsOf(() => {
    for (const name of sets) {
      const engine = load(readFileSync(new URL(name, folder), 'utf8'));
      for (const amountCents of [1, 10_001, 60_000]) engine.decide(request({}, { amountCents }));
      engine.decide(request({ tool: find, args: { orderId: '1' } }));
    }
  });
  expect(made.length).toBeGreaterThanOrEqual(sets.length * 4);
  expect(disagreements(made)).toEqual([]);
});

test('a decision that is not Cedar’s is found', () => {
  const [last] = decisionsOf(() => load('permit (principal, action, resource);').decide(request()));
  if (!last) throw new Error('nothing was decided');
  expect(disagreements([last])).toEqual([]);
  expect(disagreements([{ ...last, answer: { kind: 'deny', reasons: [] } }])).toHaveLength(1);
  expect(disagreements([{ ...last, policies: {} }])).toHaveLength(1);
  expect(disagreements([{ ...last, answer: { kind: 'error', message: 'policy `x`: erred' } }])).toHaveLength(1);
});
