/**
 * What a new policy set allows that the one before it did not: trust.md wants a second person then. Policies are
 * compared by what they say, not by their id, place or comments. In doubt it loosens: a changed `forbid` counts as
 * one that was dropped, since whether the new text forbids as much cannot be told from the text.
 */
import { canonicalize } from '../governance/canonical.ts';
import type { Json } from '../governance/json.ts';
import type { ParsedPolicy } from './policy-gates.ts';

/** Why a set loosens, a line each; empty: it only takes away. */
export function loosens(before: readonly ParsedPolicy[], after: readonly ParsedPolicy[]): string[] {
  const had = byMeaning(before);
  const has = byMeaning(after);
  const found: string[] = [];
  for (const [meaning, { id, json }] of has) {
    if (json.effect === 'permit' && !had.has(meaning)) found.push(`adds the permit \`${id}\``);
  }
  for (const [meaning, old] of had) {
    if (old.json.effect !== 'forbid') continue;
    const now = has.get(meaning);
    if (now === undefined) {
      const changed = after.some(({ id, json }) => id === old.id && json.effect === 'forbid');
      found.push(`${changed ? 'changes' : 'drops'} the ${old.gate ? 'gate' : 'forbid'} \`${old.id}\``);
    } else if (old.gate && now.gate) {
      found.push(...weakened(old.id, old.gate, now.gate));
    } else if (now.gate && !old.gate) {
      found.push(`makes a gate of the forbid \`${old.id}\``);
    }
  }
  return found;
}

function weakened(
  id: string,
  old: NonNullable<ParsedPolicy['gate']>,
  now: NonNullable<ParsedPolicy['gate']>,
): string[] {
  const more = now.roles.filter((role) => !old.roles.includes(role));
  return [
    ...(now.quorum < old.quorum ? [`asks ${now.quorum} instead of ${old.quorum} people at the gate \`${id}\``] : []),
    ...(old.key === 'webauthn' && now.key !== 'webauthn' ? [`wants no passkey at the gate \`${id}\` any more`] : []),
    ...(more.length > 0 ? [`lets ${more.map((role) => `\`${role}\``).join(', ')} answer the gate \`${id}\``] : []),
  ];
}

/** Keyed by head and conditions; annotations (id, hint, description) are not what a policy decides. */
function byMeaning(policies: readonly ParsedPolicy[]): Map<string, ParsedPolicy> {
  return new Map(
    policies.map((policy) => {
      const { annotations: _notes, ...says } = policy.json;
      return [canonicalize(says as unknown as Json), policy];
    }),
  );
}
