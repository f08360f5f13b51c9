/** The person of the experiment: answers questions of the third receiver from the service's books, signed, after the horizon. */
import { makeCommand } from '../../client/commands.ts';
import { listQuestions } from '../../client/questions.ts';
import { commandRun } from '../../client/run-commands.ts';
import { TENANT } from './config.ts';
import { sleep } from './faults.ts';
import type { ChaosStack } from './stack.ts';

const LOOK_EVERY_MS = 2_000;

/** What the person did; `stop` lets them finish what they do. */
export interface Human {
  readonly answered: () => number;
  /** Questions about receivers that need no person. */
  readonly notTheirs: () => number;
  stop(): Promise<void>;
}

/** Sits down. */
export function startHuman(stack: ChaosStack): Human {
  let answered = 0;
  let notTheirs = 0;
  let going = true;
  const work = async (): Promise<void> => {
    while (going) {
      await sleep(LOOK_EVERY_MS);
      await lookOnce().catch(() => undefined); // a server is away: later
    }
  };
  const lookOnce = async (): Promise<void> => {
    const { actguard, key } = stack;
    for (const question of await listQuestions(actguard.db, TENANT)) {
      if (!question.needsPerson || question.nowMs < question.settledAtMs + 100) continue;
      const { run, call } = question;
      const [row] = await actguard.db.query<{ q: { content: { args: { orderId: string } } } | null }>(
        'select actguard.question_call($1, $2) as q',
        [run, call],
      );
      if (!row?.q) continue;
      const { orderId } = row.q.content.args;
      const made = (await stack.books()).find((b) => b.orderId === orderId);
      const data = made ? { call, happened: true, result: { refundId: made.refundId } } : { call, happened: false };
      const signed = makeCommand('resolve', { tenant: TENANT, run, reason: 'from the books', data }, key, Date.now());
      const counted = await commandRun(actguard, run, signed).then(
        () => true,
        () => false, // known meanwhile, or a server is away
      );
      if (!counted) continue;
      answered += 1;
      if (question.tool !== 'payments.plain') notTheirs += 1;
    }
  };
  const working = work();
  return {
    answered: () => answered,
    notTheirs: () => notTheirs,
    async stop() {
      going = false;
      await working;
    },
  };
}
