/** What the workflow may call. */
import { defineAgent, defineConfig, defineTool } from 'actguard';
import { z } from 'zod';

const send = defineTool({
  name: 'payments.send',
  description: 'Pay somebody',
  effect: 'write',
  inputSchema: z.strictObject({ to: z.string(), cents: z.int().positive() }),
  outputSchema: z.object({ receipt: z.string() }),
  describe: ({ to, cents }) => `Pay ${to} $${(cents / 100).toFixed(2)}`,
  execute: ({ to, cents }) => ({ receipt: `${to} has $${(cents / 100).toFixed(2)}` }),
});

export default defineConfig({
  tools: [send],
  agents: [defineAgent({ name: 'payouts', tools: [send] })],
  policies: './policies',
});
