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

/** FA2. @param provers names of the run's tools that prove a kind */
export function checkFacts(
  tool: Tool,
  args: JsonObject,
  facts: readonly LiveFact[],
  nowMs: number,
  provers: (kind: string) => readonly string[],
): Denial | null {
  const missing = missingFact(tool.manifest.requires, args, facts, nowMs, tool.code.optionalArguments);
  if (!missing) return null;
  const { argument, kind, value } = missing;
  const tools = provers(kind).map(bothNames);
  return deny(
    'FACT_MISSING',
    value === null
      ? `${argument} has to name one ${quote(kind)} or more that this run has looked up`
      : `${argument} ${quote(value)} is no ${quote(kind)} that this run has looked up`,
    tools.length > 0
      ? `call ${tools.join(' or ')} first; only what it returns may be used`
      : `no tool here proves a ${quote(kind)}; do something else or tell the user`,
    { argument, kind, value },
  );
}

/** RU1: the first rule that does not hold. */
export function checkRules(tool: Tool, args: JsonObject): Denial | null {
  const failing = firstFailing(tool.code.rules, args);
  if (!failing) return null;
  const { rule, argument } = failing;
  return deny(
    'RULE_FAILED',
    `${argument} ${quote(args[argument] ?? null)} breaks the rule ${rule}`,
    `choose ${argument} so that ${rule} holds`,
    { rule, argument },
  );
}

/** A tool as its author and as a model calls it. */
function bothNames(name: string): string {
  const model = name.replaceAll('.', '_');
  return model === name ? name : `${name} (${model})`;
}

/** The policies' word on the call; a deny becomes a denial. */
export function decidePolicy(
  engine: PolicyEngine,
  request: PolicyRequest,
): { decision: Decision; denial: Denial | null } {
  const decision = engine.decide(request);
  if (decision.kind !== 'deny') return { decision, denial: null };
  if (decision.code === 'POLICY_ERROR') {
    const hint = 'tell the user; nothing is allowed until the policies are mended';
    const details = { tool: request.tool.name, reasons: decision.reasons };
    return { decision, denial: deny(decision.code, `${request.tool.name}: ${decision.hint}`, hint, details) };
  }
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
