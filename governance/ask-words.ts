/** What came of an ask, in words: the same on the page and in mails. */

const STATES: { readonly [state: string]: string } = {
  open: 'Waits for an answer',
  granted: 'Approved',
  consumed: 'Approved and used',
  rejected: 'Rejected',
  expired: 'Expired without an answer',
  withdrawn: 'Withdrawn: the run has ended or asks no more',
};
const EFFECTS: { readonly [state: string]: string } = {
  claimed: 'It is running now.',
  retrying: 'It failed and is tried again.',
  succeeded: 'It was done, once.',
  failed: 'It was tried and failed; nothing happened.',
  unknown: 'It was started, and whether it happened is not known yet: a person is asked.',
};

/** The state of an ask in words. */
export function stateWords(state: string): string {
  return STATES[state] ?? state;
}

/** What the call did in words, from the state of its effect; null: nothing yet. */
export function effectWords(state: string | null): string | null {
  return state === null ? null : (EFFECTS[state] ?? state);
}
