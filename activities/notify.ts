/** Mails about asks, outcomes and budgets. A mail shows what the tool's author marked and approves nothing by being opened. */
import { type ApprovalContent, parseRequest } from '../governance/approval.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import type { Deps, Mail } from './deps.ts';
import { askMail, type CameOfIt, runMail } from './mail-texts.ts';
import type { NotifyInput } from './types.ts';

const TITLES = { ask: 'Approval needed', reminder: 'Still waiting', outcome: 'What came of it', budget: 'Budget' }; // prettier-ignore

/** An ask as a mail about it needs it. */
interface AskContext extends CameOfIt {
  readonly request: string;
  readonly content: ApprovalContent | null;
  readonly mails: readonly string[];
  readonly waiting: readonly string[];
}

/**
 * Sends one mail. What is not taken is kept as undelivered (`actguard doctor` counts them) and thrown, so that Temporal
 * tries again; nothing waits for it. @throws BACKEND_UNAVAILABLE
 */
export async function notify(deps: Deps, input: NotifyInput): Promise<void> {
  const { mailer } = deps;
  if (!mailer) return;
  const mail = scrubbed(deps, await mailOf(deps, input));
  if (mail === null) return;
  if (mail.to.length === 0) {
    // nobody is to be told: what the janitor found is not due again
    if (input.what === 'reminder' || (input.what === 'outcome' && input.approvalId !== null))
      await note(deps, input, mail, null);
    return;
  }
  try {
    await mailer.send(mail);
  } catch (cause) {
    await note(deps, input, mail, cause instanceof Error ? cause.message : String(cause));
    throw new ActGuardError('BACKEND_UNAVAILABLE', 'the mail server does not take mail', { cause });
  }
  await note(deps, input, mail, null);
}

async function mailOf(deps: Deps, input: NotifyInput): Promise<Mail | null> {
  const to = deps.config.approvals.notify;
  if (input.approvalId === null) {
    return runMail(to, input.run, input.what, TITLES[input.what], deps.known.text(input.text));
  }
  const [row] = await deps.db.query<{ a: AskContext | null }>('select actguard.mail_context($1) as a', [
    input.approvalId,
  ]);
  const request = row?.a ? parseRequest(row.a.request) : null;
  if (!row?.a || request?.kind !== 'ok' || input.what === 'budget') return null;
  const { mails, waiting } = row.a;
  return askMail({
    request: request.value,
    about: input.what,
    came: row.a,
    to: [...new Set([...to, ...(input.what === 'reminder' ? waiting : mails)])],
    page: deps.passkeys?.origins[0] ?? null,
    fields: fieldsOf(deps, request.value.tool, deps.db.content.open('ask', request.value.tenant, row.a.content)),
  });
}

/** What the tool's author marked as public, in the author's order. */
function fieldsOf(deps: Deps, name: string, content: ApprovalContent | null): [string, Json][] {
  const marked = deps.config.tools.find((tool) => tool.name === name)?.code.mailFields ?? [];
  const args = content?.args;
  if (typeof args !== 'object' || args === null || Array.isArray(args)) return [];
  return marked.flatMap((field): [string, Json][] => {
    const value = (args as JsonObject)[field];
    return value === undefined ? [] : [[field, deps.known.json(value)]]; // before it is cut and escaped
  });
}

/** Whoever wrote it, and whichever worker recorded it: no mail holds a secret that this worker knows. */
function scrubbed({ known }: Deps, mail: Mail | null): Mail | null {
  if (mail === null) return null;
  return { ...mail, subject: known.text(mail.subject), text: known.text(mail.text), html: known.text(mail.html) };
}

async function note(deps: Deps, input: NotifyInput, mail: Mail, error: string | null): Promise<void> {
  await deps.db.query('select actguard.note_mail($1::jsonb)', [
    JSON.stringify({
      messageId: mail.messageId,
      run: input.run,
      what: input.what,
      error: error === null ? null : deps.known.text(error).slice(0, 300),
    }),
  ]);
}
