/** What activities ask of Temporal itself, over their worker's own connection. */
import { getClient } from '@temporalio/activity';
import { WorkflowNotFoundError } from '@temporalio/client';
import type { WorkflowEyes } from './janitor.ts';

/** The name of `lookSignal` (workflows/messages.ts), which activities may import as types only. */
const LOOK = 'look';

/** Temporal as the janitor sees it. */
export const temporalEyes: WorkflowEyes = {
  async describe(workflowId) {
    try {
      const { status, runId } = await getClient().workflow.getHandle(workflowId).describe();
      return { status: status.name, temporalRun: runId };
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return null;
      throw error;
    }
  },
};

/** Tells a run that more is known of one of its calls. @throws when it is not there to be told */
export async function tellRun(workflowId: string, call: string): Promise<void> {
  await getClient().workflow.getHandle(workflowId).signal(LOOK, { call });
}
