/** One request to a source of secrets: JSON out, JSON back, no redirects, bounded in time and size. */
import { ActGuardError } from '../governance/errors.ts';
import { MAX_SECRET_SOURCE_BYTES, SECRET_SOURCE_TIMEOUT_MS } from '../governance/limits.ts';

/** What came back; `body` is null where it is no JSON object. */
export interface SourceAnswer {
  readonly status: number;
  readonly body: { readonly [key: string]: unknown } | null;
}

/**
 * Sends it. Nothing of the answer's text stands in errors: it may hold a secret.
 * @throws BACKEND_UNAVAILABLE when it does not answer, answers 429 or 5xx, or redirects
 */
export async function askSource(what: string, url: string, init: RequestInit): Promise<SourceAnswer> {
  let response: Response;
  let text: string;
  try {
    const signal = AbortSignal.timeout(SECRET_SOURCE_TIMEOUT_MS);
    response = await fetch(url, { ...init, redirect: 'manual', signal });
    text = await boundedText(response);
  } catch (error) {
    const name = error instanceof Error ? error.name : 'Error';
    throw away(what, url, name === 'TimeoutError' ? `no answer within ${SECRET_SOURCE_TIMEOUT_MS} ms` : name);
  }
  const { status } = response;
  if (status >= 500 || status === 429 || (status >= 300 && status < 400)) throw away(what, url, `status ${status}`);
  return { status, body: parseObject(text) };
}

/** The source cannot be asked now: the call waits and is tried again. */
export function away(what: string, url: string, reason: string): ActGuardError {
  const host = URL.parse(url)?.host ?? '';
  return new ActGuardError('BACKEND_UNAVAILABLE', `${what} at ${host} cannot be used: ${reason}`, {
    details: { backend: what, reason },
    hint: 'start it, unseal it, or check its address',
  });
}

async function boundedText(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body ?? []) {
    size += part.byteLength;
    if (size > MAX_SECRET_SOURCE_BYTES) throw new RangeError('too large');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function parseObject(text: string): SourceAnswer['body'] {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : null;
  } catch {
    return null;
  }
}
