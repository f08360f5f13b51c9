/** One worker process of the experiment: the shipped worker with the experiment's tools. Its one argument is JSON. */
import { readFileSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { devSealing } from '../../worker/sealing.ts';
import { runWorker } from '../../worker/worker.ts';
import { chaosConfig } from './config.ts';

interface WorkerArguments {
  readonly service: string;
  readonly temporal: string;
  readonly database: string;
  readonly folder: string;
  readonly bundle: string;
  readonly apiKey: string;
}

const given = JSON.parse(process.argv[2] ?? '{}') as WorkerArguments;
const stop = new AbortController();
process.once('disconnect', () => process.exit(0));
process.on('SIGTERM', () => stop.abort());
Runtime.install({ logger: new DefaultLogger('ERROR'), shutdownSignals: [] });
await runWorker({
  config: chaosConfig(given.service),
  configDirectory: given.folder,
  temporal: { address: given.temporal, namespace: 'default' },
  databaseUrl: given.database,
  smtpUrl: null,
  devDirectory: given.folder,
  sealing: devSealing(given.folder, {}),
  modelReplayUrl: null,
  workflowBundle: { code: readFileSync(given.bundle, 'utf8') },
  signal: stop.signal,
  log: (level, message) => {
    if (level === 'error') process.stderr.write(`worker ${process.pid}: ${message}\n`);
  },
  onReady: () => {
    flushCompileCache(); // whoever is killed writes none
    process.send?.('ready');
  },
  environment: { PAYMENTS_API_KEY: given.apiKey },
});
process.exit(0);
