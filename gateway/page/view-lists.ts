/** The inbox and the history. */
import { span } from '../../governance/denial.ts';
import type { HistoryItem, InboxItem } from './api.ts';
import { effectWords, stateWords } from '../../governance/ask-words.ts';
import { el, foreign, when } from './dom.ts';

/** Asks that wait. */
export function inboxView(asks: readonly InboxItem[]): HTMLElement {
  const items = asks.map((ask) =>
    el(
      'li',
      {},
      el('a', { href: `/asks/${encodeURIComponent(ask.approvalId)}` }, foreign(ask.title)),
      el(
        'p',
        { class: 'note' },
        `${foreign(ask.tenant)}, ends in ${span(Math.max(0, ask.expiresAtMs - Date.now()))}`,
        ask.answered && ', you have answered',
        ask.own && ', asked by yourself',
      ),
    ),
  );
  return el(
    'div',
    {},
    el('h1', { tabindex: '-1' }, 'Waiting for you'),
    asks.length === 0
      ? el('p', { class: 'empty' }, 'Nothing waits. This page looks by itself.')
      : el('ul', { class: 'list' }, ...items),
  );
}

/** What I answered, and what came of it. */
export function historyView(asks: readonly HistoryItem[]): HTMLElement {
  const items = asks.map((ask) => {
    const outcome = effectWords(ask.effect);
    return el(
      'li',
      {},
      el('a', { href: `/asks/${encodeURIComponent(ask.approvalId)}` }, foreign(ask.title)),
      el(
        'p',
        { class: 'note' },
        `${foreign(ask.tenant)}, you ${ask.decision === 'approve' ? 'approved' : 'rejected'} it `,
        when(ask.answeredAtMs),
        `. ${stateWords(ask.state)}.`,
        outcome === null ? null : ` ${outcome}`,
      ),
    );
  });
  return el(
    'div',
    {},
    el('h1', { tabindex: '-1' }, 'My answers'),
    asks.length === 0
      ? el('p', { class: 'empty' }, 'You have answered nothing yet.')
      : el('ul', { class: 'list' }, ...items),
  );
}
