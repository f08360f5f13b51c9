/** A governed run for an agent that lives elsewhere: its calls, one by one, under the same guards. */
import type { LanguageModelV4 } from '@ai-sdk/provider';
import type { Client } from '@temporalio/client';
import type { ToolSet } from 'ai';
import { ulid } from 'ulid';
import type { Agent, Tool } from '../define/types.ts';
import type { CallResult, SessionUsage } from '../governance/call.ts';
import { deny, quote } from '../governance/denial.ts';
import { ActGuardError } from '../governance/errors.ts';
import { checkPlainJson } from '../governance/canonical.ts';
import type { Json } from '../governance/json.ts';
import { MAX_CALLS_IN_FLIGHT, MAX_RESERVING_IN_FLIGHT, SESSION_ANSWER_MS } from '../governance/limits.ts';
import {
  callUpdate,
  closeSignal,
  outcomeQuery,
  reserveUpdate,
  settleUpdate,
  stateQuery,
  type ReserveAsked,
  type ReserveResult,
  type SettleAsked,
  type SettleResult,
} from '../workflows/messages.ts';
import type { OfferedTool } from '../governance/tool.ts';
import type { KnownTools } from './agent-tools.ts';
import { AiSdkSession } from './ai-sdk-session.ts';
import type { AiToolsOptions } from './ai-sdk-tools.ts';
import type { IdleOption, StartOptions } from './requests.ts';
import { readable } from './data-converter.ts';
import { asActGuardError } from './run.ts';
import { Lane, SessionUpdates } from './session-updates.ts';

const LONGEST_POLL_MS = 10_000;
const NOTHING_USED: SessionUsage = { usd: 0, tokens: 0, calls: 0 };

/** Options of `actguard.session`. */
export interface SessionOptions extends Omit<StartOptions, 'input'>, IdleOption {
  /** Your own id: the same id and parameters give the same session. */
  readonly id: string;
  /** The agent itself, or its name. */
  readonly agent: Agent | string;
  readonly input?: string;
}

/** An open session; made by `actguard.session`. */
export class Session {
  readonly id: string;
  /** The run behind it. */
  readonly run: string;
  /** The agent, where it was opened with the agent itself and not its name. */
  readonly agent: Agent | null;
  readonly #updates: SessionUpdates;
  readonly #tools: KnownTools;
  #aiSdk: AiSdkSession | undefined;
  readonly #calls = new Lane(MAX_CALLS_IN_FLIGHT);
  readonly #reservations = new Lane(MAX_RESERVING_IN_FLIGHT);

  /** @internal */
  constructor(client: Client, id: string, run: string, agent: Agent | null, tools: KnownTools) {
    this.id = id;
    this.run = run;
    this.agent = agent;
    this.#tools = tools;
    this.#updates = new SessionUpdates(client, id, run);
  }

  /**
   * One governed call. The same callId gets the same result; other arguments under it are IDEMPOTENCY_CONFLICT.
   * Answers `pending` when a person has to answer first, or when it takes longer than 20 s: ask `outcome` later.
   */
  async call<T = Json>(tool: Tool | string, args: unknown, options: { callId?: string } = {}): Promise<CallResult<T>> {
    const name = typeof tool === 'string' ? tool : tool.name;
    const callId = options.callId ?? ulid();
    const problem = checkPlainJson(args);
    if (problem !== null) {
      return {
        kind: 'denied',
        denial: deny('ARGUMENTS_INVALID', `the arguments are not plain JSON: ${problem}`, 'send plain JSON', {
          tool: name,
        }),
        callId,
      };
    }
    await this.#calls.enter();
    // the place is given back when the Update has ended, not when its caller stops waiting
    const update = this.#updates
      .send(callUpdate, { v: 1, callId, tool: name, args: args as Json })
      .finally(() => this.#calls.leave());
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<CallResult>((resolve) => {
      timer = setTimeout(() => resolve({ kind: 'pending', callId }), SESSION_ANSWER_MS);
    });
    try {
      return readable(await Promise.race([update, late])) as CallResult<T>;
    } finally {
      clearTimeout(timer);
      update.catch(() => undefined);
    }
  }

  /** The result of an earlier call. @throws NOT_FOUND when this session never saw it */
  async outcome<T = Json>(callId: string): Promise<CallResult<T>> {
    let result: CallResult | null;
    try {
      result = readable(await this.#updates.handle.query(outcomeQuery, callId));
    } catch (error) {
      throw asActGuardError(error, this.run);
    }
    if (result === null) {
      throw new ActGuardError('NOT_FOUND', `this session has no call ${quote(callId)}`, { details: { callId } });
    }
    return result as CallResult<T>;
  }

  /** What the session has used: dollars, tokens, calls. */
  async usage(): Promise<SessionUsage> {
    try {
      const { usd, tokens, calls } = (await this.#updates.handle.query(stateQuery)).usage;
      return { usd, tokens, calls };
    } catch (error) {
      // it is being opened, or could not be: nothing was used
      if (error instanceof Error && error.name === 'QueryNotRegisteredError') return NOTHING_USED;
      throw asActGuardError(error, this.run);
    }
  }

  /**
   * A function with the tool's own signature, governed: it waits for people and throws where the tool was not run.
   *
   * @example
   * const search = session.governed(searchWeb);
   * const hits = await search({ query: 'temporal' });
   * @throws ActGuardError with the denial's code, TOOL_FAILED, OUTCOME_UNKNOWN
   */
  governed<I, O>(tool: Tool<I, O>): (args: I) => Promise<O> {
    return async (args) => {
      const callId = ulid();
      let result = await this.call<O>(tool as Tool, args, { callId });
      for (let pauseMs = 250; result.kind === 'pending'; pauseMs = Math.min(pauseMs * 1.5, LONGEST_POLL_MS)) {
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
        result = await this.outcome<O>(callId);
      }
      return unwrap(result, tool.name);
    };
  }

  /**
   * A model for the AI SDK, metered against this session's budget: `provider/name`, with the key that the provider's own
   * package would read. Its package is loaded at the first call.
   *
   * @example
   * await generateText({ model: session.model('openai/gpt-5-mini'), tools: session.tools(), prompt });
   * @throws CONFIG_INVALID for a provider that is not known; its calls throw BudgetExceededError
   */
  model(name: string): LanguageModelV4 {
    return this.#doors().model(name);
  }

  /**
   * The agent's tools, or these, for the AI SDK: each call goes through its guards in ActGuard's worker.
   *
   * @throws NOT_FOUND, BACKEND_UNAVAILABLE where no worker could say which tools a named agent has
   */
  tools(tools?: readonly Tool[], options: AiToolsOptions = {}): ToolSet {
    return this.#doors().tools(tools, options);
  }

  /** What the agent's model is told of its tools. @internal */
  offered(): readonly OfferedTool[] {
    if (this.#tools.kind === 'unknown') throw this.#tools.error;
    return this.#tools.tools;
  }

  /**
   * Reserves the worst case of a model call that you make yourself. Send what you were granted, `maxOutputTokens`
   * included, then `settle`; what is not settled by `expiresAtMs` is paid in full. `budgetGuard` does all of it.
   *
   * @example
   * const granted = await session.reserve({ model: 'openai/gpt-5-mini', promptBytes: 900, messages: 2, maxOutputTokens: 500 });
   * if (granted.kind === 'reserved') await session.settle(granted.callId, { kind: 'used', usage });
   */
  async reserve(call: Omit<ReserveAsked, 'v' | 'callId'> & { readonly callId?: string }): Promise<ReserveResult> {
    const { model, promptBytes, messages, maxOutputTokens, declared, callId = ulid() } = call;
    await this.#reservations.enter();
    try {
      const more = declared === undefined ? {} : { declared };
      const asked: ReserveAsked = { v: 1, callId, model, promptBytes, messages, maxOutputTokens, ...more };
      return await this.#updates.send(reserveUpdate, asked);
    } finally {
      this.#reservations.leave();
    }
  }

  /**
   * Says what a reserved model call was: `used` with the provider's usage, `nothing` where it was not sent or refused,
   * `unknown` where no usage came: it costs its reservation (BU5). Twice is harmless.
   */
  async settle(callId: string, outcome: SettleAsked['outcome']): Promise<SettleResult> {
    await this.#reservations.enter();
    try {
      return await this.#updates.send(settleUpdate, { v: 1, callId, outcome });
    } finally {
      this.#reservations.leave();
    }
  }

  /** Waits for model calls that are being settled, then ends the session: no call after this. */
  async close(): Promise<void> {
    await this.#aiSdk?.settled();
    try {
      await this.#updates.handle.signal(closeSignal);
    } catch (error) {
      const known = asActGuardError(error, this.run);
      if (known.code !== 'NOT_FOUND') throw known; // closed already
    }
  }

  #doors(): AiSdkSession {
    return (this.#aiSdk ??= new AiSdkSession(this, {}));
  }
}

/** The output, or the error that says why there is none. */
function unwrap<T>(result: CallResult<T>, tool: string): T {
  switch (result.kind) {
    case 'done':
      return result.output;
    case 'denied':
      throw new ActGuardError(result.denial.code, result.denial.reason, {
        denial: result.denial,
        details: result.denial.details,
        hint: result.denial.hint,
      });
    case 'failed': {
      const { cause } = result.error;
      const original = cause ? Object.assign(new Error(cause.message), { name: cause.name }) : undefined;
      throw new ActGuardError(result.error.code, result.error.message, {
        details: result.error.details,
        cause: original,
      });
    }
    case 'unknown':
      throw new ActGuardError('OUTCOME_UNKNOWN', `nobody knows whether ${tool} happened`, {
        hint: 'do not repeat it; a person has to find out',
      });
    case 'pending':
      throw new ActGuardError('IN_PROGRESS', `${tool} is still under way`);
    default:
      return result satisfies never;
  }
}
