/** The policies of a deployment, loaded as a worker loads them: for `actguard policy`, which may not import activities. */
import { resolve } from 'node:path';
import { schemaToText } from '@cedar-policy/cedar-wasm/nodejs';
import { checkPolicies as checkFiles, type PolicyFile } from '../activities/policy-check.ts';
import { loadPolicies, loadPolicyDirectory, readPolicyDirectory } from '../activities/policy-load.ts';
import { cedarSchema, policyWorld } from '../activities/policy-schema.ts';
import type { LoadedPolicies } from '../activities/policy.ts';
import { ActGuardError, type Problem } from '../governance/errors.ts';
import type { ToolManifest } from '../governance/tool.ts';
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
  const { folder, tools, agents } = await deployment(place);
  const files = readPolicyDirectory(folder);
  return { folder, files, policies: loadPolicies({ files, tools, agents }) };
}

/** Sets that were stored, checked against this deployment's tools: digest -> its problems. @throws CONFIG_INVALID for the config */
export async function checkStored(
  place: PolicyPlace,
  sets: readonly { readonly digest: string; readonly files: readonly PolicyFile[] }[],
): Promise<ReadonlyMap<string, readonly Problem[]>> {
  const { tools, agents } = await deployment(place);
  return new Map(
    sets.map(({ digest, files }) => {
      const checked = checkFiles({ files, tools, agents });
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
  const { folder, tools, agents } = await deployment(place);
  const json = loadedSchema(folder, tools, agents) ?? cedarSchema(policyWorld(tools, agents, []));
  const answer = schemaToText(json);
  if (answer.type === 'success') return { text: answer.text, json };
  throw new ActGuardError('CONFIG_INVALID', 'the tools make no schema', { hint: 'run `actguard policy check`' });
}

function loadedSchema(folder: string, tools: readonly ToolManifest[], agents: readonly string[]) {
  try {
    return loadPolicyDirectory(folder, tools, agents).schema;
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
    tools: config.tools.map((tool) => tool.manifest),
    agents: config.agents.map((agent) => agent.name),
  };
}
