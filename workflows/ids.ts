/** Names of workflows. Clients import this by value: nothing here runs anything. */

/** The workflow that governs a run. */
export function workflowIdOf(run: string): string {
  return `actguard-run-${run}`;
}

/** The run that a workflow of this id governs; null: none. */
export function runOfWorkflow(workflowId: string): string | null {
  return /^actguard-run-([0-7][0-9A-HJKMNP-TV-Z]{25})$/.exec(workflowId)?.[1] ?? null;
}

/** The workflow that carries out a request which belongs to no run. */
export function commandIdOf(nonce: string): string {
  return `actguard-command-${nonce}`;
}

/** The workflow that holds the limits of an account; two accounts never share one. */
export function accountWorkflowIdOf(account: string): string {
  return `actguard-account-${account}`;
}

/** The task queue of governed workflows and their activities. */
export const TASK_QUEUE = 'actguard';

/** The workflow that looks after what nobody looks after: one a task queue. */
export function janitorIdOf(taskQueue: string): string {
  return taskQueue === TASK_QUEUE ? 'actguard-janitor' : `actguard-janitor-${taskQueue}`;
}

/** The task queue of the sealer: polled only where the sealing key is. */
export function sealerQueueOf(taskQueue: string): string {
  return `${taskQueue}-sealer`;
}

/** The one workflow that seals the ledger. */
export function sealerIdOf(taskQueue: string): string {
  return sealerQueueOf(taskQueue);
}
