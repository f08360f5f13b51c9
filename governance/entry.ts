/** Ledger entries: a closed union of kinds (noun.verb), canonical bytes, and what lies erasable beside them. */
import { canonicalize } from './canonical.ts';
import type { Json, JsonObject } from './json.ts';

/** Every kind of entry that is written today. */
export const ENTRY_KINDS = [
  'run.opened',
  'run.frozen',
  'run.thawed',
  'run.closed',
  'run.reconciled',
  'run.recovered',
  'call.denied',
  'call.repeated',
  'call.asked',
  'call.started',
  'call.succeeded',
  'call.failed',
  'call.unknown',
  'call.resolved',
  'call.late',
  'call.contradicted',
  'approval.requested',
  'approval.answered',
  'approval.granted',
  'approval.rejected',
  'approval.invalid',
  'approval.expired',
  'approval.withdrawn',
  'budget.exhausted',
  'budget.topped-up',
  'budget.threshold',
  'child.started',
  'child.ended',
  'account.changed',
  'command.accepted',
  'command.invalid',
  'person.invited',
  'key.pending',
  'key.enrolled',
  'key.revoked',
  'freeze.set',
  'freeze.lifted',
  'credential.revealed',
  'credential.used',
  'ledger.broken',
  'ledger.recovered',
  'ledger.erased',
  'codec.decoded',
  'codec.destroyed',
  'policy.pushed',
  'policy.proposed',
  'policy.activated',
] as const;

/** One of {@link ENTRY_KINDS}. */
export type EntryKind = (typeof ENTRY_KINDS)[number];

/** An entry before it is written. `key` makes writing it twice harmless: unique per run. */
export interface EntryInput {
  readonly kind: EntryKind;
  readonly tenant: string;
  /** Absent for entries that belong to no run (enrolments, freezes). */
  readonly run: string | null;
  /** `c:3:started:1`, `n:5` … */
  readonly key: string;
  readonly seq?: number | null;
  readonly call?: string | null;
  readonly atMs: number;
  readonly data: JsonObject;
  /** Erasable content beside the entry, opened by the salts in it. Never part of the entry's bytes. */
  readonly content?: JsonObject | null;
}

/** An entry as `actguard.append_entries(jsonb)` takes it: `body` is the canonical text whose UTF-8 bytes are kept. */
export interface EntryRow {
  readonly kind: EntryKind;
  readonly tenant: string;
  readonly run: string | null;
  readonly key: string;
  readonly seq: number | null;
  readonly call: string | null;
  readonly body: string;
  readonly content: Json;
}

/** Canonical bytes of an entry (RFC 8785). */
export function makeEntry(input: EntryInput): EntryRow {
  const body = canonicalize({
    v: 1,
    kind: input.kind,
    tenant: input.tenant,
    ...(input.run === null ? {} : { run: input.run }),
    ...(input.seq == null ? {} : { seq: input.seq }),
    ...(input.call == null ? {} : { call: input.call }),
    key: input.key,
    at: new Date(input.atMs).toISOString(),
    data: input.data,
  });
  return {
    kind: input.kind,
    tenant: input.tenant,
    run: input.run,
    key: input.key,
    seq: input.seq ?? null,
    call: input.call ?? null,
    body,
    content: input.content ?? null,
  };
}
