/** What can be frozen, and how it is written: `run:ID`, `tool:payments.refund`, `agent:desk`, `user:bob`, `tenant:acme`, `model:openai/gpt-5-mini`, `all`. */
import { parseName, parseRunId } from './id.ts';
import { type Parsed, parsing, refuse } from './strict.ts';

/** The tenant that stands for every tenant. */
export const EVERY_TENANT = '*';

const KINDS = ['run', 'tool', 'agent', 'user', 'tenant', 'model'] as const;

/** A scope as freezes are kept. */
export interface FreezeScope {
  /** `*`: every tenant. */
  readonly tenant: string;
  readonly scope: (typeof KINDS)[number] | 'all';
  readonly value: string;
}

/**
 * Reads a target in a tenant. `tenant:acme` belongs to `acme` and `all` to every tenant (`*`); a scope that would
 * hold for nothing is refused.
 */
export function parseFreezeTarget(target: unknown, tenant: unknown): Parsed<FreezeScope> {
  return parsing(() => {
    const where = tenant === EVERY_TENANT ? EVERY_TENANT : parseName(tenant, 'tenant');
    if (typeof target !== 'string') return refuse('the target is not text');
    if (target === 'all') {
      if (where !== EVERY_TENANT) return refuse('`all` is for every tenant: a tenant alone is `tenant:NAME`');
      return { tenant: where, scope: 'all', value: EVERY_TENANT };
    }
    const colon = target.indexOf(':');
    const scope = KINDS.find((kind) => colon > 0 && kind === target.slice(0, colon));
    if (!scope)
      return refuse('the target is none of run:RUN, tool:NAME, agent:NAME, user:NAME, tenant:NAME, model:NAME, all');
    const name = target.slice(colon + 1);
    const value = scope === 'run' ? parseRunId(name) : parseName(name, scope);
    if (scope === 'run' && where === EVERY_TENANT) return refuse('a run belongs to one tenant');
    if (value === EVERY_TENANT) return refuse(`\`*\` names no ${scope}: everything is \`all\``);
    if (scope === 'tenant' && where !== value) return refuse('the tenant that is named is not the one it is asked for');
    return { tenant: where, scope, value };
  });
}

/** How a scope is written. */
export function freezeTarget(of: { readonly scope: string; readonly value: string }): string {
  return of.scope === 'all' ? 'all' : `${of.scope}:${of.value}`;
}
