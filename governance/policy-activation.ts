/** What is activated, and how it is written in a command's target: `policies:DIGEST`, `policies:none`, `shadow:DIGEST`, `shadow:none`. */
import { type Parsed, parsing, refuse } from './strict.ts';

/** `enforced`: decides. `shadow`: is evaluated beside it and recorded, never enforced. */
export type PolicyRole = 'enforced' | 'shadow';

/** A set that is to be active, or none of its own: a tenant then has the one of every tenant, every tenant the files. */
export interface PolicyTarget {
  readonly role: PolicyRole;
  /** SHA-256 of the set, hex; null: none. */
  readonly digest: string | null;
}

const WORDS = { policies: 'enforced', shadow: 'shadow' } as const;

/** Reads a target strictly. */
export function parsePolicyTarget(target: unknown): Parsed<PolicyTarget> {
  return parsing(() => {
    const [, word = '', rest = ''] = /^(policies|shadow):([0-9a-f]{64}|none)$/.exec(String(target)) ?? [];
    if (rest === '') return refuse('the target is no policy set');
    return { role: WORDS[word as keyof typeof WORDS], digest: rest === 'none' ? null : rest };
  });
}

/** How a target is written. */
export function policyTarget({ role, digest }: PolicyTarget): string {
  return `${role === 'enforced' ? 'policies' : 'shadow'}:${digest ?? 'none'}`;
}
