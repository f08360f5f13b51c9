/** Runs tools through their guards against a real database, without Temporal: one call, one answer. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll } from 'vitest';
import { ulid } from 'ulid';
import { shareCalls } from '../../activities/index.ts';
import { callTool } from '../../activities/call-tool.ts';
import { DatabaseClock } from '../../activities/clock.ts';
import type { CallShared } from '../../activities/prepared.ts';
import type { Database, Deps, PolicyEngine } from '../../activities/deps.ts';
import { environmentSecrets } from '../../activities/credentials.ts';
import { openRun } from '../../activities/open-run.ts';
import { policySources } from '../../activities/policy-load.ts';
import { PolicyStore } from '../../activities/policy-store.ts';
import { SecretSet } from '../../activities/scrub.ts';
import type { CallToolInput, CallToolResult } from '../../activities/types.ts';
import { defineAgent, defineConfig, type Tool } from '../../define/index.ts';
import type { ConfigOptions } from '../../define/types.ts';
import type { LiveFact } from '../../governance/call.ts';
import type { Json } from '../../governance/json.ts';
import { freshDatabase, type FreshDatabase } from './database.ts';

/** A file asks hundreds of times within an hour; how often people may be asked is tried where asks are. */
const MANY_ASKS = { maxPerHour: 1_000_000 };

/** Permits everything: for tests that are about other guards. */
export const PERMIT_ALL: PolicyEngine = {
  digest: 'permit-all',
  decide: () => ({ kind: 'allow', reasons: ['permit-all'], request: {} }),
  gate: () => undefined,
};

export interface Desk {
  readonly db: () => FreshDatabase['db'];
  /** The database's address, for connections of a test's own. */
  readonly url: () => string;
  /** A worker of its own over the same database. */
  worker(
    tools: readonly Tool[],
    more?: {
      policy?: PolicyEngine;
      /** Text of its policy file: then sets of the database count too. */
      policies?: string;
      dev?: boolean;
      environment?: Record<string, string>;
      roots?: readonly string[];
      log?: Deps['log'];
      /** The database as this worker sees it: with answers that are lost, say. */
      through?: (db: Database) => Database;
      budgets?: ConfigOptions['budgets'];
      users?: ConfigOptions['users'];
      /** How far this worker's clock is ahead. */
      aheadMs?: number;
    },
  ): TestWorker;
}

export interface TestWorker {
  readonly shared: CallShared;
  /** `input`: the user's request. */
  run(principal?: {
    tenant?: string;
    user?: string;
    agent?: string;
    input?: string;
    openedBy?: string;
  }): Promise<TestRun>;
}

export interface TestRun {
  readonly run: string;
  readonly workflowId: string;
  readonly temporalRun: string;
  call(tool: string, args: Json, more?: CallMore): Promise<CallToolResult>;
  /** The same run, seen by another worker (after a crash, say). */
  on(worker: TestWorker): TestRun;
}

/** Runs that were told of a call of theirs, `workflow/call`, in order. */
export const told: string[] = [];

export interface CallMore {
  call?: string;
  attempt?: number;
  facts?: readonly LiveFact[];
  approvalId?: string;
  cancelled?: AbortSignal;
  heartbeat?: (progress?: Json) => void;
  again?: boolean;
  label?: string;
  temporalRun?: string;
  workflowId?: string;
}

/** A database for the tests of one file. */
export function desk(): Desk {
  let database: FreshDatabase | undefined;
  beforeAll(async () => {
    database = await freshDatabase({ max: 20 });
  });
  afterAll(async () => database?.drop());
  const db = (): FreshDatabase['db'] => {
    if (!database) throw new Error('the database is not there yet');
    return database.db;
  };
  return {
    db,
    url: () => database?.url ?? '',
    worker(tools, more = {}) {
      const agent = defineAgent({ name: 'desk', tools });
      const other = defineAgent({ name: 'other', tools });
      const { budgets = {}, users } = more;
      const known = users === undefined ? {} : { users };
      const config = defineConfig({
        tools,
        agents: [agent, other],
        policies: './policies',
        budgets,
        approvals: MANY_ASKS,
        ...known,
      });
      const trust = {
        db: more.through?.(db()) ?? db(),
        roots: more.roots ?? [],
        dev: more.dev ?? true,
        log: more.log ?? (() => undefined),
      };
      const store =
        more.policies === undefined
          ? undefined
          : new PolicyStore(trust, policySources(config), [{ name: 'main.cedar', text: more.policies }]);
      const clock = new DatabaseClock(() => Date.now() + (more.aheadMs ?? 0));
      const deps: Deps = {
        ...trust,
        config,
        now: clock.now,
        policy: (tenant) => store?.of(tenant) ?? more.policy ?? PERMIT_ALL,
        ...(store === undefined ? {} : { policySets: store }),
        secrets: environmentSecrets(more.environment ?? {}),
        known: new SecretSet(),
        mailer: null,
        models: {
          generate: () => Promise.reject(new Error('no model')),
          measure: () => Promise.resolve({ bytes: 0, messages: 0 }),
        },
      };
      const shared = shareCalls(deps);
      return {
        shared,
        async run(principal = {}) {
          await clock.sync(db());
          const run = ulid();
          const temporalRun = randomUUID();
          const workflowId = `actguard-run-${run}`;
          const opened = await openRun(
            shared,
            {
              v: 1,
              run,
              mode: 'session',
              principal: {
                tenant: principal.tenant ?? 'acme',
                user: principal.user ?? 'alice',
                agent: principal.agent ?? 'desk',
              },
              openedBy: principal.openedBy ?? 'test',
              budget: null,
              input: principal.input ?? '',
              deadlineMs: null,
            },
            { workflowId, temporalRun },
          );
          if (opened.kind !== 'opened') throw new Error(JSON.stringify(opened));
          return testRun(shared, run, workflowId, temporalRun, { seq: 0 });
        },
      };
    },
  };
}

function testRun(
  shared: CallShared,
  run: string,
  workflowId: string,
  temporalRun: string,
  counter: { seq: number },
): TestRun {
  return {
    run,
    workflowId,
    temporalRun,
    on: (worker) => testRun(worker.shared, run, workflowId, temporalRun, counter),
    call(tool, args, more = {}) {
      counter.seq += 1;
      const input: CallToolInput = {
        v: 1,
        run,
        entries: [],
        call: more.call ?? `c${counter.seq}`,
        seq: counter.seq,
        tool,
        args,
        facts: more.facts ?? [],
        reserved: { usdMicros: 0, tokens: 0, calls: 1 },
        left: {},
        approvalId: more.approvalId ?? null,
        deadlineMs: Date.now() + 3_600_000,
        inline: true,
        again: more.again ?? false,
        ...(more.label === undefined ? {} : { label: more.label }),
      };
      return callTool(shared, input, {
        workflowId: more.workflowId ?? workflowId,
        temporalRun: more.temporalRun ?? temporalRun,
        attempt: more.attempt ?? 1,
        cancelled: more.cancelled ?? new AbortController().signal,
        heartbeat: more.heartbeat ?? (() => undefined),
        tell: (workflow, call) => Promise.resolve(void told.push(`${workflow}/${call}`)),
      });
    },
  };
}
