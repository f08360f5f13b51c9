/**
 * `actguard/testing`: your tools through their guards in your own tests, without Temporal and without a database. What is
 * decided is decided by the code that decides in production; what it remembers lies in memory.
 *
 * @example
 * import { expect, test } from 'vitest';
 * import { guardsOf, matchers } from 'actguard/testing';
 * import config from './actguard.config.ts';
 *
 * expect.extend(matchers);
 * test('nobody refunds an order that was not looked up', async () => {
 *   const run = guardsOf({ config, directory: import.meta.dirname }).run({ user: 'alice' });
 *   expect(await run.call('payments.refund', { orderId: '9999', amountCents: 1 })).toBeDenied('FACT_MISSING');
 * });
 */
import { resolve } from 'node:path';
import { environmentSecrets } from '../activities/credentials.ts';
import { loadPolicies, readPolicyDirectory, policySources } from '../activities/policy-load.ts';
import type { Config } from '../define/types.ts';
import type { WrittenLimit } from '../governance/budget.ts';
import { ActGuardError } from '../governance/errors.ts';
import { DEFAULT_TENANT } from '../governance/id.ts';
import { Memory } from './testing-memory.ts';
import { GuardedRun, type Desk } from './testing-run.ts';

export { startModelServer as scriptedModel, type ModelServer, type RecordedTurn } from './model-server.ts';
export { matchers } from './testing-matchers.ts';
export { GuardedRun } from './testing-run.ts';

/** What is tested. */
export interface GuardsOptions {
  readonly config: Config;
  /** The folder of the configuration: its policies are read from there. */
  readonly directory?: string;
  /** Text of a policy file, in place of the folder's. */
  readonly policies?: string;
  /** Values of the tools' secrets, by environment variable; nothing is read from the environment itself. */
  readonly secrets?: { readonly [variable: string]: string };
  /** Milliseconds since the epoch: for rate limits, breakers, facts. Default: now. */
  readonly clock?: () => number;
}

/** For whom a run acts. */
export interface RunOptions {
  readonly user?: string;
  /** The user's request: what it names is vouched for (provenance). */
  readonly input?: string;
  readonly tenant?: string;
  readonly groups?: readonly string[];
  /** What is known of the user, as the configuration's `users.find` would say it. */
  readonly attributes?: object;
  /** Default: the only agent of the configuration. */
  readonly agent?: string;
  readonly budget?: WrittenLimit;
}

/**
 * The guards of a configuration: arguments, calls a run, budget, facts, rules, policies, effect keys, rate limits,
 * breakers, asks, credentials, in the order of production. Its runs share what is remembered beyond a run. Left out:
 * freezes by people, budgets above the run, retries, and whatever two processes do to each other.
 *
 * @throws CONFIG_INVALID for policies that do not load
 */
export function guardsOf(options: GuardsOptions): { run(of?: RunOptions): GuardedRun } {
  const { config, policies, directory = '.', secrets = {}, clock = Date.now } = options;
  const files =
    policies === undefined
      ? readPolicyDirectory(resolve(directory, config.policies))
      : [{ name: 'test.cedar', text: policies }];
  const policy = loadPolicies({ files, ...policySources(config) });
  const desk: Desk = { config, policy, secrets: environmentSecrets(secrets), memory: new Memory(), now: clock };
  return {
    run({ user = 'tester', tenant = DEFAULT_TENANT, agent, budget, input, groups = [], attributes = {} } = {}) {
      const name = agent ?? (config.agents.length === 1 ? config.agents[0]?.name : undefined);
      const found = config.agents.find((a) => a.name === name);
      if (!found) {
        const known = config.agents.map((a) => a.name).join(', ');
        throw new ActGuardError('NOT_FOUND', `there is no agent \`${name ?? ''}\``, { hint: `use one of: ${known}` });
      }
      return new GuardedRun(desk, { tenant, user, agent: found.name }, found.tools, {
        ...{ budget, input, groups },
        attributes: config.users?.parse(attributes) ?? {},
      });
    },
  };
}
