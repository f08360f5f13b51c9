/** What the guards of a test remember in place of the database: effects, rate slots, breakers. By one clock, in one process. */
import type { Tool } from '../define/types.ts';
import type { CallResult } from '../governance/call.ts';
import { afterOutcome, lookAtBreaker, NEW_BREAKER, takeProbe, type BreakerState } from '../governance/breaker.ts';
import { circuitOpen, deny, rateLimited, type frozen } from '../governance/denial.ts';
import type { Denial, FailureKind } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import { LEASE_MS } from '../governance/limits.ts';
import { bucketOf, lookAtHits, rateScopeValue, type RateSubject } from '../governance/rate-limit.ts';

/** An effect that was claimed, by its key. */
interface Effect {
  readonly argsDigest: string;
  result: CallResult | null;
  finishedAtMs: number;
}

/** The key of an effect, as the claim takes it. */
export interface EffectKey {
  readonly hash: string;
  readonly scope: string;
  readonly onDuplicate: 'return' | 'deny';
}

type Frozen = Parameters<typeof frozen>[0];

export class Memory {
  readonly #effects = new Map<string, Effect>();
  readonly #hits = new Map<string, number[]>();
  readonly #breakers = new Map<string, BreakerState>();
  readonly #frozen = new Map<string, Frozen>();

  /** Freezes a tool in a tenant: it cost more than its declared maximum. */
  freeze(tenant: string, what: Frozen): void {
    this.#frozen.set(JSON.stringify([tenant, what.value]), what);
  }

  /** The freeze of a tool; undefined: there is none. */
  frozen(tenant: string, tool: string): Frozen | undefined {
    return this.#frozen.get(JSON.stringify([tenant, tool]));
  }

  /** What an earlier effect under this key means (EX1, EX2); null: there is none, or its ttl is over. */
  earlier(tool: Tool, tenant: string, key: EffectKey, argsDigest: string, nowMs: number): CallResult | Denial | null {
    const found = this.#effects.get(nameOf(tool, tenant, key));
    if (!found) return null;
    const ttlMs = tool.manifest.idempotency?.ttlMs ?? null;
    if (found.result?.kind === 'done' && ttlMs !== null && nowMs >= found.finishedAtMs + ttlMs) return null;
    const details = { tool: tool.name };
    if (found.argsDigest !== argsDigest) {
      const reason = `${tool.name} was already called under the same key with other arguments`;
      return deny('IDEMPOTENCY_CONFLICT', reason, 'use the arguments of the first call', details);
    }
    const { result } = found;
    if (!result) return deny('IN_PROGRESS', `${tool.name} is under way with these arguments`, 'wait for it', details);
    if (result.kind === 'unknown') {
      const reason = `nobody knows whether ${tool.name} happened with these arguments`;
      return deny('OUTCOME_UNKNOWN', reason, 'do not try it again; tell the user', details);
    }
    if (key.onDuplicate === 'return' || result.kind !== 'done') return result;
    const reason = `${tool.name} was already done with these arguments`;
    return deny('DUPLICATE_EFFECT', reason, 'use firstResult', details, { firstResult: result.output as Json });
  }

  /** Rate limit and breaker: looked at, nothing taken (O2). */
  look(tool: Tool, subject: RateSubject, nowMs: number): Denial | null {
    const { rateLimit: limit, circuitBreaker: breaker } = tool.manifest;
    if (limit) {
      const { maxCalls, periodMs, scope } = limit;
      const seen = lookAtHits(this.#hits.get(bucketOf(scope, subject)) ?? [], nowMs, maxCalls, periodMs);
      if (!seen.ok) {
        const value = rateScopeValue(scope, subject);
        const text = typeof value === 'string' ? value : JSON.stringify(value);
        const named = typeof scope === 'string' ? scope : scope.argument;
        return rateLimited({
          ...{ tool: tool.name, scope: named, value: text, maxCalls, periodMs },
          retryAfterMs: seen.retryAfterMs,
        });
      }
    }
    if (!breaker) return null;
    const state = lookAtBreaker(this.#breaker(subject.tenant, breaker.name), breaker, nowMs);
    return state.kind === 'open' ? circuitOpen(breaker.name, state.resetAtMs, nowMs) : null;
  }

  /** Takes slot, probe and key: the call runs now. Answers how its outcome is written down. */
  claim(
    tool: Tool,
    subject: RateSubject,
    key: EffectKey | null,
    argsDigest: string,
    nowMs: number,
  ): (
    result: CallResult,
    outcome: FailureKind | 'success',
    state: 'succeeded' | 'failed' | 'unknown',
    atMs: number,
  ) => void {
    const { rateLimit, circuitBreaker: breaker } = tool.manifest;
    if (rateLimit) {
      const bucket = bucketOf(rateLimit.scope, subject);
      this.#hits.set(bucket, [...(this.#hits.get(bucket) ?? []), nowMs]);
    }
    const probe =
      breaker !== null && lookAtBreaker(this.#breaker(subject.tenant, breaker.name), breaker, nowMs).kind === 'probe';
    if (breaker && probe) {
      this.#setBreaker(
        subject.tenant,
        breaker.name,
        takeProbe(this.#breaker(subject.tenant, breaker.name), nowMs, LEASE_MS),
      );
    }
    const name = key && nameOf(tool, subject.tenant, key);
    if (name) this.#effects.set(name, { argsDigest, result: null, finishedAtMs: nowMs });
    return (result, outcome, state, atMs) => {
      // EX4: a definite failure frees the key
      if (name && state === 'failed') this.#effects.delete(name);
      else if (name) this.#effects.set(name, { argsDigest, result, finishedAtMs: atMs });
      if (!breaker) return;
      const before = this.#breaker(subject.tenant, breaker.name);
      this.#setBreaker(subject.tenant, breaker.name, afterOutcome(before, outcome, breaker, atMs, probe));
    };
  }

  #breaker(tenant: string, name: string): BreakerState {
    return this.#breakers.get(JSON.stringify([tenant, name])) ?? NEW_BREAKER;
  }

  #setBreaker(tenant: string, name: string, state: BreakerState): void {
    this.#breakers.set(JSON.stringify([tenant, name]), state);
  }
}

function nameOf(tool: Tool, tenant: string, key: EffectKey): string {
  return JSON.stringify([tenant, tool.name, key.scope, key.hash]);
}
