/** References to secrets: what a tool's credentials are made of. The value is read by the worker at the moment of use. */
import { Checks, isOptions, quote } from './check.ts';
import type { SecretRef } from './types.ts';

const SECRET = Symbol.for('actguard.secret');
/** Headers that belong to the connection, not to a credential. */
const RESERVED_HEADERS = ['host', 'content-length', 'connection', 'transfer-encoding', 'upgrade', 'te', 'trailer'];

/** Options of {@link secret}. */
export interface SecretOptions {
  /** The one host that the secret is sent to: `payments.example` or `localhost:4010`. */
  readonly host: string;
  /** Default `authorization`. */
  readonly header?: string;
  /** Where the value goes: `{}`, once. Default `Bearer {}`. */
  readonly format?: string;
  /** Environment variable; default: the name in capitals with underscores. */
  readonly env?: string;
}

/**
 * A reference to a secret for one host. `secret('payments/api-key', { host: 'payments.example' })` reads
 * PAYMENTS_API_KEY and sends `authorization: Bearer <value>` to `https://payments.example` only.
 *
 * @throws CONFIG_INVALID listing every problem
 */
export function secret(name: string, options: SecretOptions): SecretRef {
  const checks = new Checks(`secret ${quote(name)}`);
  if (typeof name !== 'string' || !/^[a-z0-9][a-z0-9_.-]*(\/[a-z0-9_.-]+)*$/.test(name)) {
    checks.add('name', `${quote(name)} is not a name`, 'use small letters, digits, _ . - and /, e.g. payments/api-key');
  }
  if (!isOptions(options)) checks.add('', 'needs options', "say where it is sent: { host: 'payments.example' }");
  const given = checks.options('', options, ['host', 'header', 'format', 'env']) ?? {};
  const ref: SecretRef = {
    kind: 'secret',
    name: String(name),
    env: checkEnv(checks, given.env, String(name)),
    host: isOptions(options) ? checkHost(checks, given.host) : '',
    header: checkHeader(checks, 'header', given.header ?? 'authorization'),
    format: checkFormat(checks, given.format ?? 'Bearer {}'),
  };
  checks.done();
  return Object.freeze(Object.defineProperty({ ...ref }, SECRET, { value: true }));
}

/** Whether a value was made by {@link secret}, also by another copy of the package. */
export function isSecretRef(value: unknown): value is SecretRef {
  return typeof value === 'object' && value !== null && (value as { [SECRET]?: unknown })[SECRET] === true;
}

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

/** Lower-cased `host[:port]`; `:443` is dropped, as URLs do. */
function checkHost(checks: Checks, value: unknown): string {
  const fix = 'write host or host:port, without scheme, path, user or wildcard; international names in punycode';
  if (typeof value !== 'string' || value === '') {
    checks.add('host', value === undefined ? 'is required' : `${quote(value)} is not a host`, fix);
    return '';
  }
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9])?)(?::(\d{1,5}))?$/.exec(value.toLowerCase());
  const port = match?.[2] === undefined ? undefined : Number(match[2]);
  const host = match?.[1];
  if (host === undefined || host.includes('..') || (port !== undefined && (port < 1 || port > 65_535))) {
    checks.add('host', `${quote(value)} is not a host`, fix);
    return '';
  }
  let canonical: string;
  try {
    canonical = new URL(`https://${host}`).hostname;
  } catch {
    canonical = '';
  }
  if (canonical !== host) {
    checks.add('host', `${quote(value)} is not a host as URLs write it`, fix);
    return '';
  }
  return port === undefined || port === 443 ? host : `${host}:${port}`;
}

function checkFormat(checks: Checks, value: unknown): string {
  if (typeof value !== 'string' || value.split('{}').length !== 2) {
    checks.add('format', `${quote(value)} must contain {} once`, "for example 'Bearer {}' or '{}'");
    return '';
  }
  if (!/^[\x20-\x7e]*$/.test(value)) checks.add('format', `${quote(value)} may contain printable ASCII only`);
  return value;
}

function checkEnv(checks: Checks, value: unknown, name: string): string {
  const env = value ?? name.toUpperCase().replace(/[^A-Z0-9]/g, '_');
  if (typeof env === 'string' && /^[A-Za-z_][A-Za-z0-9_]*$/.test(env)) return env;
  checks.add('env', `${quote(env)} is not the name of an environment variable`);
  return '';
}
