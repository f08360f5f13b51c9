/** Decides recorded requests under another set: for `actguard policy replay` and `explain`. */
import { repeater, repeatPlainly, type Repeated } from '../activities/policy-repeat.ts';
import { policyTexts, type PolicyText } from '../activities/policy-texts.ts';
import { checkPolicies, type PolicyFile } from '../activities/policy-check.ts';
import { loadPolicies, readPolicyDirectory } from '../activities/policy-load.ts';
import type { JsonObject } from '../governance/json.ts';
import { deployment, type PolicyPlace } from './policy.ts';

export type { Repeated } from '../activities/policy-repeat.ts';

/** The set of a folder as it would decide. @throws CONFIG_INVALID with every problem */
export async function replaySet(
  place: PolicyPlace,
): Promise<{ folder: string; digest: string; decide: (recorded: JsonObject) => Repeated }> {
  const { folder, tools, agents } = await deployment(place);
  const sources = { files: readPolicyDirectory(folder), tools, agents };
  const { digest } = loadPolicies(sources);
  const checked = checkPolicies(sources);
  if ('problems' in checked) throw new Error('a set that loads is a checked one');
  return { folder, digest, decide: repeater(checked) };
}

/** The policies of stored files, and a decision of theirs by Cedar alone. */
export function storedSet(files: readonly PolicyFile[]): {
  readonly policies: readonly PolicyText[];
  readonly repeat: (recorded: JsonObject) => Repeated;
} {
  const policies = policyTexts(files);
  const texts = new Map(policies.map(({ id, text }) => [id, text]));
  return { policies, repeat: (recorded) => repeatPlainly(texts, recorded) };
}
