/** One ask: what will happen, in plain words and exactly, checked here against what is signed; then yes or no. */
import { type ApprovalRequest, approvalStatement, parseRequest } from '../../governance/approval.ts';
import { stateWords } from '../../governance/ask-words.ts';
import { canonicalize } from '../../governance/canonical.ts';
import { contentProblem } from '../../governance/content.ts';
import { span } from '../../governance/denial.ts';
import { sha256Hex } from '../../governance/digest.ts';
import { APPROVAL_PAYLOAD_TYPE } from '../../governance/dsse.ts';
import type { Json } from '../../governance/json.ts';
import { type AskData, type Me, post } from './api.ts';
import { type Child, announce, el, foreign, foreignBlock, terms, when } from './dom.ts';
import { outcomeOf } from './outcome.ts';
import { sourcesOf } from './sources.ts';
import { envelopeOf, sign } from './passkey.ts';
import { storyOf } from './story.ts';

/** What the view needs of the page around it. */
export interface AskView {
  readonly me: Me;
  readonly rpId: string;
  /** Draws anew, after an answer or a failure. */
  readonly refresh: () => void;
  readonly failed: (error: unknown) => void;
  /** Canonical text of the request as it was first shown here: it may never change. */
  readonly firstShown: Map<string, string>;
}

/** Draws an ask. */
export function askView(ask: AskData, view: AskView): HTMLElement {
  const parsed = parseRequest(ask.request);
  if (parsed.kind === 'invalid') return damaged(ask.approvalId, parsed.reason);
  const request = parsed.value;
  const first = view.firstShown.get(ask.approvalId) ?? ask.request;
  view.firstShown.set(ask.approvalId, first);
  if (first !== ask.request) return damaged(ask.approvalId, 'it has changed while you were reading');
  if (request.approvalId !== ask.approvalId) return damaged(ask.approvalId, 'it is another one than was asked for');
  const problem = contentProblem(request, ask.content);
  const { content } = ask;
  if (problem !== null || content === null) return damaged(ask.approvalId, problem ?? 'its content was erased');
  return el(
    'article',
    { class: 'ask' },
    el('p', { class: `state ${ask.state}` }, stateWords(ask.state)),
    foreignBlock('h1', content.shown, { tabindex: '-1', class: 'shown' }),
    outcomeOf(ask),
    answerForm(ask, request, view),
    section(
      'Exactly',
      terms(
        ['Tool', el('code', {}, foreign(request.tool))],
        [
          'Arguments',
          foreignBlock('pre', JSON.stringify(JSON.parse(canonicalize(content.args)) as Json, null, 2), {
            tabindex: '0',
          }),
        ],
        ['Cost', request.costMicros === 0 ? 'nothing' : `at most $${(request.costMicros / 1_000_000).toFixed(6)}`],
      ),
    ),
    section(
      'Why you are asked',
      el(
        'ul',
        {},
        ...request.gates.map((gate) => el('li', {}, el('code', {}, foreign(gate.id)), `: ${gateWords(gate)}`)),
      ),
    ),
    section(
      'On whose behalf',
      terms(
        ['User', foreign(request.requester.user)],
        ['Agent', foreign(request.requester.agent)],
        ['Tenant', foreign(request.tenant)],
        ['Run', el('code', {}, foreign(`${request.run}, call ${request.call}`))],
        ['Asked', when(Date.parse(request.requestedAt))],
      ),
    ),
    section('Where values came from', factsOf(request, content.facts), sourcesOf(content.provenance.sources)),
    section('What the agent did before', storyOf(ask.before)),
    section(
      'If nobody answers',
      el('p', {}, 'Nothing happens. The ask ends ', when(Date.parse(request.expiresAt)), leftWords(request, ask.nowMs)),
    ),
    ask.answers.length > 0 &&
      section(
        'Answers',
        el(
          'ul',
          {},
          ...ask.answers.map((a) => el('li', {}, `${foreign(a.person)}: ${foreign(a.decision)}, `, when(a.atMs))),
        ),
      ),
    section(
      'Checked in this page',
      el('p', {}, 'Text, arguments and facts above are the ones that the request commits to. SHA-256 of the request:'),
      el('p', {}, el('code', { class: 'digest' }, sha256Hex(ask.request))),
    ),
  );
}

function answerForm(ask: AskData, request: ApprovalRequest, view: AskView): Child {
  if (ask.state !== 'open') return null;
  const why = mayNot(ask, request, view.me);
  if (why !== null) return el('p', { class: 'note' }, why);
  const buttons: HTMLButtonElement[] = [];
  const button = (decision: 'approve' | 'reject', label: string): HTMLElement => {
    const made = el(
      'button',
      { type: 'button', class: decision, id: decision, click: () => void answer(decision) },
      label,
    );
    buttons.push(made as HTMLButtonElement);
    return made;
  };
  const answer = async (decision: 'approve' | 'reject'): Promise<void> => {
    for (const other of buttons) other.disabled = true;
    announce('waiting for your passkey');
    try {
      const at = new Date().toISOString();
      const payload = approvalStatement(request, decision, view.me.person, view.me.keyId, at);
      const signed = await sign(APPROVAL_PAYLOAD_TYPE, payload, view.rpId, view.me.credential);
      const envelope = envelopeOf(APPROVAL_PAYLOAD_TYPE, payload, view.me.keyId, signed);
      await post(`/api/asks/${request.approvalId}/answer`, { envelope });
      announce(decision === 'approve' ? 'your yes was sent' : 'your no was sent');
      view.refresh();
    } catch (error) {
      for (const other of buttons) other.disabled = false;
      view.failed(error);
    }
  };
  return el(
    'div',
    { class: 'answer', role: 'group', 'aria-label': 'Your answer' },
    button('approve', 'Approve'),
    button('reject', 'Reject'),
    el('p', { class: 'note' }, 'Your passkey signs exactly what stands here, for this one time.'),
  );
}

/** Why this person cannot answer; null: they can. The worker decides, this only saves a useless signature. */
function mayNot(ask: AskData, request: ApprovalRequest, me: Me): string | null {
  if (ask.answers.some((a) => a.person === me.person)) return 'You have answered.';
  if (request.requester.user === me.person) return 'You asked for this yourself: somebody else has to answer.';
  const role = request.gates.some((g) => me.roles.includes('*') || g.roles.some((r) => me.roles.includes(r)));
  return role ? null : 'You have no role that this ask needs.';
}

function gateWords(gate: ApprovalRequest['gates'][number]): string {
  const who = gate.quorum === 1 ? 'one person' : `${gate.quorum} people`;
  return `${who} with role ${gate.roles.map(foreign).join(' or ')}${gate.key === 'webauthn' ? ', by passkey' : ''}`;
}

function factsOf(
  request: ApprovalRequest,
  facts: readonly { kind: string; value: string; call: string }[],
): HTMLElement {
  if (facts.length === 0) return el('p', {}, 'No value was proven by a tool of this run.');
  const words = facts.map((fact, i) => {
    const age = span(request.facts[i]?.ageMs ?? 0);
    return el('li', {}, `${foreign(fact.kind)} `, el('code', {}, foreign(fact.value)), `: proven by call ${foreign(fact.call)}, ${age} before it was asked`); // prettier-ignore
  });
  return el('ul', {}, ...words);
}

function leftWords(request: ApprovalRequest, nowMs: number): string {
  const leftMs = Date.parse(request.expiresAt) - nowMs;
  return leftMs > 0 ? `, in ${span(leftMs)}.` : '.';
}

function section(title: string, ...children: readonly Child[]): HTMLElement {
  return el('section', {}, el('h2', {}, title), ...children);
}

function damaged(id: string, why: string): HTMLElement {
  return el(
    'article',
    { class: 'ask damaged', role: 'alert' },
    el('h1', { tabindex: '-1' }, 'This ask cannot be answered'),
    el(
      'p',
      {},
      `What is shown would not be what you sign: ${foreign(why)}. Do not approve it in another way; tell an operator.`,
    ),
    el('p', {}, el('code', {}, foreign(id))),
  );
}
