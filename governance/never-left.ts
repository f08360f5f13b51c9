/** Whether a failed request certainly never reached its receiver: then nothing happened and nothing is billed. */

/** Codes of errors that say so: name not found, connection refused, TLS failed, refused by ourselves. */
const NEVER_LEFT =
  /^(HOST_FORBIDDEN|ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT|ERR_TLS_.*|ERR_SSL_.*|CERT_.*|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_.*|ERR_INVALID_URL|ERR_INVALID_ARG_.*)$/;

/** What fetch refuses by itself (Fetch standard: bad ports, schemes) has no code, only these words. */
const REFUSED_BY_FETCH = new Set(['bad port', 'unknown scheme', 'URL scheme must be a HTTP(S) scheme']);

/** Looks through the cause chain; of several attempts all must have failed so. */
export function neverLeft(error: unknown): boolean {
  for (let e = error, depth = 0; e instanceof Error && depth < 8; e = e.cause, depth += 1) {
    const code: unknown = 'code' in e ? e.code : undefined;
    if (typeof code === 'string' && NEVER_LEFT.test(code)) return true;
    if (depth > 0 && code === undefined && REFUSED_BY_FETCH.has(e.message)) return true;
    if (e instanceof AggregateError && e.errors.length > 0 && e.errors.every((inner) => neverLeft(inner))) return true;
  }
  return false;
}
