/** What a run did before it asked: its calls, from the ledger's entries. */
import type { Json } from '../../governance/json.ts';
import type { AskData } from './api.ts';
import { el, foreign, when } from './dom.ts';

const WORDS: { readonly [kind: string]: string } = {
  'call.started': 'started',
  'call.succeeded': 'done',
  'call.failed': 'failed',
  'call.denied': 'refused',
  'call.unknown': 'outcome not known',
  'call.resolved': 'resolved',
  'call.late': 'answered late',
};
const MAX_ARGS_CHARS = 160;

/** A list of what happened, oldest first. */
export function storyOf(entries: AskData['before']): HTMLElement {
  if (entries.length === 0) return el('p', {}, 'Nothing: this is its first call.');
  return el('ol', { class: 'story' }, ...entries.map(line));
}

function line(entry: AskData['before'][number]): HTMLElement {
  const body = readBody(entry.body);
  const args = entry.args === null || entry.args === undefined ? '' : ` ${short(JSON.stringify(entry.args))}`;
  const code = typeof body.data['code'] === 'string' ? ` (${foreign(body.data['code'])})` : '';
  return el(
    'li',
    {},
    when(Date.parse(body.at)),
    ' ',
    el('code', {}, foreign(String(body.data['tool'] ?? entry.call ?? ''))),
    foreign(args),
    ` ${WORDS[entry.kind] ?? foreign(entry.kind)}${code}`,
  );
}

function readBody(text: string): { at: string; data: { readonly [field: string]: Json } } {
  try {
    return JSON.parse(text) as { at: string; data: { readonly [field: string]: Json } };
  } catch {
    return { at: '', data: {} };
  }
}

function short(text: string): string {
  return text.length > MAX_ARGS_CHARS ? `${text.slice(0, MAX_ARGS_CHARS)}…` : text;
}
