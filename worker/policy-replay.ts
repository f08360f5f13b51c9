/** Decides recorded requests under another set: for `actguard policy replay` and `explain`. */
import { repeater, repeatPlainly, type Repeated } from '../activities/policy-repeat.ts';
import { policyTexts, type PolicyText } from '../activities/policy-texts.ts';
import { builtinPolicies } from '../activities/policy-builtin.ts';
import { checkPolicies, type PolicyFile } from '../activities/policy-check.ts';
import { loadPolicies, readPolicyDirectory } from '../activities/policy-load.ts';
import type { JsonObject } from '../governance/json.ts';
import { deployment, type PolicyPlace } from './policy.ts';

export type { Repeated } from '../activities/policy-repeat.ts';

/** The set of a folder as it would decide. @throws CONFIG_INVALID with every problem */
export async function replaySet(
  place: PolicyPlace,
): Promise<{ folder: string; digest: string; decide: (recorded: JsonObject) => Repeated }> {
  const { folder, sources: world } = await deployment(place);
  const sources = { files: readPolicyDirectory(folder), ...world };
  const { digest } = loadPolicies(sources);
  const checked = checkPolicies(sources);
  if ('problems' in checked) throw new Error('a set that loads is a checked one');
  return { folder, digest, decide: repeater(checked) };
}

/**
 * The policies of stored files with the gates that are generated from the tools (as far as a configuration is here), and
 * a decision of theirs by Cedar alone.
 */
export async function storedSet(
  files: readonly PolicyFile[],
  place: PolicyPlace,
): Promise<{ readonly policies: readonly PolicyText[]; readonly repeat: (recorded: JsonObject) => Repeated }> {
  const tools = await deployment(place).then(
    (found) => found.sources.tools,
    () => [],
  );
  const generated = builtinPolicies(tools).map(({ id, piece }) => ({
    id,
    file: piece.file,
    line: 1,
    text: piece.text,
  }));
  const policies = [...policyTexts(files), ...generated];
  const texts = new Map(policies.map(({ id, text }) => [id, text]));
  return { policies, repeat: (recorded) => repeatPlainly(texts, recorded) };
}
