/** Advice that Cedar cannot give, because it does not know what tools are. */
import type { PolicyJson } from '@cedar-policy/cedar-wasm/nodejs';
import { applicable } from './policy-names.ts';
import { closest } from './policy-excerpt.ts';
import { ACTION_GROUPS } from './policy-schema.ts';
import type { PolicyWorld } from './policy-schema.ts';

/** How to mend an unknown action or argument: it is misspelt, belongs to another tool, or policies cannot see it. undefined: Cedar knows best. */
export function betterFix(message: string, json: PolicyJson, world: PolicyWorld): string | undefined {
  const unknown = /unrecognized action `Action::"([^"]+)"`/.exec(message)?.[1];
  if (unknown !== undefined) {
    // Cedar takes whichever name it meets first among those that are about as near
    const near = closest(unknown, [...world.tools.keys(), ...ACTION_GROUPS]);
    return near === undefined ? undefined : `did you mean \`Action::"${near}"\`?`;
  }
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
