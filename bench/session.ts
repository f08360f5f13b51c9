/**
 * What a session's call costs beside a governed call of `agentRun` or of a user's own workflow: an Update for each, and a
 * hop to the caller and back. One after another, and eight at a time; reservations of model calls made elsewhere.
 */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { connect } from '../client/index.ts';
import { defineAgent, defineConfig, defineTool } from '../define/index.ts';
import { workflowIdOf } from '../workflows/ids.ts';
import { benchStack, median, quantile, say } from './stack.ts';

const CALLS = 100;
const look = defineTool({
  name: 'bench.look',
  description: 'Looks',
  effect: 'read',
  inputSchema: z.strictObject({ n: z.int() }),
  execute: ({ n }) => ({ n, text: 'y'.repeat(200) }),
});
const POLICY = '@id("look") permit (principal, action == Action::"bench.look", resource);\n';
const USAGE = { inputTokens: 100, outputTokens: 20, cachedInputTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 };

export interface SessionBench {
  readonly callMsP50: number;
  readonly callMsP95: number;
  readonly callsPerSecond: number;
  /** A bare activity costs 6; an Update adds 5. */
  readonly eventsPerCall: number;
  /** Reserve and settle: two Updates with an activity each. */
  readonly reserveSettleMsP50: number;
  readonly eventsPerReserveSettle: number;
}

/** Runs it on a stack of its own. */
export async function benchSession(): Promise<SessionBench> {
  const agents = [defineAgent({ name: 'bench', tools: [look] })];
  const config = defineConfig({ tools: [look], agents, policies: './policies' });
  const models = { measure: never, generate: never };
  const stack = await benchStack(config, POLICY, {}, models);
  const actguard = await connect({ address: stack.address, namespace: 'default', taskQueue: stack.taskQueue });
  try {
    return await stack.run(async () => {
      const open = () => actguard.session({ id: randomUUID(), agent: 'bench', user: 'b', tenant: 'bench' });
      const session = await open();
      const events = async () =>
        (await actguard.client.workflow.getHandle(workflowIdOf(session.run)).fetchHistory()).events?.length ?? 0;
      const call = (n: number) => session.call('bench.look', { n });
      for (let n = 0; n < 20; n += 1) await call(n);
      say(`${CALLS} calls, one after another`);
      const before = await events();
      const single: number[] = [];
      for (let n = 0; n < CALLS; n += 1) single.push(await timed(() => call(n)));
      const after = await events();
      say(`${CALLS} calls at once, eight in flight`);
      const other = await open();
      await other.call('bench.look', { n: 0 });
      const allMs = await timed(() =>
        Promise.all(Array.from({ length: CALLS }, (_, n) => other.call('bench.look', { n }))),
      );
      say('reservations of model calls');
      const asked = { model: 'openai/gpt-4o', promptBytes: 1_000, messages: 2, maxOutputTokens: 100 };
      const reserved: number[] = [];
      for (let n = 0; n < CALLS / 4; n += 1) {
        reserved.push(
          await timed(async () => {
            const granted = await session.reserve(asked);
            if (granted.kind !== 'reserved') throw new Error(granted.denial.reason);
            await session.settle(granted.callId, { kind: 'used', usage: USAGE });
          }),
        );
      }
      return {
        callMsP50: round(median(single)),
        callMsP95: round(quantile(single, 0.95)),
        callsPerSecond: round(CALLS / (allMs / 1_000)),
        eventsPerCall: round((after - before) / CALLS),
        reserveSettleMsP50: round(median(reserved)),
        eventsPerReserveSettle: round(((await events()) - after) / (CALLS / 4)),
      };
    });
  } finally {
    await actguard.close();
    await stack.end();
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function never(): Promise<never> {
  return Promise.reject(new Error('no model is asked'));
}
