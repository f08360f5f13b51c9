/** A run's entries as a story that a person can read: a line each, what happened and why. */
import { goneKey, goneWords } from '../governance/content.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { formatMicros } from '../governance/money.ts';
import type { ListedEntry } from './ledger.ts';

const MAX_VALUE_CHARS = 160;

/** `12:04:05  c3  payments.refund({"orderId":"1042"}) allowed by refunds-small, autonomous`. Not escaped for a terminal. */
export function storyLine(entry: ListedEntry): string {
  const { at, data } = JSON.parse(entry.body) as { at: string; data: JsonObject };
  const call = entry.call === null ? '' : `${entry.call}  `;
  const gone = goneKey(entry.content);
  return `${at.slice(11, 19)}  ${call}${sentence(entry, data)}${gone === null ? '' : ` (${goneWords(gone)})`}`;
}

function sentence({ kind, content }: ListedEntry, data: JsonObject): string {
  const text = (field: string): string => (data[field] === undefined ? '' : String(data[field]));
  const what = `${text('tool') || text('model')}${shown('(', content?.['args'], ')')}`;
  const why = data['reason'] === undefined ? '' : `: ${text('reason')}`;
  const spent = amount(data['spentMicros'] ?? (data['spent'] as JsonObject | undefined)?.['usdMicros']);
  const code = text('code');
  switch (kind) {
    case 'run.opened':
      return `opened for ${text('user')} by ${text('openedBy')}: agent ${text('agent')}${limitOf(data['limit'])}${shown(', asked ', content?.['input'])}`;
    case 'run.closed':
      return `ended: ${text('status')}${data['by'] === undefined ? '' : ` (found by the ${text('by')}: Temporal says ${text('temporal')})`}`;
    case 'run.frozen':
      return `frozen by ${text('by')}${why}`;
    case 'run.thawed':
      return `thawed by ${text('by')}${why}`;
    case 'run.recovered':
      return `recovered by ${text('person')}${why}`;
    case 'run.reconciled':
      return data['agrees'] === true
        ? `its history of ${text('historyLength')} events tells of the same calls`
        : `ITS HISTORY DIFFERS: not in the ledger ${shown('', data['notInLedger'])}, not in the history ${shown('', data['notInHistory'])}`;
    case 'call.denied':
      return `${what} denied, ${code}${shown(': ', content?.['reason'])}`;
    case 'call.repeated':
      return `${text('tool')} was done before, by ${text('of')}: its first result counts`;
    case 'call.asked':
      return `${what} needs a person's yes: ${list(data['reasons'])}`;
    case 'call.started':
      return `${what} ${text('authorization')}, allowed by ${list(data['reasons']) || 'its policies'}`;
    case 'call.succeeded':
      return `${text('tool') || text('model')} succeeded${spent}${shown(': ', content?.['output'] ?? answerOf(content))}`;
    case 'call.failed':
      return `${text('tool') || text('model')} failed${code === '' ? '' : `, ${code}`}${spent}`;
    case 'call.unknown':
      return `${text('tool')}: nobody knows whether it happened${spent}`;
    case 'call.resolved':
      return `${text('resolvedBy')} says that it ${data['happened'] === false ? 'did not happen' : 'happened'}${why}`;
    case 'call.late':
      return `a late outcome came: ${text('state')}`;
    case 'call.contradicted':
      return `A LATE OUTCOME CONTRADICTS WHAT WAS RECORDED: ${text('state')}, recorded was ${text('found')}`;
    case 'approval.answered':
      return `${text('person')} answered: ${text('decision')}`;
    case 'approval.requested':
      return `a yes is asked for by ${list((data['gates'] as JsonObject[] | undefined)?.map((g) => g['id'] ?? ''))}, until ${text('expiresAt')}`;
    case 'budget.exhausted':
      return `the budget is exhausted`;
    case 'budget.topped-up':
      return `${text('by')} topped the budget up${shown(' by ', data['more'])}${why}`;
    case 'ledger.erased':
      return `${text('person')} erased content of ${text('target').replace(/^erase:/, '')}${why}`;
    default:
      return [kind, text('person') || text('by'), code, text('scope'), text('value')].filter(Boolean).join(' ') + why;
  }
}

/** A model's words, as they lie beside its entry. */
function answerOf(content: JsonObject | null): Json | undefined {
  const answer = content?.['answer'] as JsonObject | undefined;
  return answer?.['text'] === '' ? answer['toolCalls'] : answer?.['text'];
}

function shown(before: string, value: Json | undefined, after = ''): string {
  if (value === undefined || value === null) return '';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const cut = text.length > MAX_VALUE_CHARS ? `${text.slice(0, MAX_VALUE_CHARS - 1).toWellFormed()}…` : text;
  return `${before}${cut}${after}`;
}

function list(value: Json | undefined): string {
  return Array.isArray(value) ? value.map(String).join(', ') : '';
}

function amount(micros: Json | undefined): string {
  return typeof micros === 'number' && micros > 0 ? `, ${formatMicros(micros)}` : '';
}

function limitOf(value: Json | undefined): string {
  const limit = (value ?? {}) as JsonObject;
  const parts = [
    typeof limit['usdMicros'] === 'number' ? formatMicros(limit['usdMicros']) : '',
    typeof limit['tokens'] === 'number' ? `${limit['tokens']} tokens` : '',
    typeof limit['calls'] === 'number' ? `${limit['calls']} calls` : '',
  ].filter(Boolean);
  return parts.length === 0 ? '' : `, at most ${parts.join(', ')}`;
}
