/** Where a secret goes: a header, a query parameter, basic authentication or a field of the body. */
import { quote } from './check.ts';
import type { Checks, Options } from './check.ts';
import type { SecretPlace } from './secret-types.ts';

/** Headers that belong to the connection, not to a credential. */
const RESERVED_HEADERS = ['host', 'content-length', 'connection', 'transfer-encoding', 'upgrade', 'te', 'trailer'];
const METHODS = ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE'];
const PLACES = ['header', 'query', 'basic', 'body'] as const;

/** A header's name (RFC 9110 token) in small letters; notes what is wrong. */
export function checkHeader(checks: Checks, field: string, value: unknown): string {
  if (typeof value !== 'string' || !/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(value)) {
    checks.add(field, `${quote(value)} is not the name of a header`);
    return '';
  }
  const header = value.toLowerCase();
  if (RESERVED_HEADERS.includes(header)) checks.add(field, `${quote(value)} belongs to the connection`);
  return header;
}

/** Exactly one place; default: `authorization: Bearer {}`. */
export function checkPlace(checks: Checks, given: Options): SecretPlace {
  const named = PLACES.filter((place) => given[place] !== undefined);
  if (named.length > 1) {
    checks.add(named[1] ?? '', `goes with no ${quote(named[0])}: a secret goes into one place`);
  }
  const [place = 'header'] = named;
  if (given.format !== undefined && place !== 'header') checks.add('format', 'goes with a header only');
  switch (place) {
    case 'header':
      return {
        kind: 'header',
        header: checkHeader(checks, 'header', given.header ?? 'authorization'),
        format: checkFormat(checks, given.format ?? 'Bearer {}'),
      };
    case 'query':
      return { kind: 'query', parameter: checkWord(checks, 'query', given.query) };
    case 'basic':
      return { kind: 'basic', user: checkUser(checks, given.basic) };
    case 'body':
      return { kind: 'body', field: checkWord(checks, 'body', given.body) };
    default:
      return place satisfies never;
  }
}

function checkFormat(checks: Checks, value: unknown): string {
  if (typeof value !== 'string' || value.split('{}').length !== 2) {
    checks.add('format', `${quote(value)} must contain {} once`, "for example 'Bearer {}' or '{}'");
    return '';
  }
  if (!/^[\x20-\x7e]*$/.test(value)) checks.add('format', `${quote(value)} may contain printable ASCII only`);
  return value;
}

function checkWord(checks: Checks, field: string, value: unknown): string {
  if (typeof value === 'string' && /^[A-Za-z0-9_.[\]-]{1,100}$/.test(value) && value !== '__proto__') return value;
  checks.add(field, `${quote(value)} is not the name of a parameter`, 'use letters, digits, _ . - [ and ]');
  return '';
}

/** RFC 7617: a user name may not contain a colon. */
function checkUser(checks: Checks, value: unknown): string {
  if (typeof value === 'string' && /^[\x20-\x39\x3b-\x7e]{0,200}$/.test(value)) return value;
  checks.add('basic', `${quote(value)} is not a user name`, 'the secret is the password; the user has no colon');
  return '';
}

/** Methods in capitals; null: any. */
export function checkMethods(checks: Checks, value: unknown): readonly string[] | null {
  if (value === undefined) return null;
  if (!Array.isArray(value) || value.length === 0) {
    checks.add('methods', `must be a list of methods, not ${quote(value)}`, "for example ['POST']");
    return null;
  }
  const found = (value as unknown[]).map((method, i) => {
    const upper = typeof method === 'string' ? method.toUpperCase() : '';
    if (METHODS.includes(upper)) return upper;
    checks.add(`methods.${i}`, `${quote(method)} is not a method`, `use ${METHODS.join(', ')}`);
    return '';
  });
  return [...new Set(found)];
}

/** A path as URLs write it, without a slash at its end; null: any. */
export function checkPath(checks: Checks, value: unknown): string | null {
  if (value === undefined) return null;
  const fix = "write a path as URLs write it, e.g. '/v1/refunds': it and everything below it";
  const parsed = typeof value === 'string' && value.startsWith('/') ? URL.parse(value, 'https://host') : null;
  if (typeof value !== 'string' || parsed?.host !== 'host' || parsed.pathname !== value || value.includes('%')) {
    checks.add('path', `${quote(value)} is not a path`, fix);
    return null;
  }
  return value.replace(/\/+$/, '') || null;
}

/** Lower-cased `host[:port]`; `:443` is dropped, as URLs do. */
export function checkHost(checks: Checks, field: string, value: unknown): string {
  const fix = 'write host or host:port, without scheme, path, user or wildcard; international names in punycode';
  if (typeof value !== 'string' || value === '') {
    checks.add(field, value === undefined ? 'is required' : `${quote(value)} is not a host`, fix);
    return '';
  }
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9])?)(?::(\d{1,5}))?$/.exec(value.toLowerCase());
  const port = match?.[2] === undefined ? undefined : Number(match[2]);
  const host = match?.[1];
  if (host === undefined || host.includes('..') || (port !== undefined && (port < 1 || port > 65_535))) {
    checks.add(field, `${quote(value)} is not a host`, fix);
    return '';
  }
  if (URL.parse(`https://${host}`)?.hostname !== host) {
    checks.add(field, `${quote(value)} is not a host as URLs write it`, fix);
    return '';
  }
  return port === undefined || port === 443 ? host : `${host}:${port}`;
}

/** Hosts of private ranges that may be reached, as URLs write them. */
export function checkNetwork(checks: Checks, value: unknown): { readonly privateHosts: readonly string[] } {
  const given = checks.options('network', value, ['privateHosts']) ?? {};
  const hosts = given.privateHosts ?? [];
  if (!Array.isArray(hosts)) {
    checks.add('network.privateHosts', `must be a list of hosts, not ${quote(hosts)}`);
    return { privateHosts: [] };
  }
  return { privateHosts: (hosts as unknown[]).map((h, i) => checkHost(checks, `network.privateHosts.${i}`, h)) };
}
