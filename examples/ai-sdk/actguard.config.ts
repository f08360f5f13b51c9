/** What the app's own tools may do: everything that the code of `tools.ts` does not say. */
import { atMost, defineAgent, defineConfig } from 'actguard';
import { fromAiSdk } from 'actguard/ai-sdk';
import { z } from 'zod';
import { findOrder, refund } from './tools.ts';

const find = fromAiSdk('orders.find', findOrder, {
  effect: 'read',
  reach: 'internal',
  outputSchema: z.object({ id: z.string(), totalCents: z.int() }),
  proves: { id: 'order' },
});
const pay = fromAiSdk('payments.refund', refund, {
  effect: 'write',
  requires: { orderId: 'order' },
  rules: { amountCents: atMost(50_000) },
  idempotency: { key: ({ orderId }) => `refund:${orderId}` },
});

export const support = defineAgent({ name: 'support', tools: [find, pay] });

export default defineConfig({
  tools: [find, pay],
  agents: [support],
  policies: './policies',
  budgets: { run: { usd: 0.25 } },
});
