/**
 * Your worker runs your workflow, ActGuard's worker runs the governed calls. With
 * `actguard dev --config examples/own-workflow/actguard.config.ts` running:
 * `node --conditions=actguard:source examples/own-workflow/main.ts`.
 */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { connect, countEntries, governedWorkflow } from 'actguard/client';
import { dataConverterOf, payloadKeysFile } from 'actguard/worker';
import { NativeConnection, Worker } from '@temporalio/worker';
import { ulid } from 'ulid';
import type { payout } from './workflow.ts';

await using actguard = await connect();
const { connection: target, namespace } = actguard.target;
const connection = await NativeConnection.connect({ address: target.address ?? '127.0.0.1:7233' });
const taskQueue = `payouts-${ulid()}`;
const worker = await Worker.create({
  connection,
  namespace,
  taskQueue,
  workflowsPath: fileURLToPath(new URL('./workflow.ts', import.meta.url)),
  bundlerOptions: { webpackConfigHook: readSources },
  dataConverter: dataConverterOf(payloadKeysFile()),
});

const { run, start } = governedWorkflow({ tenant: 'acme', agent: 'payouts', id: `order-${ulid()}` });
const payments = ['ann', 'bob', 'eve', 'carl', 'dora'].map((to) => ({ to, cents: 500 }));
const lines = await worker.runUntil(
  actguard.client.workflow.execute<typeof payout>('payout', {
    ...start,
    searchAttributes: { ...start.searchAttributes },
    taskQueue,
    args: [{ user: 'alice', payments }],
  }),
);
await connection.close();

// ann was paid before the workflow continued as new: her call counts, and the third of three is carl's
assert.deepEqual(lines, ['bob has $5.00', 'POLICY_DENIED', 'carl has $5.00', 'BUDGET_EXCEEDED']);
if (actguard.target.databaseUrl !== null) {
  const entries = await countEntries(actguard.db, run);
  assert.equal(entries['call.succeeded'], 3);
  assert.equal(entries['run.closed'], 1);
}
console.log('own-workflow: every check holds');

/** Inside this repository the package is its own sources; in your project leave this out. */
function readSources<C extends { resolve?: object }>(config: C): C {
  return { ...config, resolve: { ...config.resolve, conditionNames: ['actguard:source', '...'] } };
}
