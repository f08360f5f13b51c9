/** Opening an ask: the request is made, sealed by commitments and stored with its entries in one round trip. */
import { randomBytes } from 'node:crypto';
import { ulid } from 'ulid';
import type { Tool } from '../define/types.ts';
import {
  type ApprovalContent,
  type ApprovalRequest,
  type AskedGate,
  type AskedProvenance,
  requestText,
} from '../governance/approval.ts';
import type { Amount, LiveFact } from '../governance/call.ts';
import { canonicalize } from '../governance/canonical.ts';
import { deny, escapeHidden, span } from '../governance/denial.ts';
import { commitment, sha256Hex, utf8Bytes } from '../governance/digest.ts';
import type { Denial } from '../governance/errors.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import {
  MAX_APPROVAL_REQUEST_BYTES,
  MAX_ASKS_PER_CALL,
  MAX_ASK_CLOCK_SKEW_MS,
  MAX_OPEN_ASKS,
  MAX_STATEMENT_TEXT_CHARS,
} from '../governance/limits.ts';
import { callEntry, type CallFrame } from './call-entries.ts';
import { sealEntries } from './content.ts';
import type { SecretSet } from './scrub.ts';
import type { Deps, PolicyEngine } from './deps.ts';
import type { Ask } from './types.ts';

/** What an ask is about: a call whose decision was ask. */
export interface OpenAskInput {
  readonly frame: CallFrame;
  readonly tool: Tool;
  /** Canonical arguments: frozen while the ask waits. */
  readonly args: Json;
  readonly argsDigest: string;
  /** An ask of an equal call that is open. */
  readonly equal?: string | undefined;
  /** Gates that refused; those that an earlier ask of this call was granted are asked with them. */
  readonly gates: readonly string[];
  readonly policy: Pick<PolicyEngine, 'digest' | 'gate'>;
  /** The policy request of the decision. */
  readonly request: JsonObject;
  /** What a set that is not enforced said to the same. */
  readonly shadow?: Json | undefined;
  readonly facts: readonly LiveFact[];
  /** Where the arguments came from, with the words that they came from. */
  readonly provenance: AskedProvenance;
  readonly reserved: Amount;
}

export type OpenAskResult =
  { readonly kind: 'ask'; readonly ask: Ask } | { readonly kind: 'denied'; readonly denial: Denial };

type Opened =
  | {
      kind: 'opened';
      again: boolean;
      joined: boolean;
      approvalId: string;
      nonce: string;
      expiresAtMs: number;
      title: string;
      gates: string[];
    }
  | { kind: 'refused'; problem: string; retryAfterMs?: number };

/** Opens an ask, or gives the one that is open for this call. A refusal is a denial. @throws BACKEND_UNAVAILABLE */
export async function openAsk(deps: Deps, input: OpenAskInput): Promise<OpenAskResult> {
  const { run, call } = input.frame.input;
  const [row] = await deps.db.query<{ c: { nowMs: number; granted: string[] } }>(
    'select actguard.ask_context($1, $2) as c',
    [run, call],
  );
  const nowMs = row?.c.nowMs ?? 0;
  const gates = askedGates(input, row?.c.granted ?? []);
  if (!gates)
    return denied(
      'POLICY_ERROR',
      'a gate that refused is not in the active policies',
      'tell the user that the policies changed',
      {},
    );

  const content = contentOf(input, deps.known);
  const request = makeRequest(input, content, gates, nowMs, nowMs + deps.config.approvals.ttlMs);
  const text = requestText(request);
  const bytes =
    text.kind === 'ok' ? utf8Bytes(text.value).length + utf8Bytes(canonicalize(content as unknown as Json)).length : 0;
  if (text.kind === 'invalid' || bytes > MAX_APPROVAL_REQUEST_BYTES) {
    const why =
      text.kind === 'invalid'
        ? text.reason
        : `it has ${bytes} bytes, at most ${MAX_APPROVAL_REQUEST_BYTES} can be read`;
    return denied('LIMIT_EXCEEDED', `an approver cannot be asked: ${why}`, 'make a smaller call', {
      tool: input.tool.name,
    });
  }
  const title = titleOf(content.shown);
  const { tenant, approvalId: fresh } = request;
  const { equal } = input;
  const [opened] = await deps.db.query<{ o: Opened }>('select actguard.open_approval($1::jsonb) as o', [
    JSON.stringify({
      approval: fresh,
      tenant,
      run,
      call,
      nonce: request.nonce,
      request: text.value,
      content: deps.db.content.seal('ask', tenant, content),
      gates,
      title: deps.db.content.sealText('title', tenant, title),
      expiresAtMs: Date.parse(request.expiresAt),
      ttlMs: deps.config.approvals.ttlMs,
      skewMs: MAX_ASK_CLOCK_SKEW_MS,
      maxOpen: MAX_OPEN_ASKS,
      maxPerCall: MAX_ASKS_PER_CALL,
      maxPerHour: deps.config.approvals.maxPerHour,
      entries: sealEntries(deps.db.content, [
        askedEntry(input, request, content, fresh),
        requestedEntry(input, request, text.value),
      ]),
      equal: equal ?? null,
      joined: equal === undefined ? [] : sealEntries(deps.db.content, [askedEntry(input, request, content, equal)]),
    }),
  ]);
  const answer = opened?.o ?? { kind: 'refused', problem: 'unknown_run' };
  if (answer.kind === 'refused') return refused(answer, input.tool.name, deps.config.approvals.maxPerHour);
  const { approvalId, nonce, expiresAtMs, joined } = answer;
  const asked = deps.db.content.needText('title', tenant, answer.title);
  return {
    kind: 'ask',
    ask: { approvalId, nonce, expiresAtMs, gates: answer.gates, title: asked, ...(joined ? { joined } : {}) },
  };
}

/** The gates with their digests; null when the active set does not have one of them. A gate without roles needs `approver`. */
function askedGates(input: OpenAskInput, granted: readonly string[]): AskedGate[] | null {
  const gates: AskedGate[] = [];
  for (const id of new Set([...input.gates, ...granted])) {
    const gate = input.policy.gate(id);
    if (gate) {
      gates.push({
        id,
        sha256: gate.sha256,
        roles: gate.roles.length > 0 ? [...gate.roles] : ['approver'],
        quorum: gate.quorum,
        key: gate.key ?? 'any',
      });
    } else if (input.gates.includes(id)) {
      return null;
    }
  }
  return gates;
}

function contentOf(input: OpenAskInput, known: SecretSet): ApprovalContent {
  return {
    salt: randomBytes(32).toString('hex'),
    args: input.args,
    shown: known.text(shownText(input.tool, input.args)),
    facts: input.facts.map(({ kind, value, provedAtMs, call, untrusted }) => ({
      ...{ kind, value, provedAtMs, call },
      ...(untrusted === true ? { untrusted } : {}),
    })),
    provenance: input.provenance,
    policyRequest: input.request,
  };
}

/** The tool's own words for what will happen; its name and arguments where it has none. */
function shownText(tool: Tool, args: Json): string {
  try {
    const text = tool.code.describe?.(args as never);
    if (typeof text === 'string' && text.trim() !== '') return text.toWellFormed();
  } catch {
    // its author's mistake hides nothing: the exact arguments are shown
  }
  return `${tool.name} ${canonicalize(args)}`;
}

function makeRequest(
  input: OpenAskInput,
  content: ApprovalContent,
  gates: readonly AskedGate[],
  nowMs: number,
  expiresAtMs: number,
): ApprovalRequest {
  const { principal } = input.frame.grant;
  return {
    v: 1,
    approvalId: ulid(nowMs),
    nonce: randomBytes(16).toString('hex'),
    tenant: principal.tenant,
    run: input.frame.input.run,
    call: input.frame.input.call,
    tool: input.tool.name,
    toolDigest: input.tool.manifest.digest,
    argsCommitment: commitment(content.salt, content.args),
    shownCommitment: commitment(content.salt, content.shown),
    reasons: [...input.gates],
    gates,
    facts: content.facts.map((fact) => ({
      kind: fact.kind,
      commitment: commitment(content.salt, fact.value),
      call: fact.call,
      ageMs: Math.max(0, Math.floor(nowMs - fact.provedAtMs)),
    })),
    provenanceCommitment: commitment(content.salt, content.provenance as unknown as Json),
    costMicros: input.reserved.usdMicros,
    requester: { user: principal.user, agent: principal.agent },
    requestedAt: new Date(nowMs).toISOString(),
    expiresAt: new Date(expiresAtMs).toISOString(),
  };
}

/** That this call needs a yes: of its own ask, or of the one it joins. */
function askedEntry(input: OpenAskInput, request: ApprovalRequest, content: ApprovalContent, approvalId: string) {
  return callEntry(
    input.frame,
    'call.asked',
    `asked:${approvalId}`,
    {
      approvalId,
      argsCommitment: request.argsCommitment,
      gates: request.gates.map(({ id, sha256 }) => ({ id, sha256 })),
      policy: input.policy.digest,
      reasons: [...input.gates],
      requestCommitment: commitment(content.salt, content.policyRequest),
      ...(input.shadow === undefined ? {} : { shadow: input.shadow }),
    },
    { args: content.args, argsSalt: content.salt, request: content.policyRequest, requestSalt: content.salt },
  );
}

function requestedEntry(input: OpenAskInput, request: ApprovalRequest, text: string) {
  const { approvalId, expiresAt } = request;
  return callEntry(input.frame, 'approval.requested', `requested:${approvalId}`, {
    approvalId,
    requestSha256: sha256Hex(text),
    gates: request.gates.map(({ id, sha256 }) => ({ id, sha256 })),
    expiresAt,
  });
}

/** One line for lists, queries and the run's details. */
function titleOf(shown: string): string {
  const line = escapeHidden(shown.replaceAll(/\s+/g, ' ').trim());
  return line.length > MAX_STATEMENT_TEXT_CHARS
    ? `${line.slice(0, MAX_STATEMENT_TEXT_CHARS - 1).toWellFormed()}…`
    : line;
}

function refused(answer: Extract<Opened, { kind: 'refused' }>, tool: string, maxPerHour: number): OpenAskResult {
  switch (answer.problem) {
    case 'tired': {
      const waitMs = answer.retryAfterMs ?? 0;
      const reason = `whoever may approve ${tool} was asked ${maxPerHour} times within the hour already`;
      const hint = `nobody is asked for now: tell the user, and try again in ${span(waitMs)}`;
      const denial = deny('LIMIT_EXCEEDED', reason, hint, { limit: maxPerHour }, { retryAfterMs: waitMs });
      return { kind: 'denied', denial };
    }
    case 'too_many':
      return denied(
        'LIMIT_EXCEEDED',
        `this run waits for ${MAX_OPEN_ASKS} approvals already`,
        'wait until they are answered, then try again',
        {
          limit: MAX_OPEN_ASKS,
        },
      );
    case 'again_and_again':
      return denied(
        'APPROVAL_INVALID',
        `this call was asked ${MAX_ASKS_PER_CALL} times already`,
        'tell the user that it was not approved',
        { tool },
      );
    case 'clock':
      return denied(
        'BACKEND_UNAVAILABLE',
        'the expiry of the ask does not fit the clock of the database',
        'try again later',
        { tool },
      );
    default:
      return denied('FORBIDDEN', 'this run may not ask', 'stop and tell the user', { tool });
  }
}

function denied(code: Denial['code'], reason: string, hint: string, details: JsonObject): OpenAskResult {
  return { kind: 'denied', denial: deny(code, reason, hint, details) };
}
