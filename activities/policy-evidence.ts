/** Whether an activation holds: signed commands for exactly this set, tenant and role, each by a key with a chain to a root. */
import type { KeyRow } from '../governance/answer.ts';
import { verifySignedCommand } from '../governance/command.ts';
import type { Json } from '../governance/json.ts';
import { type PolicyTarget, policyTarget } from '../governance/policy-activation.ts';
import { type Parsed, parsing, refuse, valueOf } from '../governance/strict.ts';
import type { Deps } from './deps.ts';
import { trustOf } from './trust.ts';

/** A signed command as it is kept beside the activation it made. */
export interface ActivationEvidence {
  readonly envelope: Json;
  /** The key's row when it was verified; null: a root's. */
  readonly key: KeyRow | null;
  /** The database's time when it was verified. */
  readonly atMs: number;
  readonly nonce: string;
}

/** The people who activated a set, verified again; keys count as they did when they signed. */
export function verifyActivation(
  trust: Pick<Deps, 'roots' | 'dev' | 'passkeys'>,
  activation: PolicyTarget & { readonly tenant: string },
  evidence: readonly ActivationEvidence[],
): Parsed<string[]> {
  return parsing(() => {
    if (!Array.isArray(evidence) || evidence.length === 0) return refuse('nobody signed it');
    const people = evidence.map(({ envelope, key, atMs }) => {
      const now = trustOf(trust, atMs);
      const expected = { tenant: activation.tenant, target: policyTarget(activation) };
      const { command, key: signer } = valueOf(verifySignedCommand(envelope, expected, key, now));
      if (command.verb !== 'activatePolicies') return refuse('the command activates nothing');
      return signer.person;
    });
    if (new Set(people).size !== people.length) return refuse('one person signed twice');
    return people;
  });
}
