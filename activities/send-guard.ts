/**
 * The last check of a call's time, in the tick in which a request's head goes to its socket. Between `fetch` and that
 * tick lie a name lookup, a connection, TLS, perhaps a blocked event loop: a claim may have run out meanwhile.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe } from 'node:diagnostics_channel';

/** Watches one request. */
export interface SendGuard {
  /** Monotonic clock (`performance.now()`): nothing is written at or after this. */
  readonly notAfter: () => number;
  /** Its time was over before anything was written. */
  stopped: boolean;
}

const current = new AsyncLocalStorage<SendGuard>();
const guards = new WeakMap<object, SendGuard>();
let subscribed = false;

/** Runs code whose `fetch` is stopped at its socket once the guard's time is over. */
export function guardedSend<T>(guard: SendGuard, code: () => T): T {
  subscribeOnce();
  return current.run(guard, code);
}

function subscribeOnce(): void {
  if (subscribed) return;
  subscribed = true;
  subscribe('undici:request:create', (message) => {
    const guard = current.getStore();
    if (guard) guards.set((message as { request: object }).request, guard);
  });
  // published in the tick of the write and before it: what is destroyed here sends nothing
  subscribe('undici:client:sendHeaders', (message) => {
    const { request, socket } = message as { request: object; socket: { destroy(error: Error): void } };
    const guard = guards.get(request);
    if (!guard || performance.now() < guard.notAfter()) return;
    guard.stopped = true;
    socket.destroy(new Error('this call is over: nothing is sent any more'));
  });
}
