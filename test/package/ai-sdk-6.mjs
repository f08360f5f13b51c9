/** `ai@6` with its own provider against a session: run by pack.test.ts in a project of its own, next to a dev stack. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { connect } from 'actguard/client';
import { aiSdk } from 'actguard/ai-sdk';
import { generateText, stepCountIs, streamText } from 'ai6';
import { createOpenAI } from 'openai3';

const usage = { prompt_tokens: 100, completion_tokens: 20, total_tokens: 120 };
const call = { id: 'a', type: 'function', function: { name: 'double', arguments: '{"n":21}' } };

/** What a provider answers: the tool first, then its words; streamed where that is asked for. */
function answer(asked, response) {
  const base = { id: 'c', created: 1, model: 'm' };
  if (asked.stream) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const send = (more) =>
      response.write(`data: ${JSON.stringify({ ...base, object: 'chat.completion.chunk', ...more })}\n\n`);
    for (const content of ['It is ', '42.']) send({ choices: [{ index: 0, delta: { content } }] });
    send({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
    send({ choices: [], usage });
    return response.end('data: [DONE]\n\n');
  }
  const told = asked.messages.some((message) => message.role === 'tool');
  const message = { role: 'assistant', ...(told ? { content: 'It is 42.' } : { content: null, tool_calls: [call] }) };
  const choices = [{ index: 0, message, finish_reason: told ? 'stop' : 'tool_calls' }];
  response.writeHead(200, { 'content-type': 'application/json' });
  return response.end(JSON.stringify({ ...base, object: 'chat.completion', choices, usage }));
}

const server = createServer((request, response) => {
  let body = '';
  request.on('data', (part) => (body += part));
  request.on('end', () => answer(JSON.parse(body), response));
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const baseURL = `http://127.0.0.1:${server.address().port}/v1`;

const actguard = await connect({ cwd: process.argv[2] });
const session = await actguard.session({ id: 'six', agent: 'mine', user: 'me', tenant: 'home' });
const doors = aiSdk(session, { providers: { openai: { kind: 'openai', baseUrl: baseURL } } });
const model = createOpenAI({ baseURL, apiKey: 'k', fetch: doors.fetch }).chat('gpt-4o');
const tools = doors.tools();

const { text, steps } = await generateText({ model, tools, stopWhen: stepCountIs(3), prompt: 'twice 21?' });
assert.equal(text, 'It is 42.');
assert.deepEqual(steps[0].toolResults[0].output, { twice: 42 });
const parts = [];
for await (const part of streamText({ model, prompt: 'again' }).textStream) parts.push(part);
assert.deepEqual(parts, ['It is ', '42.']);
const { calls, tokens } = await session.usage();
assert.deepEqual({ calls, tokens }, { calls: 4, tokens: 360 });

await doors.close();
await actguard.close();
server.close();
console.log('ai 6: every check holds');
