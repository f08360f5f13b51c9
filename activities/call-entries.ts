/** The ledger entries of one call. Values never stand in an entry, only salted commitments; they lie beside it. */
import { randomFillSync } from 'node:crypto';
import { canonicalize } from '../governance/canonical.ts';
import { commitment } from '../governance/digest.ts';
import { MAX_ARGUMENT_BYTES } from '../governance/limits.ts';
import { makeEntry, type EntryKind, type EntryRow } from '../governance/entry.ts';
import type { Denial } from '../governance/errors.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import type { CallToolInput, WorkflowEntry } from './types.ts';
import type { Grant } from './grant.ts';

const SALT_BYTES = 16;
/** Randomness is drawn for many salts at once: a call needs several. */
const pool = Buffer.alloc(256 * SALT_BYTES);
let drawn = pool.length;

/** A fresh salt, hex. */
export function newSalt(): string {
  if (drawn >= pool.length) {
    randomFillSync(pool);
    drawn = 0;
  }
  const salt = pool.toString('hex', drawn, drawn + SALT_BYTES);
  pool.fill(0, drawn, drawn + SALT_BYTES);
  drawn += SALT_BYTES;
  return salt;
}

/** What all entries of a call share. */
export interface CallFrame {
  readonly input: Pick<CallToolInput, 'run' | 'call' | 'seq' | 'tool'>;
  readonly grant: Grant;
  readonly dev: boolean;
}

/** An entry about a call. `name` makes its key: writing it twice is harmless. */
export function callEntry(
  frame: CallFrame,
  kind: EntryKind,
  name: string,
  data: JsonObject,
  content: JsonObject | null = null,
): EntryRow {
  const { input, grant } = frame;
  return makeEntry({
    kind,
    tenant: grant.principal.tenant,
    run: input.run,
    key: `c:${input.seq}:${name}`,
    seq: input.seq,
    call: input.call,
    atMs: Date.now(),
    data: {
      tool: input.tool,
      user: grant.principal.user,
      agent: grant.principal.agent,
      ...(frame.dev ? { dev: true } : {}),
      ...data,
    },
    content,
  });
}

/** A value as an entry names it (`<name>Commitment`) and as it lies beside (`<name>`, `<name>Salt`). */
export function committed(name: string, value: Json): { data: JsonObject; content: JsonObject } {
  const salt = newSalt();
  return {
    data: { [`${name}Commitment`]: commitment(salt, value) },
    content: { [name]: value, [`${name}Salt`]: salt },
  };
}

/** Arguments as an entry can keep them: what has no canonical form, or is too large, must not keep a denial from being recorded. */
function keepable(args: Json): Json {
  try {
    if (Buffer.byteLength(canonicalize(args)) <= MAX_ARGUMENT_BYTES) return args;
    return { notKept: 'too large' };
  } catch {
    return { notKept: 'no canonical JSON' };
  }
}

/** A denial decided in the activity. The reason quotes arguments: it lies beside the entry. */
export function deniedEntry(
  frame: CallFrame,
  denial: Denial,
  args: Json,
  more: JsonObject = {},
  kept: JsonObject = {},
): EntryRow {
  const shown = committed('args', keepable(args));
  return callEntry(
    frame,
    'call.denied',
    'denied',
    { code: denial.code, ...shown.data, ...more },
    { ...shown.content, ...kept, reason: denial.reason, details: denial.details },
  );
}

/** The workflow's own entries as rows. */
export function workflowEntryRows(run: string, grant: Grant, entries: readonly WorkflowEntry[]): EntryRow[] {
  return entries.map((e) =>
    makeEntry({
      kind: e.kind,
      tenant: grant.principal.tenant,
      run,
      key: `n:${e.number}`,
      seq: e.seq ?? null,
      call: e.call ?? null,
      atMs: e.atMs,
      data: {
        number: e.number,
        user: grant.principal.user,
        agent: grant.principal.agent,
        ...(e.tool === undefined ? {} : { tool: e.tool }),
        ...e.data,
      },
    }),
  );
}
