/** The calls that a session remembers: the same callId gets the same result (D3). Bounded in number and in bytes. */
import type { CallResult } from '../governance/call.ts';
import { deny } from '../governance/denial.ts';
import type { CallError } from '../governance/errors.ts';
import { MAX_SESSION_CALLS, MAX_SESSION_RESULT_BYTES } from '../governance/limits.ts';
import { utf8Length } from '../governance/text.ts';

/** A call by its callId. Plain data: carried through continue-as-new. */
export interface Remembered {
  readonly argsDigest: string;
  readonly tool: string;
  /** Its number in the run, once it is done. */
  readonly seq: number;
  /** null: under way. `stored`: too much to keep here, the database has it. */
  readonly result: CallResult | null | 'stored';
  readonly bytes: number;
}

export class SessionCalls {
  readonly #calls: Map<string, Remembered>;
  #bytes = 0;

  constructor(carried: readonly (readonly [string, Remembered])[] = []) {
    this.#calls = new Map(carried);
    for (const call of this.#calls.values()) this.#bytes += call.bytes;
  }

  get(callId: string): Remembered | undefined {
    return this.#calls.get(callId);
  }

  start(callId: string, argsDigest: string, tool: string): void {
    this.#calls.set(callId, { argsDigest, tool, seq: 0, result: null, bytes: 0 });
  }

  /** Keeps a result; makes room by leaving the oldest ones to the database. */
  finish(callId: string, seq: number, result: CallResult): void {
    const known = this.#calls.get(callId);
    if (!known) return;
    const bytes = result.kind === 'done' || result.kind === 'failed' ? utf8Length(JSON.stringify(result)) : 0;
    this.#bytes += bytes - known.bytes;
    this.#calls.set(callId, { ...known, seq: seq === 0 ? known.seq : seq, result, bytes });
    for (const [id, call] of this.#calls) {
      const many = this.#calls.size > MAX_SESSION_CALLS;
      if (!many && this.#bytes <= MAX_SESSION_RESULT_BYTES) return;
      if (call.result === null || id === callId) continue;
      this.#bytes -= call.bytes;
      if (many) this.#calls.delete(id);
      else if (call.bytes > 0) this.#calls.set(id, { ...call, result: 'stored', bytes: 0 });
    }
  }

  /** Answer of the `outcome` query; null: never seen. */
  outcome(callId: string, approvalId: string | undefined): CallResult | null {
    const known = this.#calls.get(callId);
    if (!known) return null;
    if (known.result === null) return { kind: 'pending', callId, ...(approvalId === undefined ? {} : { approvalId }) };
    return known.result === 'stored' ? { kind: 'failed', error: storedError(callId), callId } : known.result;
  }

  carry(): readonly (readonly [string, Remembered])[] {
    return [...this.#calls];
  }
}

function storedError(callId: string): CallError {
  const message = 'the result is no longer kept here; call again with the same callId and arguments to read it';
  return { code: 'LIMIT_EXCEEDED', message, details: { callId } };
}

/** Every call after the end. */
export function closedDenial() {
  return deny('CONFLICT', 'the session is closed', 'open a new session', {});
}
