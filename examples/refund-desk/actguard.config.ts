/** The refund desk: an agent that finds orders and refunds them, under control. */
import { atMost, defineAgent, defineConfig, defineTool, secret } from 'actguard';
import { z } from 'zod';

const service = process.env['REFUND_SERVICE_URL'] ?? 'http://127.0.0.1:4010';
const key = secret('payments/api-key', { host: new URL(service).host, header: 'authorization', format: 'Bearer {}' });

const findOrder = defineTool({
  name: 'orders.find',
  description: 'Find an order by its number',
  effect: 'read',
  reach: 'internal',
  inputSchema: z.strictObject({ orderId: z.string().max(40) }),
  outputSchema: z.object({ id: z.string(), totalCents: z.int(), note: z.string() }),
  proves: { id: 'order' },
  credentials: { orders: key },
  execute: async ({ orderId }, { fetch }) => (await fetch(`${service}/orders/${encodeURIComponent(orderId)}`)).json(),
});

const refund = defineTool({
  name: 'payments.refund',
  description: 'Refund an order',
  effect: 'write',
  // an id is a destination: one that nobody vouches for is asked about
  inputSchema: z.strictObject({ orderId: z.string().max(40).meta({ format: 'id' }), amountCents: z.int().positive() }),
  outputSchema: z.object({ refundId: z.string() }),
  describe: ({ orderId, amountCents }) => `Refund $${(amountCents / 100).toFixed(2)} for order ${orderId}`,
  requires: { orderId: 'order' },
  rules: { amountCents: atMost(50_000) },
  idempotency: {
    key: ({ orderId }) => `refund:${orderId}`,
    receiver: { header: 'idempotency-key' },
    onDuplicate: 'deny',
  },
  rateLimit: { maxCalls: 20, period: '1m', scope: 'user' },
  circuitBreaker: { name: 'payments', maxFails: 3, resetTimeout: '60s' },
  timeout: '10s',
  credentials: { payments: key },
  execute: async (args, { fetch }) =>
    (await fetch(`${service}/refunds`, { method: 'POST', body: JSON.stringify(args) })).json(),
});

const INSTRUCTIONS = `You work at a refund desk. Find the order first, then refund what the user asks for.
If a refund is refused, say why in one sentence and stop.`;

export default defineConfig({
  tools: [findOrder, refund],
  agents: [
    defineAgent({
      name: 'refund-desk',
      model: 'openai/gpt-5-mini',
      instructions: INSTRUCTIONS,
      tools: [findOrder, refund],
      maxTurns: 8,
      maxOutputTokens: 500,
      onExhausted: 'stop',
    }),
  ],
  policies: './policies',
  budgets: { run: { usd: 0.5, tokens: 200_000 } },
  approvals: { notify: ['finance@localhost'] },
});
