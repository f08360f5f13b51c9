/**
 * `ctx.fetch`: throws on a failing status, sets the receiver's key header, injects a credential where it is bound to,
 * follows no redirect, and writes nothing once the claim's time is over (send-guard.ts). It keeps account of what left the
 * machine, so that a failure can be judged (EX4), and of the credentials that went along.
 */
import { ActGuardError, isActGuardError } from '../governance/errors.ts';
import { MAX_SECRET_USES } from '../governance/limits.ts';
import { neverLeft } from '../governance/never-left.ts';
import type { Credential } from './credentials.ts';
import { inject, type Outgoing, type SecretUse } from './inject.ts';
import type { Network } from './network.ts';
import { guardedSend, type SendGuard } from './send-guard.ts';
import type { SecretSet } from './scrub.ts';
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
  /** Each use of a secret once. */
  readonly uses: SecretUse[];
}

/** A failing status, as `ctx.fetch` throws it. `body` is at most 2 KB of text, without known secrets. */
export class HttpStatusError extends Error {
  override readonly name = 'HttpStatusError';
  readonly status: number;
  readonly body: string;
  constructor(status: number, url: URL, body: string, beginning: string) {
    super(`${url.host} answered ${status}${beginning ? `: ${beginning}` : ''}`);
    this.status = status;
    this.body = body;
  }
}

export interface GuardedFetchOptions {
  readonly network: Network;
  /** Secrets that may not stand in the text of an error. */
  readonly known: SecretSet;
  readonly credentials: readonly Credential[];
  /** The receiver's key header and its value, for writes whose receiver honours one. */
  readonly keyHeader: { readonly header: string; readonly value: string } | null;
  /** A transactional tool: a request that could change something would not be undone with it. */
  readonly readsOnly?: boolean;
  readonly signal: AbortSignal;
  /** Monotonic clock (`performance.now()`): nothing is written at or after this. */
  readonly notAfter: () => number;
  readonly traffic: Traffic;
}

const MAX_ERROR_BODY_BYTES = 2048;
const MAX_SHOWN_BODY_CHARS = 300;
const METHODS = ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE'];

/** Makes `ctx.fetch` for one attempt of one call. */
export function guardedFetch(
  options: GuardedFetchOptions,
): (input: string | URL, init?: RequestInit) => Promise<Response> {
  return async (input, init = {}) => {
    const url = options.network.url(input);
    const shown = url.href; // before a secret joins it
    const headers = new Headers(init.headers);
    // another name than the one connected to could lead a shared front to hand the credential to somebody else
    headers.delete('host');
    const request: Outgoing = { url, method: methodOf(init.method), headers, body: init.body ?? null };
    const uses = inject(request, options.credentials);
    if (options.readsOnly && !isReadMethod(request.method)) {
      throw new ActGuardError('FORBIDDEN', 'a transactional tool writes in ctx.transaction only', {
        hint: 'read with ctx.fetch, write with ctx.transaction, or leave `transactional` out',
        details: { host: url.host },
      });
    }
    if (options.keyHeader && !isReadMethod(request.method)) {
      headers.set(options.keyHeader.header, options.keyHeader.value);
    }
    const dispatcher = await options.network.dispatcher(url);
    const { traffic } = options;
    const over = (): ActGuardError =>
      new ActGuardError('DEADLINE_EXCEEDED', 'this call is over: nothing is sent any more', {
        details: { host: url.host },
      });
    if (options.signal.aborted || performance.now() >= options.notAfter()) throw over();
    traffic.sent += 1;
    traffic.lastStatus = null;
    for (const use of uses) noteUse(traffic.uses, use);
    const signal = init.signal ? AbortSignal.any([init.signal, options.signal]) : options.signal;
    const guard: SendGuard = { notAfter: options.notAfter, stopped: false };
    let response: Response;
    try {
      const { method, body } = request;
      response = await unwatched(() =>
        guardedSend(guard, () =>
          fetch(url, { ...init, method, body, headers, signal, redirect: 'manual', dispatcher }),
        ),
      );
    } catch (error) {
      if (guard.stopped || neverLeft(error)) traffic.neverLeft += 1;
      throw guard.stopped ? over() : (forbiddenIn(error) ?? error);
    }
    Object.defineProperty(response, 'url', { value: shown });
    traffic.answered += 1;
    traffic.lastStatus = response.status;
    if (response.status >= 300 && response.status < 400) {
      await response.body?.cancel();
      throw new ActGuardError('HOST_FORBIDDEN', `${url.host} answered with a redirect, which is not followed`, {
        hint: 'call the final address directly: credentials are bound to one host',
        details: { host: url.host, status: response.status },
      });
    }
    if (!response.ok) {
      // no half of a secret stays where the text is cut: the other half would not be found by anybody
      const body = options.known.cut(await errorBody(response, options.known), MAX_ERROR_BODY_BYTES);
      throw new HttpStatusError(response.status, url, body, options.known.cut(body, MAX_SHOWN_BODY_CHARS));
    }
    return response;
  };
}

/** Whether nothing at all can have reached a receiver. */
export function nothingLeft(traffic: Traffic): boolean {
  return traffic.sent === traffic.neverLeft;
}

/** A refusal of the address, which fetch wraps into an error of its own. */
function forbiddenIn(error: unknown): ActGuardError | null {
  for (let e = error, depth = 0; e instanceof Error && depth < 8; e = e.cause, depth += 1) {
    if (isActGuardError(e)) return e;
  }
  return null;
}

function noteUse(uses: SecretUse[], use: SecretUse): void {
  if (uses.some((u) => u.name === use.name && u.host === use.host && u.method === use.method)) return;
  if (uses.length < MAX_SECRET_USES) uses.push(use);
}

/** As it goes over the wire: fetch itself writes the usual ones in capitals and leaves the others. */
function methodOf(method = 'GET'): string {
  const upper = method.toUpperCase();
  return METHODS.includes(upper) ? upper : method;
}

function isReadMethod(method: string): boolean {
  return ['GET', 'HEAD', 'OPTIONS'].includes(method);
}

async function errorBody(response: Response, known: SecretSet): Promise<string> {
  try {
    const reader = response.body?.getReader();
    if (!reader) return '';
    const parts: Uint8Array[] = [];
    let size = 0;
    while (size < 2 * MAX_ERROR_BODY_BYTES) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      size += value.byteLength;
    }
    await reader.cancel();
    const text = Buffer.concat(parts).toString('utf8');
    return size < 2 * MAX_ERROR_BODY_BYTES ? text : text.slice(0, text.length - known.pending(text));
  } catch {
    return '';
  }
}
