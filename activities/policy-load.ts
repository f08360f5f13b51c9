/** Loads a policy set: from texts, or from a deployment's folder of `*.cedar` files. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { throwIfProblems } from '../governance/errors.ts';
import type { Problem } from '../governance/errors.ts';
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
export async function loadPolicyDirectory(
  directory: string,
  tools: readonly ToolManifest[],
  agents: readonly string[],
): Promise<LoadedPolicies> {
  const problems: Problem[] = [];
  const names = await readdir(directory).catch((error: unknown) => {
    problems.push({
      where: directory,
      problem: `cannot be read: ${codeOf(error)}`,
      fix: 'create the folder or correct `policies` in the config',
    });
    return [];
  });
  const files: PolicyFile[] = [];
  for (const name of names.filter((n) => n.endsWith('.cedar')).sort()) {
    const text = await readPolicy(join(directory, name)).catch((error: unknown) => {
      problems.push({
        where: name,
        problem: error instanceof TypeError ? 'is not UTF-8 text' : `cannot be read: ${codeOf(error)}`,
      });
      return null;
    });
    if (text !== null) files.push({ name, text });
  }
  if (problems.length === 0 && files.length === 0) problems.push(noPolicies(directory));
  throwIfProblems(problems, 'the policies');
  return loadPolicies({ files, tools, agents });
}

async function readPolicy(path: string): Promise<string> {
  const bytes = await readFile(path);
  // Too large is refused with the other problems of the set; decoding it would be work for nothing.
  if (bytes.length > MAX_POLICY_FILE_BYTES) return ' '.repeat(MAX_POLICY_FILE_BYTES + 1);
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
