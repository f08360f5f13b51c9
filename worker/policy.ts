/** The policies of a deployment, loaded as a worker loads them: for `actguard policy`, which may not import activities. */
import { resolve } from 'node:path';
import { schemaToText } from '@cedar-policy/cedar-wasm/nodejs';
import { checkPolicies as checkFiles, type PolicyFile, type PolicySources } from '../activities/policy-check.ts';
import { loadPolicies, policySources, readPolicyDirectory } from '../activities/policy-load.ts';
import { cedarSchema, policyWorld } from '../activities/policy-schema.ts';
import type { LoadedPolicies } from '../activities/policy.ts';
import { ActGuardError, type Problem } from '../governance/errors.ts';
import { loadConfig } from './load-config.ts';

/** What is looked at: a config (default: found upwards) and a folder (default: the config's `policies`). */
export interface PolicyPlace {
  readonly configPath?: string;
  readonly directory?: string;
}

/** The loaded set, its files and the folder they came from. @throws CONFIG_INVALID with every problem */
export async function checkPolicies(
  place: PolicyPlace,
): Promise<{ folder: string; files: readonly PolicyFile[]; policies: LoadedPolicies }> {
  const { folder, sources } = await deployment(place);
  const files = readPolicyDirectory(folder);
  return { folder, files, policies: loadPolicies({ files, ...sources }) };
}

/** Sets that were stored, checked against this deployment's tools: digest -> its problems. @throws CONFIG_INVALID for the config */
export async function checkStored(
  place: PolicyPlace,
  sets: readonly { readonly digest: string; readonly files: readonly PolicyFile[] }[],
): Promise<ReadonlyMap<string, readonly Problem[]>> {
  const { sources } = await deployment(place);
  return new Map(
    sets.map(({ digest, files }) => {
      const checked = checkFiles({ files, ...sources });
      return [digest, 'problems' in checked ? checked.problems : []];
    }),
  );
}

/**
 * The generated schema in Cedar's two forms: with the gates of the policies where they load, without any where they do
 * not, so that a first policy can be written.
 *
 * @throws CONFIG_INVALID when the config does not load
 */
export async function policySchema(place: PolicyPlace): Promise<{ text: string; json: object }> {
  const { folder, sources } = await deployment(place);
  const { tools, agents, users } = sources;
  const json = loadedSchema(folder, sources) ?? cedarSchema(policyWorld(tools, agents, [], users));
  const answer = schemaToText(json);
  if (answer.type === 'success') return { text: answer.text, json };
  throw new ActGuardError('CONFIG_INVALID', 'the tools make no schema', { hint: 'run `actguard policy check`' });
}

function loadedSchema(folder: string, sources: Omit<PolicySources, 'files'>) {
  try {
    return loadPolicies({ files: readPolicyDirectory(folder), ...sources }).schema;
  } catch {
    return undefined;
  }
}

/** The configuration that policies are looked at with. @throws CONFIG_INVALID when it does not load */
export async function deployment({ configPath, directory }: PolicyPlace) {
  const { config, directory: home } = await loadConfig(configPath);
  return {
    config,
    folder: directory === undefined ? resolve(home, config.policies) : resolve(directory),
    sources: policySources(config),
  };
}
