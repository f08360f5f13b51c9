/**
 * Destinations (guards.md PV2): where a call sends something or what it looks up. Each kind has one normal form; two
 * values are the same only when their normal forms are (PV3).
 */

/** Kinds of destinations. A value vouches for its own kind only (PV5). */
export const DESTINATION_KINDS = ['email', 'uri', 'host', 'iban', 'phone', 'path', 'id'] as const;
/** One of {@link DESTINATION_KINDS}. */
export type DestinationKind = (typeof DESTINATION_KINDS)[number];

/** JSON Schema formats, as zod writes them or `.meta({ format })` says, and the kind that each is of. */
const KIND_OF_FORMAT: { readonly [format: string]: DestinationKind } = {
  email: 'email', 'idn-email': 'email', uri: 'uri', url: 'uri', iri: 'uri', 'uri-reference': 'uri', 'iri-reference': 'uri',
  host: 'host', hostname: 'host', 'idn-hostname': 'host', domain: 'host', ipv4: 'host', ipv6: 'host', cidrv4: 'host',
  cidrv6: 'host', iban: 'iban', phone: 'phone', e164: 'phone', tel: 'phone', path: 'path', file: 'path', id: 'id',
  uuid: 'id', guid: 'id', ulid: 'id', cuid: 'id', cuid2: 'id', nanoid: 'id', xid: 'id', ksuid: 'id',
}; // prettier-ignore

/** Formats of dates and times: never judged (PV2). */
const DATES = new Set(['date', 'time', 'date-time', 'duration']);

/** The kind of a JSON Schema format; `date` for what is never judged; null: not one that names a destination. */
export function kindOfFormat(format: string): DestinationKind | 'date' | null {
  if (DATES.has(format)) return 'date';
  return Object.hasOwn(KIND_OF_FORMAT, format) ? (KIND_OF_FORMAT[format] ?? null) : null;
}

/** Quotes, brackets and dots that people put around a value. */
const AROUND = /^[\s"'`<>()[\]{}«»„“”‘’,;:!?]+|[\s"'`<>()[\]{}«»„“”‘’,;:!?.]+$/gu;

/** A value of a kind in its normal form; what cannot be read as that kind stays as it is, trimmed. Never empty for text. */
export function normalise(kind: DestinationKind, value: string): string {
  const text = value.normalize('NFC').trim();
  switch (kind) {
    case 'email':
      return text.replace(/^mailto:/i, '').toLowerCase();
    case 'uri':
      return normalUri(text);
    case 'host':
      return hostOf(`http://${text.replace(/\.$/, '')}`) ?? text.toLowerCase();
    case 'iban':
      return text.replace(/[\s-]/g, '').toUpperCase();
    case 'phone':
      return text.replace(/^tel:/i, '').replace(/[\s().\-/]/g, '').replace(/^00/, '+'); // prettier-ignore
    case 'path':
      return text.replaceAll('\\', '/').replace(/(?<=.)\/+$/, '');
    case 'id':
      return text;
    default:
      return kind satisfies never;
  }
}

function normalUri(text: string): string {
  const url = URL.parse(/^(?:\/\/|www\.)/i.test(text) ? `https:${text.startsWith('//') ? '' : '//'}${text}` : text);
  return url?.href ?? text;
}

function hostOf(text: string): string | null {
  const host = URL.parse(text)?.host;
  return host === undefined || host === '' ? null : host;
}

// each pattern begins at a boundary and has bounded parts: the time is linear in the text
const EMAIL = /(?<![\p{L}\p{N}._%+'-])[\p{L}\p{N}._%+'-]{1,256}@(?:[\p{L}\p{N}-]{1,63}\.){1,10}[\p{L}\p{N}-]{2,63}/gu;
const URI =
  /(?<![a-z0-9+.-])(?:[a-z][a-z0-9+.-]{1,30}:\/\/|(?:https?|wss?|ftp):[\\/]{0,8}(?=[^\s"'`<>\\/])|(?<![:\w\\/])[\\/]{2}(?=[\p{L}\p{N}-]+\.)|\bwww\.)[^\s"'`<>\\^{|}]+/giu;
const SCHEME_ONLY = /\b(?:data|javascript|vbscript|tel|sms|whatsapp|bitcoin|ethereum):[^\s"'`<>]+/giu;
const HOST = /(?<![@\p{L}\p{N}./_-])(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]{0,61}[\p{L}\p{N}])?\.)+[\p{L}][\p{L}\p{N}-]{1,62}(?::\d{1,5})?(\/[^\s"'`<>]*)?(?![\p{L}\p{N}@])/gu; // prettier-ignore
const IPV4 = /(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?::\d{1,5})?(?:\/[^\s"'`<>]*)?(?![\d.])/g;
const IBAN = /(?<![A-Za-z0-9])(?=([A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}))/g;
const PHONE = /(?<![\p{L}\p{N}+])(?:\+|00)[1-9](?:[\s().\-/]{0,2}\d){6,14}(?!\d)/gu;
const ACCOUNT =
  /\b(?:account|acct|a\/c|iban|konto(?:nummer)?|routing|sort code|clabe|card)\b\D{0,20}?((?:\d[ -]?){6,20})(?!\d)/giu;
const WALLET = /\b(?:0x[0-9a-fA-F]{40}|bc1[a-z0-9]{25,60}|[13][1-9A-HJ-NP-Za-km-z]{25,34})\b/g;

/** Endings under which a name with dots is a place on the net even without a path behind it. */
const ENDINGS = new Set(
  `com net org edu gov mil int info biz name pro app dev page cloud online site website store shop blog tech live link click top
  xyz club space fun world today news email media agency digital solutions services support systems zip mov example test invalid
  onion ai io co me tv cc ws eu us uk ca au nz de at ch fr es it pt nl be dk se no fi pl cz sk hu ro bg gr ie is lt lv ee ru ua
  by tr il in cn jp kr hk tw sg my th vn id ph br mx ar cl pe za ng ke eg ma ae sa ir iq pk bd lk np su to la ly gg fm`.split(/\s+/),
); // prettier-ignore

/** A destination found in free text. */
export interface Found {
  readonly kind: DestinationKind;
  /** As it stands there. */
  readonly value: string;
}

/** Characters that nobody sees: they break up nothing. */
const INVISIBLE = /[\p{Cf}\u034f\ufe00-\ufe0f]/gu;

/** Wide forms of ASCII characters, and the full stops that a browser takes for a dot. */
const WIDE = /[\uff01-\uff5e\u3002\uff61]/g;

function narrow(wide: string): string {
  return wide >= '\uff01' && wide <= '\uff5e' ? String.fromCharCode(wide.charCodeAt(0) - 0xfee0) : '.';
}

/** Every pattern above asks for one of these: plain words are not looked through ten times. */
const MARKS = /[@:/\\.\d]/;

/** Links, addresses and account numbers inside free text (PV2), each once. */
export function destinationsIn(text: string): Found[] {
  const found = new Map<string, Found>();
  const rest = { text: text.replace(INVISIBLE, '').replace(WIDE, narrow) };
  if (!MARKS.test(rest.text)) return [];
  const take = (pattern: RegExp, kind: DestinationKind, fits: (value: string) => boolean = () => true): void => {
    rest.text = rest.text.replace(pattern, (...match) => {
      const whole = String(match[0]);
      const value = (typeof match[1] === 'string' && kind === 'id' ? match[1] : whole).replace(AROUND, '');
      if (!fits(value)) return whole;
      found.set(`${kind} ${value}`, { kind, value });
      return ' '.repeat(whole.length);
    });
  };
  take(URI, 'uri');
  take(SCHEME_ONLY, 'uri');
  take(EMAIL, 'email');
  for (const value of ibansIn(rest.text)) {
    found.set(`iban ${value}`, { kind: 'iban', value });
    rest.text = rest.text.replaceAll(value, ' ');
  }
  take(WALLET, 'id');
  take(HOST, 'uri', (value) => /[/:]/.test(value));
  take(HOST, 'host', (value) => ENDINGS.has(value.slice(value.lastIndexOf('.') + 1).toLowerCase()));
  take(IPV4, 'host');
  take(PHONE, 'phone');
  take(ACCOUNT, 'id');
  return [...found.values()];
}

/** What follows an IBAN may look like a part of it: the longest beginning whose check digits are right counts. */
function ibansIn(text: string): string[] {
  return [...text.matchAll(IBAN)].flatMap(([, match = '']) => {
    for (let end = match.length; end >= 15; end -= 1) {
      const value = match.slice(0, end).trim();
      if (!/[A-Za-z0-9]/.test(match.charAt(end)) && isIban(value)) return [value];
    }
    return [];
  });
}

/** Whether a text is an IBAN: ISO 13616, the check digits of ISO 7064 (mod 97-10). */
export function isIban(text: string): boolean {
  const iban = normalise('iban', text);
  if (!/^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$/.test(iban)) return false;
  let rest = 0;
  for (const c of iban.slice(4) + iban.slice(0, 4)) rest = Number(`${rest}${parseInt(c, 36)}`) % 97;
  return rest === 1;
}

/** The kinds that a whole value has the shape of; never `id`, which has none. */
export function shapesOf(value: string): DestinationKind[] {
  const text = value.trim();
  if (text === '' || text.length > 2_048) return [];
  const whole = (pattern: RegExp): boolean => [...text.matchAll(pattern)].some(([match]) => match === text);
  if (whole(EMAIL)) return ['email'];
  if (isIban(text)) return ['iban'];
  if (whole(PHONE)) return ['phone'];
  if (/^www\.[^/:?#]+$/i.test(text) && whole(HOST)) return ['uri', 'host'];
  if (whole(URI) || whole(SCHEME_ONLY)) return ['uri'];
  const dotted = whole(IPV4) || whole(HOST);
  const path = /[\\/]/.test(text) || /^[^\s/\\]+\.[A-Za-z0-9]{1,8}$/.test(text);
  return [
    ...(dotted && !/\//.test(text) ? (['host'] as const) : []),
    ...(path && !/\s\s|\n/.test(text) ? (['path'] as const) : []),
  ];
}
