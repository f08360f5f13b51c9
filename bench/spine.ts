/**
 * What governing costs: the same in-process tool with 200 bytes of arguments, bare and with every guard that exists,
 * alternated five times on one stack; medians.
 */
import { ulid } from 'ulid';
import { z } from 'zod';
import type { Deps } from '../activities/deps.ts';
import { atMost, defineAgent, defineConfig, defineTool, maxLength, secret } from '../define/index.ts';
import { rememberTenant } from '../client/data-converter.ts';
import { workflowIdOf } from '../workflows/ids.ts';
import type { AgentRunInput } from '../workflows/messages.ts';
import { benchStack, median, quantile, say, type BenchStack } from './stack.ts';
import type { agentRun, bareLoop, governedLoop } from './workflows.ts';
import { goSignal } from './workflows.ts';

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5);
/** Workflows side by side, and calls of each. */
const WORKFLOWS = 20;
const CALLS = 25;
const SINGLE_CALLS = 100;

const args = z.strictObject({ to: z.string(), n: z.int(), note: z.string() });
const tool = defineTool({
  name: 'bench.tool',
  description: 'Does nothing',
  effect: 'write',
  inputSchema: args,
  outputSchema: z.object({ n: z.int() }),
  rules: { n: atMost(1_000_000), note: maxLength(1_000) },
  maxCallsPerRun: 1_000_000,
  rateLimit: { maxCalls: 1_000, period: '1s', scope: 'run' },
  circuitBreaker: { name: 'bench' },
  idempotency: { key: ({ n, to }) => `${to}:${n}`, scope: 'run' },
  cost: { usd: 0.000001 },
  credentials: { bench: secret('bench/key', { host: 'bench.example' }) },
  execute: ({ n }) => ({ n }),
});
const look = defineTool({
  name: 'bench.look',
  description: 'Looks',
  effect: 'read',
  inputSchema: z.strictObject({ n: z.int() }),
  execute: ({ n }) => ({ n, text: 'y'.repeat(200) }),
});
const agent = defineAgent({ name: 'bench', tools: [tool] });
const talker = defineAgent({
  name: 'talker',
  model: 'openai/gpt-5-mini',
  instructions: 'bench',
  tools: [look],
  maxTurns: 60,
});
export const POLICY = `
@id("bench-write") permit (principal, action == Action::"bench.tool", resource) when { context.args.n >= 0 };
@id("bench-read") permit (principal, action == Action::"bench.look", resource);
@id("too-many") forbid (principal, action == Action::"bench.tool", resource) when { context.args.n > 1000000 };
`;

export const CONFIG = defineConfig({ tools: [tool, look], agents: [agent, talker], policies: './policies' });

/** A model that asks for one look a turn, fifty times, then answers. */
const models: Deps['models'] = {
  measure: () => Promise.resolve({ bytes: 2_000, messages: 2 }),
  generate: ({ messages }) => {
    const turn = messages.filter((m) => m.role === 'assistant').length + 1;
    return Promise.resolve({
      text: turn > 50 ? 'done' : '',
      toolCalls: turn > 50 ? [] : [{ id: `t${turn}`, toolName: 'bench_look', args: { n: turn } }],
      usage: { inputTokens: 100, cachedInputTokens: 0, cacheWriteTokens: 0, outputTokens: 10, reasoningTokens: 0 },
    });
  },
};

export interface SpineResult {
  readonly barePerSecond: number;
  readonly governedPerSecond: number;
  readonly ratio: number;
  readonly eventsPerBareCall: number;
  readonly eventsPerGovernedCall: number;
  readonly bytesPerBareCall: number;
  readonly bytesPerGovernedCall: number;
  readonly bytesPerTurn5: number;
  readonly bytesPerTurn50: number;
  readonly addedMsP50: number;
  readonly addedMsP95: number;
  readonly cpuMsPerBareCall: number;
  readonly cpuMsPerGovernedCall: number;
}

/** The stack that the loops run on: a tool with every guard, and the same work bare. */
export function spineStack(): Promise<BenchStack> {
  const config = CONFIG;
  return benchStack(config, POLICY, { bareTool: ({ n }: { n: number }) => Promise.resolve({ n }) }, models);
}

export async function benchSpine(): Promise<SpineResult> {
  const stack = await spineStack();
  try {
    return await stack.run(() => measure(stack));
  } finally {
    await stack.end();
  }
}

async function measure(stack: BenchStack): Promise<SpineResult> {
  say('warming up');
  await throughput(stack, 'bareLoop');
  await throughput(stack, 'governedLoop');
  const rounds: { bare: Round; governed: Round }[] = [];
  for (let i = 1; i <= ROUNDS; i += 1) {
    const bare = await throughput(stack, 'bareLoop');
    const governed = await throughput(stack, 'governedLoop');
    rounds.push({ bare, governed });
    say(
      `round ${i} of ${ROUNDS}: bare ${bare.perSecond.toFixed(1)}/s, governed ${governed.perSecond.toFixed(1)}/s, ${bare.cpuMs.toFixed(2)} and ${governed.cpuMs.toFixed(2)} ms CPU a call`,
    );
  }
  say('one call after another');
  const single = { bare: await latency(stack, 'bareLoop'), governed: await latency(stack, 'governedLoop') };
  say('history: events and bytes');
  const bare = await growth(stack, 'bareLoop');
  const governed = await growth(stack, 'governedLoop');
  say('fifty turns of an agent');
  const turns = await turnBytes(stack);
  return {
    barePerSecond: round(median(rounds.map((r) => r.bare.perSecond))),
    governedPerSecond: round(median(rounds.map((r) => r.governed.perSecond))),
    ratio: round(median(rounds.map((r) => r.governed.perSecond / r.bare.perSecond)), 3),
    eventsPerBareCall: bare.events,
    eventsPerGovernedCall: governed.events,
    bytesPerBareCall: bare.bytes,
    bytesPerGovernedCall: governed.bytes,
    bytesPerTurn5: turns[4] ?? NaN,
    bytesPerTurn50: turns[49] ?? NaN,
    addedMsP50: round(quantile(single.governed, 0.5) - quantile(single.bare, 0.5)),
    addedMsP95: round(quantile(single.governed, 0.95) - quantile(single.bare, 0.95)),
    cpuMsPerBareCall: round(median(rounds.map((r) => r.bare.cpuMs))),
    cpuMsPerGovernedCall: round(median(rounds.map((r) => r.governed.cpuMs))),
  };
}

export interface Round {
  readonly perSecond: number;
  /** CPU of this process (worker and client), per call. */
  readonly cpuMs: number;
}

type Loop = 'bareLoop' | 'governedLoop';

function start(stack: BenchStack, loop: Loop, calls: number) {
  const run = ulid();
  const input: AgentRunInput = {
    v: 1,
    run,
    tenant: 'acme',
    user: 'alice',
    agent: 'bench',
    openedBy: 'bench',
    input: '',
    budget: { usdMicros: 1_000_000 },
    deadlineMs: null,
  };
  const workflowId = workflowIdOf(run);
  rememberTenant(stack.client, workflowId, input.tenant); // only where payloads are encrypted
  return stack.client.workflow.start<typeof bareLoop | typeof governedLoop>(loop, {
    taskQueue: stack.taskQueue,
    workflowId,
    args: [input, calls],
  });
}

/** Calls a second of many workflows side by side, and CPU a call. */
export async function throughput(stack: BenchStack, loop: Loop): Promise<Round> {
  const handles = await Promise.all(Array.from({ length: WORKFLOWS }, () => start(stack, loop, CALLS)));
  await new Promise((resolve) => setTimeout(resolve, 1_000)); // all are open and wait
  const cpu = process.cpuUsage();
  const at = performance.now();
  await Promise.all(handles.map((h) => h.signal(goSignal)));
  await Promise.all(handles.map((h) => h.result()));
  const seconds = (performance.now() - at) / 1_000;
  const used = process.cpuUsage(cpu);
  const calls = WORKFLOWS * CALLS;
  return { perSecond: calls / seconds, cpuMs: (used.user + used.system) / 1_000 / calls };
}

/** Milliseconds from one call to the next by the server's event times, call after call; the first five warm up. */
async function latency(stack: BenchStack, loop: Loop): Promise<readonly number[]> {
  const handle = await start(stack, loop, SINGLE_CALLS);
  await handle.signal(goSignal);
  await handle.result();
  const scheduled: number[] = [];
  for (const event of (await handle.fetchHistory()).events ?? []) {
    const name = event.activityTaskScheduledEventAttributes?.activityType?.name;
    if (name !== 'bareTool' && name !== 'callTool') continue;
    scheduled.push(Number(event.eventTime?.seconds ?? 0) * 1_000 + (event.eventTime?.nanos ?? 0) / 1e6);
  }
  return scheduled.slice(6).map((at, index) => at - (scheduled[index + 5] ?? NaN));
}

/** Events and bytes of history that one more call adds. */
async function growth(stack: BenchStack, loop: Loop): Promise<{ events: number; bytes: number }> {
  const sizes: { events: number; bytes: number }[] = [];
  for (const calls of [10, 20]) {
    const handle = await start(stack, loop, calls);
    await handle.signal(goSignal);
    await handle.result();
    const { historyLength, historySize } = await handle.describe();
    sizes.push({ events: historyLength, bytes: historySize ?? 0 });
  }
  const [few, many] = sizes;
  return {
    events: ((many?.events ?? 0) - (few?.events ?? 0)) / 10,
    bytes: Math.round(((many?.bytes ?? 0) - (few?.bytes ?? 0)) / 10),
  };
}

/** Bytes of history of each turn of an agent: its model call and its tool call. */
async function turnBytes(stack: BenchStack): Promise<number[]> {
  const run = ulid();
  const input: AgentRunInput = {
    v: 1,
    run,
    tenant: 'acme',
    user: 'alice',
    agent: 'talker',
    openedBy: 'bench',
    input: 'go',
    budget: null,
    deadlineMs: null,
  };
  const handle = await stack.client.workflow.start<typeof agentRun>('agentRun', {
    taskQueue: stack.taskQueue,
    workflowId: workflowIdOf(run),
    args: [input],
  });
  const { status } = await handle.result();
  if (status !== 'answered') throw new Error(`the agent ended ${status}`);
  const turns: number[] = [];
  for (const event of (await handle.fetchHistory()).events ?? []) {
    if (event.activityTaskScheduledEventAttributes?.activityType?.name === 'callModel') turns.push(0);
    if (turns.length > 0) turns[turns.length - 1] = (turns.at(-1) ?? 0) + JSON.stringify(event).length;
  }
  return turns;
}

function round(value: number, digits = 2): number {
  return Number(value.toFixed(digits));
}
