/** `defineTool`: everything is checked here, once; what comes out is a manifest for everybody and code for workers. */
import type { z } from 'zod';
import { ActGuardError } from '../governance/errors.ts';
import { digestOf } from '../governance/digest.ts';
import type { Json } from '../governance/json.ts';
import * as limits from '../governance/limits.ts';
import type { EffectKind, ToolManifest } from '../governance/tool.ts';
import { Checks, isOptions, quote } from './check.ts';
import type { Options } from './check.ts';
import { checkInputSchema, checkZod, inputParser, outputJson, outputParser } from './schema.ts';
import type { InputSchema } from './schema.ts';
import { checkCredentials, checkProves, checkRequires, checkRules } from './tool-fields.ts';
import * as guards from './tool-guards.ts';
import { checkMailFields } from './tool-mail.ts';
import { checkTags } from './tool-tags.ts';
import { checkTrust } from './tool-trust.ts';
import { TOOL } from './types.ts';
import type { Tool, ToolCode, ToolOptions } from './types.ts';

const OPTIONS = [
  ...['name', 'description', 'effect', 'reach', 'inputSchema', 'outputSchema', 'execute', 'describe', 'timeout'],
  ...['settlesWithin', 'retry', 'maxCallsPerRun', 'rateLimit', 'circuitBreaker', 'rules', 'proves', 'provesKinds'],
  ...['requires', 'facts', 'idempotency', 'repeatable', 'definiteStatuses', 'reconcile', 'cost', 'credentials'],
  ...['classify', 'outputTrust', 'private', 'declassify', 'argumentTrust', 'mailFields', 'tags', 'transactional'],
];
/** Options of guards.md that nothing enforces yet: accepting one would be a promise that is not kept. */
const NOT_YET = ['undo'];

/**
 * Defines a tool. Arguments reach `execute` parsed and checked; every default of guards.md is filled in.
 *
 * @throws CONFIG_INVALID listing every problem with tool and field
 * @example
 * const findOrder = defineTool({
 *   name: 'orders.find', description: 'Find an order by its number', effect: 'read', reach: 'internal',
 *   inputSchema: z.strictObject({ orderId: z.string() }),
 *   outputSchema: z.object({ id: z.string(), totalCents: z.int() }),
 *   proves: { id: 'order' },
 *   execute: async ({ orderId }, { fetch }) => (await fetch(`https://orders.example/orders/${orderId}`)).json(),
 * });
 */
export function defineTool<I extends z.ZodObject, O extends z.ZodType>(
  options: ToolOptions<I, O>,
): Tool<z.output<I>, z.output<O>> {
  const given: unknown = options;
  if (!isOptions(given)) throw new ActGuardError('CONFIG_INVALID', `a tool is made of options, not ${quote(given)}`);
  const checks = new Checks(`tool ${quote(given.name)}`);
  checkKeys(checks, given);
  const input = checkInputSchema(checks, given.inputSchema);
  const output = checkOutputSchema(checks, given.outputSchema);
  const code = buildCode(checks, given, input, output);
  const manifest = buildManifest(checks, given, input, output, code);
  checks.done();
  return Object.freeze({ [TOOL]: true as const, name: manifest.name, manifest, code });
}

/** Whether a value was made by {@link defineTool}, also by another copy of the package. */
export function isTool(value: unknown): value is Tool {
  return typeof value === 'object' && value !== null && (value as { [TOOL]?: unknown })[TOOL] === true;
}

/** A tool's name as models see it: they allow no dots. */
export function modelNameOf(name: string): string {
  return name.replaceAll('.', '_');
}

function checkKeys(checks: Checks, given: Options): void {
  for (const key of Object.keys(given)) {
    if (OPTIONS.includes(key)) continue;
    if (NOT_YET.includes(key)) {
      checks.add(key, 'is not enforced yet, so it is refused', 'leave it out until a release enforces it');
    } else {
      checks.add(key, 'is not an option', `options are ${OPTIONS.join(', ')}`);
    }
  }
}

function checkOutputSchema(checks: Checks, value: unknown): z.ZodType | undefined {
  if (value === undefined || !checkZod(checks, 'outputSchema', value)) return undefined;
  return value as z.ZodType;
}

function buildCode(checks: Checks, given: Options, input: InputSchema | null, output: z.ZodType | undefined): ToolCode {
  const idempotency = isOptions(given.idempotency) ? given.idempotency : {};
  const cost = isOptions(given.cost) ? given.cost : {};
  const execute = checks.fn<ToolCode['execute']>('execute', given.execute);
  if (given.execute === undefined) checks.add('execute', 'is required: the function that does the work');
  if (given.effect === 'read' && given.reconcile !== undefined) {
    checks.add('reconcile', 'a read has no effect whose outcome could be unknown', 'leave it out');
  }
  return {
    parseInput: input === null ? refuseAll : inputParser(input.schema),
    parseOutput: outputParser(output),
    execute: execute ?? refuseAll,
    describe: checks.fn('describe', given.describe),
    mailFields: checkMailFields(checks, given.mailFields, input),
    rules: checkRules(checks, given.rules, input),
    proves: checkProves(checks, given.proves, given.provesKinds, output).proves,
    key: typeof idempotency.key === 'function' ? (idempotency.key as ToolCode['key']) : null,
    reconcile: checks.fn('reconcile', given.reconcile),
    actualUsd: typeof cost.actual === 'function' ? (cost.actual as ToolCode['actualUsd']) : null,
    classify: checks.fn('classify', given.classify),
    credentials: checkCredentials(checks, given.credentials),
    optionalArguments: input?.optional ?? [],
    outputJsonSchema: outputJson(output),
  };
}

/** Stands where a broken definition has no code; never leaves `defineTool`. */
function refuseAll(): never {
  throw new ActGuardError('CONFIG_INVALID', 'the tool is not defined');
}

function buildManifest(
  checks: Checks,
  given: Options,
  input: InputSchema | null,
  output: z.ZodType | undefined,
  code: ToolCode,
): ToolManifest {
  const name = checks.name('name', given.name, limits.MAX_TOOL_NAME_CHARS);
  if (given.effect === undefined) checks.add('effect', 'is required', "write 'read' or 'write'");
  const effect: EffectKind = checks.oneOf('effect', given.effect, 'write', ['read', 'write']);
  const fields = input?.fields ?? null;
  const known = given.effect === 'read' || given.effect === 'write';
  const idempotency = guards.checkIdempotency(checks, given.idempotency, effect);
  const manifest: Omit<ToolManifest, 'digest'> = {
    v: 1,
    name,
    modelName: modelNameOf(name),
    description: checkDescription(checks, given.description),
    tags: checkTags(checks, given.tags),
    effect,
    reach: checks.oneOf('reach', given.reach, 'external', ['internal', 'external']),
    inputJsonSchema: input?.json ?? {},
    timeoutMs: checks.duration('timeout', given.timeout, limits.DEFAULT_TIMEOUT_MS),
    settlesWithinMs: checks.duration('settlesWithin', given.settlesWithin, limits.DEFAULT_SETTLES_WITHIN_MS),
    retry: guards.checkRetry(checks, given.retry, known ? effect : 'read', (idempotency?.receiver ?? null) !== null),
    maxCallsPerRun: checks.int('maxCallsPerRun', given.maxCallsPerRun, null, 1),
    rateLimit: guards.checkRateLimit(checks, given.rateLimit, fields),
    circuitBreaker: guards.checkBreaker(checks, given.circuitBreaker),
    requires: checkRequires(checks, given.requires, fields),
    proves: provedKinds(given, code),
    facts: guards.checkFacts(checks, given.facts),
    trust: checkTrust(checks, given, fields, output),
    idempotency,
    repeatable: checks.boolean('repeatable', given.repeatable, false),
    ...(checks.boolean('transactional', given.transactional, false) ? { transactional: true as const } : {}),
    cost: guards.checkCost(checks, given.cost),
    definiteStatuses: guards.checkStatuses(checks, given.definiteStatuses),
    credentials: Object.keys(code.credentials).sort(),
    canReconcile: code.reconcile !== null,
  };
  if (checks.problems.length > 0) return { ...manifest, digest: '' };
  return Object.freeze({ ...manifest, digest: digestOf(manifest as unknown as Json) });
}

function checkDescription(checks: Checks, value: unknown): string {
  if (typeof value === 'string' && value.trim() !== '' && value.length <= limits.MAX_DESCRIPTION_CHARS) return value;
  const fix = `say what it does, in 1 to ${limits.MAX_DESCRIPTION_CHARS} characters: the model chooses by it`;
  checks.add('description', value === undefined ? 'is required' : `${quote(value)} is not a description`, fix);
  return '';
}

function provedKinds(given: Options, code: ToolCode): readonly string[] {
  const kinds = typeof code.proves === 'function' ? given.provesKinds : Object.values(code.proves ?? {});
  return Array.isArray(kinds) ? [...new Set(kinds as string[])].sort() : [];
}
