/**
 * Where `ctx.fetch` may connect to. A name is resolved once, by the connection itself, and the address that was judged
 * is the one that is connected to: a name that answers differently the second time (rebinding) gains nothing.
 */
import { lookup as systemLookup, type LookupAddress } from 'node:dns';
import { isIP } from 'node:net';
import type { Config } from '../define/types.ts';
import { ActGuardError } from '../governance/errors.ts';
import { isLoopbackHost, isPublicAddress } from './addresses.ts';

type Answer = (error: Error | null, addresses?: LookupAddress[]) => void;
/** Resolves a name to all of its addresses. */
export type Resolve = (hostname: string, answer: Answer) => void;
type Dispatcher = NonNullable<RequestInit['dispatcher']>;

/** What `ctx.fetch` asks before it sends. */
export interface Network {
  /** The address of a request, checked. @throws HOST_FORBIDDEN */
  readonly url: (input: string | URL) => URL;
  /** Makes the connections to such an address; made with the first request. */
  readonly dispatcher: (url: URL) => Promise<Dispatcher>;
}

/**
 * The rules of a configuration: private ranges are refused but for hosts that are named on purpose, by a secret or in
 * `network.privateHosts`; on a dev stack loopback is open.
 */
export function networkOf(
  config: Pick<Config, 'tools' | 'network'>,
  dev: boolean,
  resolve: Resolve = resolveAll,
): Network {
  const listed = new Set(config.network.privateHosts);
  for (const tool of config.tools) {
    for (const { sent } of Object.values(tool.code.credentials)) if (sent) listed.add(sent.host);
  }
  const mayBePrivate = (url: URL): boolean => listed.has(hostOf(url)) || (dev && isLoopbackHost(url.hostname));
  const made = new Map<boolean, Promise<Dispatcher>>();
  return {
    url(input) {
      const url = parsed(input);
      const literal = url.hostname.replace(/^\[|\]$/g, '');
      if (isIP(literal) !== 0 && !isPublicAddress(literal) && !mayBePrivate(url)) throw privateAddress(url.host);
      return url;
    },
    dispatcher(url) {
      const lenient = mayBePrivate(url); // connections are kept by host and port, so each of the two keeps to its rule
      const found = made.get(lenient) ?? makeDispatcher(guardedLookup(lenient, resolve));
      made.set(lenient, found);
      return found;
    },
  };
}

/** `payments.example` stands for its https port, as `secret` writes hosts; http names its port. */
export function hostOf(url: URL): string {
  return url.protocol === 'http:' && url.port === '' ? `${url.hostname}:80` : url.host;
}

/** One form of an address, or none: https, http on loopback, no user, no trailing dot. */
function parsed(input: string | URL): URL {
  const url = URL.parse(String(input));
  if (url === null) throw forbidden('an address that cannot be read is not sent to', {});
  const place = { host: url.host };
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopbackHost(url.hostname))) {
    throw forbidden(`\`${url.protocol}//${url.host}\` is not sent to: https only, http on loopback`, place);
  }
  if (url.username || url.password) throw forbidden('addresses with a user name in them are not sent to', place);
  if (url.hostname.endsWith('.')) throw forbidden(`\`${url.host}\` is not sent to: it ends in a dot`, place);
  return url;
}

function guardedLookup(mayBePrivate: boolean, resolve: Resolve) {
  return (
    hostname: string,
    options: { all?: boolean; family?: number | string },
    done: (error: Error | null, address?: string | LookupAddress[], family?: number) => void,
  ): void => {
    resolve(hostname, (error, found = []) => {
      if (error) return done(error);
      // one private address among public ones is enough: which of them is taken is not ours to say
      if (!mayBePrivate && !found.every(({ address }) => isPublicAddress(address))) {
        return done(privateAddress(hostname));
      }
      const [first] = found;
      if (!first) return done(Object.assign(new Error(`${hostname} has no address`), { code: 'ENOTFOUND' }));
      if (options.all) return done(null, found);
      done(null, first.address, first.family);
    });
  };
}

function resolveAll(hostname: string, answer: Answer): void {
  systemLookup(hostname, { all: true, verbatim: true }, (error, addresses) => answer(error, addresses));
}

/** Node's own fetch takes connections from an agent of its own copy of undici; ours is another one of that class. */
async function makeDispatcher(lookup: ReturnType<typeof guardedLookup>): Promise<Dispatcher> {
  await fetch('data:,'); // Node makes its agent with the first use of fetch
  const global: unknown = (globalThis as { [key: symbol]: unknown })[Symbol.for('undici.globalDispatcher.1')];
  const kind = (global as { constructor?: new (options: object) => Dispatcher } | undefined)?.constructor;
  if (kind?.name !== 'Agent') {
    throw new ActGuardError('CONFIG_INVALID', 'the global dispatcher of this process was replaced', {
      hint: 'do not call `setGlobalDispatcher`: ActGuard has to choose the addresses that tools connect to',
    });
  }
  return new kind({ connect: { lookup } });
}

function privateAddress(host: string): ActGuardError {
  return new ActGuardError('HOST_FORBIDDEN', `\`${host}\` is not sent to: its address is private`, {
    hint: 'if it is meant, list it in `network.privateHosts` of the configuration',
    details: { host },
  });
}

function forbidden(message: string, details: { host?: string }): ActGuardError {
  return new ActGuardError('HOST_FORBIDDEN', message, { details });
}
