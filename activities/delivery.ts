/** Which message an activity works on: its retries are the same delivery, another signal is another one. */
import { randomUUID } from 'node:crypto';
import { Context } from '@temporalio/activity';

/** The same for every attempt of one scheduled activity; outside an activity a new one each time. */
export function deliveryId(): string {
  try {
    const { workflowExecution, activityId } = Context.current().info;
    return workflowExecution ? `${workflowExecution.runId}/${activityId}` : randomUUID();
  } catch {
    return randomUUID();
  }
}
