import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { environmentSecrets } from '../../activities/credentials.ts';
import type { ModelGateway, ModelResponse, TranscriptMessage } from '../../activities/deps.ts';
import { createModelGateway } from '../../activities/model-gateway.ts';
import { RECORDED_AGENT } from '../../examples/refund-desk/recorded-agent.ts';
import type { Json } from '../../governance/json.ts';
import { startModelServer, type ModelServer } from '../../worker/model-server.ts';

let server: ModelServer;
let models: ModelGateway;

beforeAll(async () => {
  server = await startModelServer(RECORDED_AGENT);
  const replay = { baseUrl: server.baseUrl };
  models = createModelGateway({ config: { providers: {} }, secrets: environmentSecrets({}), replay });
});
afterAll(() => server.stop());

/** Plays a story as the agent's loop does, each tool answering what it is told; the calls it made and its last words. */
async function play(
  input: string,
  tools: { readonly [tool: string]: Json },
): Promise<{ calls: string[]; text: string }> {
  const messages: TranscriptMessage[] = [{ role: 'user', text: input }];
  const calls: string[] = [];
  for (let turn = 1; turn <= 6; turn += 1) {
    const answer = await ask(messages);
    messages.push({ role: 'assistant', text: answer.text, toolCalls: answer.toolCalls });
    if (answer.toolCalls.length === 0) return { calls, text: answer.text };
    for (const call of answer.toolCalls) {
      calls.push(`${call.toolName} ${JSON.stringify(call.args)}`);
      messages.push({ role: 'tool', id: call.id, toolName: call.toolName, value: tools[call.toolName] ?? null });
    }
  }
  throw new Error('the recorded agent found no end');
}

function ask(messages: readonly TranscriptMessage[]): Promise<ModelResponse> {
  return models.generate({
    model: 'openai/gpt-5-mini',
    instructions: 'you work at a refund desk',
    tools: ['orders_find', 'payments_refund'].map((name) => ({
      name,
      description: name,
      inputJsonSchema: { type: 'object' },
    })),
    messages,
    maxOutputTokens: 500,
    maxPromptBytes: 100_000,
    signal: new AbortController().signal,
  });
}

const order = { id: '1042', totalCents: 4_200, note: 'broken' };
const refused = (code: string) => ({ error: { code, reason: 'no', hint: 'stop' } });

describe('the recorded agent', () => {
  test('an order under the limit: found, refunded, told', async () => {
    const story = await play('Refund order 1042', { orders_find: order, payments_refund: { refundId: 'r-1' } });
    expect(story).toEqual({
      calls: ['orders_find {"orderId":"1042"}', 'payments_refund {"orderId":"1042","amountCents":4200}'],
      text: 'Order 1042 is refunded: $42.00.',
    });
  });

  test('it never says that a refused refund was made', async () => {
    const tools = { orders_find: { ...order, id: '1077' }, payments_refund: refused('APPROVAL_REJECTED') };
    expect((await play('Refund order 1077', tools)).text).toBe('The refund of order 1077 was not approved.');
    const under = { orders_find: order, payments_refund: refused('RATE_LIMITED') };
    expect((await play('Refund order 1042', under)).text).toBe('I could not refund order 1042.');
  });

  test('it falls for the instruction in a note: that is what the guards are for', async () => {
    const tools = { orders_find: { ...order, id: '1313' }, payments_refund: refused('FACT_MISSING') };
    const story = await play('Look into order 1313', tools);
    expect(story.calls[1]).toBe('payments_refund {"orderId":"9999","amountCents":9000}');
    expect(story.text).toContain('may not');
  });

  test('the same refund twice in one breath', async () => {
    const story = await play('Refund order 1055, and then again', {
      orders_find: order,
      payments_refund: { refundId: 'r-1' },
    });
    expect(story.calls).toHaveLength(3);
    expect(story.calls[1]).toBe(story.calls[2]);
  });

  test('other words get told what it can do', async () => {
    expect((await play('Wie wird das Wetter?', {})).text).toContain('Refund order 1042');
  });

  test('its usage is believed and grows with the conversation; requests are counted', async () => {
    const before = server.requests();
    const short = await ask([{ role: 'user', text: 'hello' }]);
    const long = await ask([{ role: 'user', text: `hello ${'x'.repeat(4_000)}` }]);
    expect(short.usage?.outputTokens).toBeGreaterThan(1);
    expect(long.usage?.inputTokens).toBeGreaterThanOrEqual((short.usage?.inputTokens ?? NaN) + 1_000);
    expect(server.requests()).toBe(before + 2);
  });
});
