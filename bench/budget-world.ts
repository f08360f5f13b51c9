/** What the budget benchmark runs: two priced tools, one of which may be run again; shared by its workers. */
import type { Deps } from '../activities/deps.ts';
import { environmentSecrets } from '../activities/credentials.ts';
import { SecretSet } from '../activities/scrub.ts';
import { defineAgent, defineConfig, defineTool } from '../define/index.ts';
import { z } from 'zod';

/** One call's worst case and what it costs on average, in micro-dollars. */
export const WORST_MICROS = 20_000;
export const MEAN_MICROS = 15_000;
/** Runs, how many at once, and how many of them the budget pays for. */
export const RUNS = Number(process.env['BENCH_RUNS'] ?? 1_000);
export const AT_ONCE = 100;
export const LIMIT_MICROS = Math.round(RUNS * 0.8) * MEAN_MICROS;
export const TENANT = 'bench';
export const TASK_QUEUE = 'bench';

const inputSchema = z.strictObject({ n: z.int() });
const outputSchema = z.object({ usd: z.number() });
const priced = (name: string, effect: 'read' | 'write') =>
  defineTool({
    name,
    description: 'Costs something',
    effect,
    inputSchema,
    outputSchema,
    cost: { maxUsd: WORST_MICROS / 1e6, actual: ({ usd }) => usd },
    execute: async ({ n }) => {
      await new Promise((resolve) => setTimeout(resolve, 20 + (n % 80)));
      // from two quarters of the worst case to all of it, the same for the same n
      return { usd: (WORST_MICROS - ((n * 37) % 100) * 100) / 1e6 };
    },
  });
const tools = [priced('bench.search', 'read'), priced('bench.order', 'write')];

/** The tenant's budget is the only one. */
export const config = defineConfig({
  tools,
  agents: [defineAgent({ name: 'bench', tools })],
  policies: './policies',
  budgets: { tenant: { usd: LIMIT_MICROS / 1e6 } },
});
export const POLICY = '@id("all") permit (principal, action, resource);';

/** Nothing is asked of a model here. */
export const models: Deps['models'] = {
  measure: () => Promise.resolve({ bytes: 0, messages: 0 }),
  generate: () => Promise.reject(new Error('no model')),
};

/** The outside world of one worker. */
export function depsOf(db: Deps['db'], engine: ReturnType<Deps['policy']>): Deps {
  return {
    db,
    config,
    policy: () => engine,
    secrets: environmentSecrets({}),
    known: new SecretSet(),
    mailer: null,
    roots: [],
    dev: true,
    models,
    log: () => undefined,
  };
}
