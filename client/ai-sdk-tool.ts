/** `fromAiSdk`: an existing tool of the AI SDK, governed unchanged. */
import type { Tool as AiTool } from 'ai';
import { z } from 'zod';
import { isZod4 } from '../define/schema.ts';
import { defineTool } from '../define/tool.ts';
import type { Tool, ToolContext, ToolOptions } from '../define/types.ts';
import { throwIfProblems, type Problem } from '../governance/errors.ts';

// the AI SDK keeps what a schema parses to, not the schema: the fields are made from that
type InputOf<T> = T extends AiTool<infer I> ? I : never;
type ShapeOf<I> = z.ZodObject<{ [K in keyof I]-?: z.ZodType<I[K], I[K]> }>;
type OutputOf<T> = T extends { readonly execute?: (...args: never[]) => infer R } ? Finished<R> : unknown;
type Finished<R> = R extends AsyncIterable<infer E> ? E : Awaited<R>;

/** What the AI SDK's tool does not say. `description` and `inputSchema` in place of its own. */
export type FromAiSdkOptions<T> = Omit<
  ToolOptions<ShapeOf<InputOf<T>>, z.ZodType<OutputOf<T>, OutputOf<T>>>,
  'name' | 'execute' | 'description' | 'inputSchema'
> & { readonly description?: string; readonly inputSchema?: z.ZodObject };

/**
 * Governs a tool of the AI SDK: its schema, made strict, its description and its `execute` stay what they are. For
 * `tools` of `defineAgent`, next to those of `defineTool`.
 *
 * @example
 * const search = fromAiSdk('web.search', aiSearch, { effect: 'read' });
 * @throws CONFIG_INVALID for a tool without a zod schema, without `execute`, with an approval of its own; see `defineTool`
 */
export function fromAiSdk<T extends AiTool>(
  name: string,
  tool: T,
  options: FromAiSdkOptions<T>,
): Tool<InputOf<T>, OutputOf<T>> {
  const { inputSchema = tool.inputSchema, description = textOf(tool.description), ...rest } = options;
  const problems: Problem[] = [];
  const where = (field: string): string => `tool \`${name}\`, field \`${field}\``;
  if (!isZod4(inputSchema)) {
    const problem = 'the AI SDK tool has no schema of zod 4: what it accepts cannot be checked';
    problems.push({ where: where('inputSchema'), problem, fix: 'give one: inputSchema: z.strictObject({ ... })' });
  }
  if (typeof tool.execute !== 'function') {
    const problem = 'the AI SDK tool has no `execute`: somebody else runs it, out of reach of every guard';
    problems.push({ where: where('execute'), problem, fix: 'govern a tool that runs here' });
  }
  if (tool.needsApproval !== undefined && tool.needsApproval !== false) {
    const problem = 'the AI SDK asks nobody once the tool is governed';
    const fix = 'leave it out, and let a policy ask: @gate("approval")';
    problems.push({ where: where('needsApproval'), problem, fix });
  }
  throwIfProblems(problems, 'a tool');
  const given = {
    ...rest,
    name,
    description,
    inputSchema: strict(inputSchema as z.ZodType),
    execute: (args: unknown, ctx: ToolContext) => execute(tool, args, ctx),
  };
  return defineTool(given as never) as Tool<InputOf<T>, OutputOf<T>>;
}

/** The last value of a tool that yields its progress. */
async function execute(tool: AiTool, args: unknown, ctx: ToolContext): Promise<unknown> {
  const options = { toolCallId: ctx.call, messages: [], abortSignal: ctx.signal, context: {} };
  const result: unknown = await tool.execute?.(args as never, options as never);
  if (typeof result !== 'object' || result === null || !(Symbol.asyncIterator in result)) return result;
  let last: unknown = null;
  for await (const value of result as AsyncIterable<unknown>) last = value;
  return last;
}

function textOf(description: unknown): string | undefined {
  return typeof description === 'string' ? description : undefined;
}

type Def = { readonly type: string; readonly [key: string]: unknown };

/**
 * The same schema with `z.object` read as `z.strictObject`, through lists and optional fields: unknown keys are refused
 * (O4) where the AI SDK would have dropped them. What cannot be read so stays, and `defineTool` says what to write.
 */
function strict(schema: z.ZodType): z.ZodType {
  const def = schema._zod.def as unknown as Def;
  const more: { [key: string]: unknown } = {};
  if (def.type === 'object') {
    const shape = def['shape'] as { readonly [name: string]: z.ZodType };
    more['shape'] = Object.fromEntries(Object.entries(shape).map(([name, field]) => [name, strict(field)]));
    if (def['catchall'] === undefined) more['catchall'] = z.never();
  }
  for (const key of ['element', 'innerType', 'valueType']) {
    if (isZod4(def[key])) more[key] = strict(def[key] as z.ZodType);
  }
  if (Array.isArray(def['options'])) more['options'] = def['options'].map((option) => strict(option as z.ZodType));
  return Object.keys(more).length === 0 ? schema : schema.clone({ ...def, ...more } as never);
}
