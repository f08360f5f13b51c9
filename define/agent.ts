/** `defineAgent`: a model, its instructions and the tools it may ask for. */
import { ActGuardError } from '../governance/errors.ts';
import * as limits from '../governance/limits.ts';
import { Checks, isOptions, quote } from './check.ts';
import { isTool } from './tool.ts';
import { AGENT } from './types.ts';
import type { Agent, AgentOptions, Tool } from './types.ts';

const OPTIONS = ['name', 'model', 'instructions', 'tools', 'maxTurns', 'maxOutputTokens', 'onExhausted'];

/**
 * Defines an agent. Without a model it lives elsewhere and uses sessions only.
 *
 * @throws CONFIG_INVALID listing every problem
 * @example
 * const desk = defineAgent({ name: 'refund-desk', model: 'openai/gpt-5-mini', tools: [findOrder, refund] });
 */
export function defineAgent(options: AgentOptions): Agent {
  const given: unknown = options;
  if (!isOptions(given)) throw new ActGuardError('CONFIG_INVALID', `an agent is made of options, not ${quote(given)}`);
  const checks = new Checks(`agent ${quote(given.name)}`);
  checks.unknownKeys('', given, OPTIONS);
  const agent: Agent = {
    [AGENT]: true,
    name: checks.name('name', given.name, limits.MAX_NAME_CHARS),
    model: given.model === undefined ? null : checkModel(checks, 'model', given.model),
    instructions: checkInstructions(checks, given.instructions),
    tools: checkTools(checks, given.tools),
    maxTurns: checks.int('maxTurns', given.maxTurns, limits.DEFAULT_MAX_TURNS, 1),
    maxOutputTokens: checks.int(
      'maxOutputTokens',
      given.maxOutputTokens,
      limits.DEFAULT_MAX_OUTPUT_TOKENS,
      limits.MIN_OUTPUT_TOKENS,
    ),
    onExhausted: checks.oneOf('onExhausted', given.onExhausted, 'pause', ['pause', 'stop']),
  };
  checks.done();
  return Object.freeze(agent);
}

/** Whether a value was made by {@link defineAgent}, also by another copy of the package. */
export function isAgent(value: unknown): value is Agent {
  return typeof value === 'object' && value !== null && (value as { [AGENT]?: unknown })[AGENT] === true;
}

/** `provider/name`; the name may contain further slashes. */
export function checkModel(checks: Checks, field: string, value: unknown): string {
  if (typeof value === 'string' && /^[a-z0-9][a-z0-9_.-]*\/[A-Za-z0-9][A-Za-z0-9_.:/@-]*$/.test(value)) return value;
  checks.add(field, `${quote(value)} is not a model`, "write provider/name, e.g. 'openai/gpt-5-mini'");
  return '';
}

function checkInstructions(checks: Checks, value: unknown): string {
  if (value === undefined) return '';
  if (typeof value === 'string' && Buffer.byteLength(value) <= limits.MAX_INPUT_BYTES) return value;
  checks.add('instructions', `must be text of at most ${limits.MAX_INPUT_BYTES} bytes`);
  return '';
}

/** A list of tools with unique names, also as models see them. The same tool twice is one tool too many. */
export function checkTools(checks: Checks, value: unknown): readonly Tool[] {
  if (!Array.isArray(value)) {
    checks.add('tools', value === undefined ? 'is required' : `must be a list of tools, not ${quote(value)}`);
    return [];
  }
  const tools = (value as unknown[]).filter((tool, i): tool is Tool => {
    if (isTool(tool)) return true;
    checks.add(
      `tools.${i}`,
      `${typeof tool === 'object' ? 'the object' : quote(tool)} is not a tool`,
      'make it with defineTool({ ... })',
    );
    return false;
  });
  checkToolNames(checks, tools);
  if (tools.length > limits.MAX_TOOLS)
    checks.add('tools', `has ${tools.length}, at most ${limits.MAX_TOOLS} are allowed`);
  return Object.freeze(tools);
}

/** Two tools of one name, or of one name as models see it. */
export function checkToolNames(checks: Checks, tools: readonly Tool[]): void {
  const byModelName = new Map<string, string>();
  for (const { name, manifest } of tools) {
    const other = byModelName.get(manifest.modelName);
    if (other === name) {
      checks.add('tools', `there are two tools named ${quote(name)}`);
    } else if (other !== undefined) {
      checks.add(
        'tools',
        `${quote(other)} and ${quote(name)} are both ${quote(manifest.modelName)} to a model`,
        'rename one',
      );
    }
    byModelName.set(manifest.modelName, name);
  }
}
