/** Checks of `approvals` in a configuration: administrators' keys, mail addresses, the page of passkeys. */
import { APPROVAL_TTL_MS, MAX_ASKS_PER_HOUR } from '../governance/limits.ts';
import type { RelyingParty } from '../governance/webauthn.ts';
import { quote, type Checks } from './check.ts';
import type { Config } from './types.ts';

/** The checked options; what is wrong goes into `checks`. */
export function checkApprovals(checks: Checks, value: unknown): Config['approvals'] {
  const given = checks.options('approvals', value, ['roots', 'ttl', 'notify', 'maxPerHour', 'page', 'rpId']) ?? {};
  const roots = texts(checks, 'approvals.roots', given.roots, /^[0-9a-fA-F]{64}$/, 'the SHA-256 fingerprint of a key');
  return {
    roots: [...new Set(roots.map((root) => root.toLowerCase()))],
    ttlMs: checks.duration('approvals.ttl', given.ttl, APPROVAL_TTL_MS),
    notify: texts(checks, 'approvals.notify', given.notify, /^[^\s@<>,;"]+@[^\s@<>,;"]+$/, 'a mail address'),
    maxPerHour: checks.int('approvals.maxPerHour', given.maxPerHour, MAX_ASKS_PER_HOUR, 1, 1_000_000),
    passkeys: checkPage(checks, given.page, given.rpId),
  };
}

function checkPage(checks: Checks, page: unknown, rpId: unknown): RelyingParty | null {
  if (page === undefined) {
    if (rpId !== undefined) checks.add('approvals.rpId', 'stands without `approvals.page`', 'name the page, too');
    return null;
  }
  const origins = texts(checks, 'approvals.page', Array.isArray(page) ? page : [page], /./, 'an origin').filter(
    (origin, i) => {
      if (isOrigin(origin)) return true;
      const fix = 'write the origin of the approval page: `https://approve.example`';
      checks.add(`approvals.page.${i}`, `${quote(origin)} is not an https origin`, fix);
      return false;
    },
  );
  const [first] = origins;
  if (first === undefined) {
    if (Array.isArray(page) && page.length === 0) checks.add('approvals.page', 'names no origin');
    return null;
  }
  const id = rpId ?? new URL(first).hostname;
  if (typeof id === 'string' && origins.every((origin) => covers(id, new URL(origin).hostname))) return { id, origins };
  checks.add('approvals.rpId', `${quote(id)} is not the host of every page, or a parent domain of it`);
  return null;
}

/** An origin as browsers write it: https, or http on localhost only. */
function isOrigin(text: string): boolean {
  try {
    const { origin, protocol, hostname } = new URL(text);
    return origin === text && (protocol === 'https:' || (protocol === 'http:' && hostname === 'localhost'));
  } catch {
    return false;
  }
}

/** Whether passkeys of `id` work on a host: the host itself, or a parent domain with a dot in it. */
function covers(id: string, host: string): boolean {
  return host === id || (id.includes('.') && host.endsWith(`.${id}`) && !/^[\d.]+$/.test(id));
}

function texts(checks: Checks, field: string, value: unknown, pattern: RegExp, what: string): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) {
    checks.add(field, `must be a list, not ${quote(value)}`);
    return [];
  }
  return (value as unknown[]).filter((item, i): item is string => {
    if (typeof item === 'string' && pattern.test(item)) return true;
    checks.add(`${field}.${i}`, `${quote(item)} is not ${what}`);
    return false;
  });
}
