/** The claim and the outcome: one round trip each, functions/claim.sql and functions/outcome.sql. */
import type { Amount } from '../governance/call.ts';
import type { EntryRow } from '../governance/entry.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { LEASE_MS } from '../governance/limits.ts';
import type { AccountRefusal, Mark } from './accounts.ts';
import { sealEntries } from './content.ts';
import type { ContentDatabase, Database } from './deps.ts';
import { appendEntries } from './ledger.ts';
import { pgJson } from './pg-json.ts';

/** What a claim asks for; shapes as `actguard.claim(jsonb)` reads them. */
export interface ClaimRequest {
  readonly run: string;
  readonly temporalRun: string;
  readonly continuedFrom: string | null;
  readonly tenant: string;
  readonly call: string;
  /** A call that the run saw recorded; null: none yet. */
  readonly after: string | null;
  readonly seq: number;
  readonly tool: string;
  readonly effect: 'read' | 'write';
  readonly argsDigest: string;
  readonly token: string;
  readonly leaseMs: number;
  readonly settlesWithinMs: number;
  readonly key: { readonly hash: string; readonly scope: string; readonly onDuplicate: 'return' | 'deny' } | null;
  readonly rate: { readonly bucket: string; readonly maxCalls: number; readonly periodMs: number } | null;
  readonly breaker: { readonly key: string; readonly resetMs: number } | null;
  readonly approval: string | null;
  /** All it does is committed together with its outcome: an attempt without one did nothing. */
  readonly transactional?: boolean;
  /** How long a finished key holds; null: for ever. */
  readonly keyTtlMs: number | null;
  /** A receiver that honours our key: for how long, and how long a request may be under way. */
  readonly receiver: { readonly keyTtlMs: number | null; readonly withinMs: number } | null;
  /** Digest of the activated set that it was decided under; null: of the worker's files. */
  readonly policy: string | null;
  /** The worst case: reserved in every account of the run. */
  readonly reserved: Amount;
  readonly label: string | null;
  /** Written whatever comes of the claim. */
  readonly before: readonly EntryRow[];
  /** Written when the claim is taken for the first time. */
  readonly entries: readonly EntryRow[];
}

/** A stored result, as the call gets it for ever. */
export interface StoredResult {
  readonly kind: 'done' | 'failed';
  readonly output?: Json;
  readonly error?: Json;
  readonly facts?: Json;
  readonly provedAtMs?: number;
  readonly spentMicros: number;
  readonly bytes: number;
}

export type CallState = 'claimed' | 'retrying' | 'succeeded' | 'failed' | 'unknown';

export type ClaimAnswer =
  | {
      kind: 'claimed';
      again: CallState | null;
      attempts: number;
      failures: number;
      claimedAtMs: number;
      nowMs: number;
      /** Whether this attempt may send: nothing earlier can still land, or the receiver honours the key. */
      sends: boolean;
      /** Nobody knows what became of an earlier attempt. */
      mayHaveLanded: boolean;
      /** When it could have sent at the latest. */
      lastSendMs: number | null;
      /** How often the receiver was asked or sent to again. */
      asked: number;
    }
  | { kind: 'ok' }
  | { kind: 'own'; state: 'succeeded' | 'failed'; result: StoredResult }
  | { kind: 'busy'; leaseLeftMs: number }
  | { kind: 'run'; problem: 'unknown' | 'closed' | 'reset' | 'restored' }
  | { kind: 'frozen'; freeze: { scope: string; value: string; by: string; reason: string } }
  /** Another set is active than the one it was decided under. */
  | { kind: 'policies' }
  | { kind: 'conflict'; run: string; call: string }
  | { kind: 'duplicate'; run: string; call: string; state: CallState; result: StoredResult | null }
  | { kind: 'rate'; retryAfterMs: number }
  /** Both on the database's clock. */
  | { kind: 'open'; resetAtMs: number; nowMs: number }
  | { kind: 'approval'; problem: string }
  | AccountRefusal;

const MAX_COLLISIONS = 5;
/** Prepared once a connection: every call sends both. */
const CLAIM = 'select actguard.claim($1::jsonb) as answer';
const OUTCOME = 'select actguard.outcome($1::jsonb) as answer';
/** The answer to a claim may be lost with its connection: the same token asks again for most of a lease. */
const CLAIM_AGAIN_WITHIN_MS = LEASE_MS * 0.8;
const CLAIM_AGAIN_AFTER_MS = 250;

/** The window filled up between the look and the slot; the message is how long to wait (functions/claim.sql). */
const WINDOW_FILLED = 'AG001';

/**
 * Asks for the claim. Two callers of one effect key at the same moment: the later one looks again. An answer that was
 * lost on its way is asked for again under the same token: under it nothing has run.
 */
export async function claim(db: Database, request: ClaimRequest, look = false): Promise<ClaimAnswer> {
  const entries = look ? [] : sealEntries(db.content, request.entries);
  const text = pgJson(look ? { ...request, look: true, before: [], entries } : { ...request, entries });
  const until = performance.now() + CLAIM_AGAIN_WITHIN_MS;
  let filled = 0;
  for (let collisions = 0; ;) {
    try {
      const [row] = await db.query<{ answer: ClaimAnswer }>(CLAIM, [text], 'claim');
      if (!row) throw new Error('claim answered nothing');
      return opened(db, request.tenant, row.answer);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (code === WINDOW_FILLED) {
        filled += 1;
        if (filled <= MAX_COLLISIONS) continue;
        // always one too late: refused as the last look found it, with what has to be written in any case
        await appendEntries(db, look ? [] : request.before);
        return { kind: 'rate', retryAfterMs: Math.max(1, Number((error as Error).message) || 1) };
      }
      const collided = code === '40001' || code === '40P01';
      if (collided) collisions += 1;
      if (collided ? collisions > MAX_COLLISIONS : code !== 'BACKEND_UNAVAILABLE' || performance.now() >= until) {
        throw error;
      }
      if (!collided) await new Promise((resolve) => setTimeout(resolve, CLAIM_AGAIN_AFTER_MS));
    }
  }
}

/** An answer with the stored result that it may hold. @throws BACKEND_UNAVAILABLE where its key is not here */
export function opened(db: ContentDatabase, tenant: string, answer: ClaimAnswer): ClaimAnswer {
  if (answer.kind === 'own') return { ...answer, result: db.content.need('result', tenant, answer.result) };
  if (answer.kind === 'duplicate') return { ...answer, result: db.content.need('result', tenant, answer.result) };
  return answer;
}

/** What renewing a claim finds. `lost`: somebody else holds it; `abort`: a freeze stops what is in flight. */
export type Renewal = 'held' | 'lost' | 'abort';

/** Renews the lease. */
export async function renewClaim(
  db: Database,
  run: string,
  call: string,
  token: string,
  leaseMs: number,
): Promise<Renewal> {
  const [row] = await db.query<{ held: Renewal }>('select actguard.renew_claim($1, $2, $3, $4) as held', [
    run,
    call,
    token,
    leaseMs,
  ]);
  return row?.held ?? 'lost';
}

/** An open question, in the effect's row. */
export interface Question {
  readonly reason: string;
  /** It is asked again by itself after this; null: by nobody. */
  readonly askAgainMs: number | null;
  /** The receiver cannot say: a person has to find out. */
  readonly needsPerson: boolean;
}

export interface OutcomeRequest {
  readonly tenant: string;
  readonly run: string;
  readonly call: string;
  readonly token: string;
  readonly state: 'retrying' | 'succeeded' | 'failed' | 'unknown';
  readonly result: StoredResult | null;
  /** What accounts are charged. */
  readonly spentMicros: number;
  /** 1: the attempt ran and failed. */
  readonly failed: 0 | 1;
  /** `no`: this attempt certainly did not happen, whatever became of earlier ones. */
  readonly landed: 'no' | 'maybe';
  /** What an unknown outcome opens. */
  readonly question: Question | null;
  readonly breakerVerdict: 'success' | 'fail' | 'none';
  readonly maxFails: number;
  readonly resolved: Json;
  /** What the run sees of it, for `actguard.note_provenance`. */
  readonly provenance: readonly JsonObject[];
  readonly entries: readonly EntryRow[];
}

export type OutcomeAnswer =
  | { kind: 'ok'; nowMs: number; marks?: readonly Mark[] | null }
  /** Taken over, or known before: this is not the call's result. */
  | { kind: 'late'; state: CallState }
  | { kind: 'gone' };

/** The second transaction of a call. @throws BACKEND_UNAVAILABLE */
export async function writeOutcome(db: ContentDatabase, request: OutcomeRequest): Promise<OutcomeAnswer> {
  const { tenant, question } = request;
  const text = pgJson({
    ...request,
    result: db.content.seal('result', tenant, request.result),
    question: question && { ...question, reason: db.content.sealText('question', tenant, question.reason) },
    entries: sealEntries(db.content, request.entries),
  });
  const [row] = await db.query<{ answer: OutcomeAnswer }>(OUTCOME, [text], 'outcome');
  return row?.answer ?? { kind: 'gone' };
}

/** Keeps an outcome whose claim was taken over. */
export async function writeLateOutcome(
  db: Database,
  request: Pick<OutcomeRequest, 'tenant' | 'run' | 'call' | 'token' | 'state' | 'result' | 'provenance' | 'entries'> & {
    /** Written when it answers the question: nothing happened. */
    readonly failed: readonly EntryRow[];
    /** Written when it contradicts what was recorded. */
    readonly alarm: readonly EntryRow[];
  },
): Promise<{ kind: 'resolved' | 'kept' | 'gone'; contradicts?: boolean }> {
  const [row] = await db.query<{ answer: { kind: 'resolved' | 'kept' | 'gone'; contradicts?: boolean } }>(
    'select actguard.late_outcome($1::jsonb) as answer',
    [pgJson({ ...request, result: db.content.seal('result', request.tenant, request.result) })],
  );
  return row?.answer ?? { kind: 'gone' };
}
