/**
 * A `fetch` for provider clients (OpenAI, Anthropic, AI SDK) that puts each request under a session's budget: worst case
 * reserved, cap lowered, sent, settled by the usage in the answer, streamed or not. Every attempt that a client makes
 * by itself is a request of its own, and reserved by itself (BU3).
 */
import { ActGuardError, isActGuardError } from '../governance/errors.ts';
import type { Usage } from '../governance/call.ts';
import { MAX_MODEL_RESPONSE_BYTES } from '../governance/limits.ts';
import { neverLeft } from '../governance/never-left.ts';
import type { SettleAsked } from '../workflows/messages.ts';
import { isFree, providerOf, readModelRequest, type ModelRequest, type ReadOptions } from './model-request.ts';
import { StreamUsage, usageOfAnswer } from './model-usage.ts';
import type { Session } from './session.ts';

/** Where the requests are reserved, and who hears of what they used. */
export interface Meter extends ReadOptions {
  readonly session: Pick<Session, 'reserve' | 'settle'>;
  /** After each settlement: what the session has used, all calls together. */
  readonly onUsage: (usage: Usage) => void;
  /** The error for a refusal. */
  readonly refused: (denial: ActGuardError) => ActGuardError;
  /** Told of each settlement, so that a close can wait for it. */
  readonly pending: Set<Promise<unknown>>;
}

type Outcome = SettleAsked['outcome'];

/**
 * The fetch. A refusal reaches the caller of the provider's client as it is: OpenAI's and Anthropic's clients would wrap
 * what `fetch` throws and try again, so they get an answer that cannot be read instead.
 */
export function meteredFetch(meter: Meter): typeof globalThis.fetch {
  return async (input, init = {}) => {
    const request = new Request(input, { ...init, body: null, method: init.method ?? methodOf(input) });
    try {
      return await metered(meter, request, input, init);
    } catch (error) {
      if (!isActGuardError(error) || !request.headers.has('x-stainless-lang')) throw error;
      return unreadable(error);
    }
  };
}

async function metered(meter: Meter, request: Request, input: FetchInput, init: RequestInit): Promise<Response> {
  const url = new URL(request.url);
  if (isFree(request.method, url)) {
    providerOf(url, meter);
    return fetch(input, { ...init, redirect: 'manual' });
  }
  const asked = readModelRequest(url, await bodyOf(input, init), meter);
  const granted = await reserve(meter, asked);
  const settle = once((outcome) => {
    const settling = settleQuietly(meter, granted.callId, outcome);
    meter.pending.add(settling);
    return settling.finally(() => meter.pending.delete(settling));
  });
  const headers = new Headers(request.headers);
  headers.delete('content-length');
  const { signal } = init;
  try {
    if (signal?.aborted) throw signal.reason;
  } catch (error) {
    await settle({ kind: 'nothing' });
    throw error;
  }
  let response: Response;
  try {
    const body = asked.bodyWith(granted.maxOutputTokens);
    response = await fetch(url, { ...init, method: request.method, headers, body, redirect: 'manual' });
  } catch (error) {
    await settle({ kind: neverLeft(error) ? 'nothing' : 'unknown' });
    throw error;
  }
  return answered(asked, response, settle);
}

type FetchInput = Parameters<typeof globalThis.fetch>[0];
type Settle = (outcome: Outcome) => Promise<void>;

/** The answer as the provider gave it; its usage is read on the way. */
async function answered(asked: ModelRequest, response: Response, settle: Settle): Promise<Response> {
  const { status } = response;
  if (status >= 300) {
    // a refusal bills nothing; 408 and 499 say that the provider had begun
    const refused = status < 500 && status !== 408 && status !== 499;
    await settle({ kind: refused ? 'nothing' : 'unknown' });
    return response;
  }
  if (response.headers.get('content-type')?.includes('text/event-stream') && response.body) {
    return copyOf(response, watched(response.body, asked, settle));
  }
  let text: string;
  try {
    text = await readText(response);
  } catch (error) {
    await settle({ kind: 'unknown' });
    throw error;
  }
  const usage = usageOfAnswer(asked.dialect, parse(text));
  await settle(usage ? { kind: 'used', usage } : { kind: 'unknown' });
  return copyOf(response, text);
}

/** Passes events on as they come; settles when the usage has come, or in full when none did (BU5). */
function watched(
  body: ReadableStream<Uint8Array>,
  asked: ModelRequest,
  settle: Settle,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const usage = new StreamUsage(asked.dialect);
  const [decoder, encoder] = [new TextDecoder(), new TextEncoder()];
  const reader = body.getReader();
  let rest = '';
  const settleNow = async (): Promise<void> => {
    const { final } = usage;
    await settle(final ? { kind: 'used', usage: final } : { kind: 'unknown' });
  };
  return new ReadableStream({
    async pull(controller) {
      try {
        for (;;) {
          const { done, value } = await reader.read();
          rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
          if (rest.length > MAX_MODEL_RESPONSE_BYTES) throw new Error('an event of the stream is too large');
          const [events, left] = splitEvents(rest, done);
          rest = left;
          const passed = events.filter((event) => !usage.read(dataOf(event)) || !asked.hidesUsage);
          // settled before the last event is passed on: whoever stops reading there finds the usage counted
          if (usage.final || done) await settleNow();
          if (passed.length > 0) controller.enqueue(encoder.encode(passed.join('')));
          if (done) controller.close();
          if (done || passed.length > 0) return;
        }
      } catch (error) {
        await settleNow();
        controller.error(error);
      }
    },
    async cancel(reason) {
      await settleNow();
      await reader.cancel(reason);
    },
  });
}

/** Whole events with their blank lines, and what is not whole yet. */
function splitEvents(text: string, done: boolean): [events: string[], rest: string] {
  const events: string[] = [];
  let from = 0;
  for (const end of text.matchAll(/\r\n\r\n|\n\n|\r\r/g)) {
    events.push(text.slice(from, end.index + end[0].length));
    from = end.index + end[0].length;
  }
  const rest = text.slice(from);
  return done && rest !== '' ? [[...events, rest], ''] : [events, rest];
}

function dataOf(event: string): string {
  const lines = event.split(/\r\n|\n|\r/).filter((line) => line.startsWith('data:'));
  return lines.map((line) => line.slice(5).replace(/^ /, '')).join('\n');
}

async function reserve(meter: Meter, asked: ModelRequest): Promise<{ callId: string; maxOutputTokens: number }> {
  const { model, promptBytes, messages, maxOutputTokens, declared } = asked;
  const more = declared === null ? {} : { declared };
  const granted = await meter.session.reserve({ model, promptBytes, messages, maxOutputTokens, ...more });
  if (granted.kind === 'reserved') return granted;
  const { code, reason, details, hint } = granted.denial;
  throw meter.refused(new ActGuardError(code, reason, { details, hint, denial: granted.denial }));
}

/** What cannot be settled is paid in full when its lease ends; the answer is the caller's all the same (BU5). */
async function settleQuietly(meter: Meter, callId: string, outcome: Outcome): Promise<void> {
  try {
    const settled = await meter.session.settle(callId, outcome);
    if (settled.kind !== 'denied') meter.onUsage(settled.usage);
  } catch {
    // the session cannot be reached: nothing is lost but the difference
  }
}

function once(settle: Settle): Settle {
  let settled: Promise<void> | undefined;
  return (outcome) => (settled ??= settle(outcome));
}

async function bodyOf(input: FetchInput, init: RequestInit): Promise<string> {
  if (typeof init.body === 'string') return init.body;
  if (init.body != null) return new Response(init.body).text();
  return input instanceof Request ? input.clone().text() : '';
}

function methodOf(input: FetchInput): string {
  return input instanceof Request ? input.method : 'GET';
}

async function readText(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += part.byteLength;
    if (bytes > MAX_MODEL_RESPONSE_BYTES) throw new Error('the answer of the provider is too large');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}

/** The body is decoded already. */
function copyOf(response: Response, body: string | ReadableStream<Uint8Array<ArrayBuffer>>): Response {
  const headers = new Headers(response.headers);
  headers.delete('content-encoding');
  headers.delete('content-length');
  return new Response(body, { status: response.status, statusText: response.statusText, headers });
}

/** An answer whose reading throws this error. */
function unreadable(error: ActGuardError): Response {
  const body = new ReadableStream({ start: (controller) => controller.error(error) });
  return new Response(body, { status: 200, headers: { 'content-type': 'application/json' } });
}
