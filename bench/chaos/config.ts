/** Three receivers on the example's payment service: one honours the key, one can be asked, one neither. */
import { z } from 'zod';
import { defineAgent, defineConfig, defineTool, secret } from '../../define/index.ts';

/** What a receiver can do for us. */
export const RECEIVERS = ['kept', 'asked', 'plain'] as const;
export type Receiver = (typeof RECEIVERS)[number];

export const TENANT = 'chaos';
export const AGENT = 'chaos';
export const POLICY = '@id("all") permit (principal, action, resource);\n';
/** A request lands within this after it was sent: the proxies delay less. */
export const SETTLES_WITHIN_MS = 15_000;

/** The configuration of workers whose way to the service is `service` (a proxy of their own). */
export function chaosConfig(service: string) {
  const key = secret('payments/api-key', { host: new URL(service).host, header: 'authorization', format: 'Bearer {}' });
  const tool = (receiver: Receiver, more: object) =>
    defineTool({
      name: `payments.${receiver}`,
      description: 'Refund an order',
      effect: 'write',
      inputSchema: z.strictObject({ orderId: z.string().max(40), amountCents: z.int().positive() }),
      outputSchema: z.object({ refundId: z.string() }),
      timeout: '8s',
      settlesWithin: SETTLES_WITHIN_MS,
      credentials: { payments: key },
      execute: async (args, { fetch }) =>
        (
          await fetch(`${service}/refunds`, {
            method: 'POST',
            headers: { 'x-receiver': receiver },
            body: JSON.stringify(args),
          })
        ).json(),
      idempotency: { key: ({ orderId }: { orderId: string }) => `refund:${orderId}` },
      ...more,
    });
  const tools = [
    tool('kept', {
      idempotency: {
        key: ({ orderId }: { orderId: string }) => `refund:${orderId}`,
        receiver: { header: 'idempotency-key' },
      },
    }),
    tool('asked', {
      reconcile: async ({ orderId }: { orderId: string }, { fetch }: { fetch: typeof globalThis.fetch }) => {
        const found = (await (await fetch(`${service}/refunds?orderId=${orderId}`)).json()) as {
          refunds: { refundId: string }[];
        };
        const [made] = found.refunds;
        return made ? { kind: 'happened', result: { refundId: made.refundId } } : { kind: 'neverWill' };
      },
    }),
    tool('plain', {}),
  ];
  return defineConfig({ tools, agents: [defineAgent({ name: AGENT, tools })], policies: './policies' });
}
