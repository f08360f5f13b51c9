/** Live pages: one look at the database a second for all of them, a line to each when something was recorded. */
import type { Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import { MAX_LIVE_PAGES } from '../governance/limits.ts';
import type { GatewayDeps } from './deps.ts';
import { problem } from './guard.ts';
import { notSignedIn, signedIn } from './sign-in.ts';

/** A line that says nothing, so that proxies keep the connection. */
const KEEP_ALIVE_MS = 20_000;

/** Looks only while somebody listens. */
export class Changes {
  readonly #deps: GatewayDeps;
  readonly #listeners = new Set<() => void>();
  #version: number | null = null;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: GatewayDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#listeners.size;
  }

  /** Calls back after each change from now on, until the returned function is called. */
  async listen(changed: () => void): Promise<() => void> {
    this.#listeners.add(changed);
    this.#version ??= await this.#read().catch(() => null);
    if (this.#timer === undefined) this.#next();
    return () => {
      this.#listeners.delete(changed);
      if (this.#listeners.size > 0) return;
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#version = null;
    };
  }

  async #read(): Promise<number> {
    const [row] = await this.#deps.db.query<{ v: number }>('select actguard.page_version() as v');
    return row?.v ?? 0;
  }

  #next(): void {
    this.#timer = setTimeout(() => void this.#look(), this.#deps.lookEveryMs);
  }

  async #look(): Promise<void> {
    try {
      const version = await this.#read();
      if (this.#version !== null && version !== this.#version) for (const listener of this.#listeners) listener();
      this.#version = version;
    } catch {
      // the database is away: pages stay as they are and look again
    }
    if (this.#listeners.size > 0) this.#next();
  }
}

/** Adds `/api/live`. */
export function liveRoute(app: Hono, deps: GatewayDeps): void {
  const changes = new Changes(deps);
  app.get('/api/live', async (c) => {
    const who = await signedIn(deps, c);
    if (!who) return notSignedIn(c);
    if (changes.size >= MAX_LIVE_PAGES) return problem(c, 503, 'LIMIT_EXCEEDED', 'too many pages are open');
    return streamSSE(c, async (stream) => {
      let wake: () => void = () => undefined;
      let changed = false;
      let open = true;
      const stop = await changes.listen(() => {
        changed = true;
        wake();
      });
      stream.onAbort(() => {
        open = false;
        stop();
        wake();
      });
      await stream.writeSSE({ event: 'open-page', data: '' });
      while (open) {
        const timer = setTimeout(() => wake(), KEEP_ALIVE_MS);
        if (!changed) await new Promise<void>((resolve) => (wake = resolve));
        clearTimeout(timer);
        if (!open) break;
        await stream.writeSSE({ event: changed ? 'changed' : 'alive', data: '' });
        changed = false;
        // signed out or revoked meanwhile: nothing more is said
        if (!(await signedIn(deps, c).catch(() => who))) break;
      }
      stop();
    });
  });
}
