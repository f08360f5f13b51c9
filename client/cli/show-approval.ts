/**
 * One ask on a terminal: the canonical content, nothing a model or an argument could use to hide or reorder it. Pure.
 */
import type { AskedSource } from '../../governance/approval.ts';
import { canonicalize } from '../../governance/canonical.ts';
import { span } from '../../governance/denial.ts';
import { visible } from '../../governance/visible.ts';
import type { ReadApproval } from '../approvals.ts';

export { visible };

/** Lines that an approver reads before answering. `nowMs` is for the time that is left. */
export function showApproval(ask: ReadApproval, nowMs: number): string[] {
  const { request, content } = ask;
  const leftMs = Date.parse(request.expiresAt) - nowMs;
  const lines = [
    `approval   ${request.approvalId} (${ask.state})`,
    'what will happen',
    ...block(content.shown),
    `tool       ${visible(request.tool)}`,
    'exact arguments',
    ...block(prettyArgs(content.args)),
    `why asked  ${request.reasons.map(visible).join(', ')}`,
    ...request.gates.map(
      (g) =>
        `  gate     ${visible(g.id)}: ${people(g.quorum)} with role ${g.roles.map(visible).join(' or ')}${g.key === 'webauthn' ? ', by passkey' : ''}`,
    ),
    `asked by   agent ${visible(request.requester.agent)} on behalf of ${visible(request.requester.user)}, tenant ${visible(request.tenant)}`,
    `run        ${visible(request.run)}, call ${visible(request.call)}`,
    ...content.facts.map((fact, i) => {
      const age = span(request.facts[i]?.ageMs ?? 0);
      return `fact       ${visible(fact.kind)} ${visible(fact.value)}, proved by call ${visible(fact.call)}, ${age} old when asked`;
    }),
    ...content.provenance.sources.flatMap(sourceLines),
    `cost       at most $${(request.costMicros / 1_000_000).toFixed(6)}`,
    `expires    ${request.expiresAt}${leftMs > 0 ? ` (in ${span(leftMs)}); without an answer nothing happens` : ' (over)'}`,
    ...ask.answers.map((a) => `answered   ${visible(a.person)}: ${visible(a.decision)}`),
  ];
  return lines;
}

/** Where a questioned value came from, with the words around it. */
function sourceLines({ argument, value, origin, about, from }: AskedSource): string[] {
  const what = about === 'private' ? 'private value in' : about === 'fact' ? 'looked up for a stranger:' : origin;
  const where = from
    ? `from call ${visible(from.call)} (${visible(from.tool)}${from.field === '' ? '' : `, field ${visible(from.field)}`})`
    : 'the agent made it up';
  const named = argument === '' ? visible(value) : `${visible(argument)} ${visible(value)}`;
  return [`came from  ${what} ${named}: ${where}`, ...(from && from.text !== '' ? block(from.text) : [])];
}

/** Indented, so that no line of it can pass for one of ours. */
function block(text: string): string[] {
  return text.split('\n').map((line) => `  | ${visible(line)}`);
}

function prettyArgs(args: ReadApproval['content']['args']): string {
  return JSON.stringify(JSON.parse(canonicalize(args)), null, 2);
}

function people(quorum: number): string {
  return quorum === 1 ? 'one person' : `${quorum} people`;
}
