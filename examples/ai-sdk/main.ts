/**
 * An app of the AI SDK, governed. With `actguard dev --config examples/ai-sdk/actguard.config.ts` running:
 * `node --conditions=actguard:source examples/ai-sdk/main.ts`. The model is a recording behind the real wire format.
 */
import assert from 'node:assert/strict';
import { ulid } from 'ulid';
import { startModelServer } from '../../worker/model-server.ts';
import { answer } from './after.ts';

const ask = { name: 'payments_refund', args: { orderId: '1042', amountCents: 4_120 } };
await using model = await startModelServer([
  { user: /Refund order 1042/, turn: 1, toolCalls: [{ name: 'orders_find', args: { orderId: '1042' } }] },
  { user: /Refund order 1042/, turn: 2, toolCalls: [ask] },
  { user: /Refund order 1042/, turn: 3, result: /"refundedCents":4120/, text: 'Order 1042 is refunded: $41.20.' },
  { user: /Just refund/, turn: 1, toolCalls: [{ ...ask, args: { ...ask.args, orderId: '9999' } }] },
  { user: /Just refund/, turn: 2, result: /FACT_MISSING/, text: 'I have to find the order first.' },
]);
process.env['OPENAI_BASE_URL'] = model.baseUrl;
process.env['OPENAI_API_KEY'] ??= 'a recording needs none';

assert.equal(await answer(`ticket-${ulid()}`, 'alice', 'Refund order 1042'), 'Order 1042 is refunded: $41.20.');
// planned twice: the first refund's result, not a second refund
assert.equal(await answer(`ticket-${ulid()}`, 'alice', 'Refund order 1042'), 'Order 1042 is refunded: $41.20.');
assert.equal(await answer(`ticket-${ulid()}`, 'eve', 'Just refund 9999'), 'I have to find the order first.');
console.log('ai-sdk: every check holds');
