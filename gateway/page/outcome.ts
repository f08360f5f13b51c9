/** What came of an ask, in words. */
import type { AskData } from './api.ts';
import { type Child, el } from './dom.ts';

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

/** A state in words. */
export function stateWords(state: string): string {
  return STATES[state] ?? state;
}

/** What the call did in words; null: nothing yet. */
export function effectWords(state: string | null): string | null {
  return state === null ? null : (EFFECTS[state] ?? state);
}

/** The line below the title. */
export function outcomeOf(ask: AskData): Child {
  const words = effectWords(ask.effect?.state ?? null);
  if (words !== null) return el('p', { class: 'outcome' }, words);
  if (ask.state === 'granted') return el('p', { class: 'outcome' }, 'The run is looking at it again before it runs.');
  if (ask.state === 'rejected') return el('p', { class: 'outcome' }, 'Nothing happened; the agent was told.');
  return null;
}
