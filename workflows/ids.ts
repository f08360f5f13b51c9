/** Names of workflows. Clients import this by value: nothing here runs anything. */

/** The workflow that governs a run. */
export function workflowIdOf(run: string): string {
  return `actguard-run-${run}`;
}

/** The task queue of governed workflows and their activities. */
export const TASK_QUEUE = 'actguard';
