/** Mails about asks, outcomes and budgets. A mail carries no arguments and approves nothing by being opened. */
import { parseRequest } from '../governance/approval.ts';
import { sha256Hex } from '../governance/digest.ts';
import type { Deps } from './deps.ts';
import type { NotifyInput } from './types.ts';

/** Sends one mail; throws when the mail server does not take it, so that Temporal tries again. */
export async function notify(deps: Deps, input: NotifyInput): Promise<void> {
  const to = deps.config.approvals.notify;
  if (!deps.mailer || to.length === 0) return;
  const subject = { ask: 'Approval needed', outcome: 'What came of it', budget: 'Budget' }[input.what];
  const how =
    input.approvalId === null
      ? input.run === ''
        ? 'Look at the budgets: actguard budget list --tenant TENANT'
        : `Look at the run: actguard show ${input.run}`
      : `Read and answer it: actguard approve ${input.approvalId} (or: actguard reject ${input.approvalId})`;
  const text = input.approvalId === null ? input.text : await askText(deps, input.approvalId);
  await deps.mailer.send({
    to,
    subject: `[ActGuard] ${subject}${input.run === '' ? '' : `: run ${input.run}`}`,
    text: `${text}\n\n${how}\n`,
    // one run may have several mails about its budget; the same one, sent again, has the same id
    messageId: `<${input.approvalId ?? input.run}.${input.what}.${sha256Hex(input.text).slice(0, 16)}@actguard.invalid>`,
  });
}

/** The tool and when the ask expires; its title is made from arguments and stays where people sign. */
async function askText(deps: Deps, approvalId: string): Promise<string> {
  const [row] = await deps.db.query<{ a: { request: string } | null }>('select actguard.read_approval($1) as a', [
    approvalId,
  ]);
  const request = row?.a ? parseRequest(row.a.request) : null;
  if (request?.kind !== 'ok') return 'Somebody is asked.';
  const { tool, expiresAt, requester, tenant } = request.value;
  return `${requester.agent} asks in ${tenant} whether ${tool} may run. Without an answer by ${expiresAt} nothing happens.`;
}
