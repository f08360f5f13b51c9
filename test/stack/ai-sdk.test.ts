/** ai@7 for real: its loop, its streams, its tools, against a session on the real stack and the real wire format. */
import { randomUUID } from 'node:crypto';
import {
  asSchema,
  generateText,
  isStepCount,
  jsonSchema,
  streamText,
  tool,
  type Tool as AiTool,
  type ToolSet,
} from 'ai';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { aiSdk, fromAiSdk, type AiSdkSession } from '../../client/ai-sdk.ts';
import { BudgetExceededError, countEntries } from '../../client/index.ts';
import { defineAgent } from '../../define/index.ts';
import { startModelServer, type ModelServer } from '../../worker/model-server.ts';
import { platform, type Platform } from '../support/platform.ts';

const moons: string[] = [];
/** As somebody wrote it before they had heard of us. */
const aiMoons = tool({
  description: 'Count the moons of a planet',
  inputSchema: z.object({ planet: z.string(), since: z.object({ year: z.int() }).optional() }),
  execute: ({ planet }, { toolCallId }) => {
    moons.push(planet);
    return { planet, moons: 2, by: typeof toolCallId };
  },
});
const findMoons = fromAiSdk('moons.count', aiMoons, { effect: 'read', reach: 'internal', maxCallsPerRun: 3 });
const launch = fromAiSdk(
  'rockets.launch',
  tool({
    description: 'Launch a rocket',
    inputSchema: z.object({ to: z.string() }),
    async *execute({ to }) {
      yield { at: 'pad' };
      await Promise.resolve();
      yield { at: to };
    },
  }),
  { effect: 'write' },
);
const astronomer = defineAgent({ name: 'astronomer', tools: [findMoons, launch] });

let p: Platform;
let model: ModelServer;
beforeAll(async () => {
  const args = { planet: 'mars' };
  model = await startModelServer([
    { user: /moons/, turn: 1, toolCalls: [{ name: 'moons_count', args }] },
    { user: /moons/, turn: 2, text: 'Mars has two moons.' },
    { user: /junk/, turn: 1, toolCalls: [{ name: 'moons_count', args: { planet: 'mars', junk: true } }] },
    { user: /junk/, turn: 2, result: /ARGUMENTS_INVALID/, text: 'I asked wrongly.' },
    { user: /launch/, turn: 1, toolCalls: [{ name: 'rockets_launch', args: { to: 'moon' } }] },
    { user: /launch/, turn: 2, result: /somebody was asked/, text: 'Somebody was asked.' },
    { user: /launch/, turn: 2, text: 'It flew.' },
    { user: /./, turn: 1, text: 'one two three four five six seven eight nine ten' },
  ]);
  const policy = `@id("reads") permit (principal, action == Action::"moons.count", resource);
@id("flights") permit (principal, action == Action::"rockets.launch", resource);
@id("ask") @gate("approval") @roles("owner") @quorum("1")
forbid (principal, action == Action::"rockets.launch", resource)
when { context.args.to == "moon" } unless { context.approved.contains(Gate::"ask") };\n`;
  p = await platform({ tools: [findMoons, launch], agents: [astronomer], policy });
  vi.stubEnv('OPENAI_API_KEY', 'sk-test-0123456789');
});
afterEach(() => {
  moons.length = 0;
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await p?.end();
  await model?.stop();
});

async function open(more: object = {}): Promise<AiSdkSession> {
  const options = { id: randomUUID(), agent: astronomer, user: 'alice', tenant: 'acme', ...more };
  const providers = { openai: { kind: 'openai' as const, baseUrl: model.baseUrl } };
  return aiSdk(await p.actguard.session(options), { providers });
}

test('P1 generateText runs its loop: the tool runs in the worker under its guards, the model is metered', async () => {
  await using session = await open({ budget: { usd: 0.5 } });
  const { text, steps, usage } = await generateText({
    model: session.model('openai/gpt-4o'),
    tools: session.tools(),
    stopWhen: isStepCount(5),
    prompt: 'How many moons?',
  });
  expect(text).toBe('Mars has two moons.');
  expect(steps[0]?.toolResults[0]?.output).toEqual({ planet: 'mars', moons: 2, by: 'string' });
  expect(moons).toEqual(['mars']);
  const used = await session.usage();
  expect(used).toMatchObject({ calls: 3, tokens: (usage.inputTokens ?? 0) + (usage.outputTokens ?? 0) });
  expect(used.tokens).toBe(steps.reduce((sum, step) => sum + (step.usage.totalTokens ?? 0), 0));
  const kinds = await countEntries(p.db, session.session.run);
  expect(kinds).toMatchObject({ 'run.opened': 1, 'call.started': 3, 'call.succeeded': 3 });
});

test('P9 a refusal is an answer that the model reads, and unknown keys are refused, though the schema was a loose one', async () => {
  await using session = await open();
  const { text, steps } = await generateText({
    model: session.model('openai/gpt-4o'),
    tools: session.tools(),
    stopWhen: isStepCount(5),
    prompt: 'send junk',
  });
  expect(text).toBe('I asked wrongly.');
  expect(steps[0]?.toolResults[0]?.output).toMatchObject({ error: { code: 'ARGUMENTS_INVALID' } });
  expect(moons).toEqual([]);
});

test('a person is asked: the model is told and goes on; the call is not lost', async () => {
  await using session = await open();
  const { text, steps } = await generateText({
    model: session.model('openai/gpt-4o'),
    tools: session.tools([launch]),
    stopWhen: isStepCount(5),
    prompt: 'launch it',
  });
  expect(text).toBe('Somebody was asked.');
  const { pending } = steps[0]?.toolResults[0]?.output as { pending: { callId: string } };
  expect(await session.session.outcome(pending.callId)).toMatchObject({ kind: 'pending' });
});

test('BU5 streamText streams to the caller while it is metered', async () => {
  await using session = await open({ budget: { usd: 0.5 } });
  const parts: string[] = [];
  const result = streamText({ model: session.model('openai/gpt-4o'), prompt: 'count' });
  for await (const part of result.textStream) parts.push(part);
  expect(parts.length).toBeGreaterThan(1);
  expect(parts.join('')).toBe('one two three four five six seven eight nine ten');
  expect((await session.usage()).tokens).toBe((await result.usage).totalTokens);
});

test('BU1 out of budget: the loop ends with BudgetExceededError, and the provider is not asked', async () => {
  const before = model.requests();
  await using session = await open({ budget: { tokens: 90 } });
  const call = generateText({ model: session.model('openai/gpt-4o'), prompt: 'count' });
  await expect(call).rejects.toBeInstanceOf(BudgetExceededError);
  expect(model.requests()).toBe(before);
});

test('the session itself has both doors, also where its agent is known by name only: as the design writes it', async () => {
  vi.stubEnv('OPENAI_BASE_URL', model.baseUrl);
  const session = await p.actguard.session({ id: randomUUID(), agent: 'astronomer', user: 'alice', tenant: 'acme' });
  const { text, steps } = await generateText({
    model: session.model('openai/gpt-4o'),
    tools: session.tools(),
    stopWhen: isStepCount(5),
    prompt: 'How many moons?',
  });
  expect(text).toBe('Mars has two moons.');
  expect(steps[0]?.toolResults[0]?.output).toEqual({ planet: 'mars', moons: 2, by: 'string' });
  await session.close();
  const kinds = await countEntries(p.db, session.run);
  expect(kinds).toMatchObject({ 'call.started': 3, 'call.succeeded': 3 });
  // the named agent's tools are told to the model as its own code tells them
  const given = await open();
  const sent = (one: ToolSet) =>
    Object.entries(one).map(([name, { description, inputSchema }]) => [
      ...[name, description],
      JSON.parse(JSON.stringify(asSchema(inputSchema).jsonSchema)) as unknown,
    ]);
  expect(sent(session.tools())).toEqual(sent(given.tools()));
  expect(sent(session.tools())).toHaveLength(2);
  await given.close();
});

test('doors that are not there say what to do: a provider, a key, the tools of an agent that nobody has', async () => {
  const nobody = await p.actguard.session({ id: randomUUID(), agent: 'nobody', user: 'alice', tenant: 'acme' });
  const missing = { code: 'NOT_FOUND', message: expect.stringContaining('there are: astronomer') as string };
  expect(() => nobody.tools()).toThrow(expect.objectContaining(missing));
  await using session = await open();
  expect(() => session.model('gpt-4o')).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  expect(() => session.model('acme/m')).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  const asked = generateText({ model: session.model('anthropic/claude-sonnet-4-5'), prompt: 'hi', maxRetries: 0 });
  await expect(asked).rejects.toMatchObject({ code: 'CREDENTIAL_MISSING', hint: 'set ANTHROPIC_API_KEY' });
});

const works = { description: 'd', inputSchema: z.object({ a: z.string() }), execute: () => 1 };
const refused = (t: object, options: object = {}): string[] => {
  try {
    fromAiSdk('t', t as AiTool, { effect: 'read', ...options });
    return [];
  } catch (error) {
    return (error as { problems: { where: string }[] }).problems.map(({ where }) => where.replace(/.*`(\w+)`$/, '$1'));
  }
};

test('D4 a tool of the AI SDK without a schema, without code, with an approval of its own is refused; its twins pass', () => {
  const plain = jsonSchema({ type: 'object' });
  expect(refused(works)).toEqual([]);
  expect(refused({ ...works, inputSchema: plain })).toEqual(['inputSchema']);
  expect(refused({ ...works, inputSchema: plain }, { inputSchema: z.strictObject({ a: z.string() }) })).toEqual([]);
  expect(refused({ ...works, inputSchema: undefined })).toEqual(['inputSchema']);
  expect(refused({ ...works, inputSchema: z.looseObject({}) })).toEqual(['inputSchema']);
  expect(refused({ ...works, inputSchema: z.object({ a: z.array(z.object({ b: z.string() })).optional() }) })).toEqual(
    [],
  );
  expect(refused({ ...works, inputSchema: z.union([z.object({}), z.string()]) })).toEqual(['inputSchema']);
  expect(refused({ ...works, execute: undefined })).toEqual(['execute']);
  expect(refused({ ...works, needsApproval: true })).toEqual(['needsApproval']);
  expect(refused({ ...works, needsApproval: () => false })).toEqual(['needsApproval']);
  expect(refused({ ...works, needsApproval: false })).toEqual([]);
  expect(refused({ ...works, description: undefined })).toEqual(['description']);
  expect(refused({ ...works, description: undefined }, { description: 'd' })).toEqual([]);
});

test('types follow the AI SDK’s tool: its arguments, its output, its fields', () => {
  const checked = fromAiSdk('t', aiMoons, {
    effect: 'read',
    proves: { planet: 'planet' },
    requires: { planet: 'planet' },
  });
  const call: (session: AiSdkSession) => Promise<{ planet: string; moons: number; by: string }> = (session) =>
    session.session.governed(checked)({ planet: 'mars' });
  expect(call).toBeTypeOf('function');
  // @ts-expect-error a field that the tool does not have
  expect(() => fromAiSdk('t', aiMoons, { effect: 'read', requires: { moon: 'planet' } })).toThrow();
});
