/**
 * What policies see of a tool's arguments: its JSON Schema as Cedar types. What Cedar has no type for (a union, null,
 * a tuple, an object with free keys) is left out of the schema and of every request.
 */
import type { Json, JsonObject } from '../governance/json.ts';
import { MAX_JSON_DEPTH } from '../governance/limits.ts';

/** A value that policies can see. */
export type Field =
  /** `values`: the only texts it can have, where the schema names them. */
  | { readonly kind: 'string'; readonly values: readonly string[] | null }
  | { readonly kind: 'long' }
  | { readonly kind: 'boolean' }
  /** A number that need not be whole: Cedar's decimal, four digits. */
  | { readonly kind: 'decimal' }
  | { readonly kind: 'datetime' }
  | { readonly kind: 'entity'; readonly type: string }
  | { readonly kind: 'set'; readonly element: Field }
  | RecordField;

export interface RecordField {
  readonly kind: 'record';
  readonly attributes: ReadonlyMap<string, { readonly field: Field; readonly required: boolean }>;
  /** Names that the value may have and policies cannot see, with the reason. */
  readonly leftOut: ReadonlyMap<string, string>;
}

/** Names that mean something else in Cedar's JSON, or in JavaScript. */
const UNUSABLE_NAMES = new Set(['__entity', '__extn', '__expr', '__proto__']);

/** Whether a name can stand in a Cedar record. */
export function isUsableName(name: string): boolean {
  return !UNUSABLE_NAMES.has(name);
}

/** The arguments of a tool: always a record. */
export function argumentsField(schema: JsonObject): RecordField {
  const found = fieldOf(schema, schema, []);
  if (typeof found !== 'string' && found.kind === 'record') return found;
  return { kind: 'record', attributes: new Map(), leftOut: new Map() };
}

/** A field as Cedar's JSON schema writes a type. */
export function cedarType(field: Field): JsonObject {
  switch (field.kind) {
    case 'string':
      return { type: 'String' };
    case 'long':
      return { type: 'Long' };
    case 'boolean':
      return { type: 'Boolean' };
    case 'decimal':
    case 'datetime':
      return { type: 'Extension', name: field.kind };
    case 'entity':
      return { type: 'Entity', name: field.type };
    case 'set':
      return { type: 'Set', element: cedarType(field.element) };
    case 'record': {
      const attributes = [...field.attributes].map(([name, { field: inner, required }]) => [
        name,
        { ...cedarType(inner), required },
      ]);
      return { type: 'Record', attributes: Object.fromEntries(attributes) };
    }
    default:
      return field satisfies never;
  }
}

/** The field, or why policies cannot see it. `seen`: the references that lead here. */
function fieldOf(schema: Json | undefined, root: JsonObject, seen: readonly string[], depth = 0): Field | string {
  if (!isObject(schema)) return 'its schema allows anything';
  if (depth > MAX_JSON_DEPTH) return 'it is nested too deeply';
  const reference = schema['$ref'];
  if (typeof reference === 'string') {
    if (seen.includes(reference)) return 'it contains itself';
    return fieldOf(resolve(reference, root), root, [...seen, reference], depth + 1);
  }
  if ('anyOf' in schema || 'oneOf' in schema) return 'it is a union';
  if ('allOf' in schema || 'not' in schema) return 'it is an intersection';
  const choices = 'const' in schema ? [schema['const']] : schema['enum'];
  if (Array.isArray(choices)) return choiceField(choices as Json[]);
  switch (schema['type']) {
    case 'string':
      return { kind: 'string', values: null };
    case 'integer':
      return { kind: 'long' };
    case 'number':
      return { kind: 'decimal' };
    case 'boolean':
      return { kind: 'boolean' };
    case 'array':
      return arrayField(schema, root, seen, depth);
    case 'object':
      return recordField(schema, root, seen, depth);
    default:
      return schema['type'] === 'null' ? 'it is null' : 'its schema allows more than one type';
  }
}

function choiceField(choices: readonly Json[]): Field | string {
  if (choices.length === 0) return 'its schema allows nothing';
  if (choices.every((c) => typeof c === 'string')) return { kind: 'string', values: choices };
  if (choices.every((c) => Number.isSafeInteger(c))) return { kind: 'long' };
  if (choices.every((c) => typeof c === 'number')) return { kind: 'decimal' };
  if (choices.every((c) => typeof c === 'boolean')) return { kind: 'boolean' };
  return 'it is a union';
}

function arrayField(schema: JsonObject, root: JsonObject, seen: readonly string[], depth: number): Field | string {
  if ('prefixItems' in schema) return 'it is a tuple';
  const element = fieldOf(schema['items'], root, seen, depth + 1);
  return typeof element === 'string' ? `of its elements: ${element}` : { kind: 'set', element };
}

function recordField(schema: JsonObject, root: JsonObject, seen: readonly string[], depth: number): Field | string {
  const properties = schema['properties'];
  if (!isObject(properties)) return 'its keys are free';
  const required = Array.isArray(schema['required']) ? (schema['required'] as readonly Json[]) : [];
  const attributes = new Map<string, { field: Field; required: boolean }>();
  const leftOut = new Map<string, string>();
  for (const [name, property] of Object.entries(properties)) {
    const field = UNUSABLE_NAMES.has(name) ? 'its name is reserved' : fieldOf(property, root, seen, depth + 1);
    if (typeof field === 'string') leftOut.set(name, field);
    // A default stands in the canonical arguments whether or not it was given.
    else
      attributes.set(name, {
        field,
        required: required.includes(name) || (isObject(property) && 'default' in property),
      });
  }
  return { kind: 'record', attributes, leftOut };
}

function resolve(reference: string, root: JsonObject): Json | undefined {
  if (reference === '#') return root;
  if (!reference.startsWith('#/')) return undefined;
  let at: Json | undefined = root;
  for (const part of reference.slice(2).split('/')) {
    const key = part.replace(/~1/g, '/').replace(/~0/g, '~');
    at = isObject(at) && Object.hasOwn(at, key) ? at[key] : undefined;
  }
  return at;
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
