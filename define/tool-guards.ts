/** The guard options of a tool, each checked and filled in with the defaults of guards.md. */
import { breakerKinds } from '../governance/failure.ts';
import { FAILURE_KINDS } from '../governance/errors.ts';
import type { FailureKind } from '../governance/errors.ts';
import * as limits from '../governance/limits.ts';
import type {
  CircuitBreakerOptions,
  EffectKind,
  FactsOptions,
  IdempotencyOptions,
  RateLimitOptions,
  RateScope,
  RetryOptions,
  ToolManifest,
} from '../governance/tool.ts';
import { isOptions, quote } from './check.ts';
import type { Checks, Options } from './check.ts';
import { checkHeader } from './secret-place.ts';

const RETRY_ON: readonly FailureKind[] = ['transport', 'timeout', 'overloaded', 'throttled'];
const SCOPES = ['run', 'user', 'tenant', 'agent', 'tool'] as const;

/** Reads and writes with a receiver's key are tried again; other writes never are. */
export function checkRetry(checks: Checks, value: unknown, effect: EffectKind, receiver: boolean): RetryOptions | null {
  const repeatable = effect === 'read' || receiver;
  if (value !== undefined && !repeatable) {
    const fix = 'declare idempotency.receiver where the receiver honours a key, or leave retry out';
    checks.add('retry', 'a write without a receiver that honours a key is never sent again', fix);
  }
  const keys = ['maximumAttempts', 'initialInterval', 'backoffCoefficient', 'maximumInterval', 'on'];
  const given = checks.options('retry', value, keys) ?? {};
  const { DEFAULT_RETRY_ATTEMPTS: attempts, MAX_RETRY_ATTEMPTS: most } = limits;
  const initialIntervalMs = checks.duration(
    'retry.initialInterval',
    given.initialInterval,
    limits.DEFAULT_RETRY_INITIAL_MS,
  );
  const longest = Math.max(limits.DEFAULT_RETRY_MAXIMUM_MS, initialIntervalMs);
  const retry: RetryOptions = {
    maximumAttempts: checks.int('retry.maximumAttempts', given.maximumAttempts, attempts, 1, most),
    initialIntervalMs,
    backoffCoefficient: checks.number(
      'retry.backoffCoefficient',
      given.backoffCoefficient,
      limits.DEFAULT_RETRY_COEFFICIENT,
      1,
    ),
    maximumIntervalMs: checks.duration('retry.maximumInterval', given.maximumInterval, longest),
    on: checks.words('retry.on', given.on, FAILURE_KINDS) ?? RETRY_ON,
  };
  if (retry.maximumIntervalMs < retry.initialIntervalMs) {
    checks.add('retry.maximumInterval', 'is shorter than initialInterval');
  }
  return repeatable ? retry : null;
}

/** RL4. @param fields names of the arguments; null: not known because the schema is broken */
export function checkRateLimit(
  checks: Checks,
  value: unknown,
  fields: readonly string[] | null,
): RateLimitOptions | null {
  const given = checks.options('rateLimit', value, ['maxCalls', 'period', 'scope', 'onLimit']);
  if (given === undefined) return null;
  require(checks, 'rateLimit', given, ['maxCalls', 'period']);
  return {
    maxCalls: checks.int('rateLimit.maxCalls', given.maxCalls, 1, 1),
    periodMs: checks.duration('rateLimit.period', given.period, 1),
    scope: checkScope(checks, given.scope, fields),
    onLimit: checks.oneOf('rateLimit.onLimit', given.onLimit, 'deny', ['deny', 'wait']),
  };
}

function checkScope(checks: Checks, value: unknown, fields: readonly string[] | null): RateScope {
  const field = 'rateLimit.scope';
  if (!isOptions(value)) return checks.oneOf(field, value, 'tool', SCOPES);
  checks.unknownKeys(field, value, ['argument']);
  if (typeof value.argument !== 'string') {
    checks.add(field, `must name an argument, not ${quote(value.argument)}`);
    return 'tool';
  }
  if (fields !== null && !fields.includes(value.argument)) checks.add(field, unknownArgument(value.argument, fields));
  return { argument: value.argument };
}

/** CB1, D6: the sets are checked as they take effect. */
export function checkBreaker(checks: Checks, value: unknown): CircuitBreakerOptions | null {
  const field = 'circuitBreaker';
  const given = checks.options(field, value, ['name', 'maxFails', 'resetTimeout', 'failOn', 'ignoreOn']);
  if (given === undefined) return null;
  const failOn = checks.words(`${field}.failOn`, given.failOn, FAILURE_KINDS);
  const ignoreOn = checks.words(`${field}.ignoreOn`, given.ignoreOn, FAILURE_KINDS);
  const overlap = (failOn ?? []).filter((kind) => ignoreOn?.includes(kind) === true);
  if (overlap.length > 0) {
    checks.add(`${field}.failOn`, `${overlap.map(quote).join(', ')} stands in ignoreOn as well`);
  }
  const kinds = overlap.length > 0 ? { failOn: [], ignoreOn: [] } : breakerKinds(failOn, ignoreOn);
  if (overlap.length === 0 && kinds.failOn.length === 0) {
    checks.add(`${field}.failOn`, 'counts no kind of failure: the breaker would never open');
  }
  return {
    name: checks.label(`${field}.name`, given.name),
    maxFails: checks.int(`${field}.maxFails`, given.maxFails, limits.DEFAULT_BREAKER_MAX_FAILS, 1),
    resetTimeoutMs: checks.duration(`${field}.resetTimeout`, given.resetTimeout, limits.DEFAULT_BREAKER_RESET_MS),
    failOn: [...kinds.failOn].sort(),
    ignoreOn: [...kinds.ignoreOn].sort(),
  };
}

/** FA1. */
export function checkFacts(checks: Checks, value: unknown): FactsOptions {
  const given = checks.options('facts', value, ['ttl', 'max', 'onTooMany']) ?? {};
  return {
    ttlMs: checks.duration('facts.ttl', given.ttl, limits.DEFAULT_FACT_TTL_MS),
    max: checks.int('facts.max', given.max, limits.DEFAULT_FACTS_MAX, 1, limits.MAX_FACTS_PER_RUN),
    onTooMany: checks.oneOf('facts.onTooMany', given.onTooMany, 'deny', ['deny', 'truncate']),
  };
}

/** EX1, EX3: a tool's own key reaches the tenant, the default key its run. */
export function checkIdempotency(checks: Checks, value: unknown, effect: EffectKind): IdempotencyOptions | null {
  const field = 'idempotency';
  if (value === undefined) return null;
  if (effect === 'read') checks.add(field, 'a read has no effect to do once', 'leave it out, or make the tool a write');
  const given = checks.options(field, value, ['key', 'scope', 'ttl', 'onDuplicate', 'receiver']);
  if (given === undefined) return null;
  const key = checks.fn(`${field}.key`, given.key);
  if (key === null && given.key === undefined && given.scope === 'tenant') {
    checks.add(`${field}.scope`, 'the default key is one of the run: it cannot reach across runs', 'give a key');
  }
  const receiver = checks.options(`${field}.receiver`, given.receiver, ['header', 'keyTtl']);
  return {
    scope: checks.oneOf(`${field}.scope`, given.scope, key === null ? 'run' : 'tenant', ['tenant', 'run']),
    ttlMs: checks.duration(`${field}.ttl`, given.ttl, null),
    onDuplicate: checks.oneOf(`${field}.onDuplicate`, given.onDuplicate, 'return', ['return', 'deny']),
    receiver:
      receiver === undefined
        ? null
        : {
            header: checkHeader(checks, `${field}.receiver.header`, receiver.header),
            keyTtlMs: checks.duration(`${field}.receiver.keyTtl`, receiver.keyTtl, null),
          },
  };
}

/** BU2: the worst case, in micro-dollars. */
export function checkCost(checks: Checks, value: unknown): ToolManifest['cost'] {
  const given = checks.options('cost', value, ['usd', 'maxUsd', 'actual']);
  if (given === undefined) return null;
  const fixed = given.usd !== undefined;
  if (fixed === (given.maxUsd !== undefined)) {
    checks.add('cost', 'needs either usd, or maxUsd with actual', 'cost: { usd: 0.01 }');
    return null;
  }
  if (fixed && given.actual !== undefined) checks.add('cost.actual', 'goes with maxUsd, not with usd');
  if (!fixed && checks.fn('cost.actual', given.actual) === null && given.actual === undefined) {
    checks.add('cost.actual', 'is required: the function that reads the price out of the output');
  }
  const worstMicros = checks.dollars(fixed ? 'cost.usd' : 'cost.maxUsd', fixed ? given.usd : given.maxUsd);
  return { worstMicros: worstMicros ?? 0, fixed };
}

/** Statuses that say for certain that nothing happened: 400 to 499. */
export function checkStatuses(checks: Checks, value: unknown): readonly number[] {
  const field = 'definiteStatuses';
  if (value === undefined) return limits.DEFAULT_DEFINITE_STATUSES;
  if (!Array.isArray(value)) {
    checks.add(field, `must be a list, not ${quote(value)}`);
    return [];
  }
  const statuses = value.map((item: unknown, i) => checks.int(`${field}.${i}`, item ?? null, 0, 400, 599));
  return [...new Set(statuses)].sort((a, b) => a - b);
}

/** What to say about an argument that the schema does not have. */
export function unknownArgument(argument: string, fields: readonly string[]): string {
  const known = fields.length === 0 ? 'there are none' : `there are ${fields.map(quote).join(', ')}`;
  return `the schema has no argument ${quote(argument)}: ${known}`;
}

function require(checks: Checks, field: string, given: Options, keys: readonly string[]): void {
  for (const key of keys) if (given[key] === undefined) checks.add(`${field}.${key}`, 'is required');
}
