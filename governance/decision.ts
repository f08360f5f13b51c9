/** A decision is a value with reasons, never an exception. */
import type { JsonObject } from './json.ts';

/** allow, deny or ask, with the ids of the policies that decided. */
export type Decision =
  | { readonly kind: 'allow'; readonly reasons: readonly string[]; readonly request: JsonObject }
  | { readonly kind: 'ask'; readonly gates: readonly string[]; readonly request: JsonObject }
  | {
      readonly kind: 'deny';
      readonly code: 'POLICY_DENIED' | 'POLICY_ERROR';
      readonly reasons: readonly string[];
      readonly hint: string;
      readonly request: JsonObject;
    };
