import { expect, test } from 'vitest';
import { isNothingHappened, nothingHappened } from '../../define/nothing-happened.ts';
import { forbidPattern, requirePattern } from '../../define/rules.ts';
import { isSecretRef, secret } from '../../define/secret.ts';
import type { SecretOptions } from '../../define/secret.ts';
import { refusal } from './tools.ts';

const host = 'payments.example';

test('P5 a secret is a reference with its defaults', () => {
  const ref = secret('payments/api-key', { host: 'Payments.Example:443' });
  expect({ ...ref }).toEqual({
    ...{ kind: 'secret', name: 'payments/api-key', env: 'PAYMENTS_API_KEY' },
    ...{ per: 'worker', reveal: false },
    sent: { host, methods: null, path: null, into: { kind: 'header', header: 'authorization', format: 'Bearer {}' } },
  });
  expect(secret('a', { host, basic: 'shop', methods: ['post'], path: '/v1/', per: 'user' })).toMatchObject({
    per: 'user',
    sent: { methods: ['POST'], path: '/v1', into: { kind: 'basic', user: 'shop' } },
  });
  expect(secret('a', { reveal: true })).toMatchObject({ reveal: true, sent: null });
  expect(isSecretRef(ref)).toBe(true);
  expect(isSecretRef({ ...ref })).toBe(false);
});

const secrets: readonly (readonly [string, string, object | undefined, string, object])[] = [
  ['a name', 'Payments Key', { host }, '`name`', { host }],
  ['no options', 'a', undefined, 'needs options', { host }],
  ['no host', 'a', {}, '`host`', { host }],
  ['a scheme', 'a', { host: 'https://payments.example' }, '`host`', { host: 'payments.example' }],
  ['a path', 'a', { host: 'payments.example/x' }, '`host`', { host: 'payments.example:8443' }],
  ['a user', 'a', { host: 'u@payments.example' }, '`host`', { host: 'localhost:4010' }],
  ['a wildcard', 'a', { host: '*.example' }, '`host`', { host: 'a.example' }],
  ['a port out of range', 'a', { host: 'a.example:70000' }, '`host`', { host: 'a.example:65535' }],
  ['an address in disguise', 'a', { host: '0x7f.1' }, '`host`', { host: '127.0.0.1' }],
  ['a look-alike', 'a', { host: 'p\u0430yments.example' }, '`host`', { host: '[::1]:80' }],
  ['a header that is none', 'a', { host, header: 'x y' }, '`header`', { host, header: 'X-Key' }],
  ['a header of the connection', 'a', { host, header: 'Host' }, '`header`', { host, header: 'x-host' }],
  ['a format without its place', 'a', { host, format: 'Bearer' }, '`format`', { host, format: '{}' }],
  ['a format with two places', 'a', { host, format: '{}{}' }, '`format`', { host, format: 'Basic {}' }],
  ['a format with a line end', 'a', { host, format: '{}\r\nx: y' }, '`format`', { host, format: 'Key {}' }],
  ['a variable', 'a', { host, env: 'A-B' }, '`env`', { host, env: 'A_B' }],
  ['two places', 'a', { host, header: 'x-key', query: 'key' }, '`query`', { host, query: 'key' }],
  ['a parameter that is none', 'a', { host, query: 'a b' }, '`query`', { host, query: 'api_key' }],
  ['a field that is none', 'a', { host, body: '__proto__' }, '`body`', { host, body: 'apiKey' }],
  ['a user with a colon', 'a', { host, basic: 'a:b' }, '`basic`', { host, basic: 'ab' }],
  ['a format without a header', 'a', { host, query: 'key', format: '{}' }, '`format`', { host, format: '{}' }],
  ['a method that is none', 'a', { host, methods: ['STEAL'] }, '`methods.0`', { host, methods: ['get'] }],
  ['no method', 'a', { host, methods: [] }, '`methods`', { host, methods: ['POST', 'PUT'] }],
  ['a path that is none', 'a', { host, path: 'v1' }, '`path`', { host, path: '/v1' }],
  ['a path as URLs do not write it', 'a', { host, path: '/a/../b' }, '`path`', { host, path: '/a/b' }],
  ['a path with a query', 'a', { host, path: '/a?b' }, '`path`', { host, path: '/a.b' }],
  ['a revealed one with a place and no host', 'a', { reveal: true, query: 'k' }, '`query`', { reveal: true }],
  ['somebody it cannot belong to', 'a', { host, per: 'agent' }, '`per`', { host, per: 'tenant' }],
  ['an unknown option', 'a', { host, hosts: [] }, '`hosts`', { host }],
];
test.each(secrets)('CONFIG_INVALID of a secret: %s', (_title, name, options, words, valid) => {
  expect(refusal(() => secret(name, options as SecretOptions))).toContain(words);
  expect(refusal(() => secret('payments/key.2', valid as SecretOptions))).toBe('');
});

test('EX4 nothingHappened is known by its brand, not by its name', () => {
  const error = nothingHappened('out of stock', { cause: 5 });
  expect(error).toMatchObject({ message: 'out of stock', cause: 5 });
  expect(isNothingHappened(error)).toBe(true);
  const fake = Object.assign(new Error('out of stock'), { name: 'NothingHappened', nothingHappened: true });
  for (const other of [fake, null, 'NothingHappened', { ...error }]) expect(isNothingHappened(other)).toBe(false);
});

const patterns: readonly (readonly [RegExp | string, string, boolean])[] = [
  [/\.\./, 'a/../b', true],
  [/^\/tmp\//, '/TMP/x', false],
  [/^\/tmp\//i, '/TMP/x', true],
  [/^b$/, 'a\nb', false],
  [/^b$/m, 'a\nb', true],
  [/a.b/, 'a\nb', false],
  [/a.b/s, 'a\nb', true],
  [/a\sb/, 'a\u00a0b', true],
  [/a[\s-]b/, 'a\u2003b', true],
  [/^\S+$/, 'a\u00a0b', false],
  [/\u0041\x42/, 'AB', true],
  [/\u{1F600}/u, '\u{1F600}', true],
  [/a[^]b/, 'a\nb', true],
  [/[[\]]/, ']', true],
  [/\cJ/, '\n', true],
  ['(?i)drop\\s+table', 'DROP  TABLE', true],
];
test.each(patterns)('RU2 %s on %j is %s, as a RegExp would say', (pattern, text, found) => {
  if (pattern instanceof RegExp) expect(pattern.test(text)).toBe(found);
  expect(requirePattern(pattern).test(text)).toBe(found);
  expect(forbidPattern(pattern).test(text)).toBe(!found);
});

test.each<[RegExp | string, string, RegExp | string]>([
  [/(a)\1/, 'linear time', /(a)a/],
  [/a(?=b)/, 'linear time', /ab/],
  [/a(?!b)/, 'linear time', /a[^b]/],
  [/(?<=a)b/, 'linear time', /ab/],
  ['(', 'linear time', '\\('],
  ['', 'is empty', 'a'],
  [/a/y, '`y`', /^a/],
  [new RegExp('[a&&b]', 'v'), '`v`', /[ab]/],
  [5 as never, 'must be a RegExp', '5'],
])('RU2 %s is CONFIG_INVALID', (broken, words, valid) => {
  expect(refusal(() => forbidPattern(broken))).toContain(words);
  expect(refusal(() => forbidPattern(valid))).toBe('');
});

test('RU2 what makes a backtracking engine hang is answered', () => {
  expect(forbidPattern(/^(a+)+$/).test(`${'a'.repeat(50_000)}!`)).toBe(true);
});

test('RU1 the label names the pattern; a value of another type is refused', () => {
  expect(forbidPattern(/\.\./i)).toMatchObject({ label: 'forbidPattern(/\\.\\./i)', of: 'string' });
  expect(forbidPattern(/x/).test(5)).toBe(false);
  expect(requirePattern(/5/).test(5)).toBe(false);
});
