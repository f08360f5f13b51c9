/** Loads a policy set: from texts, or from a deployment's folder of `*.cedar` files. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../define/types.ts';
import { throwIfProblems } from '../governance/errors.ts';
import type { Problem } from '../governance/errors.ts';
import type { JsonObject } from '../governance/json.ts';
import { MAX_POLICY_FILE_BYTES } from '../governance/limits.ts';
import type { ToolManifest } from '../governance/tool.ts';
import { checkPolicies, noPolicies } from './policy-check.ts';
import type { PolicyFile, PolicySources } from './policy-check.ts';
import { policyEngine } from './policy.ts';
import type { LoadedPolicies } from './policy.ts';

/**
 * The engine of a policy set.
 *
 * @throws ActGuardError CONFIG_INVALID with every problem: `<file>:<line>:<column>`, the line and a caret, a suggestion
 */
export function loadPolicies(sources: PolicySources): LoadedPolicies {
  const checked = checkPolicies(sources);
  if ('problems' in checked) {
    throwIfProblems(checked.problems, 'the policies');
    throw new Error('a refused set has a problem');
  }
  return policyEngine(checked);
}

/**
 * The engine of every `*.cedar` file of a folder, in order of their names.
 *
 * @throws ActGuardError CONFIG_INVALID, also when the folder is missing or holds none: everything would be denied
 */
export function loadPolicyDirectory(
  directory: string,
  tools: readonly ToolManifest[],
  agents: readonly string[],
  users?: JsonObject,
): LoadedPolicies {
  return loadPolicies({ files: readPolicyDirectory(directory), tools, agents, ...(users ? { users } : {}) });
}

/** What a configuration has that policies may talk about. */
export function policySources({
  tools,
  agents,
  users,
}: Pick<Config, 'tools' | 'agents' | 'users'>): Omit<PolicySources, 'files'> {
  return {
    tools: tools.map((tool) => tool.manifest),
    agents: agents.map((agent) => agent.name),
    ...(users === null ? {} : { users: users.json }),
  };
}

/** The files of such a folder, unchecked. @throws CONFIG_INVALID when it is missing, cannot be read or holds none */
export function readPolicyDirectory(directory: string): PolicyFile[] {
  const problems: Problem[] = [];
  const files: PolicyFile[] = [];
  const fix = 'create the folder or correct `policies` in the config';
  for (const name of reading(problems, directory, () => readdirSync(directory).sort(), fix) ?? []) {
    if (!name.endsWith('.cedar')) continue;
    const text = reading(problems, name, () => readPolicy(join(directory, name)));
    if (text !== null) files.push({ name, text });
  }
  if (problems.length === 0 && files.length === 0) problems.push(noPolicies(directory));
  throwIfProblems(problems, 'the policies');
  return files;
}

function readPolicy(path: string): string {
  // Decoding a file that will be refused for its size would be work for nothing.
  if (statSync(path).size > MAX_POLICY_FILE_BYTES) return ' '.repeat(MAX_POLICY_FILE_BYTES + 1);
  return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path));
}

/** What was read; null and a problem where it could not be. */
function reading<T>(problems: Problem[], where: string, read: () => T, fix?: string): T | null {
  try {
    return read();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    const problem = code === 'ERR_ENCODING_INVALID_ENCODED_DATA' ? 'is not UTF-8 text' : `cannot be read: ${code}`;
    problems.push({ where, problem, ...(fix === undefined ? {} : { fix }) });
    return null;
  }
}
