/** What came of an ask, below its title. */
import { effectWords } from '../../governance/ask-words.ts';
import type { AskData } from './api.ts';
import { type Child, el } from './dom.ts';

/** The line; null: nothing came of it yet. */
export function outcomeOf(ask: AskData): Child {
  const words = effectWords(ask.effect?.state ?? null);
  if (words !== null) return el('p', { class: 'outcome' }, words);
  if (ask.state === 'granted') return el('p', { class: 'outcome' }, 'The run is looking at it again before it runs.');
  if (ask.state === 'rejected') return el('p', { class: 'outcome' }, 'Nothing happened; the agent was told.');
  return null;
}
