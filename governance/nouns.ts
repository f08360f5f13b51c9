/** What an id is an id of (guards.md PV5): `orderId`, `order.id` and the `id` that `orders.find` returns are of orders. */

/** Words that say "which one" and not of what. */
const GENERIC = new Set(
  'id ids uid uuid guid ref refs reference references number numbers no nr num key keys code codes name names slug value values item items'.split(' '), // prettier-ignore
);
/** Words of a tool's name that say what it does and not to what. */
const VERBS = new Set(
  `find get list search read look lookup fetch load show view query open describe check count create add make new save write put
  set update edit change patch delete remove drop cancel archive close send post reply forward mail email pay refund charge
  transfer move copy rename upload download run start stop approve reject assign tool tools api mcp client service by for of
  to from the a an all one`.split(/\s+/),
); // prettier-ignore
/** Last words of a field that looks something up (PV6). */
const LOOKS_UP = new Set(
  `id ids uid uuid guid ref reference number no nr num key code name slug email mail user username login handle account iban phone
  host hostname domain url uri link path file folder directory sku customer contact recipient address to owner`.split(/\s+/),
); // prettier-ignore
/** Fields that hold free text, whatever stands in them. */
const FREE_TEXT = new Set(
  'text message body content note notes comment comments description subject title prompt reason summary instructions'.split(' '), // prettier-ignore
);

/** What a field's ids are of: by its own name, else by the name above it, else by the tool's. In small letters, singular. */
export function nounsOf(field: string, parent: string, tool: string): readonly string[] {
  for (const name of [field, parent]) {
    const last = wordsOf(name).findLast((word) => !GENERIC.has(word));
    if (last !== undefined) return [singular(last)];
  }
  const words = wordsOf(tool).filter((word) => !GENERIC.has(word));
  const things = words.filter((word) => !VERBS.has(word));
  return (things.length > 0 ? things : words).map(singular);
}

/** Whether a field by its name looks something up, holds free text, or does not say. */
export function roleOf(field: string): 'lookup' | 'free text' | 'unsaid' {
  const last = wordsOf(field).at(-1) ?? '';
  if (FREE_TEXT.has(last)) return 'free text';
  return LOOKS_UP.has(last) ? 'lookup' : 'unsaid';
}

/** `orders` -> `order`, `companies` -> `company`; a word that is singular already stays. */
export function singular(word: string): string {
  const small = word.toLowerCase();
  if (small.length > 4 && small.endsWith('ies')) return `${small.slice(0, -3)}y`;
  if (small.length > 4 && /(?:ch|sh|x|ss|z)es$/.test(small)) return small.slice(0, -2);
  return small.length > 3 && small.endsWith('s') && !/(?:ss|us|is)$/.test(small) ? small.slice(0, -1) : small;
}

/** `parentFolder_ID` -> parent, folder, id */
function wordsOf(name: string): string[] {
  return name
    .replace(/(\p{Ll}|\p{N})(\p{Lu})/gu, '$1 $2')
    .replace(/(\p{Lu})(\p{Lu}\p{Ll})/gu, '$1 $2')
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== '')
    .map((word) => word.toLowerCase());
}
