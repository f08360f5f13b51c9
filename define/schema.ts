/** A tool's schemas: strict zod 4 objects, their JSON Schema, and the one stable parse (guards.md O4). */
import { z } from 'zod';
import { canonicalize, checkPlainJson } from '../governance/canonical.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { MAX_LISTED_ISSUES } from '../governance/limits.ts';
import type { Checks } from './check.ts';
import { quote } from './check.ts';

/** What a checked input schema says about its arguments. */
export interface InputSchema {
  readonly schema: z.ZodType;
  readonly json: JsonObject;
  /** Argument names in order. */
  readonly fields: readonly string[];
  /** Arguments that may be absent. */
  readonly optional: readonly string[];
}

interface Def {
  readonly type: string;
  readonly catchall?: Schema;
  readonly shape?: { readonly [key: string]: Schema };
  readonly [key: string]: unknown;
}
interface Schema {
  readonly _zod: { readonly def: Def; readonly optin?: string; readonly propValues?: unknown };
}

/** Whether a value is a zod 4 schema. */
export function isZod4(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || !('_zod' in value)) return false;
  const inside = value._zod;
  return typeof inside === 'object' && inside !== null && 'def' in inside;
}

/** Notes why a value is no zod 4 schema; true when it is one. */
export function checkZod(checks: Checks, field: string, value: unknown): boolean {
  if (isZod4(value)) return true;
  if (typeof value === 'object' && value !== null && '_def' in value) {
    checks.add(field, 'is a schema of zod 3', 'install zod 4 and import { z } from it');
  } else {
    checks.add(field, value === undefined ? 'is required' : `must be a zod schema, not ${quote(value)}`);
  }
  return false;
}

/** Checks an input schema; null when it cannot be used. */
export function checkInputSchema(checks: Checks, value: unknown, field = 'inputSchema'): InputSchema | null {
  if (!checkZod(checks, field, value)) return null;
  const def = (value as Schema)._zod.def;
  if (def.type !== 'object' || def.shape === undefined) {
    checks.add(field, `must be an object schema, not one of type ${quote(def.type)}`, 'use z.strictObject({ ... })');
    return null;
  }
  const before = checks.problems.length;
  checkNested(checks, field, value as Schema, new Set());
  for (const [name, child] of Object.entries(def.shape)) checkRepresentable(checks, `${field}.${name}`, child);
  // of a schema that is refused the fields are known still: what names them is checked, too
  const json = checks.problems.length > before ? {} : toJsonSchema(value as Schema);
  if (typeof json === 'string') checks.add(field, json);
  const entries = Object.entries(def.shape);
  const optional = entries.filter(([, child]) => mayBeAbsent(child)).map(([name]) => name);
  return {
    schema: value as z.ZodType,
    json: typeof json === 'string' ? {} : json,
    fields: entries.map(([name]) => name),
    optional,
  };
}

function mayBeAbsent(schema: Schema): boolean {
  return schema._zod.optin !== undefined;
}

function checkRepresentable(checks: Checks, field: string, schema: Schema): void {
  const json = toJsonSchema(schema);
  if (typeof json !== 'string') return;
  checks.add(field, json, 'arguments are JSON: use z.string(), z.number(), z.iso.datetime() and the like');
}

/** The JSON Schema of what is accepted, or why there is none. */
function toJsonSchema(schema: Schema): JsonObject | string {
  try {
    const made = z.toJSONSchema(schema as unknown as z.ZodType, { io: 'input' });
    const { $schema: _dialect, ...rest } = JSON.parse(JSON.stringify(made)) as { [key: string]: Json };
    return rest;
  } catch (error) {
    const why = error instanceof Error ? (error.message.split('\n')[0] ?? '') : '';
    return `cannot be given to a model: ${why}`;
  }
}

/** The JSON Schema of an output as it is kept; null where there is none: then nothing is known of it. */
export function outputJson(schema: z.ZodType | undefined): JsonObject | null {
  if (schema === undefined) return null;
  try {
    return JSON.parse(JSON.stringify(z.toJSONSchema(schema, { io: 'output' }))) as JsonObject;
  } catch {
    return null; // a transform, a date: what it becomes has no schema
  }
}

/** Every object inside must be strict as well: an unknown key is refused wherever it stands. */
function checkNested(checks: Checks, field: string, schema: Schema, seen: Set<Schema>): void {
  if (seen.has(schema)) return;
  seen.add(schema);
  const def = schema._zod.def;
  if (def.type === 'object' && def.catchall?._zod.def.type !== 'never') {
    checks.add(field, 'lets unknown keys through', 'use z.strictObject({ ... }) instead of z.object or z.looseObject');
  }
  if (def.type === 'promise' || def.type === 'file') {
    checks.add(field, `cannot be given to a model: ${def.type} is not JSON`);
  }
  for (const [name, child] of children(def)) checkNested(checks, name === '' ? field : `${field}.${name}`, child, seen);
}

function children(def: Def): (readonly [string, Schema])[] {
  const found: (readonly [string, Schema])[] = Object.entries(def.shape ?? {});
  const one = (name: string, value: unknown) => {
    if (isZod4(value)) found.push([name, value as Schema]);
  };
  one('items', def.element);
  one('rest', def.rest);
  one('values', def.valueType);
  for (const key of ['innerType', 'in', 'out', 'left', 'right']) one('', def[key]);
  if (typeof def.getter === 'function') one('', (def.getter as () => unknown)());
  for (const key of ['options', 'items']) {
    const list = def[key];
    if (Array.isArray(list)) list.forEach((item, i) => one(key === 'items' ? String(i) : '', item));
  }
  return found;
}

/** The fields of an output: of the object, or of the items of a list. null: not known. */
export function outputFields(schema: unknown): readonly string[] | null {
  if (!isZod4(schema)) return null;
  const def = (schema as Schema)._zod.def;
  if (def.type === 'array') return outputFields(def.element);
  if (def.type === 'object' && def.catchall === undefined) return Object.keys(def.shape ?? {});
  if (def.type === 'object' && def.catchall?._zod.def.type === 'never') return Object.keys(def.shape ?? {});
  return null;
}

/**
 * Parses arguments: strict, and stable under a second parse. The result is the one form that counts from here on: the
 * plain value of its canonical text. Throws ARGUMENTS_INVALID.
 */
export function inputParser(schema: z.ZodType, what = 'the arguments'): (value: unknown) => unknown {
  return (value) => {
    const problem = checkPlainJson(value);
    if (problem !== null) throw new ActGuardError('ARGUMENTS_INVALID', problem);
    const once = canonicalOf(parse(schema, value, 'ARGUMENTS_INVALID', `${what} do`), 'ARGUMENTS_INVALID');
    const form: unknown = JSON.parse(once);
    const twice = parse(schema, form, 'ARGUMENTS_INVALID', `${what}, parsed a second time, do`);
    if (canonicalOf(twice, 'ARGUMENTS_INVALID') !== once) {
      throw new ActGuardError('ARGUMENTS_INVALID', `${what} change when they are parsed a second time`, {
        hint: 'the schema of the tool must give the same value when its result is parsed again',
      });
    }
    return form;
  };
}

/** Parses an output; without a schema any JSON passes, and nothing is null. Throws OUTPUT_INVALID. */
export function outputParser(schema: z.ZodType | undefined): (value: unknown) => unknown {
  return (value) => {
    const output = schema === undefined ? value : parse(schema, value, 'OUTPUT_INVALID', 'the output does');
    return JSON.parse(canonicalOf(output ?? null, 'OUTPUT_INVALID')) as unknown;
  };
}

type ParseCode = 'ARGUMENTS_INVALID' | 'OUTPUT_INVALID';

function canonicalOf(value: unknown, code: ParseCode): string {
  const problem = checkPlainJson(value);
  if (problem !== null) throw new ActGuardError(code, problem);
  return canonicalize(value as Json);
}

/** @param what the subject of the error text: `the arguments do` */
function parse(schema: z.ZodType, value: unknown, code: ParseCode, what: string): unknown {
  let result: z.ZodSafeParseResult<unknown>;
  try {
    result = z.safeParse(schema, value);
  } catch (error) {
    // An async refinement or a transform that throws: the caller cannot mend it, so it fails closed.
    const why = error instanceof Error ? error.message : 'the schema threw';
    throw new ActGuardError(code, `${what} not parse: ${quote(why)}`, { cause: error });
  }
  if (result.success) return result.data;
  const listed = result.error.issues.slice(0, MAX_LISTED_ISSUES).map(issueText);
  const more = result.error.issues.length - listed.length;
  throw new ActGuardError(code, `${what} not fit: ${listed.join('; ')}${more > 0 ? `; and ${more} more` : ''}`);
}

function issueText(issue: z.core.$ZodIssue): string {
  const path = issue.path.map(String).join('.');
  const at = path === '' ? '' : `${quote(path)} `;
  if (issue.code === 'unrecognized_keys') {
    return `${at}unknown ${issue.keys.length === 1 ? 'key' : 'keys'} ${issue.keys.slice(0, MAX_LISTED_ISSUES).map(quote).join(', ')}`;
  }
  return `${at}${lowerFirst(quote(issue.message).slice(1, -1))}`;
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
