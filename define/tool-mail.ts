/** Which fields of a tool's arguments a mail may show. */
import { quote, type Checks } from './check.ts';
import type { InputSchema } from './schema.ts';
import { unknownArgument } from './tool-guards.ts';

/** The fields that the tool's author marked as public; what is wrong goes into `checks`. */
export function checkMailFields(checks: Checks, value: unknown, input: InputSchema | null): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) {
    checks.add('mailFields', `must be a list of arguments, not ${quote(value)}`);
    return [];
  }
  return (value as unknown[]).filter((name, i): name is string => {
    if (typeof name === 'string' && (input === null || input.fields.includes(name))) return true;
    checks.add(`mailFields.${i}`, unknownArgument(String(name), input?.fields ?? []));
    return false;
  });
}
