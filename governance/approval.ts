/**
 * What a person signs: the request of an ask, and the statement that answers it (trust.md, Approvals). Both are
 * RFC 8785 bytes. Values of arguments, shown text and facts stand in them as salted commitments only; the values lie
 * beside the request and can be erased.
 */
import { canonicalize } from './canonical.ts';
import { utf8Bytes } from './digest.ts';
import type { Json } from './json.ts';
import type { Provenance } from './provenance.ts';
import {
  MAX_GATES_PER_ASK,
  MAX_REASONS_PER_ASK,
  MAX_SIGNED_REQUEST_BYTES,
  MAX_STATEMENT_TEXT_CHARS,
} from './limits.ts';
import {
  type Parsed,
  canonicalJsonOf,
  exactObject,
  hexOf,
  integerOf,
  listOf,
  nameOf,
  oneOf,
  parsing,
  refuse,
  textOf,
  timeOf,
} from './strict.ts';

/** A gate that the ask answers: the digest is of its policy text and annotations. */
export interface AskedGate {
  readonly id: string;
  readonly sha256: string;
  readonly roles: readonly string[];
  /** Different people who have to say yes. */
  readonly quorum: number;
  /** The kind of key that counts. */
  readonly key: 'any' | 'webauthn';
}

/** A fact that the call rests on, as it was when the ask was made. */
export interface AskedFact {
  readonly kind: string;
  /** commitment(salt, value) */
  readonly commitment: string;
  /** The call that proved it. */
  readonly call: string;
  readonly ageMs: number;
}

/** The request of an ask. */
export interface ApprovalRequest {
  readonly v: 1;
  readonly approvalId: string;
  /** 16 bytes, hex. */
  readonly nonce: string;
  readonly tenant: string;
  readonly run: string;
  readonly call: string;
  readonly tool: string;
  readonly toolDigest: string;
  /** commitment(salt, canonical arguments) */
  readonly argsCommitment: string;
  /** commitment(salt, what the approver is shown) */
  readonly shownCommitment: string;
  /** Why it is asked: ids of the policies that refused. */
  readonly reasons: readonly string[];
  readonly gates: readonly AskedGate[];
  readonly facts: readonly AskedFact[];
  /** commitment(salt, where the arguments came from) */
  readonly provenanceCommitment: string;
  /** Worst case, micro-dollars. */
  readonly costMicros: number;
  readonly requester: { readonly user: string; readonly agent: string };
  readonly requestedAt: string;
  readonly expiresAt: string;
}

/** Where the arguments of an asked call came from, and the words that they came from. */
export interface AskedProvenance {
  readonly judged: Provenance;
  readonly sources: readonly AskedSource[];
}

/** A value and where the run saw it first. */
export interface AskedSource {
  readonly argument: string;
  readonly value: string;
  readonly origin: Provenance['worst'];
  readonly about: Provenance['concerns'][number]['about'];
  /** The output that holds it; null: the model made it up. */
  readonly from: { readonly call: string; readonly tool: string; readonly field: string; readonly text: string } | null;
}

/** What lies beside a request: its values and their salt. Erasable. */
export interface ApprovalContent {
  /** 32 bytes, hex: opens every commitment of the request. */
  readonly salt: string;
  readonly args: Json;
  /** Plain words by the tool's author: what will happen. */
  readonly shown: string;
  readonly facts: readonly {
    readonly kind: string;
    readonly value: string;
    readonly provedAtMs: number;
    readonly call: string;
    readonly untrusted?: boolean;
  }[];
  /** Where the arguments came from: frozen while the ask waits. */
  readonly provenance: AskedProvenance;
  /** The policy request of the decision, so that a stranger's Cedar can repeat it. */
  readonly policyRequest: Json;
}

/** An answer to a request, as it is signed. */
export interface ApprovalStatement {
  readonly v: 1;
  readonly request: ApprovalRequest;
  readonly decision: 'approve' | 'reject';
  readonly person: string;
  /** Fingerprint of the key that signs. */
  readonly key: string;
  /** The signer's clock; evidence only, the database's clock decides. */
  readonly at: string;
}

/** The bytes of a statement: sign their PAE with APPROVAL_PAYLOAD_TYPE. */
export function approvalStatement(
  request: ApprovalRequest,
  decision: 'approve' | 'reject',
  person: string,
  keyId: string,
  at: string,
): Uint8Array {
  return utf8Bytes(canonicalize({ v: 1, request: asJson(request), decision, person, key: keyId, at }));
}

/** The canonical text of a request, or why it cannot be asked: too large for a statement to fit a signal. */
export function requestText(request: ApprovalRequest): Parsed<string> {
  return parsing(() => {
    const text = canonicalize(asJson(request));
    const bytes = utf8Bytes(text).length;
    if (bytes > MAX_SIGNED_REQUEST_BYTES) {
      return refuse(`the request has ${bytes} bytes, at most ${MAX_SIGNED_REQUEST_BYTES} can be signed`);
    }
    readRequest(asJson(request));
    return text;
  });
}

/** Reads a stored request strictly: canonical bytes, no field missing, none more. */
export function parseRequest(text: string): Parsed<ApprovalRequest> {
  return parsing(() => readRequest(canonicalJsonOf(utf8Bytes(text), 'the request')));
}

/** Reads a statement strictly: canonical bytes, no field missing, none more. */
export function parseStatement(payload: Uint8Array): Parsed<ApprovalStatement> {
  return parsing(() => {
    const value = canonicalJsonOf(payload, 'the statement');
    const s = exactObject(value, ['v', 'request', 'decision', 'person', 'key', 'at'], 'the statement');
    if (s.v !== 1) return refuse('the statement is of an unknown version');
    return {
      v: 1,
      request: readRequest(s.request),
      decision: oneOf(s.decision, 'the decision', ['approve', 'reject']),
      person: nameOf(s.person, 'the person'),
      key: hexOf(s.key, 'the key', 32),
      at: timeOf(s.at, 'the time'),
    };
  });
}

const REQUEST_FIELDS = [
  'v', 'approvalId', 'nonce', 'tenant', 'run', 'call', 'tool', 'toolDigest', 'argsCommitment', 'shownCommitment',
  'reasons', 'gates', 'facts', 'provenanceCommitment', 'costMicros', 'requester', 'requestedAt', 'expiresAt',
] as const; // prettier-ignore

function readRequest(value: unknown): ApprovalRequest {
  const r = exactObject(value, REQUEST_FIELDS, 'the request');
  if (r.v !== 1) return refuse('the request is of an unknown version');
  const requester = exactObject(r.requester, ['user', 'agent'], 'the requester');
  const gates = listOf(r.gates, 'the list of gates', MAX_GATES_PER_ASK, readGate);
  if (gates.length === 0) return refuse('the request asks for no gate');
  if (new Set(gates.map((g) => g.id)).size !== gates.length) return refuse('a gate is asked twice');
  return {
    v: 1,
    approvalId: nameOf(r.approvalId, 'the approval id'),
    nonce: hexOf(r.nonce, 'the nonce', 16),
    tenant: short(r.tenant, 'the tenant'),
    run: short(r.run, 'the run'),
    call: short(r.call, 'the call'),
    tool: short(r.tool, 'the tool'),
    toolDigest: hexOf(r.toolDigest, 'the tool digest', 32),
    argsCommitment: hexOf(r.argsCommitment, 'the commitment to the arguments', 32),
    shownCommitment: hexOf(r.shownCommitment, 'the commitment to what is shown', 32),
    reasons: listOf(r.reasons, 'the list of reasons', MAX_REASONS_PER_ASK, (item) => short(item, 'a reason')),
    gates,
    facts: listOf(r.facts, 'the list of facts', MAX_SIGNED_REQUEST_BYTES, readFact),
    provenanceCommitment: hexOf(r.provenanceCommitment, 'the commitment to the provenance', 32),
    costMicros: integerOf(r.costMicros, 'the cost'),
    requester: { user: short(requester.user, 'the requester'), agent: short(requester.agent, 'the agent') },
    requestedAt: timeOf(r.requestedAt, 'the time of the request'),
    expiresAt: timeOf(r.expiresAt, 'the expiry'),
  };
}

function readGate(item: unknown): AskedGate {
  const g = exactObject(item, ['id', 'sha256', 'roles', 'quorum', 'key'], 'a gate');
  const roles = listOf(g.roles, 'the roles of a gate', 32, (role) => nameOf(role, 'a role'));
  if (roles.length === 0) return refuse('a gate names no role');
  return {
    id: short(g.id, 'a gate'),
    sha256: hexOf(g.sha256, 'a gate digest', 32),
    roles,
    quorum: integerOf(g.quorum, 'a quorum', 1),
    key: oneOf(g.key, 'the kind of key of a gate', ['any', 'webauthn']),
  };
}

function readFact(item: unknown): AskedFact {
  const f = exactObject(item, ['kind', 'commitment', 'call', 'ageMs'], 'a fact');
  return {
    kind: short(f.kind, 'the kind of a fact'),
    commitment: hexOf(f.commitment, 'the commitment to a fact', 32),
    call: short(f.call, 'the call of a fact'),
    ageMs: integerOf(f.ageMs, 'the age of a fact'),
  };
}

function short(value: unknown, what: string): string {
  return textOf(value, what, MAX_STATEMENT_TEXT_CHARS);
}

function asJson(request: ApprovalRequest): Json {
  return request as unknown as Json;
}
