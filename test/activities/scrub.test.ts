/** What is found in a text and what is left alone: forms, cuts, streams, the second net, and how long it takes. */
import { expect, test } from 'vitest';
import { SecretSet } from '../../activities/scrub.ts';
import { ScrubStream } from '../../activities/scrub-stream.ts';
import { excerptsOf, findSecrets } from '../../activities/second-net.ts';
import { scrubOutput } from '../../worker/scrub-output.ts';

const SECRET = 'Sk/live+"0123\u00e9 ~abc';
const known = new SecretSet();
known.add(SECRET);
const bytes = Buffer.from(SECRET);

const base64 = (shift: number): string =>
  Buffer.concat([Buffer.alloc(shift, 120), bytes, Buffer.from('yz')]).toString('base64');
const forms: readonly (readonly [string, string])[] = [
  ['raw', SECRET],
  ['in capitals', SECRET.toUpperCase().replace('\u00c9', '\u00e9')],
  ['in JSON', JSON.stringify({ a: SECRET })],
  ['in ASCII JSON', JSON.stringify(SECRET).replace('\u00e9', '\\u00e9')],
  ['in JSON for HTML', JSON.stringify(SECRET).replace('/', '\\/')],
  ['URL-encoded', encodeURIComponent(SECRET)],
  ['URL-encoded in small letters', encodeURIComponent(SECRET).replace(/%../g, (x) => x.toLowerCase())],
  ['as a form', new URLSearchParams({ a: SECRET }).toString()],
  ['every byte escaped', [...bytes].map((b) => `%${b.toString(16).padStart(2, '0')}`).join('')],
  ['hex', bytes.toString('hex')],
  ['hex in capitals', bytes.toString('hex').toUpperCase()],
  ['base64', base64(0)],
  ['base64, shifted by one', base64(1)],
  ['base64, shifted by two', base64(2)],
  ['base64url', Buffer.concat([Buffer.from('x'), bytes]).toString('base64url')],
];
test.each(forms)('P5 found: %s', (_form, text) => {
  const around = `before ${text} after`;
  expect(known.found(around)).toBe(true);
  const clean = known.text(around);
  expect(clean).toContain('[secret]');
  expect(clean.startsWith('before ')).toBe(true);
  expect(clean.endsWith(' after')).toBe(true);
  // a twin of the same form and length is left as it is
  const twin = new SecretSet();
  twin.add('another-secret-of-somebody');
  expect(twin.text(around)).toBe(around);
});

test('P5 secrets that overlap or lie within each other go as a whole; keys of objects, too', () => {
  const both = new SecretSet();
  for (const secret of ['abcdefgh-12345678', '12345678-ijklmnop', 'gh-12345678-ij']) both.add(secret);
  expect(both.text('x abcdefgh-12345678-ijklmnop y')).toBe('x [secret] y');
  expect(both.json({ 'abcdefgh-12345678': [1, null, { a: 'is 12345678-ijklmnop.' }] })).toEqual({
    '[secret]': [1, null, { a: 'is [secret].' }],
  });
});

test('P5 what has regex characters or line ends is text like any other', () => {
  const odd = new SecretSet();
  for (const secret of ['.*.*.*.*(a|b)+$', '-----BEGIN\nKEY\r\nEND-----']) odd.add(secret);
  expect(odd.text('a .*.*.*.*(a|b)+$ b -----BEGIN\nKEY\r\nEND----- aaaaaaaaaaaaaaaa')).toBe('a [secret] b [secret] aaaaaaaaaaaaaaaa'); // prettier-ignore
});

test('P5 a cut leaves no half of a secret behind', () => {
  const text = `12345678${SECRET}`;
  for (let at = 8; at < text.length; at += 1) {
    expect(known.cut(text.slice(0, at), at - 1)).not.toMatch(/Sk\/l/);
  }
  expect(known.cut('12345678Sunday', 12)).toBe('12345678Sund');
  expect(known.cut('short', 12)).toBe('short');
});

test('P5 a stream is scrubbed wherever it is cut into pieces', () => {
  const text = Buffer.from(`a line\nwith ${SECRET} and ${base64(1)}\nand sk an end`);
  const whole = known.text(text.toString());
  for (let size = 1; size < 60; size += 1) {
    const stream = new ScrubStream(known);
    let out = '';
    for (let at = 0; at < text.length; at += size) out += stream.push(text.subarray(at, at + size));
    expect(out + stream.flush()).toBe(whole);
  }
});

test('P5 what a process prints is scrubbed, also across two writes, until it is undone', () => {
  const lines: string[] = [];
  const own = (piece: string): boolean => lines.push(piece) > 0;
  const stream = { write: own };
  const undo = scrubOutput(known, [stream as never]);
  stream.write(`one ${SECRET.slice(0, 9)}`);
  stream.write(`${SECRET.slice(9)} two\n`);
  undo();
  expect(lines.join('')).toBe('one [secret] two\n');
  stream.write(`${SECRET}\n`);
  expect(lines.at(-1)).toBe(`${SECRET}\n`);
});

const key = (parts: readonly string[]): string => parts.join('');
const foreign: readonly (readonly [string, string, string])[] = [
  ['GitHub', key(['ghp', '_', 'a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8']), 'ghp_ is how their tokens begin'],
  ['Slack', key(['xoxb', '-123456789012-1234567890123-', 'AbCdEfGhIjKlMnOpQrStUvWx']), 'xoxb-tokens'],
  ['AWS', key(['AKIA', 'Z3MSJV4WKLPQ7XYT']), 'AKIA is a prefix'],
  ['OpenAI', key(['sk-', 'proj-', 'a1B2c3D4e5F6g7H8i9J0k1L2']), 'sk-proj-... goes here'],
  ['Stripe', key(['sk_', 'live_', 'a1B2c3D4e5F6g7H8i9J0']), 'sk_live_ is a prefix'],
  ['Vault', key(['hvs', '.', 'CAESIJ1x2y3z4a5b6c7d8e9f0']), 'hvs. and hvb.'],
  [
    'an age identity',
    key(['AGE-SECRET-', 'KEY-1', 'QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQPZRY9X8GF2TVDW0S3JN54KHCE6']),
    'AGE-SECRET-KEY-1...',
  ],
  [
    'a database',
    key(['postgres', '://app:hunter2-hunter2', '@db.internal:5432/shop']),
    'postgres://db.internal:5432/shop',
  ],
];
test.each(foreign)('P5 the second net finds what no source gave: %s', async (_who, secret, twin) => {
  expect((await findSecrets(`see ${secret} there`)).join(' ')).toContain(secret.slice(4, -1));
  expect(await findSecrets(`see ${twin} there`)).toEqual([]);
});

test('P5 the net reads around telling beginnings only: hostile text does not make it run long', () => {
  expect(excerptsOf('sk-'.repeat(1_000_000)).length).toBeLessThanOrEqual(50 * (4_096 + 64 + 2));
  expect(excerptsOf('harmless '.repeat(100_000))).toBe('');
  expect(excerptsOf(`${'x'.repeat(100_000)} sk-abc`)).toContain('sk-abc');
});
