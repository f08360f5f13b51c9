/** What activities ask of Temporal itself, over their worker's own connection. */
import { getClient } from '@temporalio/activity';
import { WorkflowNotFoundError } from '@temporalio/client';
import { readHistory } from './history.ts';
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
  tell: tellRun,
  history: (workflowId, run) => readHistory(getClient(), workflowId, run),
};

/** Tells a run that more is known of one of its calls; one that has ended has nothing to be told. @throws when Temporal is away */
export async function tellRun(workflowId: string, call: string): Promise<void> {
  try {
    await getClient().workflow.getHandle(workflowId).signal(LOOK, { call });
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError)) throw error;
  }
}
