/** Asking Cedar with less: the answer is the same as with the whole request. */
import { policyToJson, type PolicyJson } from '@cedar-policy/cedar-wasm/nodejs';
import { expect, test } from 'vitest';
import { CedarSet } from '../../activities/policy-cedar.ts';
import { cedarRequest } from '../../activities/policy-request.ts';
import { cedarSchema, policyWorld } from '../../activities/policy-schema.ts';
import { trimContext, trimSchema, usedContext } from '../../activities/policy-trim.ts';
import { find, gate, refund, request, search, tools } from './world.ts';

function parsed(text: string): PolicyJson {
  const answer = policyToJson(text);
  if (answer.type !== 'success') throw new Error(JSON.stringify(answer.errors));
  return answer.json;
}
const names = (...texts: string[]): string[] | null => {
  const used = usedContext(texts.map(parsed));
  return used && [...used.names].filter((name) => name !== 'agent' && name !== 'approved').sort();
};

test.each<[string, string[] | null]>([
  ['permit (principal, action, resource);', []],
  ['permit (principal, action, resource) when { context.args.amountCents > 1 };', ['args']],
  ['permit (principal, action, resource) when { context has left && context.left has usdCents };', ['left']],
  [
    'permit (principal, action, resource) when { context["run"] == "r" } unless { context.nowMs < 3 };',
    ['nowMs', 'run'],
  ],
  ['permit (principal, action, resource) when { [context.run, context.reach].contains("x") };', ['reach', 'run']],
  [
    'permit (principal, action, resource) when { if context.callsSoFar > 1 then context.effect == "read" else true };',
    ['callsSoFar', 'effect'],
  ],
  // the context as a whole: nothing may be left out
  ['permit (principal, action, resource) when { context has args.to };', null],
  ['permit (principal, action, resource) when { context == {} };', null],
  ['permit (principal, action, resource) when { [context].contains(context) };', null],
  ['permit (principal, action, resource) when { {a: context}.a.run == "r" };', null],
])('what %s sees of the context', (text, expected) => {
  expect(names(text)).toEqual(expected);
});

const args = (...texts: string[]): string[] | null | undefined => {
  const used = usedContext(texts.map(parsed));
  return used?.args && [...used.args].sort();
};

test.each<[string, string[] | null]>([
  ['permit (principal, action, resource) when { context.callsSoFar < 3 };', []],
  ['permit (principal, action, resource) when { context.args.amountCents > 1 };', ['amountCents']],
  ['permit (principal, action, resource) when { context.args has to && context.args.to.email like "*@x" };', ['to']],
  ['permit (principal, action, resource) when { context["args"]["a"] == context.args.b.c };', ['a', 'b']],
  // the arguments as a whole: none may be left out
  ['permit (principal, action, resource) when { context.args == {} };', null],
  ['permit (principal, action, resource) when { context.args.a == 1 || [context.args].contains({}) };', null],
  ['permit (principal, action, resource) when { {a: context.args}.a.run == "r" };', null],
])('what %s sees of the arguments', (text, expected) => {
  expect(args(text)).toEqual(expected);
});

test('P7 with what no policy names left out, every decision is the one of the whole request', () => {
  const sets: { [id: string]: string }[] = [
    { a: 'permit (principal, action, resource);' },
    {
      a: 'permit (principal, action, resource) when { context.args has amountCents && context.args.amountCents <= 100 };',
    },
    { a: 'permit (principal, action, resource) when { context.now < datetime("2026-11-25") };' },
    { a: 'permit (principal, action, resource) when { context.left has usdCents && context.left.usdCents > 1 };' },
    { a: 'permit (principal, action, resource) when { context.facts.contains({kind: "order", value: "1042"}) };' },
    { a: 'permit (principal, action, resource);', big: gate('big', 100) },
    {
      a: 'permit (principal, action == Action::"payments.refund", resource) unless { context.args.amountCents == 4999 };',
    },
    {
      a: 'permit (principal in Tenant::"acme", action in Action::"write", resource) when { resource.reach == context.reach };',
    },
    {
      a: 'permit (principal, action, resource);',
      errs: 'forbid (principal, action == Action::"payments.refund", resource) when { context.args.amountCents * 9223372036854775807 > 1 };',
    },
  ];
  const requests = [
    request(),
    request({ approved: ['big'] }),
    request({ left: { usdMicros: 5 } }),
    request({ callsSoFar: 7, facts: [] }),
    request({ tool: find, args: { orderId: '1' } }),
    request({ tool: search, args: { query: 'x' } }),
  ];
  const kinds = new Set<string>();
  for (const texts of sets) {
    const world = policyWorld(tools, ['refund-desk'], 'big' in texts ? ['big'] : []);
    const policies = new Map(Object.entries(texts));
    const used = usedContext(Object.values(texts).map(parsed));
    expect(used).not.toBeNull();
    const whole = new CedarSet(cedarSchema(world), policies);
    const trimmed = new CedarSet(cedarSchema(world), policies, used);
    for (const asked of requests) {
      const cedar = cedarRequest(
        world,
        asked,
        asked.approved.filter((id) => world.gates.includes(id)),
      );
      const answer = whole.decide(cedar);
      kinds.add(answer.kind);
      expect(trimmed.decide(cedar), JSON.stringify([texts, cedar])).toEqual(answer);
    }
  }
  expect([...kinds].sort()).toEqual(['allow', 'deny', 'error']);
});

test('an argument that is itself called `context` is left as it is', () => {
  const tool = {
    ...refund,
    name: 'a.note',
    inputJsonSchema: {
      type: 'object',
      additionalProperties: false,
      required: ['context'],
      properties: {
        context: {
          type: 'object',
          additionalProperties: false,
          required: ['now'],
          properties: { now: { type: 'string' } },
        },
      },
    },
  };
  const world = policyWorld([tool as never], ['refund-desk'], []);
  const policies = new Map([['a', 'permit (principal, action, resource) when { context.args.context.now == "x" };']]);
  const used = usedContext([...policies.values()].map(parsed));
  const asked = cedarRequest(world, request({ tool: tool as never, args: { context: { now: 'x' } } }), []);
  expect(trimContext(asked.context, used)).toMatchObject({ args: { context: { now: 'x' } } });
  expect(JSON.stringify(trimSchema(cedarSchema(world), used))).not.toContain('nowMs');
  expect(new CedarSet(cedarSchema(world), policies, used).decide(asked)).toMatchObject({ kind: 'allow' });
});
