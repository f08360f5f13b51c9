/**
 * The `fetch` that model providers get: it measures the serialised request and refuses one that is larger than what was
 * reserved, follows no redirect, reads a bounded answer, never tries again, and keeps account of what left the machine.
 */
import { MAX_MODEL_RESPONSE_BYTES, STREAM_FIELDS_BYTES } from '../governance/limits.ts';
import { neverLeft } from '../governance/never-left.ts';

/** What became of the one request of a model call. */
export interface ModelTraffic {
  /** Bytes of the last serialised request. */
  bytes: number;
  /** `none`: nothing left the machine; `asked`: it left and has no answer; else the answer's status. */
  sent: 'none' | 'asked' | number;
  /** Why our own fetch refused. */
  refused: 'too-large' | 'redirect' | 'measured' | 'again' | 'answer-too-large' | null;
}

export function newTraffic(): ModelTraffic {
  return { bytes: 0, sent: 'none', refused: null };
}

/**
 * @param maxBytes largest request that is sent; null measures and sends nothing
 * @param streams the answer is passed on as it comes; its request has a few fields more, which no model reads
 */
export function modelFetch(traffic: ModelTraffic, maxBytes: number | null, streams = false): typeof fetch {
  return async (input, init = {}) => {
    const { body } = init;
    if (typeof body !== 'string') throw refuse(traffic, 'too-large', 'the request has a body that cannot be measured');
    const asked = traffic.sent;
    if (asked !== 'none' || traffic.refused) throw refuse(traffic, 'again', 'a model call sends one request');
    traffic.bytes = Buffer.byteLength(body);
    if (maxBytes === null) throw refuse(traffic, 'measured', 'measured');
    if (!(traffic.bytes <= maxBytes + (streams ? STREAM_FIELDS_BYTES : 0))) {
      throw refuse(traffic, 'too-large', `the request is ${traffic.bytes} bytes, ${maxBytes} were reserved`);
    }
    traffic.sent = 'asked';
    let response: Response;
    try {
      response = await fetch(input, { ...init, redirect: 'manual' });
    } catch (error) {
      if (neverLeft(error)) traffic.sent = 'none';
      throw error;
    }
    traffic.sent = response.status;
    if (response.status >= 300 && response.status < 400) {
      await response.body?.cancel();
      throw refuse(traffic, 'redirect', 'the provider answered with a redirect, which is not followed');
    }
    return new Response(streams && response.body ? limited(response.body, traffic) : await bounded(response, traffic), {
      status: response.status,
      headers: plain(response.headers),
    });
  };
}

function refuse(traffic: ModelTraffic, why: NonNullable<ModelTraffic['refused']>, message: string): Error {
  traffic.refused = why;
  return new Error(message);
}

async function bounded(response: Response, traffic: ModelTraffic): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += part.byteLength;
    if (bytes > MAX_MODEL_RESPONSE_BYTES) throw tooLarge(traffic);
    parts.push(part);
  }
  return new Uint8Array(Buffer.concat(parts));
}

/** The same bound for an answer that is passed on as it comes. */
function limited(body: ReadableStream<Uint8Array>, traffic: ModelTraffic): ReadableStream<Uint8Array> {
  let bytes = 0;
  return body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(part, controller) {
        bytes += part.byteLength;
        if (bytes > MAX_MODEL_RESPONSE_BYTES) throw tooLarge(traffic);
        controller.enqueue(part);
      },
    }),
  );
}

function tooLarge(traffic: ModelTraffic): Error {
  return refuse(traffic, 'answer-too-large', `the provider's answer is larger than ${MAX_MODEL_RESPONSE_BYTES} bytes`);
}

/** The body is decoded already. */
function plain(headers: Headers): Headers {
  const kept = new Headers(headers);
  kept.delete('content-encoding');
  kept.delete('content-length');
  return kept;
}
