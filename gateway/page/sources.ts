/** Where questioned values came from, with the words around them: a stranger's text stays in its own box. */
import type { AskedSource } from '../../governance/approval.ts';
import { type Child, el, foreign, foreignBlock } from './dom.ts';

const ORIGINS: { readonly [origin: string]: string } = {
  user: "from the user's own request",
  trusted: 'from a trusted tool',
  internal: 'from our own people',
  untrusted: 'from a source that strangers write to',
  model: 'made up by the agent',
};

/** A list of values that nobody vouches for; null: there is none. */
export function sourcesOf(sources: readonly AskedSource[]): Child {
  if (sources.length === 0) return null;
  return el('ul', { class: 'sources' }, ...sources.map(line));
}

function line({ argument, value, origin, about, from }: AskedSource): HTMLElement {
  const words = about === 'private' ? 'private, and would leave the house' : (ORIGINS[origin] ?? foreign(origin));
  const where =
    from === null
      ? ''
      : `, call ${foreign(from.call)} of ${foreign(from.tool)}${from.field === '' ? '' : `, field ${foreign(from.field)}`}`;
  return el(
    'li',
    {},
    argument === '' ? null : `${foreign(argument)} `,
    el('code', {}, foreign(value)),
    `: ${words}${where}`,
    from !== null && from.text !== '' && foreignBlock('blockquote', from.text),
  );
}
