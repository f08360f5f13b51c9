/** What every request passes first: host, origin, headers of every answer, sizes and rates. */
import type { Context, MiddlewareHandler } from 'hono';
import { getConnInfo } from '@hono/node-server/conninfo';
import {
  MAX_PAGE_BODY_BYTES,
  MAX_PAGE_REQUESTS_PER_MINUTE,
  MAX_PAGE_SIGNATURES_PER_MINUTE,
} from '../governance/limits.ts';
import { type GatewayDeps, originOf } from './deps.ts';

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');
const MINUTE_MS = 60_000;
/** Addresses whose rates are kept; the oldest go first. */
const MAX_BUCKETS = 10_000;

/** An error as the page shows it: a code of governance/errors.ts and one sentence. */
export function problem(
  c: Context,
  status: 400 | 401 | 403 | 404 | 409 | 413 | 415 | 421 | 429 | 503,
  code: string,
  reason: string,
) {
  return c.json({ code, reason }, status);
}

/** Headers of every answer: own origin only, no script but ours, nothing cached, nothing framed. */
export function headers(deps: GatewayDeps): MiddlewareHandler {
  const secure = originOf(deps).startsWith('https:');
  return async (c, next) => {
    await next();
    const set = (name: string, value: string): void => c.res.headers.set(name, value);
    set('content-security-policy', POLICY);
    set('x-content-type-options', 'nosniff');
    set('x-frame-options', 'DENY');
    set('referrer-policy', 'no-referrer');
    set('cross-origin-opener-policy', 'same-origin');
    set('cross-origin-resource-policy', 'same-origin');
    set(
      'permissions-policy',
      'publickey-credentials-get=(self), publickey-credentials-create=(self), camera=(), microphone=(), geolocation=()',
    );
    if (!c.res.headers.has('cache-control')) set('cache-control', 'no-store');
    if (secure) set('strict-transport-security', 'max-age=31536000');
  };
}

/** The host is ours (no rebinding); what writes or reads data comes from our own page (no forgery across sites). */
export function sameOrigin(deps: GatewayDeps): MiddlewareHandler {
  const origin = originOf(deps);
  const { host } = new URL(origin);
  return async (c, next) => {
    if (c.req.header('host') !== host) return problem(c, 421, 'FORBIDDEN', `this page is at ${origin}`);
    if (!c.req.path.startsWith('/api/')) return next();
    const site = c.req.header('sec-fetch-site');
    if (site !== undefined && site !== 'same-origin')
      return problem(c, 403, 'FORBIDDEN', 'the request came from another page');
    if (c.req.method === 'GET') return next();
    if (c.req.header('origin') !== origin) return problem(c, 403, 'FORBIDDEN', 'the request came from another page');
    const type = c.req.header('content-type')?.split(';')[0]?.trim();
    if (type !== 'application/json') return problem(c, 415, 'ARGUMENTS_INVALID', 'the body is not JSON');
    return next();
  };
}

/** At most so many requests a minute by address; `work` that checks signatures has a rate of its own. */
export function rates(deps: GatewayDeps): MiddlewareHandler {
  const requests = new Rate(deps.perMinute?.requests ?? MAX_PAGE_REQUESTS_PER_MINUTE);
  const signatures = new Rate(deps.perMinute?.signatures ?? MAX_PAGE_SIGNATURES_PER_MINUTE);
  return async (c, next) => {
    const who = addressOf(c);
    const nowMs = deps.now();
    const within = requests.take(who, nowMs) && (c.req.method === 'GET' || signatures.take(who, nowMs));
    if (!within) return problem(c, 429, 'RATE_LIMITED', 'too many requests; wait a minute');
    return next();
  };
}

/** Reads a JSON body of at most MAX_PAGE_BODY_BYTES; undefined when it is larger or no JSON. */
export async function readBody(c: Context): Promise<unknown> {
  const announced = Number(c.req.header('content-length') ?? '0');
  if (!(announced <= MAX_PAGE_BODY_BYTES)) return undefined;
  const reader = c.req.raw.body?.getReader();
  if (!reader) return undefined;
  const parts: Uint8Array[] = [];
  for (let bytes = 0; ;) {
    const { done, value } = (await reader.read()) as { done: boolean; value?: Uint8Array };
    if (done || !value) break;
    bytes += value.length;
    if (bytes > MAX_PAGE_BODY_BYTES) {
      await reader.cancel();
      return undefined;
    }
    parts.push(value);
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts)));
  } catch {
    return undefined;
  }
}

function addressOf(c: Context): string {
  try {
    return getConnInfo(c).remote.address ?? '';
  } catch {
    return '';
  }
}

/** Counts in whole minutes: enough against floods, small in memory. */
class Rate {
  readonly #perMinute: number;
  readonly #counts = new Map<string, { minute: number; count: number }>();

  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  take(who: string, nowMs: number): boolean {
    const minute = Math.floor(nowMs / MINUTE_MS);
    const known = this.#counts.get(who);
    const count = known?.minute === minute ? known.count + 1 : 1;
    this.#counts.delete(who);
    this.#counts.set(who, { minute, count });
    const [oldest] = this.#counts.keys();
    if (this.#counts.size > MAX_BUCKETS && oldest !== undefined) this.#counts.delete(oldest);
    return count <= this.#perMinute;
  }
}
