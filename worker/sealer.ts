/** Runs the sealer where its key is: a worker of its own on a task queue of its own, and the one workflow it works for. */
import { Context } from '@temporalio/activity';
import type { DataConverter } from '@temporalio/common';
import { Client, WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import { type NativeConnection, Worker, type WorkflowBundleOption } from '@temporalio/worker';
import type { Deps } from '../activities/deps.ts';
import { toFailure } from '../activities/failures.ts';
import type { KeySigner } from '../activities/key-signer.ts';
import { SEALER_ROLE, connectDatabase } from '../activities/postgres.ts';
import { recoverLedger } from '../activities/recover-ledger.ts';
import { type SealerDeps, sealLedger } from '../activities/seal-ledger.ts';
import type { SealActivities, SealedHead } from '../activities/seal-types.ts';
import type { WitnessPlace } from '../activities/witnesses.ts';
import { TASK_QUEUE, sealerIdOf, sealerQueueOf } from '../workflows/ids.ts';

/** What a worker seals with. */
export interface Sealing {
  /** Sign every checkpoint; all are named like the log. The first names it. */
  readonly signers: readonly [KeySigner, ...KeySigner[]];
  readonly witnesses: readonly WitnessPlace[];
}

/** What the worker that it runs in has already. */
export interface SealerPlace {
  readonly connection: NativeConnection;
  readonly temporal: { readonly namespace: string };
  readonly databaseUrl: string;
  readonly taskQueue?: string;
  readonly deps: Deps;
  readonly dataConverter: DataConverter;
  readonly workflowBundle: WorkflowBundleOption;
  readonly signal: AbortSignal;
}

/** The activities of the sealer. */
export function sealActivities(deps: SealerDeps & { readonly trust: Deps }): SealActivities {
  const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw toFailure(error, deps.trust.known);
    }
  };
  return {
    sealLedger: (input) =>
      guarded(() => {
        const { heartbeatDetails } = Context.current().info;
        return sealLedger(deps, input, {
          remembered: (heartbeatDetails as SealedHead | null | undefined) ?? null,
          remember: (last) => Context.current().heartbeat(last),
          cancelled: Context.current().cancellationSignal,
        });
      }),
    recoverLedger: (input) => guarded(() => recoverLedger(deps, input)),
  };
}

/**
 * Starts polling, and the workflow unless it runs already. `stopped` resolves when the place's signal has ended both.
 * @throws BACKEND_UNAVAILABLE
 */
export async function startSealer(sealing: Sealing, place: SealerPlace): Promise<{ readonly stopped: Promise<void> }> {
  const queue = place.taskQueue ?? TASK_QUEUE;
  const db = connectDatabase(place.databaseUrl, { role: SEALER_ROLE, max: 2, applicationName: 'actguard-sealer' });
  const deps: SealerDeps & { readonly trust: Deps } = {
    db,
    origin: sealing.signers[0].key.name,
    signers: sealing.signers,
    witnesses: sealing.witnesses,
    worker: place.deps.db,
    dev: place.deps.dev,
    trust: place.deps,
    stopping: place.signal,
    log: place.deps.log,
  };
  const worker = await Worker.create({
    connection: place.connection,
    namespace: place.temporal.namespace,
    taskQueue: sealerQueueOf(queue),
    workflowBundle: place.workflowBundle,
    dataConverter: place.dataConverter,
    activities: { ...sealActivities(deps) },
    maxConcurrentActivityTaskExecutions: 2,
    maxConcurrentWorkflowTaskExecutions: 2,
    maxCachedWorkflows: 2,
    workflowThreadPoolSize: 1,
  });
  place.signal.addEventListener('abort', () => worker.shutdown(), { once: true });
  const client = new Client({
    connection: place.connection,
    namespace: place.temporal.namespace,
    dataConverter: place.dataConverter,
  });
  await client.workflow
    .start('sealer', { taskQueue: sealerQueueOf(queue), workflowId: sealerIdOf(queue), args: [] })
    .catch((error: unknown) => {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    });
  const stopped = (place.signal.aborted ? Promise.resolve() : worker.run()).finally(() => db.end());
  return { stopped };
}
