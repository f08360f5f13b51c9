/** Definitions that are right: each broken case of the corpora changes one thing of one of them. */
import { z } from 'zod';
import { secret } from '../../define/secret.ts';
import type { Options } from '../../define/check.ts';
import { defineTool } from '../../define/tool.ts';
import type { ToolOptions, Tool } from '../../define/types.ts';

/** A read with everything that is required. */
export const read: Options = {
  name: 'orders.find',
  description: 'Find an order by its number',
  effect: 'read',
  inputSchema: z.strictObject({ orderId: z.string(), note: z.string().optional() }),
  outputSchema: z.object({ id: z.string(), totalCents: z.int() }),
  proves: { id: 'order' },
  execute: () => ({ id: '1', totalCents: 1 }),
};

/** A write with everything that is required. */
export const write: Options = {
  name: 'payments.refund',
  description: 'Refund an order',
  effect: 'write',
  inputSchema: z.strictObject({ orderId: z.string(), amountCents: z.int() }),
  outputSchema: z.object({ refundId: z.string() }),
  execute: () => ({ refundId: 'r1' }),
};

export const key = secret('payments/api-key', { host: 'payments.example' });

/** `defineTool` as plain JavaScript calls it. */
export function define(options: Options): Tool {
  return defineTool(options as unknown as ToolOptions<z.ZodObject, z.ZodType>);
}

/** What a definition is refused with; empty when it is accepted. */
export function refusal(definition: () => unknown): string {
  try {
    definition();
    return '';
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || error.code !== 'CONFIG_INVALID') throw error;
    return error.message;
  }
}
