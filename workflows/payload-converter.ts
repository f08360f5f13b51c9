/**
 * The payload converter of client, worker, replay and bundle. It never throws on a payload that does not decode: one
 * malformed signal would otherwise fail the workflow task for ever (trust.md). A marker takes its place; handlers count
 * it as rejected, inputs and results that are markers fail closed.
 */
import { DefaultPayloadConverter, type Payload } from '@temporalio/common';
import { decode } from '@temporalio/common/lib/encoding.js';

/** What stands for a payload that did not decode. */
export interface Undecodable {
  readonly __actguardUndecodable: true;
  readonly reason: string;
}

class TolerantPayloadConverter extends DefaultPayloadConverter {
  override fromPayload<T>(payload: Payload): T {
    try {
      return super.fromPayload<T>(payload);
    } catch {
      // what a parser says of it may quote it
      const marker: Undecodable = { __actguardUndecodable: true, reason: reasonOf(payload) ?? 'malformed' };
      return marker as T;
    }
  }
}

/** What the codec says: `unknown-key` or `damaged`. */
function reasonOf(payload: Payload): string | null {
  const reason = payload.metadata?.['reason'];
  return reason ? decode(reason).slice(0, 200) : null;
}

/** Loaded by name from `payloadConverterPath`. */
export const payloadConverter = new TolerantPayloadConverter();
