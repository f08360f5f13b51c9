/** Recorded decisions: what was asked of the policies, which set answered, and whether what was kept is what was sealed for. */
import type { ContentDatabase } from '../activities/deps.ts';
import { type Gone, goneKey } from '../governance/content.ts';
import { commitment } from '../governance/digest.ts';
import type { JsonObject } from '../governance/json.ts';

/** A decision as it was recorded. */
export interface RecordedDecision {
  /** Of its entry. */
  readonly id: number;
  readonly tenant: string;
  readonly run: string;
  readonly call: string;
  readonly tool: string;
  readonly atMs: number;
  readonly was: 'allow' | 'ask' | 'deny' | 'error';
  /** A person's yes was needed and was there. */
  readonly approved: boolean;
  /** Digest of the set that decided. */
  readonly policy: string;
  readonly reasons: readonly string[];
  /** The complete Cedar request; null: it was erased, or cannot be read. */
  readonly request: JsonObject | null;
  /** Why it cannot be read; null: it can, or was erased. */
  readonly gone: Gone | null;
  /** Whether the request is the one that the entry commits to. */
  readonly holds: boolean;
}

interface Row {
  readonly id: number;
  readonly kind: 'call.started' | 'call.asked' | 'call.denied';
  readonly tenant: string;
  readonly run: string;
  readonly call: string;
  readonly insertedAtMs: number;
  readonly data: JsonObject;
  readonly content: JsonObject | null;
}

const PAGE = 200;

/** Decisions, oldest first, a page at a time: however many there are, one page is in memory. @throws BACKEND_UNAVAILABLE */
export async function* recordedDecisions(
  db: ContentDatabase,
  filter: {
    readonly sinceMs?: number;
    readonly tenant?: string;
    readonly run?: string;
    readonly call?: string;
  },
): AsyncGenerator<RecordedDecision> {
  for (let after = 0; ;) {
    const rows = await db.query<{ d: Row }>('select actguard.recorded_decisions($1::jsonb) as d', [
      JSON.stringify({ ...filter, after, limit: PAGE }),
    ]);
    for (const { d } of rows) yield decisionOf({ ...d, content: db.content.open('entry', d.tenant, d.content) });
    const last = rows.at(-1)?.d.id;
    if (last === undefined || rows.length < PAGE) return;
    after = last;
  }
}

function decisionOf({ data, content, ...row }: Row): RecordedDecision {
  const request = (content?.['request'] ?? null) as JsonObject | null;
  const salt = content?.['requestSalt'] ?? null;
  return {
    id: row.id,
    tenant: row.tenant,
    run: row.run,
    call: row.call,
    tool: String(data['tool'] ?? ''),
    atMs: row.insertedAtMs,
    was: data['code'] === 'POLICY_ERROR' ? 'error' : wasOf(row.kind, data['decision']),
    approved: data['authorization'] === 'approved',
    policy: String(data['policy'] ?? ''),
    reasons: Array.isArray(data['reasons']) ? data['reasons'].map(String) : [],
    request,
    gone: goneKey(content),
    holds: request !== null && salt !== null && holds(String(salt), request, data['requestCommitment']),
  };
}

// What the policies allowed and something after them refused (a rate limit, say) was allowed by them.
function wasOf(kind: Row['kind'], decision: unknown): RecordedDecision['was'] {
  if (kind === 'call.asked') return 'ask';
  return decision === 'ask' || decision === 'deny' ? decision : 'allow';
}

function holds(salt: string, request: JsonObject, committed: unknown): boolean {
  try {
    return commitment(salt, request) === committed;
  } catch {
    return false;
  }
}
