/**
 * Answers of one set that were given before. Cedar reads no clock and no chance: the same set says the same to the same
 * request, and asking it again costs most of a decision. Requests are remembered as digests: nothing of them is kept.
 */
import { createHash } from 'node:crypto';
import type { CedarAnswer } from './policy-cedar.ts';

/** Answers that one set remembers, the most recent ones: about a hundred bytes each. */
const MAX_ANSWERS = 2_000;

/** What a set answered. An error is never remembered: it is found out again. */
export class PolicyMemory {
  readonly #answers = new Map<string, CedarAnswer>();

  /** The answer to a request, written out; `ask` gives it when it is new. */
  answer(request: string, ask: () => CedarAnswer): CedarAnswer {
    const digest = createHash('sha256').update(request).digest('base64');
    const known = this.#answers.get(digest);
    this.#answers.delete(digest);
    const answer = known ?? ask();
    if (answer.kind === 'error') return answer;
    this.#answers.set(digest, answer);
    if (this.#answers.size > MAX_ANSWERS) this.#answers.delete(this.#answers.keys().next().value ?? '');
    return answer;
  }
}
