/** Advice that Cedar cannot give, because it does not know what tools are. */
import type { PolicyJson } from '@cedar-policy/cedar-wasm/nodejs';
import { applicable } from './policy-names.ts';
import type { PolicyWorld } from './policy-schema.ts';

/** How to mend an unknown argument: it belongs to another tool, or policies cannot see it. undefined: Cedar knows best. */
export function betterFix(message: string, json: PolicyJson, world: PolicyWorld): string | undefined {
  const missing = /attribute `args\.([^`.]+)` in context for Action::"([^"]+)" not found/.exec(message);
  const [, argument, action] = missing ?? [];
  if (argument === undefined || action === undefined) return undefined;
  const reason = argumentsOf(world, action)?.leftOut.get(argument);
  if (reason !== undefined)
    return `argument \`${argument}\` is not visible to policies (${reason}): guard it with a rule of the tool`;
  const owners = [...world.tools.keys()].filter((name) => argumentsOf(world, name)?.attributes.has(argument));
  const [owner] = owners;
  if (owner === undefined || applicable(json, world).length < 2) return undefined;
  return `not every tool that this policy applies to has it: say \`action == Action::"${owner}"\``;
}

function argumentsOf(world: PolicyWorld, tool: string) {
  const args = world.tools.get(tool)?.context.attributes.get('args')?.field;
  return args?.kind === 'record' ? args : undefined;
}
