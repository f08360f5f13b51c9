/**
 * What mails say: which tool, until when, a link. Never arguments, unless the tool's author marked them; never a link
 * that does something by being opened. Every foreign word is escaped, and no line break reaches a header.
 */
import type { ApprovalRequest } from '../governance/approval.ts';
import { effectWords, stateWords } from '../governance/ask-words.ts';
import { sha256Hex } from '../governance/digest.ts';
import type { Json } from '../governance/json.ts';
import { visible } from '../governance/visible.ts';
import type { Mail } from './deps.ts';

/** Longest value of a field that a mail shows. */
const MAX_FIELD_CHARS = 200;
const MAX_SUBJECT_CHARS = 150;

/** An invitation as it is mailed. */
export interface InvitationMail {
  readonly invitation: string;
  readonly to: string;
  readonly link: string;
  readonly tenant: string;
  readonly person: string;
}

/** What became of an ask. */
export interface CameOfIt {
  readonly state: string;
  readonly answers: readonly { readonly person: string; readonly decision: string }[];
  /** The state of the call's effect; null: none. */
  readonly effect: string | null;
}

/** What a mail about an ask is made from. */
export interface AskMail {
  readonly request: ApprovalRequest;
  readonly about: 'ask' | 'reminder' | 'outcome';
  readonly came: CameOfIt;
  readonly to: readonly string[];
  /** Origin of the approval page; null: answered on the command line. */
  readonly page: string | null;
  /** Fields that the tool's author marked for mails, with their values. */
  readonly fields: readonly (readonly [name: string, value: Json])[];
}

const ASK_TITLES = { ask: 'Approval needed', reminder: 'Still waiting', outcome: 'What came of it' } as const;

/**
 * A mail about an ask. The first one's Message-ID is the request's; later ones answer it, and all of them their run's, so
 * that mail programs thread them.
 */
export function askMail(mail: AskMail): Mail {
  const { request, page, about } = mail;
  const { approvalId, tool, requester, tenant } = request;
  const title = ASK_TITLES[about];
  const asks = `${visible(requester.agent)} ${about === 'outcome' ? 'asked' : 'asks'} in ${visible(tenant)}, on behalf of ${visible(requester.user)}, whether ${visible(tool)} may run.`;
  const ends = `Without an answer by ${request.expiresAt} nothing happens.`;
  const link = page === null ? null : `${page}/asks/${encodeURIComponent(approvalId)}`;
  const answer = `${link === null ? 'Read and answer it' : 'Or on the command line'}: actguard approve ${approvalId} (or: actguard reject ${approvalId})`;
  const thread = [messageId(request.run), messageId(approvalId)];
  return {
    to: mail.to,
    ...bodies(
      title,
      [asks, about === 'outcome' ? cameOfIt(mail.came) : ends],
      mail.fields,
      link,
      about === 'outcome' ? `Look at the run: actguard show ${request.run}` : answer,
    ),
    subject: subjectOf(`${title}: ${tool} in ${tenant}`),
    messageId: messageId(about === 'ask' ? approvalId : `${approvalId}.${about}`),
    inReplyTo: messageId(about === 'ask' ? request.run : approvalId),
    references: about === 'ask' ? thread.slice(0, 1) : thread,
  };
}

/** Who answered what, and what happened then. */
function cameOfIt({ state, answers, effect }: CameOfIt): string {
  const words = { approve: 'approved', reject: 'rejected' } as { readonly [decision: string]: string };
  const who = answers.map((a) => `${visible(a.person)} ${words[a.decision] ?? visible(a.decision)} it. `).join('');
  const happened =
    effectWords(effect) ?? (state === 'granted' ? 'It was not used: nothing happened.' : 'Nothing happened.');
  // where people answered, their words say it
  const said = answers.length > 0 && ['granted', 'consumed', 'rejected'].includes(state);
  return `${who}${said ? '' : `${stateWords(state)}. `}${happened}`;
}

/** The mail that invites. */
export function invitationMail({ invitation, to, link, tenant, person }: InvitationMail): Mail {
  const paragraphs = [
    `You are invited to approve in ${visible(tenant)} as ${visible(person)}.`,
    'The link lets you make a passkey, once, within three days. It approves nothing; an administrator confirms your passkey before it counts.',
    'If you did not expect this, ignore it.',
  ];
  return {
    to: [to],
    ...bodies('You are invited to approve', paragraphs, [], link, null),
    subject: subjectOf(`You are invited to approve in ${tenant}`),
    messageId: messageId(`invitation.${invitation}`),
  };
}

/** A mail of a few lines about a run, or about the budgets above runs (`run` empty). */
export function runMail(to: readonly string[], run: string, what: string, title: string, text: string): Mail {
  return {
    to,
    ...bodies(
      title,
      [text],
      [],
      null,
      run === ''
        ? 'Look at the budgets: actguard budget list --tenant TENANT'
        : `Look at the run: actguard show ${run}`,
    ),
    subject: subjectOf(run === '' ? title : `${title}: run ${run}`),
    // one run may have several mails about its budget; the same one, sent again, has the same id
    messageId: messageId(`${run}.${what}.${sha256Hex(text.toWellFormed()).slice(0, 16)}`),
    ...(run === '' ? {} : { inReplyTo: messageId(run) }),
  };
}

function bodies(
  title: string,
  paragraphs: readonly string[],
  fields: AskMail['fields'],
  link: string | null,
  how: string | null,
): { readonly text: string; readonly html: string } {
  const rows = fields.map(([name, value]) => [visible(name), shortValue(value)] as const);
  const text = [
    ...paragraphs,
    ...(rows.length === 0 ? [] : [rows.map(([name, value]) => `${name}: ${value}`).join('\n')]),
    ...(link === null ? [] : [`Sign in and read it: ${link}`]),
    ...(how === null ? [] : [how]),
  ].join('\n\n');
  const html = [
    `<h1 style="font-size:18px">${escape(title)}</h1>`,
    ...paragraphs.map((p) => `<p>${escape(p)}</p>`),
    ...(rows.length === 0
      ? []
      : [
          `<table>${rows.map(([n, v]) => `<tr><th align="left">${escape(n)}</th><td>${escape(v)}</td></tr>`).join('')}</table>`,
        ]),
    ...(link === null ? [] : [`<p><a href="${escape(link)}">Sign in and read it</a></p><p>${escape(link)}</p>`]),
    ...(how === null ? [] : [`<p>${escape(how)}</p>`]),
  ].join('\n');
  return { text: `${text}\n`, html: `<!doctype html><html lang="en"><body>${html}</body></html>\n` };
}

function shortValue(value: Json): string {
  const text = visible(typeof value === 'string' ? value : JSON.stringify(value));
  return text.length > MAX_FIELD_CHARS ? `${text.slice(0, MAX_FIELD_CHARS)}…` : text;
}

/** One line of printable characters. */
function subjectOf(text: string): string {
  const line = visible(text.replaceAll(/\s+/g, ' ').trim());
  return `[ActGuard] ${line.length > MAX_SUBJECT_CHARS ? `${line.slice(0, MAX_SUBJECT_CHARS).toWellFormed()}…` : line}`;
}

/** `<id@actguard.invalid>`: only characters that a Message-ID may hold (RFC 5322, dot-atom). */
function messageId(id: string): string {
  return `<${id.replaceAll(/[^A-Za-z0-9._-]/g, '_').slice(0, 200)}@actguard.invalid>`;
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;').replaceAll("'", '&#39;'); // prettier-ignore
}
