/** One run of a test: its calls go through the guards in the order of guards.md O1, in memory, and then run for real. */
import { ulid } from 'ulid';
import { resolveCredentials } from '../activities/credentials.ts';
import { checkFacts, checkRules, decidePolicy, parseArguments } from '../activities/decide.ts';
import type { PolicyEngine, SecretSource } from '../activities/deps.ts';
import { effectKey } from '../activities/effect-key.ts';
import { judge } from '../activities/judge.ts';
import { networkOf } from '../activities/network.ts';
import { ceilingDenial } from '../activities/open-run.ts';
import { overrunReason } from '../activities/overrun.ts';
import { runTool } from '../activities/run-tool.ts';
import { SecretSet } from '../activities/scrub.ts';
import { AttemptTransaction } from '../activities/transaction.ts';
import type { CallToolInput } from '../activities/types.ts';
import type { Config, Tool } from '../define/types.ts';
import { parseLimit, type WrittenLimit } from '../governance/budget.ts';
import type { CallResult, Fact, LiveFact, Principal, SessionUsage } from '../governance/call.ts';
import { deny, frozen } from '../governance/denial.ts';
import { digestOf } from '../governance/digest.ts';
import { ActGuardError, isActGuardError, type CallError, type Denial } from '../governance/errors.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { DEFAULT_DEADLINE_MS } from '../governance/limits.ts';
import type { Provenance } from '../governance/provenance.ts';
import { summarize } from '../governance/tool.ts';
import * as step from '../workflows/governor-state.ts';
import { noYes, unknownTool } from '../workflows/words.ts';
import type { Memory } from './testing-memory.ts';
import { TestProvenance } from './testing-provenance.ts';

/** What the runs of one `guardsOf` share. */
export interface Desk {
  readonly config: Config;
  readonly policy: PolicyEngine;
  readonly secrets: SecretSource;
  readonly memory: Memory;
  readonly now: () => number;
}

/** An ask that waits for a person. */
interface Asked {
  readonly tool: string;
  readonly args: Json;
  readonly gates: readonly string[];
  /** Frozen while it waits. */
  readonly provenance: Provenance;
  /** These count until it expires (FA5). */
  readonly facts: readonly LiveFact[];
  readonly expiresAtMs: number;
}

/** A call whose tool ran. */
interface Ran {
  readonly verdict: ReturnType<typeof judge>;
  readonly result: CallResult;
  readonly args: JsonObject;
  readonly provenance: Provenance;
}

/** What a run is opened with. */
interface GuardedRunOptions {
  readonly budget?: WrittenLimit | undefined;
  readonly input?: string | undefined;
  readonly groups: readonly string[];
  readonly attributes: JsonObject;
}

/** A run; made by `guards.run()`. */
export class GuardedRun {
  /** The run's id, as tools see it. */
  readonly id = ulid();
  readonly #desk: Desk;
  readonly #principal: Principal;
  readonly #known: Pick<GuardedRunOptions, 'groups' | 'attributes'>;
  readonly #asked = new Map<string, Asked>();
  readonly #openedAtMs: number;
  readonly #provenance: TestProvenance;
  #state: step.GovernorState;

  /** @internal */
  constructor(
    desk: Desk,
    principal: Principal,
    tools: readonly Tool[],
    { budget, input = '', groups, attributes }: GuardedRunOptions,
  ) {
    this.#desk = desk;
    this.#provenance = new TestProvenance(desk.config, this.id, principal, input);
    this.#principal = principal;
    this.#known = { groups, attributes };
    this.#openedAtMs = desk.now();
    const asked = budget === undefined ? {} : parseLimit(budget);
    const above = ceilingDenial(asked, desk.config.runLimit);
    if (above) throw new ActGuardError(above.code, above.reason, { details: above.details, hint: above.hint });
    const limit = { ...desk.config.runLimit, ...asked };
    const manifests = tools.map((tool) => summarize(tool.manifest));
    const deadlineMs = this.#openedAtMs + DEFAULT_DEADLINE_MS;
    this.#state = step.newState(this.id, principal, limit, deadlineMs, manifests);
  }

  /** One call, as a model or a session would make it. `pending`: a person is asked; answer with `approve` or `reject`. */
  async call<T = Json>(tool: Tool | string, args: unknown): Promise<CallResult<T>> {
    const name = typeof tool === 'string' ? tool : tool.name;
    const seq = this.#state.seq + 1;
    this.#state = { ...this.#state, seq };
    return (await this.#attempt(name, args as Json, `c${seq}`, null)) as CallResult<T>;
  }

  /** A person's yes to a pending call: everything is looked at again, then it runs (O3). */
  async approve<T = Json>(pending: CallResult<T>): Promise<CallResult<T>> {
    const asked = this.#answered(pending);
    const { callId } = pending;
    if (this.#desk.now() >= asked.expiresAtMs) {
      return { kind: 'denied', denial: noYes(asked.tool, 'expired', callId), callId };
    }
    return (await this.#attempt(asked.tool, asked.args, pending.callId, asked)) as CallResult<T>;
  }

  /** A person's no. */
  reject<T = Json>(pending: CallResult<T>): CallResult<T> {
    const { tool } = this.#answered(pending);
    return { kind: 'denied', denial: noYes(tool, 'rejected', pending.callId), callId: pending.callId };
  }

  /** Gives the run a fact, as a tool that `proves` it would. */
  prove(fact: Fact): void {
    const provedAtMs = this.#desk.now();
    const life = { provedAtMs, expiresAtMs: provedAtMs + DEFAULT_DEADLINE_MS, call: 'test' };
    this.#state = step.learn(this.#state, [{ ...fact, ...life }], provedAtMs);
  }

  /** What the run has used. */
  get usage(): SessionUsage {
    const { usd, tokens, calls } = step.usageOf(this.#state);
    return { usd, tokens, calls };
  }

  async #attempt(name: string, raw: Json, callId: string, yes: Asked | null): Promise<CallResult> {
    const { memory, now, config } = this.#desk;
    const denied = (denial: Denial): CallResult => ({ kind: 'denied', denial, callId });
    const summary = step.findTool(this.#state, name);
    const tool = summary && config.tools.find((t) => t.name === summary.name);
    if (!summary || !tool) return denied(unknownTool(this.#state, name));
    const nowMs = now();
    const stopped = memory.frozen(this.#principal.tenant, tool.name);
    if (stopped) return denied(frozen(stopped));
    const admission = step.admit(this.#state, summary, nowMs);
    if (admission.kind === 'denied') return denied(admission.denial);
    // reserved before anything is waited for: calls that are made at once see each other (BU2)
    const { reserved } = admission;
    this.#state = admission.state;
    let ran: Ran | null = null;
    try {
      const guarded = await this.#guarded(tool, raw, callId, yes, nowMs);
      if ('kind' in guarded) return guarded;
      ran = guarded;
    } finally {
      if (!ran) this.#state = step.giveBack(this.#state, tool.name, reserved);
    }
    const { verdict, result, args, provenance } = ran;
    const spent = { usdMicros: verdict.spentMicros, tokens: 0, calls: 1 };
    this.#state = step.settleCall(this.#state, reserved, spent);
    if (spent.usdMicros > reserved.usdMicros) {
      const reason = overrunReason(spent.usdMicros, reserved.usdMicros);
      memory.freeze(this.#principal.tenant, { scope: 'tool', value: tool.name, by: 'actguard', reason });
    }
    const provedAtMs = now();
    const expiresAtMs = provedAtMs + tool.manifest.facts.ttlMs;
    const traced = this.#provenance.note(callId, tool, args, verdict, provenance);
    const proved = traced.map((fact) => ({ ...fact, provedAtMs, expiresAtMs, call: callId }));
    this.#state = step.learn(this.#state, proved, provedAtMs);
    return result;
  }

  /** What stands between admission and outcome: a refusal, an ask, an earlier result, or that it ran. */
  async #guarded(tool: Tool, raw: Json, callId: string, yes: Asked | null, nowMs: number): Promise<CallResult | Ran> {
    const { policy, memory, now } = this.#desk;
    const denied = (denial: Denial): CallResult => ({ kind: 'denied', denial, callId });
    const parsed = parseArguments(tool, raw);
    if ('code' in parsed) return denied(parsed);
    const { args } = parsed;
    const facts = yes?.facts ?? this.#state.facts.filter((fact) => nowMs < fact.expiresAtMs);
    const missing = checkFacts(tool, args, facts, nowMs, (kind) => this.#provers(kind));
    if (missing) return denied(missing);
    const provenance = yes?.provenance ?? (await this.#provenance.judge(tool, args, facts, nowMs));
    const broken = checkRules(tool, args);
    if (broken && provenance.verdict !== 'deny') return denied(broken);
    const { decision, denial } = decidePolicy(policy, {
      ...{ principal: this.#principal, run: this.id, tool: tool.manifest, args, facts, provenance },
      ...{ left: step.leftOf(this.#state), nowMs, approved: yes?.gates ?? [] },
      ...this.#known,
      callsSoFar: this.#state.seq - 1,
      openedAtMs: this.#openedAtMs,
    });
    if (denial ?? broken) return denied((denial ?? broken) as Denial);
    const key = effectKey(tool, args, { run: this.id, call: callId } as CallToolInput);
    if ('code' in key) return denied(key);
    const argsDigest = digestOf(args);
    const { tenant } = this.#principal;
    const subject = { ...this.#principal, run: this.id, tool: tool.name, args };
    const inTheWay = (): CallResult | null => {
      const earlier = key.claim && memory.earlier(tool, tenant, key.claim, argsDigest, nowMs);
      if (earlier) return 'code' in earlier ? denied(earlier) : { ...earlier, callId };
      const limited = memory.look(tool, subject, nowMs);
      return limited && denied(limited);
    };
    const before = inTheWay();
    if (before) return before;
    if (decision.kind === 'ask') {
      const expiresAtMs = nowMs + this.#desk.config.approvals.ttlMs;
      const kept = facts.map((fact) => ({ ...fact, expiresAtMs }));
      const { gates } = decision;
      this.#asked.set(callId, { tool: tool.name, args: raw, gates, provenance, facts: kept, expiresAtMs });
      return { kind: 'pending', callId, approvalId: callId };
    }
    const known = new SecretSet();
    let credentials: Awaited<ReturnType<typeof resolveCredentials>>;
    try {
      credentials = await resolveCredentials(tool.code.credentials, this.#desk.secrets, known, this.#principal);
    } catch (error) {
      if (!isActGuardError(error)) throw error;
      return denied(deny(error.code, error.message, error.hint ?? 'give the secret to guardsOf', error.details));
    }
    // another call may have claimed meanwhile
    const meanwhile = inTheWay();
    if (meanwhile) return meanwhile;
    const finish = memory.claim(tool, subject, key.claim, argsDigest, nowMs);
    const { verdict, result } = await this.#run(tool, args, callId, key.receiver, credentials, known);
    finish(result, verdict.breaker === 'success' ? 'success' : (verdict.failure ?? 'success'), verdict.state, now());
    return { verdict, result, args, provenance };
  }

  /** The tool itself, once, under its timeout, with the worker's own `ctx`. */
  async #run(
    tool: Tool,
    args: JsonObject,
    call: string,
    idempotencyKey: string,
    credentials: Awaited<ReturnType<typeof resolveCredentials>>,
    known: SecretSet,
  ): Promise<{ verdict: ReturnType<typeof judge>; result: CallResult }> {
    const { user, tenant, agent } = this.#principal;
    const attempt = await runTool({
      ...{ tool, args, idempotencyKey, credentials, known, identity: { run: this.id, call, user, tenant, agent } },
      network: networkOf(this.#desk.config, true),
      recordReveal: () => Promise.resolve(),
      claimAskedAt: performance.now(),
      transaction: new AttemptTransaction({ begin: () => Promise.reject(noDatabase()) }),
      renew: () => Promise.resolve('held'),
      heartbeat: () => undefined,
      cancelled: new AbortController().signal,
      log: () => undefined,
    });
    if (attempt.kind === 'not-started') throw new Error('the tool did not start');
    const verdict = judge(tool, attempt, known);
    const stored = verdict.result;
    if (verdict.state === 'unknown') return { verdict, result: { kind: 'unknown', callId: call } };
    if (stored?.kind === 'done')
      return { verdict, result: { kind: 'done', output: stored.output ?? null, callId: call } };
    const error = stored?.error as unknown as CallError;
    return { verdict, result: { kind: 'failed', error, callId: call } };
  }

  #provers(kind: string): string[] {
    const { tools } = this.#state;
    return this.#desk.config.tools
      .filter((t) => t.name in tools && t.manifest.proves.includes(kind))
      .map((t) => t.name);
  }

  #answered({ kind, callId }: CallResult<unknown>): Asked {
    const asked = this.#asked.get(callId);
    if (kind !== 'pending' || !asked) throw new Error(`call ${callId} waits for nobody: it is ${kind}`);
    this.#asked.delete(callId);
    return asked;
  }
}

function noDatabase(): ActGuardError {
  return new ActGuardError('BACKEND_UNAVAILABLE', 'a run in memory has no database for ctx.transaction', {
    hint: 'test such a tool on the dev stack',
  });
}
