/** Governed workflows with scripted activities: the order of things without database, tools or models. */
import { randomUUID } from 'node:crypto';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker } from '@temporalio/worker';
import { ulid } from 'ulid';
import type { ReservationActivities } from '../../activities/reservation-types.ts';
import type {
  Activities,
  Ask,
  CallModelInput,
  CallModelResult,
  CallToolInput,
  CallToolResult,
  RecordInput,
} from '../../activities/types.ts';
import type { Limit } from '../../governance/call.ts';
import { settleModelCall, type ModelPrice } from '../../governance/price.ts';
import type { ToolSummary } from '../../governance/tool.ts';
import { makeBundle } from '../../worker/bundle.ts';
import type { AgentRunInput } from '../../workflows/messages.ts';
import { payloadConverterPath } from '../../workflows/converter-path.ts';
import { workflowIdOf } from '../../workflows/ids.ts';
import type { agentRun } from '../../workflows/index.ts';

/** What the scripted world does; every call is kept. */
export interface Script {
  tools?: readonly Partial<ToolSummary>[];
  limit?: Limit;
  deadlineMs?: number;
  /** From when the run is opened: how long the worker took to start does not count. */
  deadlineInMs?: number;
  maxTurns?: number;
  onExhausted?: 'pause' | 'stop';
  model: (input: CallModelInput, n: number) => CallModelResult | Promise<CallModelResult>;
  tool?: (input: CallToolInput, n: number) => CallToolResult | Promise<CallToolResult>;
  record?: Activities['record'];
  recordAnswer?: Activities['recordAnswer'];
  verifyCommand?: Activities['verifyCommand'];
  /** Default: every model costs a micro-dollar a token, and every usage is believed. */
  reservations?: Partial<ReservationActivities>;
}

export interface World {
  readonly models: CallModelInput[];
  readonly calls: CallToolInput[];
  readonly records: RecordInput[];
  readonly ended: { approvalId: string; outcome: string }[];
  readonly notified: string[];
  /** What was said in them. */
  readonly texts: string[];
}

export const TOOL: ToolSummary = {
  name: 'pay',
  modelName: 'pay',
  effect: 'write',
  timeoutMs: 10_000,
  maxCallsPerRun: null,
  requires: {},
  cost: null,
  digest: 'd',
  onLimit: 'deny',
};

/** A model's answer in words. */
export function says(text: string, spentMicros = 10): CallModelResult {
  return {
    kind: 'done',
    text,
    toolCalls: [],
    usage: null,
    spent: { usdMicros: spentMicros, tokens: 5, calls: 1 },
    bytes: 50,
    messages: 1,
    flagged: false,
  };
}

/** A model's wish to call tools. */
export function wants(...args: { [key: string]: string | number }[]): CallModelResult {
  const toolCalls = args.map((a, i) => ({ id: `t${i}`, toolName: 'pay', args: a }));
  return { ...(says('') as Extract<CallModelResult, { kind: 'done' }>), toolCalls };
}

export function done(spentMicros = 0): CallToolResult {
  return { kind: 'done', facts: [], provedAtMs: 0, spentMicros, bytes: 100 };
}

export function asks(expiresAtMs: number): CallToolResult {
  const ask: Ask = { approvalId: 'ap-1', nonce: 'n-1', expiresAtMs, gates: ['g'], title: 'Pay bob' };
  return { kind: 'ask', ask };
}

let bundle: ReturnType<typeof makeBundle> | undefined;

/** Runs `work` with a worker whose activities follow the script. */
export async function withScript<T>(
  env: TestWorkflowEnvironment,
  script: Script,
  work: (
    world: World,
    start: (input?: Partial<AgentRunInput>) => ReturnType<typeof startRun>,
    taskQueue: string,
  ) => Promise<T>,
): Promise<T> {
  const taskQueue = randomUUID();
  const world: World = { models: [], calls: [], records: [], ended: [], notified: [], texts: [] };
  bundle ??= makeBundle();
  const worker = await Worker.create({
    dataConverter: { payloadConverterPath },
    connection: env.nativeConnection,
    taskQueue,
    workflowBundle: await bundle,
    activities: activitiesOf(script, world),
  });
  return worker.runUntil(() => work(world, (input = {}) => startRun(env, taskQueue, input), taskQueue));
}

function startRun(env: TestWorkflowEnvironment, taskQueue: string, input: Partial<AgentRunInput>) {
  const run = ulid();
  return env.client.workflow.start<typeof agentRun>('agentRun', {
    taskQueue,
    workflowId: workflowIdOf(run),
    args: [runInput(run, input)],
  });
}

/** The input of a run. */
export function runInput(run: string, input: Partial<AgentRunInput> = {}): AgentRunInput {
  return {
    v: 1,
    run,
    tenant: 'acme',
    user: 'alice',
    agent: 'desk',
    openedBy: 'test',
    input: 'pay bob',
    budget: null,
    deadlineMs: null,
    ...input,
  };
}

/** A micro-dollar a token. */
export const PRICE: ModelPrice = {
  version: 'test',
  inputMicrosPerMTok: 1_000_000,
  cachedInputMicrosPerMTok: 1_000_000,
  cacheWriteMicrosPerMTok: 1_000_000,
  outputMicrosPerMTok: 1_000_000,
};

function activitiesOf(script: Script, world: World): Activities & ReservationActivities {
  return {
    priceModel: () => Promise.resolve({ price: PRICE }),
    reserveModel: () => Promise.resolve({ kind: 'reserved' }),
    settleModel: ({ outcome, reserved, price }) => {
      const known = outcome.kind === 'used' ? settleModelCall(outcome.usage, price) : null;
      const spent = outcome.kind === 'nothing' ? { usdMicros: 0, tokens: 0, calls: 0 } : (known ?? reserved);
      return Promise.resolve({ kind: 'settled', spent, flagged: known === null && outcome.kind !== 'nothing' });
    },
    ...script.reservations,
    openRun: (input) =>
      Promise.resolve({
        kind: 'opened',
        tools: (script.tools ?? [{}]).map((t) => ({ ...TOOL, ...t })),
        limit: input.budget ?? script.limit ?? {},
        deadlineMs:
          script.deadlineInMs === undefined
            ? (script.deadlineMs ?? 4_000_000_000_000)
            : Date.now() + script.deadlineInMs,
        model: {
          name: 'openai/test',
          price: PRICE,
          maxTurns: script.maxTurns ?? 10,
          maxOutputTokens: 100,
          promptBytes: 1_000,
          messages: 1,
          onExhausted: script.onExhausted ?? 'pause',
        },
        openedAtMs: 0,
      }),
    callModel: async (input) => script.model(input, world.models.push(input)),
    callTool: async (input) => (script.tool ?? (() => done()))(input, world.calls.push(input)),
    record: async (input) => {
      world.records.push(input);
      await script.record?.(input);
    },
    recordAnswer:
      script.recordAnswer ??
      (() => Promise.resolve({ kind: 'accepted', decision: 'approve', complete: true, person: 'fin' })),
    verifyCommand: script.verifyCommand ?? (() => Promise.resolve({ kind: 'rejected', reason: 'no' })),
    endAsk: async (input) => {
      world.ended.push({ approvalId: input.approvalId, outcome: input.outcome });
    },
    notify: async (input) => {
      world.notified.push(input.what);
      world.texts.push(input.text);
    },
  };
}
