/** `connect()`: starts runs, opens sessions, reads. A client decides nothing. */
import type { Client } from '@temporalio/client';
import { ulid } from 'ulid';
import type { Database } from '../activities/deps.ts';
import type {
  AgentInput,
  AgentResult,
  EraseInput,
  EraseResult,
  FreezeInput,
  FreezeResult,
  PolicyInput,
  PolicyResult,
  RunCommandInput,
  RunCommandResult,
} from '../activities/request-types.ts';
import type { Agent } from '../define/types.ts';
import { digestOf } from '../governance/digest.ts';
import { ActGuardError } from '../governance/errors.ts';
import { BUDGET_AGENT, DEFAULT_TENANT } from '../governance/id.ts';
import type { Json } from '../governance/json.ts';
import { usdToMicros } from '../governance/money.ts';
import { offerOf } from '../governance/tool.ts';
import type { agentRun, command, session } from '../workflows/index.ts';
import { TASK_QUEUE, commandIdOf, workflowIdOf } from '../workflows/ids.ts';
import type { AgentRunInput } from '../workflows/messages.ts';
import { findTarget, openClient, openDatabase, type ConnectOptions, type Target } from './connection.ts';
import { rememberTenant } from './data-converter.ts';
import { AgentTools, DESCRIBE_WITHIN_MS, type KnownTools } from './agent-tools.ts';
import { BudgetGuard, type BudgetGuardOptions } from './budget-guard.ts';
import { parseMaxima } from './model-request.ts';
import { localIdentity, runRequest, type StartOptions } from './requests.ts';
import { Run } from './run.ts';
import type { SigningKey } from './keys.ts';
import { readToken, signOpening } from './tokens.ts';
import type { Opening } from '../governance/opening.ts';
import { derivedRun } from './governed-workflow.ts';
import { Session, type SessionOptions } from './session.ts';

/** A connection to the platform; made by {@link connect}. */
export class ActGuard {
  readonly client: Client;
  readonly target: Target;
  /** Where runs and commands are worked on. @internal */
  readonly taskQueue: string;
  readonly #agents = new AgentTools((input) => this.startCommand(input));
  #db: Database | undefined;
  readonly #caller: SigningKey | null;

  /** @internal */
  constructor(client: Client, target: Target, taskQueue: string, caller: SigningKey | null = null) {
    this.#caller = caller;
    this.client = client;
    this.target = target;
    this.taskQueue = taskQueue;
  }

  /**
   * Starts a governed run of an agent.
   *
   * @example
   * const run = await actguard.start('refund-desk', { input: 'Refund order 1042', user: 'alice', tenant: 'acme', budget: { usd: 0.25 } });
   * const { status, text } = await run.result();
   * @throws ARGUMENTS_INVALID naming every field that is wrong
   */
  async start(agent: Agent | string, options: StartOptions): Promise<Run> {
    const run = ulid();
    const request = this.#signed(runRequest(run, typeof agent === 'string' ? agent : agent.name, options));
    await this.client.workflow.start<typeof agentRun>('agentRun', { ...this.#startOptions(request), args: [request] });
    return this.run(run);
  }

  /** A run by its id. */
  run(id: string): Run {
    return new Run(this.client, id, this.#url(id), () => this.db, this.target.tenant !== undefined);
  }

  /**
   * A governed session for an agent that lives elsewhere: the same id and parameters give the same session.
   * @throws CONFLICT when the id was used with other parameters; ARGUMENTS_INVALID
   */
  async session(options: SessionOptions): Promise<Session> {
    const run = derivedRun('session', options.tenant, options.id);
    const given = typeof options.agent === 'string' ? null : options.agent;
    const agent = given?.name ?? (options.agent as string);
    const request = this.#signed(runRequest(run, agent, { ...options, input: options.input ?? '' }));
    const { deadlineMs: _moves, openedBy: _who, opening: _signed, ...fixed } = request;
    const parameters = digestOf({ ...fixed, deadline: options.deadline ?? null } as unknown as Json);
    // asked for while the session is opened: `session.tools()` needs the answer at once
    const tools = given ? knownOf(given) : this.#toolsOf(agent);
    try {
      await this.client.workflow.start<typeof session>('session', {
        ...this.#startOptions(request),
        args: [{ ...request, session: options.id }],
        memo: { parameters },
      });
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'WorkflowExecutionAlreadyStartedError') throw error;
      const known = await this.client.workflow.getHandle(workflowIdOf(run)).describe();
      if (known.memo?.['parameters'] !== parameters) {
        throw new ActGuardError('CONFLICT', `session \`${options.id}\` exists with other parameters`, {
          details: { session: options.id },
          hint: 'use the parameters it was opened with, or another id',
        });
      }
    }
    return new Session(this.client, options.id, run, given, await tools);
  }

  /**
   * A budget around model calls of your own: the client of a provider gets `guard.fetch`, and nothing else changes.
   *
   * @example
   * await using guard = await actguard.budgetGuard({ user: 'alice', budget: { tokens: 10_000 } });
   * const openai = new OpenAI({ fetch: guard.fetch });
   * console.log(guard.usage.usd);
   * @throws ARGUMENTS_INVALID; the calls throw BudgetExceededError with `.usage`
   */
  async budgetGuard(options: BudgetGuardOptions): Promise<BudgetGuard> {
    const { user, budget, deadline, providers, maxOutputTokens, maxima } = options;
    const { tenant = DEFAULT_TENANT, agent = BUDGET_AGENT, id = ulid() } = options;
    const more = deadline === undefined ? {} : { deadline };
    const read = {
      ...(providers ? { providers } : {}),
      ...(maxOutputTokens ? { maxOutputTokens } : {}),
      ...(maxima ? { maxima: parseMaxima(maxima) } : {}),
    };
    const session = await this.session({ id: `budget-guard/${id}`, agent, user, tenant, budget, ...more });
    const used = options.id === undefined ? undefined : await session.usage();
    return new BudgetGuard(session, read, used && { ...used, usdMicros: usdToMicros(used.usd) });
  }

  /** The database, for reading approvals and the ledger; opened at first use. */
  get db(): Database {
    this.#db ??= openDatabase(this.target);
    return this.#db;
  }

  /** Has a worker carry out a request that belongs to no run (client/freezes.ts, client/policies.ts). @internal */
  startCommand(input: FreezeInput): Promise<FreezeResult>;
  startCommand(input: PolicyInput): Promise<PolicyResult>;
  startCommand(input: RunCommandInput): Promise<RunCommandResult>;
  startCommand(input: AgentInput): Promise<AgentResult>;
  startCommand(input: EraseInput): Promise<EraseResult>;
  startCommand(
    input: FreezeInput | PolicyInput | RunCommandInput | AgentInput | EraseInput,
  ): Promise<FreezeResult | PolicyResult | RunCommandResult | AgentResult | EraseResult> {
    return this.client.workflow.execute<typeof command>('command', {
      taskQueue: this.taskQueue,
      workflowId: commandIdOf(input.nonce),
      workflowIdReusePolicy: 'REJECT_DUPLICATE',
      args: [input],
      // a question that nobody has answered in time is of no use any more
      ...(input.kind === 'agent' ? { workflowExecutionTimeout: DESCRIBE_WITHIN_MS } : {}),
    });
  }

  #toolsOf(agent: string): KnownTools | Promise<KnownTools> {
    return agent === BUDGET_AGENT ? { kind: 'known', tools: [] } : this.#agents.of(agent);
  }

  async close(): Promise<void> {
    await this.#db?.end();
    await this.client.connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * The caller's signature over a run of a workflow of your own, for `openGoverned({ opening })`.
   * @throws UNAUTHENTICATED where this client has no token
   */
  signOpening(run: Omit<Opening, 'v'>): Json {
    if (this.#caller) return signOpening(this.#caller, run);
    throw new ActGuardError('UNAUTHENTICATED', 'this client has no token', {
      hint: 'connect({ token }), or ACTGUARD_TOKEN',
    });
  }

  /** Who opens runs here: `key:…` of a token, or a local identity, `local:<user of the machine>`. */
  get caller(): string {
    return this.#caller ? `key:${this.#caller.keyId.slice(0, 16)}` : localIdentity();
  }

  /** The request in the caller's name, where there is a token. */
  #signed(request: AgentRunInput): AgentRunInput {
    if (!this.#caller) return request;
    return {
      ...request,
      openedBy: this.caller,
      opening: signOpening(this.#caller, request),
    };
  }

  #startOptions(request: AgentRunInput) {
    rememberTenant(this.client, workflowIdOf(request.run), request.tenant);
    return {
      taskQueue: this.taskQueue,
      workflowId: workflowIdOf(request.run),
      workflowIdReusePolicy: 'REJECT_DUPLICATE' as const,
      searchAttributes: {
        ActGuardTenant: [request.tenant],
        ActGuardAgent: [request.agent],
        ActGuardStatus: ['running'],
      },
      staticSummary: `${request.agent} for ${request.user} in ${request.tenant}`.slice(0, 200),
    };
  }

  #url(id: string): string | null {
    const { ui, namespace } = this.target;
    return ui === null ? null : `${ui.replace(/\/$/, '')}/namespaces/${namespace}/workflows/${workflowIdOf(id)}`;
  }
}

function knownOf(agent: Agent): KnownTools {
  return { kind: 'known', tools: agent.tools.map((tool) => offerOf(tool.manifest)) };
}

/**
 * Connects to the platform: the dev stack found by `.actguard/dev.json` upwards, or TEMPORAL_*.
 * @throws BACKEND_UNAVAILABLE with what to do
 */
export async function connect(options: ConnectOptions = {}): Promise<ActGuard> {
  const target = findTarget(options);
  const token = options.token ?? (options.address === undefined ? process.env['ACTGUARD_TOKEN'] : undefined);
  const caller = token === undefined || token === '' ? null : readToken(token);
  const made: { actguard?: ActGuard } = {};
  const place = async (run: string): Promise<string | null> => {
    if (target.databaseUrl === null || !made.actguard) return null;
    const [row] = await made.actguard.db.query<{ r: { tenant: string } | null }>('select actguard.run_place($1) as r', [
      run,
    ]);
    return row?.r?.tenant ?? null;
  };
  made.actguard = new ActGuard(await openClient(target, place), target, options.taskQueue ?? TASK_QUEUE, caller);
  return made.actguard;
}
