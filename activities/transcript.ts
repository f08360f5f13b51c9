/**
 * A run's transcript: one row per turn with its parent's digest, and the two round trips of a model call
 * (functions/transcripts.sql). Workflow history holds references only.
 */
import { canonicalize } from '../governance/canonical.ts';
import type { Amount } from '../governance/call.ts';
import { digestOf } from '../governance/digest.ts';
import type { EntryRow } from '../governance/entry.ts';
import { ActGuardError, type CallError } from '../governance/errors.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { MAX_INLINE_OUTPUT_BYTES } from '../governance/limits.ts';
import { resultBytes } from '../governance/text.ts';
import type { AccountRefusal, Mark } from './accounts.ts';
import type { CallState, StoredResult } from './claim.ts';
import { sealEntries } from './content.ts';
import type { ContentDatabase, Database, TranscriptMessage } from './deps.ts';
import { cutBytes } from './model-messages.ts';
import { pgJson } from './pg-json.ts';
import type { CallModelResult, ToolResultRef } from './types.ts';

/** A turn as it is kept. `messages` is canonical JSON: what joined before the model was asked, and its answer. */
export interface StoredTurn {
  readonly turn: number;
  readonly messages: string;
  /** SHA-256 over { v, run, turn, parent, messages }, hex. */
  readonly digest: string;
  readonly parent: string | null;
}

/** A call's own row, as far as the model may see it. */
interface FoundResult {
  readonly state: CallState;
  readonly result: StoredResult | null;
}

/** What `actguard.start_model_call(jsonb)` reads. */
export interface StartRequest {
  readonly run: string;
  readonly call: string;
  readonly seq: number;
  readonly turn: number;
  readonly temporalRun: string;
  readonly continuedFrom: string | null;
  readonly tenant: string;
  readonly model: string;
  /** The set it was decided under, as {@link comparedDigest} says it. */
  readonly policy: string | null;
  readonly reserved: Amount;
  readonly label: string | null;
  /** Calls whose results join this turn. */
  readonly refs: readonly { readonly ref: string; readonly run: string; readonly call: string }[];
  /** Written whatever comes of it. */
  readonly before: readonly EntryRow[];
  /** The provider is asked by somebody else: starting it twice is harmless. */
  readonly elsewhere?: boolean;
  /** Written when this attempt is the one that starts. */
  readonly entries: readonly EntryRow[];
  /** Written and answered when an earlier attempt left no outcome. */
  readonly lostEntries: readonly EntryRow[];
  readonly lostResult: string;
}

export type StartAnswer =
  | { readonly kind: 'run'; readonly problem: 'unknown' | 'closed' | 'reset' }
  | { readonly kind: 'frozen'; readonly freeze: { scope: string; value: string; by: string; reason: string } }
  /** Another set is active than the one it was decided under: nothing was started. */
  | { readonly kind: 'policies' }
  | { readonly kind: 'finished'; readonly result: string }
  | { readonly kind: 'lost' }
  | { readonly kind: 'conflict' }
  | AccountRefusal
  | {
      readonly kind: 'started';
      /** Somebody wants to read along. */
      readonly watched?: boolean;
      readonly turns: readonly StoredTurn[];
      readonly results: { readonly [ref: string]: FoundResult };
    };

/** The start: one transaction, one round trip. @throws BACKEND_UNAVAILABLE */
export async function startModelCall(db: Database, request: StartRequest): Promise<StartAnswer> {
  const [row] = await db.query<{ answer: StartAnswer }>(
    'select actguard.start_model_call($1::jsonb) as answer',
    [pgJson({ ...request, entries: sealEntries(db.content, request.entries) })],
    'actguard_start_model_call',
  );
  if (!row) throw new Error('the start answered nothing');
  return openStart(db, request.tenant, row.answer);
}

/** @throws BACKEND_UNAVAILABLE where a key is not here: nothing is asked without it */
function openStart({ content }: ContentDatabase, tenant: string, answer: StartAnswer): StartAnswer {
  if (answer.kind === 'finished') {
    const result = content.need('answer', tenant, JSON.parse(answer.result) as JsonObject);
    return { ...answer, result: JSON.stringify(result) };
  }
  if (answer.kind !== 'started') return answer;
  const results = Object.entries(answer.results).map(([ref, found]) => [
    ref,
    { ...found, result: content.need('result', tenant, found.result) },
  ]);
  return {
    ...answer,
    turns: answer.turns.map((turn) => ({ ...turn, messages: content.needText('turn', tenant, turn.messages) })),
    results: Object.fromEntries(results) as typeof answer.results,
  };
}

/** Whether an attempt of this call has started, whatever came of it. @throws BACKEND_UNAVAILABLE */
export async function modelCallBegun(db: Database, run: string, call: string): Promise<boolean> {
  const [row] = await db.query<{ begun: boolean }>('select actguard.model_call_begun($1, $2) as begun', [run, call]);
  return row?.begun ?? true;
}

/** What `actguard.finish_model_call(jsonb)` reads. */
export interface FinishRequest {
  readonly tenant: string;
  readonly run: string;
  readonly call: string;
  readonly state: 'succeeded' | 'failed';
  /** The provider was asked by somebody else: the same outcome twice is one. */
  readonly elsewhere?: boolean;
  readonly usage: JsonObject | null;
  /** What the run and its accounts are charged. */
  readonly spent: Amount;
  readonly result: string;
  readonly transcript: (StoredTurn & { readonly bytes: number }) | null;
  readonly entries: readonly EntryRow[];
  /** Written instead when the call was given up meanwhile. */
  readonly lateEntries: readonly EntryRow[];
  /** Written and kept instead when the turn stands already. */
  readonly conflictEntries: readonly EntryRow[];
  readonly conflictResult: string;
}

export interface FinishAnswer {
  readonly kind: 'ok' | 'late' | 'conflict' | 'gone';
  readonly marks?: readonly Mark[] | null;
}

/** The outcome: one transaction, one round trip. @throws BACKEND_UNAVAILABLE */
export async function finishModelCall(db: Database, request: FinishRequest): Promise<FinishAnswer> {
  const [row] = await db.query<{ answer: FinishAnswer }>(
    'select actguard.finish_model_call($1::jsonb) as answer',
    [pgJson(sealFinish(db, request))],
    'actguard_finish_model_call',
  );
  if (!row) throw new Error('the outcome answered nothing');
  return row.answer;
}

// Where the provider was asked elsewhere, the same settlement is known by its text: it holds amounts only.
function sealFinish({ content }: ContentDatabase, request: FinishRequest): FinishRequest {
  const { tenant, transcript: turn, result, elsewhere } = request;
  return {
    ...request,
    result: elsewhere ? result : JSON.stringify(content.seal('answer', tenant, JSON.parse(result) as JsonObject)),
    transcript: turn && { ...turn, messages: content.sealText('turn', tenant, turn.messages) },
    entries: sealEntries(content, request.entries),
  };
}

/** A stored result is text: what the caller gets, for ever. */
export function parseResult(text: string): CallModelResult {
  return JSON.parse(text) as CallModelResult;
}

/** A turn's row: digest over its place, its parent and its messages. */
export function makeTurn(
  run: string,
  turn: number,
  parent: string | null,
  messages: readonly TranscriptMessage[],
): StoredTurn & { readonly bytes: number } {
  const plain = messages as unknown as Json;
  const text = canonicalize(plain);
  return { turn, messages: text, digest: turnDigest(run, turn, parent, plain), parent, bytes: Buffer.byteLength(text) };
}

/**
 * The messages of all turns, every digest checked.
 *
 * @throws CONFLICT when a row was altered, is missing or belongs elsewhere
 */
export function readTurns(run: string, turns: readonly StoredTurn[], before: number): TranscriptMessage[] {
  const messages: TranscriptMessage[] = [];
  let parent: string | null = null;
  for (const turn of turns) {
    const found = JSON.parse(turn.messages) as Json;
    if (turn.turn >= before || turn.parent !== parent || turn.digest !== turnDigest(run, turn.turn, parent, found)) {
      throw new ActGuardError('CONFLICT', `turn ${turn.turn} of the transcript is not what was written`, {
        details: { run, turn: turn.turn },
        hint: 'stop; an operator has to look at the database',
      });
    }
    messages.push(...(found as unknown as TranscriptMessage[]));
    parent = turn.digest;
  }
  return messages;
}

function turnDigest(run: string, turn: number, parent: string | null, messages: Json): string {
  return digestOf({ v: 1, run, turn, parent, messages });
}

/** A repeated effect answers with the first call's result: `<run>:<call>`. A run is a ULID. */
const ELSEWHERE = /^([0-9A-HJKMNP-TV-Z]{26}):(.+)$/s;

/** Where the results of a turn lie. */
export function refsOf(run: string, results: readonly ToolResultRef[]): StartRequest['refs'] {
  return results.flatMap((r) => {
    if (r.kind !== 'stored') return [];
    const [, elsewhere, call] = ELSEWHERE.exec(r.call) ?? [];
    return [{ ref: r.call, run: elsewhere ?? run, call: call ?? r.call }];
  });
}

/** Results as messages: stored ones from their rows, denials as they are. */
export function resultMessages(
  results: readonly ToolResultRef[],
  found: { readonly [ref: string]: FoundResult },
): TranscriptMessage[] {
  return results.map((r) => ({
    role: 'tool',
    id: r.modelCallId,
    toolName: r.toolName,
    value: shownOutput(
      r.kind === 'inline' ? r.value : storedValue(Object.hasOwn(found, r.call) ? found[r.call] : undefined),
    ),
  }));
}

function storedValue(found: FoundResult | undefined): Json {
  const kept = found?.result;
  if (found?.state === 'unknown') {
    return {
      error: { code: 'OUTCOME_UNKNOWN', reason: 'nobody knows whether this happened', hint: 'do not try it again' },
    };
  }
  if (!kept)
    return { error: { code: 'NOT_FOUND', reason: 'the result of this call is not kept', hint: 'tell the user' } };
  if (kept.kind === 'done') return kept.output ?? null;
  const error = kept.error as unknown as CallError | undefined;
  return {
    error: {
      code: error?.code ?? 'TOOL_FAILED',
      reason: error?.message ?? 'the tool failed',
      hint: 'decide whether to try something else or to tell the user',
    },
  };
}

/**
 * An output as the model sees it: at most MAX_INLINE_OUTPUT_BYTES of a request ({@link resultBytes}); of a larger one
 * the beginning as text, with a note.
 */
export function shownOutput(value: Json): Json {
  if (resultBytes(value) <= MAX_INLINE_OUTPUT_BYTES) return value;
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const bytes = Buffer.byteLength(text);
  for (let room = MAX_INLINE_OUTPUT_BYTES; ; room = Math.floor(room * 0.8)) {
    const beginning = cutBytes(text, room).toWellFormed();
    const shown = {
      note: `this output has ${bytes} bytes; only its beginning is shown: ask for less at a time`,
      beginning,
    };
    if (resultBytes(shown) <= MAX_INLINE_OUTPUT_BYTES || beginning === '') return shown;
  }
}
