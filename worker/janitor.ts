/** Starts the janitor of a task queue where it does not run yet; any worker may, Temporal keeps it single. */
import { Client } from '@temporalio/client';
import type { NativeConnection } from '@temporalio/worker';
import type { janitor } from '../workflows/index.ts';
import { janitorIdOf } from '../workflows/ids.ts';

/** @throws what the client throws when Temporal is away */
export async function startJanitor(connection: NativeConnection, namespace: string, taskQueue: string): Promise<void> {
  const client = new Client({ connection, namespace });
  await client.workflow.start<typeof janitor>('janitor', {
    taskQueue,
    workflowId: janitorIdOf(taskQueue),
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    args: [],
    staticSummary: 'claims of dead workers, open questions, terminated runs',
  });
}
