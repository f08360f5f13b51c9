/** References to secrets: what a tool's credentials are made of. The value is read by the worker at the moment of use. */
import { Checks, isOptions, quote } from './check.ts';
import { checkHost, checkMethods, checkPath, checkPlace } from './secret-place.ts';
import type { SecretRef } from './secret-types.ts';

const SECRET = Symbol.for('actguard.secret');
const OPTIONS = ['host', 'methods', 'path', 'header', 'format', 'query', 'basic', 'body', 'reveal', 'per', 'env'];

/** Options of {@link secret}: where it is sent, or that the tool's own code gets it. */
export interface SecretOptions {
  /** The one host that the secret is sent to: `payments.example` or `localhost:4010`. Absent with `reveal`. */
  readonly host?: string;
  /** Sent with these methods only; default: any. */
  readonly methods?: readonly string[];
  /** Sent to this path and below it only, e.g. `/v1/refunds`; default: any. */
  readonly path?: string;
  /** Default `authorization`. One of `header`, `query`, `basic`, `body`. */
  readonly header?: string;
  /** Where the value goes in the header: `{}`, once. Default `Bearer {}`. */
  readonly format?: string;
  /** Sent as this query parameter. */
  readonly query?: string;
  /** Sent as the password of this user (RFC 7617). */
  readonly basic?: string;
  /** Sent as this field of a JSON or form body. */
  readonly body?: string;
  /** Given to the tool's own code by `ctx.reveal(localName)`, for SDKs; every failure of such a call is unknown (EX4). */
  readonly reveal?: boolean;
  /** A value of its own for each tenant or user; default: one for the worker. */
  readonly per?: 'tenant' | 'user';
  /** Environment variable; default: the name in capitals with underscores. */
  readonly env?: string;
}

/**
 * A reference to a secret for one host. `secret('payments/api-key', { host: 'payments.example' })` reads
 * PAYMENTS_API_KEY and sends `authorization: Bearer <value>` to `https://payments.example` only.
 *
 * @throws CONFIG_INVALID listing every problem
 * @example
 * secret('maps/key', { host: 'maps.example', query: 'key', methods: ['GET'], path: '/v2' });
 * secret('stripe/key', { reveal: true }); // ctx.reveal('stripe')
 */
export function secret(name: string, options: SecretOptions): SecretRef {
  const checks = new Checks(`secret ${quote(name)}`);
  if (typeof name !== 'string' || !/^[a-z0-9][a-z0-9_.-]*(\/[a-z0-9_.-]+)*$/.test(name)) {
    checks.add('name', `${quote(name)} is not a name`, 'use small letters, digits, _ . - and /, e.g. payments/api-key');
  }
  if (!isOptions(options)) checks.add('', 'needs options', "say where it is sent: { host: 'payments.example' }");
  const given = checks.options('', options, OPTIONS) ?? {};
  const reveal = checks.boolean('reveal', given.reveal, false);
  const bound = !reveal || given.host !== undefined;
  if (!bound) {
    for (const key of ['methods', 'path', 'header', 'format', 'query', 'basic', 'body']) {
      if (given[key] !== undefined) checks.add(key, 'needs `host`: it says how the secret is sent');
    }
  }
  const ref: SecretRef = {
    kind: 'secret',
    name: String(name),
    env: checkEnv(checks, given.env, String(name)),
    per: checks.oneOf('per', given.per, 'worker', ['tenant', 'user']),
    reveal,
    sent:
      bound && isOptions(options)
        ? {
            host: checkHost(checks, 'host', given.host),
            methods: checkMethods(checks, given.methods),
            path: checkPath(checks, given.path),
            into: checkPlace(checks, given),
          }
        : null,
  };
  checks.done();
  return Object.freeze(Object.defineProperty({ ...ref }, SECRET, { value: true }));
}

/** Whether a value was made by {@link secret}, also by another copy of the package. */
export function isSecretRef(value: unknown): value is SecretRef {
  return typeof value === 'object' && value !== null && (value as { [SECRET]?: unknown })[SECRET] === true;
}

function checkEnv(checks: Checks, value: unknown, name: string): string {
  const env = value ?? name.toUpperCase().replace(/[^A-Z0-9]/g, '_');
  if (typeof env === 'string' && /^[A-Za-z_][A-Za-z0-9_]*$/.test(env)) return env;
  checks.add('env', `${quote(env)} is not the name of an environment variable`);
  return '';
}
