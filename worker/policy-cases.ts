/** Runs the cases next to a deployment's policies: for `actguard policy test`. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readCases, type PolicyCase } from '../activities/policy-cases.ts';
import { loadPolicyDirectory } from '../activities/policy-load.ts';
import type { LoadedPolicies } from '../activities/policy.ts';
import type { Config } from '../define/types.ts';
import { canonicalize } from '../governance/canonical.ts';
import { ActGuardError, type Problem, throwIfProblems } from '../governance/errors.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { usdToMicros } from '../governance/money.ts';
import { closest } from '../activities/policy-excerpt.ts';
import { deployment, type PolicyPlace } from './policy.ts';

/** A case and what the policies said. */
export interface CaseResult {
  readonly file: string;
  readonly line: number;
  readonly name: string;
  readonly expected: PolicyCase['expect'];
  readonly expectedBy: readonly string[] | null;
  readonly found: PolicyCase['expect'];
  readonly foundBy: readonly string[];
  /** What the model would read. */
  readonly hint: string | null;
  readonly ok: boolean;
}

const CASES = /\.test\.ya?ml$/;

/**
 * Decides every case of every `*.test.yaml` of the policy folder.
 *
 * @throws CONFIG_INVALID: the config, the policies or a case are wrong (each with its line), or there is no case
 */
export async function testPolicies(place: PolicyPlace): Promise<{ folder: string; results: readonly CaseResult[] }> {
  const { folder, config, tools, agents } = await deployment(place);
  const policies = loadPolicyDirectory(folder, tools, agents);
  const problems: Problem[] = [];
  const cases: PolicyCase[] = [];
  for (const name of readdirSync(folder).sort()) {
    if (!CASES.test(name)) continue;
    const read = readCases({ name, text: readFileSync(join(folder, name), 'utf8') });
    problems.push(...read.problems);
    cases.push(...read.cases);
  }
  const results = cases.flatMap((one) => decided(one, config, policies, problems) ?? []);
  throwIfProblems(problems, 'the policy cases');
  if (results.length > 0) return { folder, results };
  throw new ActGuardError('CONFIG_INVALID', `no case in \`${folder}\``, {
    hint: 'write `refunds.test.yaml` there: `- { name: small refund, tool: payments.refund, args: { orderId: "1" }, expect: allow }`',
  });
}

function decided(
  one: PolicyCase,
  config: Config,
  policies: LoadedPolicies,
  problems: Problem[],
): CaseResult | undefined {
  const refuse = (line: number, problem: string, known: readonly string[] = [], word = ''): undefined => {
    const near = closest(word, known);
    const fix = near === undefined ? {} : { fix: `did you mean \`${near}\`?` };
    problems.push({ where: `${one.file}:${line}`, problem, ...fix });
    return undefined;
  };
  const tool = config.tools.find(({ name }) => name === one.tool);
  if (!tool) return refuse(one.line, `unknown tool \`${one.tool}\``, config.tools.map(({ name }) => name), one.tool); // prettier-ignore
  const ids = policies.policies.map(({ id }) => id);
  const gates = policies.policies.flatMap(({ id, gate }) => (gate ? [id] : []));
  for (const id of one.by ?? []) if (!ids.includes(id)) return refuse(one.line, `no policy \`${id}\``, ids, id);
  for (const id of one.approved) if (!gates.includes(id)) return refuse(one.line, `no gate \`${id}\``, gates, id);
  const agent = one.agent ?? config.agents[0]?.name ?? '';
  let args: JsonObject;
  let usdMicros: number | undefined;
  try {
    usdMicros = one.left.usd === undefined ? undefined : usdToMicros(one.left.usd);
    args = JSON.parse(canonicalize(tool.code.parseInput(one.args) as Json)) as JsonObject;
  } catch (error) {
    return refuse(one.argsLine, error instanceof Error ? error.message : 'the arguments cannot be read');
  }
  const { usd: _dollars, ...left } = one.left;
  const decision = policies.decide({
    principal: { tenant: one.tenant, user: one.user, agent },
    run: '01J00000000000000000000000',
    tool: tool.manifest,
    args,
    facts: one.facts,
    left: { ...left, ...(usdMicros === undefined ? {} : { usdMicros }) },
    callsSoFar: one.callsSoFar,
    nowMs: one.atMs,
    approved: one.approved,
  });
  const found = decision.kind === 'deny' && decision.code === 'POLICY_ERROR' ? 'error' : decision.kind;
  const foundBy = [...(decision.kind === 'ask' ? decision.gates : decision.reasons)].sort();
  const { file, line, name, expect: expected } = one;
  const expectedBy = one.by === undefined ? null : [...one.by].sort();
  const ok = found === expected && (expectedBy === null || expectedBy.join('\n') === foundBy.join('\n'));
  const hint = decision.kind === 'deny' ? decision.hint : null;
  return { file, line, name, expected, expectedBy, found, foundBy, hint, ok };
}
