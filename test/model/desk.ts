/** Agent runs over a real database and a provider on loopback, without Temporal: one model call, one answer. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { ulid } from 'ulid';
import { z } from 'zod';
import { callModel } from '../../activities/call-model.ts';
import type { CallShared } from '../../activities/prepared.ts';
import { callTool } from '../../activities/call-tool.ts';
import { environmentSecrets } from '../../activities/credentials.ts';
import type { Database, Deps, ModelGateway } from '../../activities/deps.ts';
import { shareCalls } from '../../activities/index.ts';
import { createModelGateway } from '../../activities/model-gateway.ts';
import { openRun } from '../../activities/open-run.ts';
import { SecretSet } from '../../activities/scrub.ts';
import type { CallModelInput, CallModelResult, CallToolResult, OpenedModel } from '../../activities/types.ts';
import { defineAgent, defineConfig, defineTool } from '../../define/index.ts';
import type { Json } from '../../governance/json.ts';
import { worstCaseModelCall } from '../../governance/price.ts';
import { PERMIT_ALL } from '../support/calls.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import { chat, json, startProvider, type Provider } from './provider.ts';

export const KEY = 'sk-test-0123456789abcdef';

/** One opened agent run. */
export interface ModelRun {
  readonly run: string;
  readonly opened: OpenedModel;
  /** Reserves the worst case and asks, as the workflow does. */
  ask(more?: AskMore): Promise<CallModelResult>;
  input(more?: AskMore): CallModelInput;
  find(call: string, seq: number, orderId: string): Promise<CallToolResult>;
}

export type AskMore = Partial<CallModelInput> & { readonly attempt?: AskInfo };

export interface AskInfo {
  readonly workflowId?: string;
  readonly temporalRun?: string;
  readonly attempt?: number;
  readonly cancelled?: AbortSignal;
  /** In place of the worker's own. */
  readonly models?: ModelGateway;
  readonly db?: Database;
}

export interface ModelDesk {
  readonly provider: Provider;
  readonly database: FreshDatabase;
  readonly shared: CallShared;
  readonly logged: string[];
  /** Text that the next output of `orders.find` holds. */
  note: string;
  open(input?: string): Promise<ModelRun>;
  entries(run: string): Promise<{ kind: string; data: { readonly [key: string]: Json } }[]>;
}

/** A database and a provider for the tests of one file. */
export function modelDesk(environment: { readonly [name: string]: string } = { OPENAI_API_KEY: KEY }): ModelDesk {
  const desk = { logged: [] as string[], note: 'nice' } as { -readonly [K in keyof ModelDesk]: ModelDesk[K] };
  beforeAll(async () => {
    desk.provider = await startProvider();
    desk.database = await freshDatabase({ max: 10 });
    desk.shared = share(desk, environment);
  });
  beforeEach(() => {
    desk.provider.seen.length = 0;
    desk.logged.length = 0;
    desk.note = 'nice';
    desk.provider.answer = (_seen, response) => json(response, 200, chat({ text: 'hello' }));
  });
  afterAll(async () => {
    await desk.provider.stop();
    await desk.database.drop();
  });
  desk.open = (input = 'Refund order 1042') => open(desk, input);
  desk.entries = async (run) => {
    const rows = await desk.database.db.query<{ e: { kind: string; body: string } }>(
      'select actguard.list_entries($1::jsonb) as e',
      [JSON.stringify({ run })],
    );
    return rows.map(({ e }) => ({
      kind: e.kind,
      data: (JSON.parse(e.body) as { data: { [key: string]: Json } }).data,
    }));
  };
  return desk;
}

function share(desk: ModelDesk, environment: { readonly [name: string]: string }): CallShared {
  const find = defineTool({
    name: 'orders.find',
    description: 'Find an order',
    effect: 'read',
    reach: 'internal',
    inputSchema: z.strictObject({ orderId: z.string() }),
    execute: ({ orderId }) => {
      if (orderId === 'broken') throw new Error('the shelf fell over');
      return { id: orderId, note: desk.note };
    },
  });
  const agent = defineAgent({
    name: 'desk',
    model: 'openai/gpt-4o',
    instructions: 'be brief',
    tools: [find],
    maxOutputTokens: 500,
  });
  const providers = { openai: { kind: 'openai' as const, baseUrl: desk.provider.baseUrl } };
  const config = defineConfig({ tools: [find], agents: [agent], policies: './policies', providers });
  const secrets = environmentSecrets(environment);
  const known = new SecretSet();
  const deps: Deps = {
    db: desk.database.db,
    config,
    policy: () => PERMIT_ALL,
    secrets,
    known,
    mailer: null,
    roots: [],
    dev: true,
    models: createModelGateway({ config, secrets, known }),
    log: (level, message) => void desk.logged.push(`${level} ${message}`),
  };
  return shareCalls(deps);
}

async function open(desk: ModelDesk, input: string): Promise<ModelRun> {
  const run = ulid();
  const workflowId = `actguard-run-${run}`;
  const temporalRun = randomUUID();
  const principal = { tenant: 'acme', user: 'alice', agent: 'desk' };
  const request = {
    v: 1,
    run,
    mode: 'agent',
    principal,
    openedBy: 'test',
    budget: null,
    input,
    deadlineMs: null,
  } as const;
  const answer = await openRun(desk.shared, request, { workflowId, temporalRun });
  if (answer.kind !== 'opened' || !answer.model) throw new Error(JSON.stringify(answer));
  const opened = answer.model;
  const info = (more: AskInfo = {}) => ({
    workflowId,
    temporalRun,
    attempt: 1,
    cancelled: new AbortController().signal,
    heartbeat: () => undefined,
    tell: () => Promise.resolve(),
    ...more,
  });
  const makeInput = (more: AskMore = {}): CallModelInput => {
    const { attempt: _attempt, ...given } = more;
    const promptBytes = given.promptBytes ?? opened.promptBytes;
    const { maxOutputTokens, price } = opened;
    const worst = worstCaseModelCall({ promptBytes, messages: 20, price, maxOutputTokens, left: {} });
    if (worst.kind !== 'ok') throw new Error(worst.kind);
    const { reserved } = worst;
    const base = { v: 1, run, entries: [], call: 'c1', seq: 1, turn: 1, results: [], reserved, promptBytes } as const;
    return { ...base, maxOutputTokens, deadlineMs: answer.deadlineMs, ...given };
  };
  return {
    run,
    opened,
    input: makeInput,
    ask: (more = {}) => {
      const { models, db, ...asked } = more.attempt ?? {};
      const deps = { ...desk.shared.deps, ...(models ? { models } : {}), ...(db ? { db } : {}) };
      return callModel({ ...desk.shared, deps }, makeInput(more), info(asked));
    },
    find: (call, seq, orderId) =>
      callTool(
        desk.shared,
        {
          v: 1,
          run,
          entries: [],
          call,
          seq,
          tool: 'orders.find',
          args: { orderId },
          facts: [],
          reserved: { usdMicros: 0, tokens: 0, calls: 1 },
          left: {},
          approvalId: null,
          deadlineMs: answer.deadlineMs,
          inline: false,
        },
        info(),
      ),
  };
}
