/** `actguard worker`: a worker against your own Temporal and Postgres; `actguard dev` runs it as a child. */
import { readFileSync } from 'node:fs';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import type { Command } from 'commander';
import { Option } from 'commander';
import { ActGuardError, isActGuardError } from '../../governance/errors.ts';
import type { DevFile } from '../../worker/dev-file.ts';
import { devFilePath } from '../../worker/dev-file.ts';
import type { WorkerMessage } from '../../worker/dev-worker.ts';
import { devSealing, sealingFromEnvironment } from '../../worker/sealing.ts';
import { loadConfig } from '../../worker/load-config.ts';
import type { WorkerOptions } from '../../worker/worker.ts';
import { jsonLog, runWorker } from '../../worker/worker.ts';
import type { Io } from './io.ts';

/** Where a worker connects to. */
type Place = Pick<
  WorkerOptions,
  'temporal' | 'databaseUrl' | 'smtpUrl' | 'devDirectory' | 'modelReplayUrl' | 'sealing' | 'pageUrl'
>;

/** Registers the command. */
export function register(program: Command, io: Io): void {
  program
    .command('worker')
    .description('run a worker: TEMPORAL_ADDRESS …, ACTGUARD_DATABASE_URL and ACTGUARD_SMTP_URL say where')
    .option('--config <file>', 'your actguard.config.ts; default: found from here upwards')
    .addOption(new Option('--dev-state <directory>').hideHelp())
    .action(async (options: { config?: string; devState?: string }) => {
      const stop = new AbortController();
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort());
      try {
        const place = options.devState === undefined ? placeFromEnvironment() : placeFromDevStack(options.devState);
        const { config, directory } = await loadConfig(options.config);
        await runWorker({
          ...place,
          config,
          configDirectory: directory,
          signal: stop.signal,
          log: jsonLog,
          scrubOutput: true,
          onReady: () => {
            tell({ kind: 'ready' });
            io.progress(
              `worker ready: ${config.agents.length} agents, ${config.tools.length} tools, Temporal at ${place.temporal.address}`,
            );
          },
        });
      } catch (error) {
        const known = isActGuardError(error) ? error : undefined;
        const message = error instanceof Error ? error.message : String(error);
        tell({ kind: 'failed', code: known?.code ?? 'FAILED', message, hint: known?.hint ?? null });
        throw error;
      }
    });
}

function placeFromDevStack(directory: string): Place {
  const file = JSON.parse(readFileSync(devFilePath(directory), 'utf8')) as DevFile;
  if (!file.temporal || !file.postgres) throw new ActGuardError('BACKEND_UNAVAILABLE', 'the dev stack is not up yet');
  return {
    temporal: { address: file.temporal.address, namespace: file.temporal.namespace },
    databaseUrl: file.postgres.url,
    smtpUrl: file.mail?.smtp ?? null,
    devDirectory: directory,
    modelReplayUrl: process.env['ACTGUARD_MODEL_REPLAY_URL'] ?? null,
    sealing: devSealing(directory, file),
    pageUrl: file.page?.url ?? null,
  };
}

function placeFromEnvironment(): Place {
  const databaseUrl = process.env['ACTGUARD_DATABASE_URL'];
  if (!process.env['TEMPORAL_ADDRESS'] && !process.env['TEMPORAL_PROFILE'] && !process.env['TEMPORAL_CONFIG_FILE']) {
    throw new ActGuardError('CONFIG_INVALID', 'nothing says where Temporal is', {
      hint: 'set TEMPORAL_ADDRESS (and TEMPORAL_NAMESPACE, TEMPORAL_API_KEY), or run `actguard dev`',
    });
  }
  if (!databaseUrl) {
    throw new ActGuardError('CONFIG_INVALID', 'nothing says where Postgres is', {
      hint: 'set ACTGUARD_DATABASE_URL=postgres://user:password@host:5432/database, or run `actguard dev`',
    });
  }
  const { connectionOptions, namespace } = loadClientConnectConfig();
  const { address, apiKey, tls } = connectionOptions;
  return {
    temporal: {
      address: address ?? '127.0.0.1:7233',
      namespace: namespace ?? 'default',
      ...(typeof apiKey === 'string' ? { apiKey } : {}),
      ...(tls === undefined ? {} : { tls }),
    },
    databaseUrl,
    smtpUrl: process.env['ACTGUARD_SMTP_URL'] ?? null,
    devDirectory: null,
    modelReplayUrl: null,
    sealing: sealingFromEnvironment(process.env),
  };
}

function tell(message: WorkerMessage): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}
