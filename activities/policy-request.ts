/**
 * A call as a Cedar request: principal, action, resource, context and the entities it needs, as plain JSON. It is
 * complete: any Cedar that has the policies can repeat the decision from it.
 */
import type { CedarValueJson, Context, EntityJson, TypeAndId } from '@cedar-policy/cedar-wasm/nodejs';
import type { Json, JsonObject } from '../governance/json.ts';
import { forPolicies, HARMLESS } from '../governance/provenance.ts';
import type { PolicyRequest } from './deps.ts';
import type { Field, RecordField } from './policy-fields.ts';
import { ACTION_GROUPS } from './policy-schema.ts';
import type { PolicyWorld, ToolFields } from './policy-schema.ts';

/** A Cedar request. */
export interface CedarRequest {
  readonly principal: TypeAndId;
  readonly action: TypeAndId;
  readonly resource: TypeAndId;
  readonly context: Context;
  readonly entities: EntityJson[];
}

/** A value that policies cannot be asked about: the call is denied with POLICY_ERROR. The message is for people. */
export class PolicyValueError extends Error {
  override readonly name = 'PolicyValueError';
}

/** Micro-dollars in a cent. */
const MICROS_PER_CENT = 10_000;
/** Cedar's decimal: an int64 of ten-thousandths. */
const DECIMAL_DIGITS = 4;
const MAX_DECIMAL_UNITS = 2n ** 63n - 1n;

/** The request of a call, with the gates that count as approved. @throws PolicyValueError */
export function cedarRequest(world: PolicyWorld, request: PolicyRequest, approved: readonly string[]): CedarRequest {
  const fields = world.tools.get(request.tool.name);
  if (fields === undefined) throw new PolicyValueError(`the policies do not know tool \`${request.tool.name}\``);
  const { tool } = fields;
  const { user, tenant } = request.principal;
  for (const id of [user, tenant, request.principal.agent, request.run]) text(id, 'the principal');
  const principal = { type: 'User', id: user };
  const action = { type: 'Action', id: tool.name };
  const resource = { type: 'Tool', id: tool.name };
  const tenantId = { type: 'Tenant', id: tenant };
  const groups = (request.groups ?? []).map((id) => ({ type: 'Group', id: text(id, 'a group') }));
  return {
    principal,
    action,
    resource,
    context: contextOf(fields, request, approved),
    entities: [
      { uid: principal, attrs: userAttributes(world, request), parents: [tenantId, ...groups] },
      ...[tenantId, ...groups].map((uid) => ({ uid, attrs: {}, parents: [] })),
      {
        uid: resource,
        attrs: { name: tool.name, effect: tool.effect, reach: tool.reach, tags: { ...tool.tags } },
        parents: [],
      },
      { uid: action, attrs: {}, parents: [{ type: 'Action', id: tool.effect }] },
      ...ACTION_GROUPS.map((id) => ({ uid: { type: 'Action', id }, attrs: {}, parents: [] })),
    ],
  };
}

function userAttributes(world: PolicyWorld, { attributes = {} }: PolicyRequest): Record<string, CedarValueJson> {
  return recordValue(world.user, attributes, 'principal') as Record<string, CedarValueJson>;
}

function contextOf(fields: ToolFields, request: PolicyRequest, approved: readonly string[]): Context {
  const { usdMicros, tokens, calls } = request.left;
  const left = {
    ...(usdMicros === undefined ? {} : { usdCents: Math.floor(usdMicros / MICROS_PER_CENT) }),
    ...(tokens === undefined ? {} : { tokens }),
    ...(calls === undefined ? {} : { calls }),
  };
  // `undefined` throws, a date out of range throws: both are a deny.
  const now = new Date(request.nowMs).toISOString();
  if (!/^\d{4}-/.test(now)) throw new PolicyValueError('the time is out of range');
  const context = {
    args: request.args,
    facts: request.facts.map(({ kind, value }) => ({ kind, value })),
    proofs: proofsOf(request),
    provenance: forPolicies(request.provenance ?? HARMLESS),
    approved,
    left,
    callsSoFar: request.callsSoFar,
    now,
    nowMs: request.nowMs,
    runAgeMs: Math.max(0, request.nowMs - (request.openedAtMs ?? request.nowMs)),
    tenant: request.principal.tenant,
    agent: request.principal.agent,
    effect: fields.tool.effect,
    reach: fields.tool.reach,
    run: request.run,
    ...(request.model === undefined ? {} : { model: request.model }),
  };
  return recordValue(fields.context, context, '') as Context;
}

/** The facts that guarded arguments rest on, with their age; of several values the oldest, untrusted if one is. */
function proofsOf({ tool, args, facts, nowMs }: PolicyRequest): JsonObject {
  const given = args as JsonObject;
  const proofs = Object.entries(tool.requires).flatMap(([argument, kind]) => {
    const value = Object.hasOwn(given, argument) ? given[argument] : undefined;
    const values = (Array.isArray(value) ? (value as readonly Json[]) : [value]).map(String);
    const found = facts.filter((fact) => fact.kind === kind && values.includes(fact.value));
    if (found.length === 0) return [];
    const ages = found.map((fact) => ('provedAtMs' in fact ? nowMs - fact.provedAtMs : 0));
    const ageMs = Math.max(0, Math.floor(Math.max(...ages)));
    return [[argument, { ageMs, untrusted: found.some((fact) => fact.untrusted === true) }] as const];
  });
  return Object.fromEntries(proofs);
}

/** A value in Cedar's JSON. Only declared names are read, so no argument can pass for one of Cedar's escapes. */
function cedarValue(field: Field, value: Json | undefined, path: string): CedarValueJson {
  switch (field.kind) {
    case 'string':
      return text(value, path);
    case 'long':
      if (typeof value !== 'number') throw wrong(path, 'a whole number');
      if (!Number.isSafeInteger(value))
        throw new PolicyValueError(`${path} is not a whole number that policies can hold exactly`);
      return value;
    case 'boolean':
      if (typeof value !== 'boolean') throw wrong(path, 'true or false');
      return value;
    case 'decimal':
      return { __extn: { fn: 'decimal', arg: decimal(value, path) } };
    case 'datetime':
      return { __extn: { fn: 'datetime', arg: text(value, path) } };
    case 'entity':
      return { __entity: { type: field.type, id: text(value, path) } };
    case 'set':
      if (!Array.isArray(value)) throw wrong(path, 'a list');
      return (value as readonly Json[]).map((element, index) =>
        cedarValue(field.element, element, `${path}[${index}]`),
      );
    case 'record':
      return recordValue(field, value, path);
    default:
      return field satisfies never;
  }
}

function recordValue(field: RecordField, value: Json | undefined, path: string): CedarValueJson {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(path, 'an object');
  const entries: [string, CedarValueJson][] = [];
  for (const [name, { field: inner, required }] of field.attributes) {
    const at = path === '' ? name : `${path}.${name}`;
    const found = Object.hasOwn(value, name)
      ? (value as { readonly [key: string]: Json | undefined })[name]
      : undefined;
    if (found === undefined && !required) continue;
    entries.push([name, cedarValue(inner, found, at)]);
  }
  return Object.fromEntries(entries);
}

function text(value: Json | undefined, path: string): string {
  if (typeof value !== 'string') throw wrong(path, 'a text');
  if (!value.isWellFormed()) throw new PolicyValueError(`${path} holds half of a surrogate pair`);
  return value;
}

/** `1.5` -> `1.5000`. More than four digits is refused: a rounded number could pass a limit that the real one exceeds. */
function decimal(value: Json | undefined, path: string): string {
  if (typeof value !== 'number') throw wrong(path, 'a number');
  const parts = /^(-?)(\d+)(?:\.(\d{1,4}))?$/.exec(String(value));
  if (!parts) throw new PolicyValueError(`${path} has more digits than policies can hold: four after the point`);
  const [, sign = '', whole = '0', fraction = ''] = parts;
  const padded = fraction.padEnd(DECIMAL_DIGITS, '0');
  if (BigInt(whole + padded) > MAX_DECIMAL_UNITS)
    throw new PolicyValueError(`${path} is larger than policies can hold`);
  return `${sign}${whole}.${padded}`;
}

function wrong(path: string, wanted: string): PolicyValueError {
  return new PolicyValueError(`${path} is not ${wanted}`);
}
