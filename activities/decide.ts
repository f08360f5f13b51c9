/** The part of O1 that needs no look at shared state: arguments, facts, rules, policy. */
import type { Tool } from '../define/types.ts';
import type { LiveFact } from '../governance/call.ts';
import type { Decision } from '../governance/decision.ts';
import { deny, quote } from '../governance/denial.ts';
import { isActGuardError, type Denial } from '../governance/errors.ts';
import { missingFact } from '../governance/facts.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { MAX_ARGUMENT_BYTES } from '../governance/limits.ts';
import { firstFailing } from '../governance/rules.ts';
import { canonicalize } from '../governance/canonical.ts';
import type { PolicyEngine, PolicyRequest } from './deps.ts';

/** Arguments in their ONE form: canonical = RFC 8785 of parse(raw). */
export interface CanonicalArgs {
  readonly args: JsonObject;
  readonly text: string;
}

/** Parses once; from here on there is one form (O1, O4). */
export function parseArguments(tool: Tool, raw: Json): CanonicalArgs | Denial {
  try {
    if (Buffer.byteLength(JSON.stringify(raw) ?? '') > MAX_ARGUMENT_BYTES) {
      return deny('ARGUMENTS_INVALID', `the arguments are larger than ${MAX_ARGUMENT_BYTES} bytes`, 'send less', {
        tool: tool.name,
      });
    }
    const args = tool.code.parseInput(raw) as JsonObject;
    return { args, text: canonicalize(args) };
  } catch (error) {
    const message = error instanceof Error ? error.message : 'the arguments cannot be read';
    return deny('ARGUMENTS_INVALID', message, `send arguments that fit the schema of ${tool.name}`, {
      tool: tool.name,
      ...(isActGuardError(error) ? error.details : {}),
    });
  }
}

/** Facts (FA2), then rules (RU1). */
export function checkGuards(
  tool: Tool,
  args: JsonObject,
  facts: readonly LiveFact[],
  nowMs: number,
  provers: (kind: string) => readonly string[],
): Denial | null {
  const missing = missingFact(tool.manifest.requires, args, facts, nowMs, tool.code.optionalArguments);
  if (missing) {
    const tools = provers(missing.kind);
    return deny(
      'FACT_MISSING',
      `${missing.argument} ${quote(missing.value)} is not a ${missing.kind} that this run has looked up`,
      tools.length > 0
        ? `call ${tools.join(' or ')} first; only what it returns may be used`
        : `nothing here proves a ${missing.kind}`,
      { argument: missing.argument, kind: missing.kind, value: missing.value },
    );
  }
  const failing = firstFailing(tool.code.rules, args);
  if (failing) {
    return deny(
      'RULE_FAILED',
      `${failing.argument} ${quote(args[failing.argument] ?? null)} breaks the rule ${failing.rule}`,
      `choose ${failing.argument} within ${failing.rule}`,
      { rule: failing.rule, argument: failing.argument },
    );
  }
  return null;
}

/** The policies' word on the call; a deny becomes a denial. */
export function decidePolicy(
  engine: PolicyEngine,
  request: PolicyRequest,
): { decision: Decision; denial: Denial | null } {
  const decision = engine.decide(request);
  if (decision.kind !== 'deny') return { decision, denial: null };
  const why =
    decision.reasons.length > 0
      ? `policy ${decision.reasons.map(quote).join(', ')} forbids it`
      : 'no policy permits it';
  return {
    decision,
    denial: deny(decision.code, `${request.tool.name}: ${why}`, decision.hint, {
      tool: request.tool.name,
      reasons: decision.reasons,
    }),
  };
}
