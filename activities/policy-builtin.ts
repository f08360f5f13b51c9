/**
 * The gates that ActGuard generates (guards.md PV4, PV7, FA3): a destination that nobody vouches for is asked about, one
 * that the tool denies is denied, what is private leaves after a yes. They are Cedar like all others: a decision by them
 * can be repeated from its request.
 */
import { policyToJson } from '@cedar-policy/cedar-wasm/nodejs';
import type { ToolManifest } from '../governance/tool.ts';
import { BUILTIN_PREFIX } from './policy-gates.ts';
import type { ParsedPolicy } from './policy-gates.ts';

/** Where generated policies stand in messages. */
const FILE = 'builtin';
const HINT = 'name only a destination that the user or a trusted source named';

/** The gate of destinations that nobody vouches for. */
export function untrustedGate(tool: string): string {
  return `${BUILTIN_PREFIX}untrusted.${tool}`;
}

/** The gate of what is private. */
export function privateGate(tool: string): string {
  return `${BUILTIN_PREFIX}private.${tool}`;
}

/** The generated policies of a set of tools; none for a tool whose calls name no destination. */
export function builtinPolicies(tools: readonly ToolManifest[]): ParsedPolicy[] {
  const secretive = tools.some(({ trust }) => trust.private.length > 0);
  return tools.flatMap((tool) => [
    ...(isJudged(tool) ? untrustedPolicies(tool) : []),
    ...(secretive && tool.reach === 'external' ? [privatePolicy(tool)] : []),
  ]);
}

function untrustedPolicies({ name, trust }: ToolManifest): ParsedPolicy[] {
  const id = untrustedGate(name);
  const denies = Object.values(trust.arguments).includes('deny');
  const gate = gatePolicy(id, name, 'context.provenance.verdict != "fine"');
  if (!denies) return [gate];
  // fires only once the gate is lifted: a denied destination is denied by the gate's own name, whatever is approved
  const never = `@id("${id}.never") @hint("${HINT}")
forbid (principal, action == Action::${JSON.stringify(name)}, resource)
when { context.provenance.verdict == "deny" && context.approved.contains(Gate::"${id}") };`;
  return [gate, parsed(`${id}.never`, never, false)];
}

function privatePolicy({ name }: ToolManifest): ParsedPolicy {
  return gatePolicy(privateGate(name), name, 'context.provenance.private');
}

function gatePolicy(id: string, tool: string, when: string): ParsedPolicy {
  const text = `@id("${id}") @gate("approval") @hint("${HINT}")
forbid (principal, action == Action::${JSON.stringify(tool)}, resource)
when { ${when} } unless { context.approved.contains(Gate::"${id}") };`;
  return parsed(id, text, true);
}

function parsed(id: string, text: string, gate: boolean): ParsedPolicy {
  const answer = policyToJson(text);
  if (answer.type !== 'success') throw new Error(`the generated policy ${id} is not Cedar`);
  const piece = { file: FILE, number: 1, text, start: 0, tokens: [] };
  return {
    id,
    piece,
    json: answer.json,
    gate: gate ? { roles: ['approver'], quorum: 1, key: 'any' } : null,
    misread: false,
  };
}

/** Whether provenance can have anything to say about a call of this tool. */
function isJudged({ effect, reach, requires, trust, inputJsonSchema }: ToolManifest): boolean {
  if (Object.keys(requires).length > 0 || Object.values(trust.arguments).some((mode) => mode !== 'allow')) return true;
  // a text may hold a link; what has no type may be a text
  const open = /"(?:string|format|additionalProperties)"|\{\}/.test(JSON.stringify(inputJsonSchema));
  return (effect === 'write' || reach === 'external') && open;
}
