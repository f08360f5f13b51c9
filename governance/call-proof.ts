/**
 * Proof of one call: a file that says whether the call was autonomous or approved, by whom and under which policies, and
 * that a stranger checks with the log's public key (and the fingerprints of the administrators' roots).
 */
import { type KeyRow, verifyAnswer } from './answer.ts';
import { canonicalize } from './canonical.ts';
import { openCheckpoint } from './checkpoint.ts';
import { APPROVAL_PAYLOAD_TYPE, parseEnvelope } from './dsse.ts';
import type { Trust } from './enrolment.ts';
import { parseStatement } from './approval.ts';
import { rootOfKey } from './bundle.ts';
import { checkErasures } from './erasure.ts';
import { erasureRecordProblem } from './erasure-record.ts';
import type { Json, JsonObject } from './json.ts';
import { checkContent, leafBytes } from './ledger-export.ts';
import { type Evidence, countKey, placeOf } from './ledger-verify.ts';
import { leafHash, verifyInclusion } from './merkle.ts';
import { type Parsed, parsing, refuse, valueOf } from './strict.ts';
import { parseTlogProof } from './tlog-proof.ts';

/** First field of every proof file. */
export const PROOF_KIND = 'actguard.ledger.proof';
const MAX_ENTRIES = 200;

/** One entry of a proof. */
export interface ProvenEntry {
  /** The bytes that were sealed, as text. */
  readonly body: string;
  /** What lies beside; null: erased or not given. */
  readonly content: JsonObject | null;
  /** tlog-proof@v1 text. */
  readonly proof: string;
}

/** A proof file. */
export interface CallProof {
  readonly kind: typeof PROOF_KIND;
  readonly v: 1;
  readonly run: string;
  readonly call: string;
  readonly entries: readonly ProvenEntry[];
}

/** What a proof proves. */
export interface CallVerdict {
  readonly integrity: 'valid' | 'invalid';
  readonly problems: readonly string[];
  readonly run: string;
  readonly call: string;
  /** `refused`: it never started. */
  readonly authorization: 'autonomous' | 'approved' | 'refused';
  readonly tool: string | null;
  /** People whose signature over this very call verified. */
  readonly approvedBy: readonly string[];
  /** Digest of the policy set of the decision. */
  readonly policy: string | null;
  /** How the call ended, as kinds of entries. */
  readonly outcome: readonly string[];
  /** Entries whose content was erased on record: the proof holds without it. */
  readonly erased: number;
  /** As in an export: keys that are gone, with how many of the entries each. */
  readonly unreadable: { readonly [key: string]: number };
  /** Entries whose content is not in the file, and nothing in it says that it was erased. */
  readonly erasedWithoutRecord: readonly string[];
}

/** Reads a proof file strictly. */
export function parseCallProof(value: unknown): Parsed<CallProof> {
  return parsing(() => {
    const p = value as Partial<CallProof> | null;
    if (typeof p !== 'object' || p?.kind !== PROOF_KIND) return refuse('the file is no proof of a call');
    if (p.v !== 1) return refuse('the proof is of a version that is not known here');
    if (typeof p.run !== 'string' || typeof p.call !== 'string') return refuse('the proof names no run and call');
    if (!Array.isArray(p.entries) || p.entries.length === 0 || p.entries.length > MAX_ENTRIES) {
      return refuse(`a proof has 1 to ${MAX_ENTRIES} entries`);
    }
    const sound = (p.entries as Partial<ProvenEntry>[]).every(
      (e) =>
        typeof e.body === 'string' &&
        e.body.isWellFormed() &&
        typeof e.proof === 'string' &&
        typeof e.content === 'object',
    );
    return sound ? (p as CallProof) : refuse('an entry of the proof is malformed');
  });
}

/** Verifies a proof. `trust` null: nobody's signature is believed, an approved call is then not proven. */
export function verifyCallProof(proof: CallProof, evidence: Evidence, trust: Omit<Trust, 'nowMs'> | null): CallVerdict {
  const problems: string[] = [];
  const entries: { readonly entry: JsonObject; readonly data: JsonObject; readonly content: JsonObject | null }[] = [];
  const erasures = checkErasures((entry) => erasureRecordProblem(entry, evidence.commands, rootOfKey));
  const unreadable = new Map<string, number>();
  for (const [i, proven] of proof.entries.entries()) {
    const opened = openEntry(proven, evidence);
    if (opened.kind === 'invalid') {
      problems.push(`entry ${i + 1} of the file: ${opened.reason}`);
      continue;
    }
    const entry = opened.value;
    const data = (entry['data'] ?? {}) as JsonObject;
    const content = checkContent(entry, proven.content);
    erasures.entry(entry, content === 'erased', placeOf(entry, i));
    if (typeof content === 'object' && 'unreadable' in content) countKey(unreadable, content.unreadable);
    else if (typeof content === 'object')
      problems.push(`${placeOf(entry, i)}: \`${content.changed}\` is not what was recorded`);
    entries.push({ entry, data, content: proven.content });
  }
  const erased = erasures.end();
  const about = entries.filter(({ entry }) => entry['run'] === proof.run && entry['call'] === proof.call);
  const of = (kind: string) => about.filter(({ entry }) => entry['kind'] === kind);
  const [started] = of('call.started');
  const authorization = started
    ? started.data['authorization'] === 'approved'
      ? 'approved'
      : 'autonomous'
    : 'refused';
  if (about.length === 0) problems.push('the proof holds nothing about the call that it names');
  const approvedBy = authorization === 'approved' ? approvers(proof, entries, trust, problems) : [];
  const decided = (started ?? of('call.denied')[0] ?? of('call.asked')[0])?.data ?? {};
  return {
    integrity: problems.length === 0 ? 'valid' : 'invalid',
    problems,
    run: proof.run,
    call: proof.call,
    authorization,
    tool: textOr(decided['tool']),
    approvedBy,
    policy: textOr(decided['policy']) ?? textOr(decided['policyDigest']),
    outcome: about.map(({ entry }) => String(entry['kind'])).filter((k) => /^call\.(?!started|asked)/.test(k)),
    erased: erased.recorded,
    erasedWithoutRecord: erased.unrecorded,
    unreadable: Object.fromEntries(unreadable),
  };
}

function openEntry(proven: ProvenEntry, { keys, witness, verify }: Evidence): Parsed<JsonObject> {
  return parsing(() => {
    const { index, hashes, checkpoint } = valueOf(parseTlogProof(proven.proof));
    const all = witness === null ? keys : [...keys, witness];
    const opened = valueOf(openCheckpoint(checkpoint, keys[0]?.name ?? '', all, verify));
    if (witness !== null && !opened.signatures.some(({ key }) => key === witness)) {
      return refuse(`the witness ${witness.name} did not sign the checkpoint`);
    }
    if (!verifyInclusion(leafHash(leafBytes(proven.body)), index, opened.checkpoint, hashes)) {
      return refuse('the entry is not in the log at that place');
    }
    return JSON.parse(proven.body) as JsonObject;
  });
}

/** People whose yes verifies: signed over this run and call, by a key whose enrolment is in the log, too. */
function approvers(
  proof: CallProof,
  entries: readonly { readonly entry: JsonObject; readonly data: JsonObject; readonly content: JsonObject | null }[],
  trust: Omit<Trust, 'nowMs'> | null,
  problems: string[],
): string[] {
  if (trust === null || trust.roots.length === 0) {
    problems.push('the call was approved; whose signatures count is not known: give the roots with `--root`');
    return [];
  }
  const people: string[] = [];
  for (const { entry, data, content } of entries) {
    if (entry['kind'] !== 'approval.answered' || entry['call'] !== proof.call || data['decision'] !== 'approve')
      continue;
    const enrolled = entries.find((e) => e.entry['kind'] === 'key.enrolled' && e.data['key'] === data['key']);
    const row = { ...enrolled?.content, revoked: false } as unknown as KeyRow;
    const nowMs = Date.parse(String(entry['at']));
    const answer = parsing(() => {
      const { payload } = valueOf(parseEnvelope(content?.['envelope'], APPROVAL_PAYLOAD_TYPE));
      const { request } = valueOf(parseStatement(payload));
      if (request.run !== proof.run || request.call !== proof.call) return refuse('it is for another call');
      const text = canonicalize(request as unknown as Json);
      return valueOf(verifyAnswer(content?.['envelope'], text, enrolled?.content ? row : null, { ...trust, nowMs }));
    });
    if (answer.kind === 'ok') people.push(answer.value.key.person);
    else problems.push(`the yes of ${String(data['person']).slice(0, 100)} does not verify: ${answer.reason}`);
  }
  if (people.length === 0) problems.push('the call says approved, and no yes to it verifies');
  return people;
}

function textOr(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
