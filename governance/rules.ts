/** Rules on single arguments (guards.md RU1, RU2). A rule is a name with its limit and a pure test. */
import type { Json } from './json.ts';

/** A rule as `atMost(50)` makes it. `label` names rule and limit: it stands in RULE_FAILED. */
export interface Rule {
  readonly label: string;
  /** The type of value that the rule can judge; anything else is refused. */
  readonly of: 'number' | 'string' | 'any';
  readonly test: (value: Json) => boolean;
}
