/**
 * A turn's text while it is written, for those who read along (`run.events()`): scrubbed, written down a few times a
 * second beside the call, gone with its outcome. It is a view: what fails here fails nothing else.
 */
import { LIVE_TEXT_MS, MAX_ANSWER_BYTES } from '../governance/limits.ts';
import type { Deps } from './deps.ts';
import { pgJson } from './pg-json.ts';
import { ScrubStream } from './scrub-stream.ts';

/** One model call that somebody reads along with. */
export class LiveText {
  readonly #deps: Pick<Deps, 'db' | 'log'>;
  readonly #of: { readonly run: string; readonly call: string };
  readonly #clean: ScrubStream;
  readonly #timer: NodeJS.Timeout;
  #waiting = '';
  #writing: Promise<void> = Promise.resolve();
  #busy = false;

  constructor(deps: Pick<Deps, 'db' | 'log' | 'known'>, of: { readonly run: string; readonly call: string }) {
    this.#deps = deps;
    this.#of = of;
    this.#clean = new ScrubStream(deps.known);
    this.#timer = setInterval(() => this.#write(), LIVE_TEXT_MS);
  }

  /** More of the answer, as the provider sends it. What could be the beginning of a secret waits for what follows. */
  push(more: string): void {
    this.#waiting += this.#clean.push(more);
  }

  /** Nothing is written after this: the outcome takes the text away. */
  async end(): Promise<void> {
    clearInterval(this.#timer);
    await this.#writing;
  }

  #write(): void {
    if (this.#busy) return;
    // half of a character waits for its other half
    const whole = /[\ud800-\udbff]$/.test(this.#waiting) ? this.#waiting.slice(0, -1) : this.#waiting;
    if (whole === '') return;
    this.#waiting = this.#waiting.slice(whole.length);
    this.#busy = true;
    const said = { ...this.#of, text: whole.toWellFormed().replaceAll('\0', ''), maxChars: MAX_ANSWER_BYTES };
    this.#writing = this.#deps.db
      .query('select actguard.say($1::jsonb)', [pgJson(said)])
      .then(
        () => undefined,
        (error: unknown) => this.#deps.log('warn', `nobody can read along: ${String(error)}`, this.#of),
      )
      .finally(() => (this.#busy = false));
  }
}
