/** Tags of a tool: words of its team that policies can ask for. */
import { MAX_TOOL_TAGS } from '../governance/limits.ts';
import { isOptions, quote } from './check.ts';
import type { Checks } from './check.ts';

/** A tag is named like a field of a policy; its value is a short text. */
const NAME = /^[a-z][a-zA-Z0-9_]{0,59}$/;

/** `{ owner: 'payments', risk: 'high' }`; none by default. */
export function checkTags(checks: Checks, value: unknown): { readonly [tag: string]: string } {
  if (value === undefined) return {};
  if (!isOptions(value)) {
    checks.add('tags', `must be an object of texts by name, not ${quote(value)}`);
    return {};
  }
  const entries = Object.entries(value).filter(([, tag]) => tag !== undefined);
  if (entries.length > MAX_TOOL_TAGS) checks.add('tags', `there are ${entries.length}, at most ${MAX_TOOL_TAGS}`);
  const found: { [tag: string]: string } = {};
  for (const [name, tag] of entries) {
    const field = `tags.${name}`;
    if (NAME.test(name)) found[name] = checks.label(field, tag);
    else
      checks.add(
        field,
        `${quote(name)} is not the name of a tag`,
        'use letters, digits and _, beginning with a small one',
      );
  }
  return found;
}
