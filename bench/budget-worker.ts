/** A worker of the budget benchmark that is killed again and again: activities only. Arguments: address, database, policies. */
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { createActivities } from '../activities/index.ts';
import { loadPolicyDirectory } from '../activities/policy-load.ts';
import { connectDatabase } from '../activities/postgres.ts';
import { payloadConverterPath } from '../workflows/converter-path.ts';
import { config, depsOf, TASK_QUEUE } from './budget-world.ts';

const [address = '', databaseUrl = '', policies = ''] = process.argv.slice(2);
process.once('disconnect', () => process.exit(0));
Runtime.install({ logger: new DefaultLogger('ERROR') });
const engine = await loadPolicyDirectory(
  policies,
  config.tools.map((t) => t.manifest),
  config.agents.map((a) => a.name),
);
const worker = await Worker.create({
  connection: await NativeConnection.connect({ address }),
  taskQueue: TASK_QUEUE,
  dataConverter: { payloadConverterPath },
  activities: createActivities(depsOf(connectDatabase(databaseUrl, { max: 10 }), engine)),
});
process.send?.('ready');
await worker.run();
