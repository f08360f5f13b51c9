/**
 * The Cedar schema of a deployment, generated from its tools: a policy that names a tool, an argument, an agent or a
 * gate that does not exist does not load.
 */
import type { SchemaJson } from '@cedar-policy/cedar-wasm/nodejs';
import type { ToolManifest } from '../governance/tool.ts';
import { ORIGINS } from '../governance/provenance.ts';
import type { JsonObject } from '../governance/json.ts';
import { argumentsField, cedarType, isUsableName } from './policy-fields.ts';
import type { Field, RecordField } from './policy-fields.ts';

/** Every tool is a member of the one that is its effect: `action in Action::"read"`. */
export const ACTION_GROUPS = ['read', 'write'] as const;

/** What a policy may look at in a call of one tool. */
export interface ToolFields {
  readonly tool: ToolManifest;
  /** `context`. */
  readonly context: RecordField;
  /** `resource`. */
  readonly resource: RecordField;
  /** `principal`. */
  readonly principal: RecordField;
}

/** Names that the generated schema knows. */
export interface PolicyWorld {
  readonly tools: ReadonlyMap<string, ToolFields>;
  readonly agents: readonly string[];
  /** What is known about users. */
  readonly user: RecordField;
  /** Gates of the set, in order of appearance. */
  readonly gates: readonly string[];
}

/** The world of a set of tools, agents and gates. `users`: JSON Schema of what is known about users. */
export function policyWorld(
  tools: readonly ToolManifest[],
  agents: readonly string[],
  gates: readonly string[],
  users: JsonObject = {},
): PolicyWorld {
  const user = argumentsField(users);
  const entries = tools.map((tool) => {
    const context = contextField(tool, gates.length > 0);
    return [tool.name, { tool, context, resource: resourceField(tool), principal: user }] as const;
  });
  return { tools: new Map(entries), agents: [...new Set(agents)], user, gates };
}

/** Cedar's JSON schema of a world. Types that list their members (Agent, Gate) refuse every other name. */
export function cedarSchema(world: PolicyWorld): SchemaJson<string> {
  const [gate, ...gates] = world.gates;
  const [agent, ...agents] = world.agents;
  const actions = [...world.tools.values()].map(({ tool, context }) => [
    tool.name,
    {
      memberOf: [{ id: tool.effect }],
      appliesTo: { principalTypes: ['User'], resourceTypes: ['Tool'], context: cedarType(context) },
    },
  ]);
  return {
    '': {
      entityTypes: {
        Tenant: {},
        Group: {},
        User: { memberOfTypes: ['Group', 'Tenant'], shape: cedarType(world.user) },
        Agent: agent === undefined ? {} : { enum: [agent, ...agents] },
        Tool: { shape: cedarType(toolShape([...world.tools.values()])) },
        ...(gate === undefined ? {} : { Gate: { enum: [gate, ...gates] } }),
      },
      actions: Object.fromEntries([...ACTION_GROUPS.map((group) => [group, {}]), ...actions]),
    },
  } as unknown as SchemaJson<string>;
}

const TEXT: Field = { kind: 'string', values: null };
const LONG: Field = { kind: 'long' };
const BOOLEAN: Field = { kind: 'boolean' };
const ORIGIN: Field = { kind: 'string', values: ORIGINS };
const EFFECT: Field = { kind: 'string', values: ['read', 'write'] };
const REACH: Field = { kind: 'string', values: ['internal', 'external'] };

/** Attributes of a call's context. Money left is in whole cents, rounded down; absent: not limited. */
function contextField(tool: ToolManifest, gated: boolean): RecordField {
  const always = record({
    args: argumentsField(tool.inputJsonSchema),
    facts: { kind: 'set', element: record({ kind: TEXT, value: TEXT }) },
    proofs: record(forEach(Object.keys(tool.requires), record({ ageMs: LONG, untrusted: BOOLEAN })), false),
    provenance: provenanceField(tool),
    ...(gated ? { approved: { kind: 'set', element: { kind: 'entity', type: 'Gate' } } as Field } : {}),
    left: record({ usdCents: LONG, tokens: LONG, calls: LONG }, false),
    callsSoFar: LONG,
    now: { kind: 'datetime' },
    nowMs: LONG,
    runAgeMs: LONG,
    tenant: { kind: 'entity', type: 'Tenant' },
    agent: { kind: 'entity', type: 'Agent' },
    effect: EFFECT,
    reach: REACH,
    run: TEXT,
  });
  // a session's agent may be any model's
  const model = { field: TEXT, required: false };
  return { ...always, attributes: new Map([...always.attributes, ['model', model]]) };
}

/** Where the arguments came from: the gate's verdict, the worst of all, and of each argument that is judged. */
function provenanceField({ inputJsonSchema }: ToolManifest): RecordField {
  const names = Object.keys((inputJsonSchema['properties'] ?? {}) as JsonObject);
  return record({
    verdict: { kind: 'string', values: ['fine', 'ask', 'deny'] },
    private: BOOLEAN,
    worst: ORIGIN,
    arguments: record(forEach(names.filter(isUsableName), ORIGIN), false),
  });
}

function forEach(names: readonly string[], field: Field): { readonly [name: string]: Field } {
  return Object.fromEntries(names.map((name) => [name, field]));
}

function resourceField(tool: ToolManifest): RecordField {
  const tags = Object.entries(tool.tags).map(([name, value]) => [name, { kind: 'string', values: [value] }] as const);
  return record({
    name: { kind: 'string', values: [tool.name] },
    effect: EFFECT,
    reach: REACH,
    tags: record(Object.fromEntries(tags), false),
  });
}

/** What every tool has: its tags are those of all tools, each of which may be absent. */
function toolShape(tools: readonly ToolFields[]): RecordField {
  const names = tools.flatMap(({ tool }) => Object.keys(tool.tags));
  return record({ name: TEXT, effect: EFFECT, reach: REACH, tags: record(forEach(names, TEXT), false) });
}

function record(fields: { readonly [name: string]: Field }, required = true): RecordField {
  const attributes = Object.entries(fields).map(([name, field]) => [name, { field, required }] as const);
  return { kind: 'record', attributes: new Map(attributes), leftOut: new Map() };
}
