/** A worker in a process of its own, so that a test can kill it: `node worker-child.ts '<json>'`. Says `ready` when it is. */
import { runWorker } from '../../worker/worker.ts';
import { loadConfig } from '../../worker/load-config.ts';

const given = JSON.parse(process.argv[2] ?? '{}') as {
  readonly directory: string;
  readonly address: string;
  readonly databaseUrl: string;
  readonly taskQueue: string;
};
const { config, directory } = await loadConfig(undefined, given.directory);
await runWorker({
  config,
  configDirectory: directory,
  temporal: { address: given.address, namespace: 'default' },
  databaseUrl: given.databaseUrl,
  smtpUrl: null,
  devDirectory: directory,
  modelReplayUrl: null,
  taskQueue: given.taskQueue,
  signal: new AbortController().signal,
  log: () => undefined,
  onReady: () => process.stdout.write('ready\n'),
  environment: {},
});
