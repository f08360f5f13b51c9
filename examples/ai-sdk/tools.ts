/** The tools of an app as they were before ActGuard; they stay as they are. */
import { tool } from 'ai';
import { z } from 'zod';

const orders = new Map([['1042', { id: '1042', totalCents: 4_120, refundedCents: 0 }]]);

export const findOrder = tool({
  description: 'Find an order by its number',
  inputSchema: z.object({ orderId: z.string() }),
  execute: ({ orderId }) => {
    const order = orders.get(orderId);
    if (!order) throw new Error(`there is no order ${orderId}`);
    return { id: order.id, totalCents: order.totalCents };
  },
});

export const refund = tool({
  description: 'Refund an order',
  inputSchema: z.object({ orderId: z.string(), amountCents: z.int().positive() }),
  execute: ({ orderId, amountCents }) => {
    const order = orders.get(orderId);
    if (order) order.refundedCents += amountCents;
    return { orderId, refundedCents: order?.refundedCents ?? 0 };
  },
});

export const tools = { orders_find: findOrder, payments_refund: refund };
