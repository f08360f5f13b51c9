/** Scrubs text that comes in pieces: what could be the beginning of a secret waits for the next piece. */
import { StringDecoder } from 'node:string_decoder';
import type { SecretSet } from './scrub.ts';

/** One stream. */
export class ScrubStream {
  readonly #known: SecretSet;
  readonly #decoder = new StringDecoder('utf8');
  #held = '';

  constructor(known: SecretSet) {
    this.#known = known;
  }

  /** What may go out now. */
  push(piece: string | Uint8Array): string {
    const text = this.#held + (typeof piece === 'string' ? piece : this.#decoder.write(Buffer.from(piece)));
    const clean = this.#known.text(text);
    const keep = this.#known.pending(clean);
    this.#held = keep === 0 ? '' : clean.slice(-keep);
    return keep === 0 ? clean : clean.slice(0, -keep);
  }

  /** What waited: the stream has ended, or nothing came for a while. */
  flush(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }

  /** Whether something waits. */
  get waiting(): boolean {
    return this.#held !== '';
  }
}
