import { expect, test } from 'vitest';
import { z } from 'zod';
import { atMost, defineAgent, defineConfig, defineTool, INFRA_ONLY, secret, STRICT } from '../../define/index.ts';
import type { Tool } from '../../define/index.ts';
import { refusal } from './tools.ts';

const orderId = z.strictObject({ orderId: z.string() });
const order = z.object({ id: z.string(), totalCents: z.int() });
const base = { name: 'a', description: 'b', effect: 'read' } as const;

/** The example of the design, as it stands there. */
function example() {
  const findOrder = defineTool({
    name: 'orders.find',
    description: 'Find an order by its number',
    effect: 'read',
    reach: 'internal',
    inputSchema: z.strictObject({ orderId: z.string() }),
    outputSchema: z.object({ id: z.string(), totalCents: z.int(), note: z.string() }),
    proves: { id: 'order' },
    execute: async ({ orderId }, { fetch }) =>
      (await fetch(`https://orders.example/orders/${encodeURIComponent(orderId)}`)).json(),
  });
  const refund = defineTool({
    name: 'payments.refund',
    description: 'Refund an order',
    effect: 'write',
    inputSchema: z.strictObject({ orderId: z.string(), amountCents: z.int().positive() }),
    outputSchema: z.object({ refundId: z.string() }),
    describe: ({ orderId, amountCents }) => `Refund $${(amountCents / 100).toFixed(2)} for order ${orderId}`,
    requires: { orderId: 'order' },
    rules: { amountCents: atMost(50_000) },
    idempotency: { key: ({ orderId }) => `refund:${orderId}`, receiver: { header: 'idempotency-key' } },
    rateLimit: { maxCalls: 5, period: '1m', scope: 'user' },
    circuitBreaker: { name: 'payments', maxFails: 3, resetTimeout: '60s' },
    timeout: '10s',
    credentials: {
      payments: secret('payments/api-key', { host: 'payments.example', header: 'authorization', format: 'Bearer {}' }),
    },
    execute: async (args, { fetch }) =>
      (await fetch('https://payments.example/refunds', { method: 'POST', body: JSON.stringify(args) })).json(),
  });
  return defineConfig({
    tools: [findOrder, refund],
    agents: [
      defineAgent({ name: 'refund-desk', model: 'openai/gpt-5-mini', instructions: '...', tools: [findOrder, refund] }),
    ],
    policies: './policies',
    budgets: { run: { usd: 0.5, tokens: 200_000 } },
  });
}

test('the example of the design loads as it stands there', () => {
  const { tools, runLimit } = example();
  expect(tools.map((tool) => tool.manifest.modelName)).toEqual(['orders_find', 'payments_refund']);
  expect(tools[1]?.manifest).toMatchObject({
    timeoutMs: 10_000,
    requires: { orderId: 'order' },
    credentials: ['payments'],
  });
  expect(tools[0]?.manifest.proves).toEqual(['order']);
  expect(runLimit).toEqual({ usdMicros: 500_000, tokens: 200_000 });
});

test('the left side of proves, requires and rules is a field of the tool, for the compiler and when it runs', () => {
  const execute = ({ orderId }: { orderId: string }) => ({ id: orderId, totalCents: 1 });
  const common = { ...base, inputSchema: orderId, outputSchema: order, execute };
  // @ts-expect-error orderIdd is no argument
  expect(refusal(() => defineTool({ ...common, requires: { orderIdd: 'order' } }))).toContain('orderIdd');
  // @ts-expect-error amount is no argument
  expect(refusal(() => defineTool({ ...common, rules: { amount: atMost(1) } }))).toContain('amount');
  // @ts-expect-error ref is no field of the output
  expect(refusal(() => defineTool({ ...common, proves: { ref: 'order' } }))).toContain('ref');
  expect(refusal(() => defineTool({ ...common, requires: { orderId: 'order' }, proves: { id: 'order' } }))).toBe('');
});

test('a list proves fields of its items', () => {
  const common = { ...base, inputSchema: orderId, outputSchema: z.array(order), execute: () => [] };
  expect(refusal(() => defineTool({ ...common, proves: { id: 'order' } }))).toBe('');
  // @ts-expect-error length is no field of an item
  expect(refusal(() => defineTool({ ...common, proves: { length: 'order' } }))).toContain('length');
});

test('PV1 PV4 trust options name fields of the tool, for the compiler and when it runs', () => {
  const execute = ({ orderId }: { orderId: string }) => ({ id: orderId, totalCents: 1 });
  const common = { ...base, inputSchema: orderId, outputSchema: order, execute };
  // @ts-expect-error ref is no field of the output
  expect(refusal(() => defineTool({ ...common, outputTrust: { ref: 'trusted' } }))).toContain('ref');
  // @ts-expect-error amount is no argument
  expect(refusal(() => defineTool({ ...common, argumentTrust: { amount: 'deny' } }))).toContain('amount');
  // @ts-expect-error ref is no field of the output
  expect(refusal(() => defineTool({ ...common, declassify: { ref: 'x' } }))).toContain('ref');
  const all = { outputTrust: { id: 'trusted' }, private: ['totalCents'], argumentTrust: { orderId: 'user' } } as const;
  expect(refusal(() => defineTool({ ...common, ...all }))).toBe('');
});

test('options that nothing enforces yet are not in the types', () => {
  const common = { ...base, inputSchema: orderId, execute: () => null };
  // @ts-expect-error not enforced yet
  expect(refusal(() => defineTool({ ...common, undo: () => null }))).toContain('undo');
  // @ts-expect-error no scope of that name
  const budgets: Parameters<typeof defineConfig>[0]['budgets'] = { team: { usd: 5 } };
  expect(refusal(() => defineConfig({ tools: [], agents: [], policies: 'p', budgets }))).toContain('budgets.team');
});

test('arguments and outputs are inferred; a wrong output does not compile', () => {
  const tool = defineTool({
    ...base,
    inputSchema: orderId,
    outputSchema: order,
    execute: ({ orderId }) => ({ id: orderId.toUpperCase(), totalCents: 5 }),
  });
  const typed: Tool<{ orderId: string }, { id: string; totalCents: number }> = tool;
  const untyped: readonly Tool[] = [typed];
  expect(untyped).toEqual([tool]);
  defineTool({
    ...base,
    inputSchema: orderId,
    outputSchema: order,
    // @ts-expect-error totalCents is missing
    execute: ({ orderId }) => ({ id: orderId }),
  });
});

test('CB1 presets are failure kinds', () => {
  expect([...STRICT].sort()).toEqual(['auth', 'overloaded', 'throttled', 'timeout', 'transport']);
  expect(INFRA_ONLY).toEqual(['transport', 'timeout']);
});
