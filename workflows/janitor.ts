/**
 * `janitor`: one a task queue, started by its workers. Every 30 s it looks for what nobody else looks for: claims of dead
 * workers, questions of runs that have ended, runs whose workflow is gone. Every round stands for itself.
 */
import {
  ActivityCancellationType,
  continueAsNew,
  isCancellation,
  proxyActivities,
  setWorkflowOptions,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import type { JanitorActivities, SweepResult } from '../activities/janitor-types.ts';
import { HEARTBEAT_TIMEOUT_MS, JANITOR_EVERY_MS, JANITOR_ROUNDS } from '../governance/limits.ts';
import { notifications } from './proxies.ts';
import { checkReadable } from './readable.ts';

const SWEEP_TIMEOUT_MS = 60_000;
/** Beyond a tool's timeout: two round trips to the database. */
const ASK_SLACK_MS = 60_000;

const { sweep } = proxyActivities<Pick<JanitorActivities, 'sweep'>>({
  startToCloseTimeout: SWEEP_TIMEOUT_MS,
  // a worker that took it and died: the next round is soon enough, a late one is not
  scheduleToCloseTimeout: 2 * SWEEP_TIMEOUT_MS,
  retry: { maximumAttempts: 2 },
});

const mailing = proxyActivities<Pick<JanitorActivities, 'notify'>>({
  startToCloseTimeout: SWEEP_TIMEOUT_MS,
  scheduleToCloseTimeout: 2 * SWEEP_TIMEOUT_MS,
  retry: { maximumAttempts: 1 },
});

// No round depends on the one before: it moves to new code by itself. (A server refuses the word from a worker without versions.)
setWorkflowOptions(
  () => (workflowInfo().currentDeploymentVersion?.deploymentName ? { versioningBehavior: 'AUTO_UPGRADE' } : {}),
  janitor,
);

/** Looks for what nobody looks for, until it is cancelled. */
export async function janitor(): Promise<never> {
  for (let round = 0; round < JANITOR_ROUNDS && !workflowInfo().continueAsNewSuggested; round += 1) {
    const nothing: Pick<SweepResult, 'questions' | 'notices' | 'mails'> = { questions: [], notices: [] };
    const { questions, notices, mails = [] } = await unlessFailed<typeof nothing>(look, nothing);
    for (const text of notices) {
      const mail = { v: 1, run: '', what: 'budget', approvalId: null, text } as const;
      void notifications.notify(mail).catch(() => undefined);
    }
    // one that is not taken is due again: the database knows
    await Promise.all(mails.map((mail) => unlessFailed(() => mailing.notify(mail), undefined)));
    await Promise.all(questions.map((question) => unlessFailed(() => ask(question), null)));
    await sleep(JANITOR_EVERY_MS);
  }
  return continueAsNew<typeof janitor>();
}

async function look(): Promise<SweepResult> {
  const found = await sweep({ v: 1 });
  checkReadable(found);
  return found;
}

function ask({ run, call, timeoutMs }: SweepResult['questions'][number]): Promise<unknown> {
  const { askQuestion } = proxyActivities<Pick<JanitorActivities, 'askQuestion'>>({
    startToCloseTimeout: timeoutMs + ASK_SLACK_MS,
    scheduleToStartTimeout: ASK_SLACK_MS,
    heartbeatTimeout: HEARTBEAT_TIMEOUT_MS,
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { maximumAttempts: 1 }, // the question itself is asked again
    summary: `${run}/${call}`.slice(0, 120),
  });
  return askQuestion({ v: 1, run, call });
}

/** A round that failed (the database was away) is followed by the next one. */
async function unlessFailed<T>(work: () => Promise<T>, otherwise: T): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isCancellation(error)) throw error;
    return otherwise;
  }
}
