/**
 * ActGuard's front door: what an engineer writes. Tools are functions with a contract; a config names the tools, the
 * agents that may use them and the folder of policies that decides. Everything wrong is refused here, before anything
 * runs: one CONFIG_INVALID that lists every problem with its place and how to mend it.
 *
 * @example
 * // actguard.config.ts
 * import { z } from 'zod';
 * import { atMost, defineAgent, defineConfig, defineTool, secret } from 'actguard';
 *
 * const findOrder = defineTool({
 *   name: 'orders.find', description: 'Find an order by its number', effect: 'read', reach: 'internal',
 *   inputSchema: z.strictObject({ orderId: z.string() }),
 *   outputSchema: z.object({ id: z.string(), totalCents: z.int() }),
 *   proves: { id: 'order' },
 *   execute: async ({ orderId }, { fetch }) => (await fetch(`https://orders.example/orders/${orderId}`)).json(),
 * });
 * const refund = defineTool({
 *   name: 'payments.refund', description: 'Refund an order', effect: 'write',
 *   inputSchema: z.strictObject({ orderId: z.string(), amountCents: z.int().positive() }),
 *   requires: { orderId: 'order' }, rules: { amountCents: atMost(50_000) },
 *   idempotency: { key: ({ orderId }) => `refund:${orderId}`, receiver: { header: 'idempotency-key' } },
 *   credentials: { payments: secret('payments/api-key', { host: 'payments.example' }) },
 *   execute: async (args, { fetch }) =>
 *     (await fetch('https://payments.example/refunds', { method: 'POST', body: JSON.stringify(args) })).json(),
 * });
 * export default defineConfig({
 *   tools: [findOrder, refund],
 *   agents: [defineAgent({ name: 'refund-desk', model: 'openai/gpt-5-mini', tools: [findOrder, refund] })],
 *   policies: './policies',
 *   budgets: { run: { usd: 0.5 } },
 * });
 */
export { BudgetExceededError } from '../governance/budget-exceeded.ts';
export { ActGuardError, ERROR_CODES, FAILURE_KINDS, isActGuardError } from '../governance/errors.ts';
export type {
  AccountLimitOptions,
  BudgetOptions,
  DatedPriceOptions,
  LimitOptions,
  PriceOptions,
} from './budget-types.ts';
export type { CallError, Denial, ErrorCode, FailureKind, Problem } from '../governance/errors.ts';
export type { CallResult, Fact, Limit, RunResult, SessionUsage, Usage } from '../governance/call.ts';
export type { Json, JsonObject } from '../governance/json.ts';
export type { ArgumentTrust, EffectKind, OutputTrust, RateScope, Reach, ToolManifest } from '../governance/tool.ts';
export { defineAgent, isAgent } from './agent.ts';
export { defineConfig, isConfig } from './config.ts';
export { isNothingHappened, nothingHappened } from './nothing-happened.ts';
export { INFRA_ONLY, STRICT } from '../governance/failure.ts';
export * from './rules.ts';
export { secret } from './secret.ts';
export type { SecretOptions } from './secret.ts';
export { defineTool, isTool } from './tool.ts';
export type {
  SecretBinding,
  SecretFrom,
  SecretFromOptions,
  SecretFunction,
  SecretOwner,
  SecretPlace,
  SecretRef,
  Secrets,
} from './secret-types.ts';
export type {
  Agent,
  AgentOptions,
  Config,
  ConfigOptions,
  Duration,
  ProviderOptions,
  Reconciled,
  Tool,
  ToolContext,
  ToolOptions,
  ToolResponse,
} from './types.ts';
