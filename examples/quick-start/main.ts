/**
 * A budget around the calls of OpenAI's own client. With `actguard dev` running:
 * `node --conditions=actguard:source examples/quick-start/main.ts`. The model is a recording behind the real wire format.
 */
import assert from 'node:assert/strict';
import { BudgetExceededError, connect } from 'actguard/client';
import OpenAI from 'openai';
import { startModelServer } from '../../worker/model-server.ts';

await using model = await startModelServer([{ user: /./, turn: 1, text: 'Hello, Alice.' }]);
const providers = { [new URL(model.baseUrl).origin]: 'openai' };

await using actguard = await connect();
await using guard = await actguard.budgetGuard({ user: 'alice', budget: { tokens: 1_000 }, providers });
const openai = new OpenAI({ fetch: guard.fetch, baseURL: model.baseUrl, apiKey: 'a recording needs none' });

const ask = () =>
  openai.chat.completions.create({ model: 'gpt-5-mini', messages: [{ role: 'user', content: 'Say hello to Alice' }] });
let asked = 0;
try {
  for (;;) {
    const answer = await ask();
    asked += 1;
    assert.equal(answer.choices[0]?.message.content, 'Hello, Alice.');
  }
} catch (error) {
  if (!(error instanceof BudgetExceededError)) throw error;
  assert.equal(error.usage.tokens, guard.usage.tokens);
}
assert.ok(asked > 1 && model.requests() === asked, 'what was refused was not sent');
assert.ok(guard.usage.tokens <= 1_000, 'the budget holds');
console.log(
  `quick-start: ${asked} answers for $${guard.usage.usd} and ${guard.usage.tokens} of 1000 tokens, then no more`,
);
