/**
 * Notices requests that a tool makes around `ctx.fetch`, so that a failure after one of them is never taken for
 * "nothing left the machine" (EX4). Seen are new sockets, node:http, global fetch and child processes; a client that
 * writes on a socket which was open before the call is not (docs/exactly-once.md).
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe } from 'node:diagnostics_channel';

/** What one call did on its own. */
export interface Watched {
  /** Something may have left the machine outside of `ctx.fetch`. */
  ownTraffic: boolean;
}

const watched = new AsyncLocalStorage<Watched | null>();
const CHANNELS = [
  'undici:request:create',
  'http.client.request.created',
  'http.client.request.start',
  'http2.client.stream.created',
  'net.client.socket',
  'child_process',
  'tracing:child_process.spawn:start',
];
let subscribed = false;

/** Runs a tool's code while watching it. */
export function watching<T>(record: Watched, code: () => T): T {
  if (!subscribed) {
    subscribed = true;
    for (const channel of CHANNELS) {
      subscribe(channel, () => {
        const current = watched.getStore();
        if (current) current.ownTraffic = true;
      });
    }
  }
  return watched.run(record, code);
}

/** Runs `ctx.fetch`'s own request: it is accounted for there. */
export function unwatched<T>(code: () => T): T {
  return watched.run(null, code);
}
