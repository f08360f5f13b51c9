/**
 * Imported for what it does: every decision that a test file makes in this process is made again by a second
 * implementation of Cedar when the file ends, and has to be the same. Without Go only test/policy/cedar-go.test.ts fails.
 */
import { afterAll } from 'vitest';
import { CedarSet } from '../../activities/policy-cedar.ts';
import { disagreements, hasGo, type MadeDecision } from './cedar-go.ts';

/** Of one file: the clock in a request makes most of them unlike any other. */
const MAX_CHECKED = 2_000;
const made = new Map<string, MadeDecision>();
const decide = CedarSet.prototype.decide;

CedarSet.prototype.decide = function (this: CedarSet, request) {
  const answer = decide.call(this, request);
  if (made.size < MAX_CHECKED) {
    const one = { policies: this.policies, request: structuredClone(request), answer };
    made.set(JSON.stringify([one.policies, one.request]), one);
  }
  return answer;
};

afterAll(() => {
  if (made.size === 0 || !hasGo()) return;
  const found = disagreements([...made.values()]);
  if (found.length > 0)
    throw new Error(`${found.length} decisions are not confirmed:\n${found.slice(0, 5).join('\n')}`);
});

/** What was decided so far. */
export function madeDecisions(): readonly MadeDecision[] {
  return [...made.values()];
}
