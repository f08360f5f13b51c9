/** Walking what stands behind an error, whatever a stranger put there. */
import { MAX_CAUSES } from './limits.ts';

/**
 * An error and everything behind it, outermost first: `cause`, `errors` of an AggregateError, `lastError`. Each object
 * once, so that a cycle ends; at most MAX_CAUSES. Never throws.
 */
export function chainOf(error: unknown): readonly object[] {
  const chain = new Set<object>();
  let next: unknown[] = [error];
  while (next.length > 0 && chain.size < MAX_CAUSES) {
    const links = next.filter((link): link is object => typeof link === 'object' && link !== null && !chain.has(link));
    for (const link of links.slice(0, MAX_CAUSES - chain.size)) chain.add(link);
    next = links.flatMap((link) => [field(link, 'cause'), field(link, 'lastError'), ...listField(link, 'errors')]);
  }
  return [...chain];
}

/** A property of anything; undefined where there is none or where reading it throws. */
export function field(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  try {
    return (value as Record<string, unknown>)[key];
  } catch {
    return undefined;
  }
}

function listField(value: object, key: string): readonly unknown[] {
  const list = field(value, key);
  return Array.isArray(list) ? list.slice(0, MAX_CAUSES) : [];
}
