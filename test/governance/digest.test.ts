import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { commitment, constantTimeEqual, digestOf, sha256, sha256Hex } from '../../governance/digest.ts';
import type { Json } from '../../governance/json.ts';

interface Vectors {
  readonly digests: readonly { readonly value: Json; readonly canonical: string; readonly sha256: string }[];
  readonly commitments: readonly { readonly salt: string; readonly value: Json; readonly commitment: string }[];
}
const vectors = JSON.parse(readFileSync(new URL('../vectors/digests.json', import.meta.url), 'utf8')) as Vectors;
const salt = '000102030405060708090a0b0c0d0e0f';

test.each(vectors.digests)('vector: digest of $canonical', (vector) => {
  expect(digestOf(vector.value)).toBe(vector.sha256);
  expect(sha256Hex(vector.canonical)).toBe(vector.sha256);
});

test.each(vectors.commitments)('vector: commitment to $value', (vector) => {
  expect(commitment(vector.salt, vector.value)).toBe(vector.commitment);
});

test('equals the SHA-256 of Node for any text and any bytes', () => {
  const node = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex');
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => sha256Hex(text) === node(text)));
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => sha256Hex(bytes) === node(bytes)));
  expect(Buffer.from(sha256(new Uint8Array())).toString('hex')).toBe(node(''));
});

test('text that UTF-8 cannot hold has no digest', () => {
  expect(() => sha256Hex('\ud800')).toThrow('surrogate');
  expect(sha256Hex('\ufffd')).toHaveLength(64);
});

test('P4 a commitment depends on the salt and on the value, and wants a real salt', () => {
  const other = `ff${salt.slice(2)}`;
  expect(commitment(salt, { a: 1 })).not.toBe(commitment(other, { a: 1 }));
  expect(commitment(salt, { a: 1 })).not.toBe(commitment(salt, { a: '1' }));
  for (const bad of ['', 'ab', salt.slice(1), `${salt}zz`, salt.toUpperCase(), ` ${salt}`]) {
    expect(() => commitment(bad, 1)).toThrow('salt');
  }
});

test('constantTimeEqual: the same hex only, and nothing equals an empty or foreign text', () => {
  expect(constantTimeEqual(salt, salt)).toBe(true);
  expect(constantTimeEqual(salt, salt.replace('0f', '0e'))).toBe(false);
  expect(constantTimeEqual(salt, salt.slice(2))).toBe(false);
  expect(constantTimeEqual('', '')).toBe(false);
  expect(constantTimeEqual('zz', 'zz')).toBe(false);
});
