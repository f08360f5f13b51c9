/** Runs the cases next to a deployment's policies: for `actguard policy test`. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readCases, type PolicyCase } from '../activities/policy-cases.ts';
import type { PolicyRequest } from '../activities/deps.ts';
import { BUILTIN_PREFIX } from '../activities/policy-gates.ts';
import { loadPolicies, readPolicyDirectory } from '../activities/policy-load.ts';
import { MODEL_ACTION, MODEL_CALL } from '../activities/policy-models.ts';
import type { LoadedPolicies } from '../activities/policy.ts';
import type { Config, Tool } from '../define/types.ts';
import { canonicalize } from '../governance/canonical.ts';
import type { Decision } from '../governance/decision.ts';
import { ActGuardError, type Problem, throwIfProblems } from '../governance/errors.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { usdToMicros } from '../governance/money.ts';
import { closest } from '../activities/policy-excerpt.ts';
import { deployment, type PolicyPlace } from './policy.ts';
import { TestProvenance } from './testing-provenance.ts';

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
  const { folder, config, sources } = await deployment(place);
  const policies = loadPolicies({ files: readPolicyDirectory(folder), ...sources });
  const problems: Problem[] = [];
  const cases: PolicyCase[] = [];
  for (const name of readdirSync(folder).sort()) {
    if (!CASES.test(name)) continue;
    const read = readCases({ name, text: readFileSync(join(folder, name), 'utf8') });
    problems.push(...read.problems);
    cases.push(...read.cases);
  }
  const results: CaseResult[] = [];
  for (const one of cases) {
    const result = await decided(one, config, policies, problems);
    if (result) results.push(result);
  }
  throwIfProblems(problems, 'the policy cases');
  if (results.length > 0) return { folder, results };
  throw new ActGuardError('CONFIG_INVALID', `no case in \`${folder}\``, {
    hint: 'write `refunds.test.yaml` there: `- { name: small refund, tool: payments.refund, args: { orderId: "1" }, expect: allow }`',
  });
}

async function decided(
  one: PolicyCase,
  config: Config,
  policies: LoadedPolicies,
  problems: Problem[],
): Promise<CaseResult | undefined> {
  const refuse = (line: number, problem: string, known: readonly string[] = [], word = ''): undefined => {
    const near = closest(word, known);
    const fix = near === undefined ? {} : { fix: `did you mean \`${near}\`?` };
    problems.push({ where: `${one.file}:${line}`, problem, ...fix });
    return undefined;
  };
  const tool = config.tools.find(({ name }) => name === one.tool);
  if (!tool && one.tool !== MODEL_ACTION) {
    return refuse(one.line, `unknown tool \`${one.tool}\``, config.tools.map(({ name }) => name), one.tool); // prettier-ignore
  }
  const ids = policies.policies.map(({ id }) => id);
  const generated = (tool && policies.gate(`${BUILTIN_PREFIX}untrusted.${tool.name}`)) ?? null;
  const gates = [...policies.policies, ...(generated ? [{ id: generated.id, gate: generated }] : [])].flatMap(({ id, gate }) => (gate ? [id] : [])); // prettier-ignore
  for (const id of one.by ?? []) if (![...ids, ...gates].includes(id)) return refuse(one.line, `no policy \`${id}\``, ids, id); // prettier-ignore
  for (const id of one.approved) if (!gates.includes(id)) return refuse(one.line, `no gate \`${id}\``, gates, id);
  let question: PolicyRequest;
  try {
    question = await questionOf(one, config, tool);
  } catch (error) {
    const line = error instanceof UserProblem ? one.attributesLine : one.argsLine;
    return refuse(line, error instanceof Error ? error.message : 'the case cannot be read');
  }
  return resultOf(one, policies.decide(question));
}

/** What is known of the user does not fit its schema. */
class UserProblem extends Error {}

/** The case as a worker would put it to the policies. Throws what is wrong with arguments, attributes or amounts. */
async function questionOf(one: PolicyCase, config: Config, tool: Tool | undefined): Promise<PolicyRequest> {
  const args = tool
    ? (JSON.parse(canonicalize(tool.code.parseInput(one.args) as Json)) as JsonObject)
    : ((one.args ?? {}) as JsonObject);
  const principal = { tenant: one.tenant, user: one.user, agent: one.agent ?? config.agents[0]?.name ?? '' };
  const { usd, ...left } = one.left;
  const run = '01J00000000000000000000000';
  const facts = one.facts.map(({ ageMs, ...fact }) => {
    const provedAtMs = one.atMs - ageMs;
    return { ...fact, provedAtMs, expiresAtMs: one.atMs + 1, call: 'case' };
  });
  const isJudged = one.input !== undefined || one.seen.length > 0;
  const judged = isJudged && tool ? new TestProvenance(config, run, principal, one.input ?? '') : null;
  if (tool) for (const text of one.seen) judged?.read(text, tool);
  return {
    principal,
    groups: one.groups,
    attributes: attributesIn(one, config),
    run,
    tool: tool?.manifest ?? MODEL_CALL,
    args,
    facts,
    ...(judged && tool ? { provenance: await judged.judge(tool, args, facts, one.atMs) } : {}),
    left: { ...left, ...(usd === undefined ? {} : { usdMicros: usdToMicros(usd) }) },
    callsSoFar: one.callsSoFar,
    nowMs: one.atMs,
    openedAtMs: one.atMs - one.runAgeMs,
    approved: one.approved,
  };
}

function attributesIn({ attributes }: PolicyCase, { users }: Config): JsonObject {
  if (users === null && Object.keys(attributes ?? {}).length > 0) {
    throw new UserProblem('the configuration knows no attributes of users: it has no `users`');
  }
  try {
    return users?.parse(attributes) ?? {};
  } catch (error) {
    throw new UserProblem(error instanceof Error ? error.message : 'the attributes cannot be read');
  }
}

function resultOf(one: PolicyCase, decision: Decision): CaseResult {
  const found = decision.kind === 'deny' && decision.code === 'POLICY_ERROR' ? 'error' : decision.kind;
  const foundBy = [...(decision.kind === 'ask' ? decision.gates : decision.reasons)].sort();
  const { file, line, name, expect: expected } = one;
  const expectedBy = one.by === undefined ? null : [...one.by].sort();
  const ok = found === expected && (expectedBy === null || expectedBy.join('\n') === foundBy.join('\n'));
  const hint = decision.kind === 'deny' ? decision.hint : null;
  return { file, line, name, expected, expectedBy, found, foundBy, hint, ok };
}
