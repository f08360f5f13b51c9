/** A run's transcript: a row per turn in Postgres, each naming its parent's digest. Workflow history holds references only. */
import { ActGuardError } from '../governance/errors.ts';
import { canonicalize } from '../governance/canonical.ts';
import { sha256Hex } from '../governance/digest.ts';
import type { Json } from '../governance/json.ts';
import { MAX_INLINE_OUTPUT_BYTES } from '../governance/limits.ts';
import { utf8Length } from '../governance/text.ts';
import type { StoredResult } from './claim.ts';
import type { TranscriptMessage } from './deps.ts';
import type { ToolResultRef } from './types.ts';

/** A turn as it is stored: `messages` is canonical JSON. */
export interface StoredTurn {
  readonly turn: number;
  readonly messages: string;
  readonly digest: string;
  readonly parent: string | null;
}

/** Stored results of calls, by reference. */
export type ResultsByRef = { readonly [ref: string]: { readonly state: string; readonly result: StoredResult | null } };

/** Where a call's result lies: in its own run, or (a repeated effect) `RUN:call` of the same tenant. */
export function resultRef(run: string, call: string): { ref: string; run: string; call: string } {
  const other = /^([0-9A-Z]{26}):(.+)$/s.exec(call);
  return other ? { ref: call, run: other[1] ?? run, call: other[2] ?? call } : { ref: call, run, call };
}

/** Digest of a turn: it binds run, number, parent and messages. */
export function turnDigest(run: string, turn: number, parent: string | null, messages: string): string {
  return sha256Hex(canonicalize({ v: 1, run, turn, parent, messages: sha256Hex(messages) }));
}

/** The messages of all turns. @throws CONFLICT when a turn was changed or is missing */
export function readTurns(run: string, turns: readonly StoredTurn[]): TranscriptMessage[] {
  let parent: string | null = null;
  const messages: TranscriptMessage[] = [];
  for (const stored of turns) {
    if (stored.parent !== parent || stored.digest !== turnDigest(run, stored.turn, parent, stored.messages)) {
      throw new ActGuardError('CONFLICT', `turn ${stored.turn} of the transcript was changed`, {
        details: { run, turn: stored.turn },
      });
    }
    parent = stored.digest;
    messages.push(...(JSON.parse(stored.messages) as TranscriptMessage[]));
  }
  return messages;
}

/** Tool results as messages: stored ones joined from their calls, the others as they came. */
export function toolMessages(refs: readonly ToolResultRef[], results: ResultsByRef): TranscriptMessage[] {
  return refs.map((ref) => ({
    role: 'tool',
    id: ref.modelCallId,
    toolName: ref.toolName,
    value: ref.kind === 'inline' ? ref.value : shown(results[ref.call]?.result ?? null),
  }));
}

/** An output as the model sees it: cut where it is long. */
function shown(result: StoredResult | null): Json {
  if (!result)
    return { error: { code: 'NOT_FOUND', reason: 'the result is not there any more', hint: 'go on without it' } };
  const value = result.kind === 'done' ? (result.output ?? null) : { error: result.error ?? null };
  const text = JSON.stringify(value);
  if (utf8Length(text) <= MAX_INLINE_OUTPUT_BYTES) return value;
  return {
    cut: text.slice(0, MAX_INLINE_OUTPUT_BYTES / 4),
    note: `the output was ${utf8Length(text)} bytes; this is its beginning`,
  };
}
