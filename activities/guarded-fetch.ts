/**
 * `ctx.fetch`: throws on a failing status, sets the receiver's key header, injects a credential for its own host only,
 * follows no redirect, and writes nothing once the claim's time is over. It keeps account of what left the machine, so
 * that a failure can be judged (EX4).
 */
import { ActGuardError } from '../governance/errors.ts';
import type { Credential } from './credentials.ts';
import { unwatched } from './watch-sockets.ts';

/** What a call's requests did. */
export interface Traffic {
  /** Requests handed to the network. */
  sent: number;
  /** Requests that certainly never reached a receiver: name not found, connection refused, TLS failed. */
  neverLeft: number;
  /** Status of the last answer; null while the last request has none. */
  lastStatus: number | null;
  /** Requests that were answered with a status. */
  answered: number;
}

/** A failing status, as `ctx.fetch` throws it. `body` is at most 2 KB of text. */
export class HttpStatusError extends Error {
  override readonly name = 'HttpStatusError';
  readonly status: number;
  readonly body: string;
  constructor(status: number, url: URL, body: string) {
    super(`${url.host} answered ${status}${body ? `: ${body.slice(0, 300)}` : ''}`);
    this.status = status;
    this.body = body;
  }
}

export interface GuardedFetchOptions {
  readonly credentials: readonly Credential[];
  /** The receiver's key header and its value, for writes whose receiver honours one. */
  readonly keyHeader: { readonly header: string; readonly value: string } | null;
  readonly signal: AbortSignal;
  /** Monotonic clock (`performance.now()`): nothing is written at or after this. */
  readonly notAfter: () => number;
  readonly traffic: Traffic;
}

/** Codes of errors that say that a request never reached its receiver. */
const NEVER_LEFT =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT|ERR_TLS_.*|ERR_SSL_.*|CERT_.*|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_.*|ERR_INVALID_URL|ERR_INVALID_ARG_.*)$/;
const MAX_ERROR_BODY_BYTES = 2048;

/** Makes `ctx.fetch` for one attempt of one call. */
export function guardedFetch(
  options: GuardedFetchOptions,
): (input: string | URL, init?: RequestInit) => Promise<Response> {
  return async (input, init = {}) => {
    const url = requestUrl(input);
    const headers = new Headers(init.headers);
    for (const { ref, value } of options.credentials) {
      if (hostMatches(ref.host, url))
        headers.set(
          ref.header,
          ref.format.replace('{}', () => value),
        );
    }
    if (options.keyHeader && !isReadMethod(init.method)) headers.set(options.keyHeader.header, options.keyHeader.value);
    const { traffic } = options;
    if (options.signal.aborted || performance.now() >= options.notAfter()) {
      throw new ActGuardError('DEADLINE_EXCEEDED', 'this call is over: nothing is sent any more', {
        details: { host: url.host },
      });
    }
    traffic.sent += 1;
    traffic.lastStatus = null;
    const signal = init.signal ? AbortSignal.any([init.signal, options.signal]) : options.signal;
    let response: Response;
    try {
      response = await unwatched(() => fetch(url, { ...init, headers, signal, redirect: 'manual' }));
    } catch (error) {
      if (neverLeft(error)) traffic.neverLeft += 1;
      throw error;
    }
    traffic.answered += 1;
    traffic.lastStatus = response.status;
    if (response.status >= 300 && response.status < 400) {
      await response.body?.cancel();
      throw new ActGuardError('HOST_FORBIDDEN', `${url.host} answered with a redirect, which is not followed`, {
        hint: 'call the final address directly: credentials are bound to one host',
        details: { host: url.host, status: response.status },
      });
    }
    if (!response.ok) throw new HttpStatusError(response.status, url, await errorBody(response));
    return response;
  };
}

/** Whether nothing at all can have reached a receiver. */
export function nothingLeft(traffic: Traffic): boolean {
  return traffic.sent === traffic.neverLeft;
}

/** Whether an error says that its request never reached a receiver; looks through the cause chain. */
export function neverLeft(error: unknown): boolean {
  for (let e = error, depth = 0; e instanceof Error && depth < 8; e = e.cause, depth += 1) {
    const code: unknown = 'code' in e ? e.code : undefined;
    if (typeof code === 'string' && NEVER_LEFT.test(code)) return true;
    if (e instanceof AggregateError && e.errors.length > 0 && e.errors.every((inner) => neverLeft(inner))) return true;
  }
  return false;
}

function requestUrl(input: string | URL): URL {
  const url = new URL(input);
  const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && loopback)) {
    throw new ActGuardError(
      'HOST_FORBIDDEN',
      `\`${url.protocol}//${url.host}\` is not sent to: https only, http on loopback`,
      {
        details: { host: url.host },
      },
    );
  }
  if (url.username || url.password) {
    throw new ActGuardError('HOST_FORBIDDEN', 'addresses with a user name in them are not sent to', {
      details: { host: url.host },
    });
  }
  return url;
}

/** `payments.example` means its default port; `localhost:4010` exactly that one. */
function hostMatches(host: string, url: URL): boolean {
  return url.host === host;
}

function isReadMethod(method = 'GET'): boolean {
  return ['GET', 'HEAD', 'OPTIONS'].includes(method.toUpperCase());
}

async function errorBody(response: Response): Promise<string> {
  try {
    const reader = response.body?.getReader();
    if (!reader) return '';
    const parts: Uint8Array[] = [];
    let size = 0;
    while (size < MAX_ERROR_BODY_BYTES) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      size += value.byteLength;
    }
    await reader.cancel();
    return Buffer.concat(parts).subarray(0, MAX_ERROR_BODY_BYTES).toString('utf8');
  } catch {
    return '';
  }
}
