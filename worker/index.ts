/**
 * `actguard/worker`: run the platform's worker inside your own process. Most people use `actguard worker` instead.
 *
 * @example
 * import config from './actguard.config.ts';
 * import { jsonLog, runWorker } from 'actguard/worker';
 * await runWorker({ config, configDirectory: '.', temporal: { address: 'localhost:7233', namespace: 'default' },
 *   databaseUrl, smtpUrl: null, devDirectory: null, modelReplayUrl: null, signal, log: jsonLog });
 */
export { createActivities } from '../activities/index.ts';
export type { Deps } from '../activities/deps.ts';
export { bundleWorkflows } from './bundle.ts';
export { jsonLog, runWorker, type WorkerOptions } from './worker.ts';
export { failureConverterPath, payloadConverterPath } from '../workflows/converter-path.ts';
export { dataConverterOf, payloadKeysFile } from '../client/data-converter.ts';
