/** The values inside arguments or an output, each with what its JSON Schema says about it. */
import { kindOfFormat, type DestinationKind } from './destination.ts';
import type { Json, JsonObject } from './json.ts';
import { MAX_JSON_DEPTH } from './limits.ts';

/** One scalar, or the name of a field that the schema does not have. */
export interface Leaf {
  /** `to.0.email` */
  readonly path: string;
  /** The argument or output field that it stands in; of a list, of its items. '' for a bare value. */
  readonly top: string;
  /** The nearest name above it. */
  readonly field: string;
  /** The name above `field`; '' where there is none. */
  readonly parent: string;
  readonly value: string | number | boolean;
  /**
   * What the schema says: a destination; `date`; `author`: one of the values that the tool's author listed; `text`: any
   * text; `name`: a name of a field that the schema leaves open; `plain`: a number or a boolean.
   */
  readonly says: DestinationKind | 'date' | 'author' | 'text' | 'name' | 'plain';
}

/** Every leaf of a value. @param schema JSON Schema (draft 2020-12) of the value; null: not known */
export function leavesOf(schema: JsonObject | null, value: Json): Leaf[] {
  const found: Leaf[] = [];
  const root = schema ?? {};
  visit({ path: '', top: '', field: '', parent: '' }, schema === null ? [] : [schema], value, 0);
  return found;

  function visit(
    at: Omit<Leaf, 'value' | 'says'>,
    given: readonly Json[],
    here: Json | undefined,
    depth: number,
  ): void {
    if (here === null || here === undefined || depth > MAX_JSON_DEPTH) return;
    const nodes = flatten(given, root);
    if (typeof here !== 'object') {
      found.push({ ...at, value: here, says: saysOf(nodes, here) });
      return;
    }
    if (Array.isArray(here)) {
      (here as readonly Json[]).forEach((item, i) => {
        const path = at.path === '' ? String(i) : `${at.path}.${i}`;
        visit({ ...at, path }, nodes.flatMap((node) => itemSchemas(node, i)), item, depth + 1); // prettier-ignore
      });
      return;
    }
    for (const [name, inner] of Object.entries(here as JsonObject)) {
      const path = at.path === '' ? name : `${at.path}.${name}`;
      const place = { path, top: at.top === '' ? name : at.top, field: name, parent: at.field };
      if (!nodes.some((node) => hasProperty(node, name))) found.push({ ...place, value: name, says: 'name' });
      visit(place, nodes.flatMap((node) => propertySchemas(node, name)), inner, depth + 1); // prettier-ignore
    }
  }
}

/** The schemas that may stand for these, references followed. */
function flatten(given: readonly Json[], root: JsonObject): JsonObject[] {
  const found: JsonObject[] = [];
  const seen = new Set<Json>();
  const add = (node: Json | undefined): void => {
    if (!isObject(node) || seen.has(node)) return;
    seen.add(node);
    found.push(node);
    if (typeof node['$ref'] === 'string') add(referred(node['$ref'], root));
    for (const key of ['anyOf', 'oneOf', 'allOf']) {
      const inner = node[key];
      if (Array.isArray(inner)) for (const one of inner as readonly Json[]) add(one);
    }
  };
  for (const node of given) add(node);
  return found;
}

function saysOf(nodes: readonly JsonObject[], value: string | number | boolean): Leaf['says'] {
  const listed = nodes.some((node) => {
    const choices = node['enum'];
    return node['const'] === value || node['default'] === value || (Array.isArray(choices) && (choices as readonly Json[]).includes(value)); // prettier-ignore
  });
  if (listed) return 'author';
  const kinds = nodes.flatMap((node) => (typeof node['format'] === 'string' ? [kindOfFormat(node['format'])] : []));
  const kind = kinds.find((one) => one !== null && one !== 'date');
  if (kind !== undefined && kind !== null && typeof value !== 'boolean') return kind;
  if (typeof value !== 'string') return 'plain';
  const texts = nodes.filter((node) => node['type'] === 'string');
  const dates = texts.length > 0 && texts.every((node) => typeof node['format'] === 'string' && kindOfFormat(node['format']) === 'date'); // prettier-ignore
  return dates ? 'date' : 'text';
}

function itemSchemas(node: JsonObject, index: number): Json[] {
  const tuple = node['prefixItems'];
  const own = Array.isArray(tuple) ? (tuple as readonly Json[])[index] : undefined;
  return [own ?? node['items']].filter((one): one is Json => one !== undefined);
}

function hasProperty(node: JsonObject, name: string): boolean {
  return isObject(node['properties']) && Object.hasOwn(node['properties'], name);
}

function propertySchemas(node: JsonObject, name: string): Json[] {
  const properties = node['properties'];
  if (isObject(properties) && Object.hasOwn(properties, name)) return [properties[name] ?? {}];
  return isObject(node['additionalProperties']) ? [node['additionalProperties']] : [];
}

function referred(reference: string, root: JsonObject): Json | undefined {
  if (reference === '#') return root;
  if (!reference.startsWith('#/')) return undefined;
  let at: Json | undefined = root;
  for (const part of reference.slice(2).split('/')) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
    at = isObject(at) && Object.hasOwn(at, key) ? at[key] : undefined;
  }
  return at;
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
