/** Options of a tool that name its own fields: rules, requires, proves, credentials. */
import type { z } from 'zod';
import type { JsonObject } from '../governance/json.ts';
import type { Rule } from '../governance/rules.ts';
import { isOptions, quote } from './check.ts';
import type { Checks } from './check.ts';
import { outputFields } from './schema.ts';
import type { InputSchema } from './schema.ts';
import { isSecretRef } from './secret.ts';
import { unknownArgument } from './tool-guards.ts';
import type { SecretPlace, SecretRef } from './secret-types.ts';
import type { ToolCode } from './types.ts';

/** RU1: rules in the order they are written; an argument that the schema does not have is refused. */
export function checkRules(checks: Checks, value: unknown, input: InputSchema | null): ToolCode['rules'] {
  if (value === undefined) return [];
  if (!isOptions(value)) {
    checks.add('rules', `must be an object of rules by argument, not ${quote(value)}`);
    return [];
  }
  return Object.entries(value).flatMap(([argument, given]) => {
    if (given === undefined) return [];
    const field = `rules.${argument}`;
    if (input !== null && !input.fields.includes(argument)) checks.add(field, unknownArgument(argument, input.fields));
    const rules = (Array.isArray(given) ? (given as unknown[]) : [given]).filter((rule): rule is Rule => {
      if (isRule(rule)) return true;
      checks.add(field, `${quote(rule)} is not a rule`, 'make rules with atMost(...), oneOf(...), forbidPattern(...)');
      return false;
    });
    for (const rule of rules) checkRuleType(checks, field, rule, typeOf(input, argument));
    return [{ argument, rules, optional: input?.optional.includes(argument) ?? false }];
  });
}

function isRule(value: unknown): value is Rule {
  if (typeof value !== 'object' || value === null) return false;
  const rule = value as Partial<Rule>;
  const of: unknown = rule.of;
  return (
    typeof rule.label === 'string' &&
    typeof rule.test === 'function' &&
    (of === 'number' || of === 'string' || of === 'any')
  );
}

/** The plain JSON type of an argument, where the schema says one. */
function typeOf(input: InputSchema | null, argument: string): string | undefined {
  const properties = input?.json.properties as JsonObject | undefined;
  const property = properties?.[argument] as JsonObject | undefined;
  const type = property?.type;
  return type === 'integer' ? 'number' : typeof type === 'string' ? type : undefined;
}

function checkRuleType(checks: Checks, field: string, rule: Rule, type: string | undefined): void {
  if (rule.of === 'any' || type === undefined || type === rule.of) return;
  checks.add(field, `${quote(rule.label)} judges a ${rule.of}, but the argument is of type ${quote(type)}`);
}

/** FA2. */
export function checkRequires(
  checks: Checks,
  value: unknown,
  fields: readonly string[] | null,
): { [argument: string]: string } {
  if (value === undefined) return {};
  if (!isOptions(value)) {
    checks.add('requires', `must be an object of fact kinds by argument, not ${quote(value)}`);
    return {};
  }
  const found: { [argument: string]: string } = {};
  for (const [argument, kind] of Object.entries(value)) {
    if (kind === undefined) continue;
    const field = `requires.${argument}`;
    if (fields !== null && !fields.includes(argument)) checks.add(field, unknownArgument(argument, fields));
    found[argument] = checks.label(field, kind);
  }
  return found;
}

/** FA1: a field of each list item or of the one object, or a function with the kinds it may mint. */
export function checkProves(
  checks: Checks,
  value: unknown,
  kinds: unknown,
  output: z.ZodType | undefined,
): Pick<ToolCode, 'proves'> {
  if (typeof value === 'function') {
    if (!Array.isArray(kinds) || kinds.length === 0) {
      checks.add('provesKinds', 'is required where proves is a function', "list its kinds: provesKinds: ['order']");
    } else {
      kinds.forEach((kind: unknown, i) => checks.label(`provesKinds.${i}`, kind));
    }
    return { proves: value as Exclude<ToolCode['proves'], null> };
  }
  if (kinds !== undefined) checks.add('provesKinds', 'goes with proves as a function only');
  if (value === undefined) return { proves: null };
  if (!isOptions(value)) {
    checks.add('proves', `must be an object of fact kinds by field, or a function, not ${quote(value)}`);
    return { proves: null };
  }
  const fields = outputFields(output);
  const found: { [field: string]: string } = {};
  for (const [name, kind] of Object.entries(value)) {
    if (kind === undefined) continue;
    const field = `proves.${name}`;
    if (fields !== null && !fields.includes(name)) {
      checks.add(field, `outputSchema has no field ${quote(name)}: there are ${fields.map(quote).join(', ')}`);
    }
    found[name] = checks.label(field, kind);
  }
  return { proves: found };
}

/** Credentials are references made by `secret()`, at most one for a header of a host. */
export function checkCredentials(checks: Checks, value: unknown): { readonly [localName: string]: SecretRef } {
  if (value === undefined) return {};
  if (!isOptions(value)) {
    checks.add('credentials', `must be an object of secrets by name, not ${quote(value)}`);
    return {};
  }
  const found: { [localName: string]: SecretRef } = {};
  for (const [name, ref] of Object.entries(value)) {
    const field = `credentials.${name}`;
    if (!isSecretRef(ref)) {
      // The value is not repeated: it may be the secret itself.
      checks.add(
        field,
        'must be a reference to a secret',
        "use secret('payments/api-key', { host: 'payments.example' })",
      );
      continue;
    }
    const other = Object.entries(found).find(([, earlier]) => meet(earlier, ref));
    if (other) checks.add(field, `goes into the same place of ${quote(ref.sent?.host)} as ${quote(other[0])}`);
    found[name] = ref;
  }
  return Object.freeze(found);
}

/** Whether two secrets could stand in one place of one request. */
function meet(a: SecretRef, b: SecretRef): boolean {
  if (a.sent === null || b.sent === null || a.sent.host !== b.sent.host) return false;
  if (placeOf(a.sent.into) !== placeOf(b.sent.into)) return false;
  const [methods, others] = [a.sent.methods, b.sent.methods];
  if (methods !== null && others !== null && !methods.some((method) => others.includes(method))) return false;
  const [path, other] = [`${a.sent.path ?? ''}/`, `${b.sent.path ?? ''}/`];
  return path.startsWith(other) || other.startsWith(path);
}

function placeOf(into: SecretPlace): string {
  if (into.kind === 'basic') return 'authorization';
  return into.kind === 'header' ? into.header : `${into.kind} ${into.kind === 'query' ? into.parameter : into.field}`;
}
