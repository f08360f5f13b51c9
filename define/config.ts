/** `defineConfig`: what a deployment allows. The default export of `actguard.config.ts`. */
import { ActGuardError } from '../governance/errors.ts';
import { checkToolNames, checkTools, isAgent } from './agent.ts';
import { Checks, isOptions, quote } from './check.ts';
import { checkApprovals } from './config-approvals.ts';
import { checkBudgets } from './config-budgets.ts';
import { checkBreakerNames, checkFactKinds, checkProviders } from './config-checks.ts';
import { checkPrices } from './config-prices.ts';
import { checkNetwork } from './secret-place.ts';
import { checkSecrets } from './secret-sources.ts';
import { CONFIG } from './types.ts';
import { checkUsers } from './users.ts';
import type { Agent, Config, ConfigOptions, Tool } from './types.ts';

const OPTIONS = [
  'tools',
  'agents',
  'policies',
  'users',
  'budgets',
  'budgetWait',
  'providers',
  'prices',
  'approvals',
  'callers',
  'secrets',
  'network',
];

/**
 * Checks a configuration as a whole: names, fact kinds, breakers, limits, prices, providers, administrators' keys.
 *
 * @throws CONFIG_INVALID listing every problem
 * @example
 * export default defineConfig({
 *   tools: [findOrder, refund], agents: [desk], policies: './policies', budgets: { run: { usd: 0.5 } },
 * });
 */
export function defineConfig(options: ConfigOptions): Config {
  const given: unknown = options;
  if (!isOptions(given)) {
    throw new ActGuardError('CONFIG_INVALID', `the configuration is made of options, not ${quote(given)}`);
  }
  const checks = new Checks('the configuration');
  checks.unknownKeys('', given, OPTIONS);
  const agents = checkAgents(checks, given.agents);
  const tools = mergeTools(checks, checkTools(checks, given.tools), agents);
  checkFactKinds(checks, tools);
  checkBreakerNames(checks, tools);
  const config: Config = {
    [CONFIG]: true,
    tools,
    agents,
    policies: checkPolicies(checks, given.policies),
    users: checkUsers(checks, given.users),
    ...checkBudgets(checks, given.budgets, given.budgetWait),
    providers: checkProviders(checks, given.providers, agents),
    prices: checkPrices(checks, given.prices),
    approvals: checkApprovals(checks, given.approvals),
    callers: checkCallers(checks, given.callers),
    secrets: checkSecrets(checks, given.secrets),
    network: checkNetwork(checks, given.network),
  };
  checks.done();
  return Object.freeze(config);
}

/** Whether a value was made by {@link defineConfig}, also by another copy of the package. */
export function isConfig(value: unknown): value is Config {
  return typeof value === 'object' && value !== null && (value as { [CONFIG]?: unknown })[CONFIG] === true;
}

function checkAgents(checks: Checks, value: unknown): readonly Agent[] {
  if (!Array.isArray(value)) {
    checks.add('agents', value === undefined ? 'is required' : `must be a list of agents, not ${quote(value)}`);
    return [];
  }
  const names = new Set<string>();
  return (value as unknown[]).filter((agent, i): agent is Agent => {
    if (!isAgent(agent)) {
      checks.add(`agents.${i}`, 'is not an agent', 'make it with defineAgent({ ... })');
      return false;
    }
    if (names.has(agent.name)) checks.add('agents', `there are two agents named ${quote(agent.name)}`);
    names.add(agent.name);
    return true;
  });
}

/** The tools of the configuration and of its agents: one list, each name once. */
function mergeTools(checks: Checks, tools: readonly Tool[], agents: readonly Agent[]): readonly Tool[] {
  const own = new Set(tools);
  const added = new Set(agents.flatMap((agent) => agent.tools).filter((tool) => !own.has(tool)));
  const merged = [...tools, ...added];
  if (added.size > 0) checkToolNames(checks, merged);
  return Object.freeze(merged);
}

function checkCallers(checks: Checks, value: unknown): Config['callers'] {
  if (value === undefined || value === 'tokens' || value === 'anybody') return value ?? null;
  checks.add('callers', `must be 'tokens' or 'anybody', not ${quote(value)}`);
  return null;
}

function checkPolicies(checks: Checks, value: unknown): string {
  if (typeof value === 'string' && value.trim() !== '' && !value.includes('\0')) return value;
  const fix = "name a folder with *.cedar files, e.g. './policies': without a policy nothing is allowed";
  checks.add('policies', value === undefined ? 'is required' : `must name a folder, not ${quote(value)}`, fix);
  return '';
}
