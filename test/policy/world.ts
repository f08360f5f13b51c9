/** A small deployment that the policy tests and vectors are written for. */
import { z } from 'zod';
import { defineTool } from '../../define/tool.ts';
import type { PolicyRequest } from '../../activities/deps.ts';
import { loadPolicies } from '../../activities/policy-load.ts';
import type { LoadedPolicies } from '../../activities/policy.ts';
import type { JsonObject } from '../../governance/json.ts';
import type { ToolManifest } from '../../governance/tool.ts';

const nothing = () => ({});
const outputSchema = z.object({});

export const find = defineTool({
  name: 'orders.find',
  description: 'Find an order',
  effect: 'read',
  reach: 'internal',
  inputSchema: z.strictObject({ orderId: z.string() }),
  outputSchema,
  execute: nothing,
}).manifest;

export const refund = defineTool({
  name: 'payments.refund',
  description: 'Refund an order',
  effect: 'write',
  inputSchema: z.strictObject({
    orderId: z.string(),
    amountCents: z.int(),
    currency: z.enum(['USD', 'EUR']),
    note: z.string().optional(),
    rate: z.number().optional(),
    tags: z.array(z.string()).optional(),
    to: z.strictObject({ country: z.string(), iban: z.string().optional() }).optional(),
    target: z.union([z.string(), z.int()]).optional(),
  }),
  outputSchema,
  execute: nothing,
}).manifest;

export const search = defineTool({
  name: 'web.search',
  description: 'Search the web',
  effect: 'read',
  inputSchema: z.strictObject({ query: z.string() }),
  outputSchema,
  execute: nothing,
}).manifest;

export const tools: readonly ToolManifest[] = [find, refund, search];
export const agents = ['refund-desk'];

/** An engine of one file. */
export function load(text: string, name = 'main.cedar'): LoadedPolicies {
  return loadPolicies({ files: [{ name, text }], tools, agents });
}

/** A refund of 50 dollars, or what is said otherwise. */
export function request(over: Partial<PolicyRequest> = {}, args: JsonObject = {}): PolicyRequest {
  return {
    principal: { tenant: 'acme', user: 'alice', agent: 'refund-desk' },
    run: '01J00000000000000000000000',
    tool: refund,
    args: { orderId: '1042', amountCents: 5_000, currency: 'USD', ...args },
    facts: [],
    left: {},
    callsSoFar: 0,
    nowMs: Date.UTC(2026, 10, 22, 12),
    approved: [],
    ...over,
  };
}

/** A gate over refunds of more than so many cents. */
export function gate(id: string, overCents: number, notes = ''): string {
  return `@id("${id}") @gate("approval") ${notes}
forbid (principal, action == Action::"payments.refund", resource)
when { context.args.amountCents > ${overCents} } unless { context.approved.contains(Gate::"${id}") };
`;
}
