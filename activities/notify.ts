/** Mails about asks, outcomes and budgets. A mail carries no arguments and approves nothing by being opened. */
import type { Deps } from './deps.ts';
import type { NotifyInput } from './types.ts';

/** Sends one mail; throws when the mail server does not take it, so that Temporal tries again. */
export async function notify(deps: Deps, input: NotifyInput): Promise<void> {
  const to = deps.config.approvals.notify;
  if (!deps.mailer || to.length === 0) return;
  const subject = { ask: 'Approval needed', outcome: 'What came of it', budget: 'Budget used up' }[input.what];
  const how =
    input.approvalId === null
      ? `Look at the run: actguard show ${input.run}`
      : `Read and answer it: actguard approve ${input.approvalId} (or: actguard reject ${input.approvalId})`;
  await deps.mailer.send({
    to,
    subject: `[ActGuard] ${subject}: run ${input.run}`,
    text: `${input.text}\n\n${how}\n`,
    messageId: `<${input.approvalId ?? input.run}.${input.what}@actguard.invalid>`,
  });
}
