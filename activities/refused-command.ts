/** A genuine command that was not carried out is on record, whichever room refused it, and counted so that nobody floods the ledger. */
import { sha256Hex, digestOf } from '../governance/digest.ts';
import { makeEntry } from '../governance/entry.ts';
import type { Json } from '../governance/json.ts';
import { MAX_REJECTED_ANSWERS } from '../governance/limits.ts';
import { escapeHidden } from '../governance/denial.ts';
import type { Deps } from './deps.ts';
import { pgJson } from './pg-json.ts';

/** Characters of a reason that an entry and an answer show. */
const MAX_REASON_CHARS = 600;

/** A command that belongs to no run, and why it was refused. */
export interface RefusedCommand {
  readonly tenant: string;
  /** What it was for, as the command names it. */
  readonly target: string;
  readonly envelope: Json;
  readonly atMs: number;
  readonly reason: string;
  /** The delivery that brought it: recording it twice is harmless. */
  readonly delivery: string;
}

/** Writes `command.invalid`. @throws BACKEND_UNAVAILABLE */
export async function recordRefusedCommand(deps: Pick<Deps, 'db'>, refused: RefusedCommand): Promise<void> {
  const { tenant, target, envelope, atMs, reason, delivery } = refused;
  const entry = makeEntry({
    kind: 'command.invalid',
    tenant,
    run: null,
    key: `command:invalid:${sha256Hex(delivery)}`,
    atMs,
    data: { reason: shownReason(reason), target, envelopeSha256: digestOf(envelope) },
  });
  await deps.db.query('select actguard.record_refused_command($1::jsonb)', [
    pgJson({ tenant, max: MAX_REJECTED_ANSWERS, entries: [entry] }),
  ]);
}

/** A reason as people are shown it: it quotes what strangers wrote. */
export function shownReason(reason: string): string {
  return escapeHidden(reason).slice(0, MAX_REASON_CHARS);
}
