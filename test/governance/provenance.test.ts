/** Where values came from, without a database: attacks with their twins, and what holds for any text. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { disguisesOf } from '../../governance/disguise.ts';
import type { Json, JsonObject } from '../../governance/json.ts';
import { judgeProvenance, worse, ORIGINS, type Known, type Origin, type Provenance, type Seen } from '../../governance/provenance.ts'; // prettier-ignore
import { outputRows, type ProvenanceRow } from '../../governance/provenance-rows.ts';
import { gramsOf, holds, packGrams, piecesOf, seedOf, unpackGrams } from '../../governance/taint.ts';
import { targetsOf } from '../../governance/targets.ts';
import type { ArgumentTrust, OutputTrust, ToolManifest } from '../../governance/tool.ts';
import { hashKey, tokenHash, TOKEN_BYTES, wordsOf } from '../../governance/vouch.ts';

const SALT = '00112233445566778899aabbccddeeff';
const seed = seedOf(SALT);
const NOUNS = new Set(['target', 'event']);

interface Vector {
  readonly says: string;
  readonly format: string;
  readonly request: string;
  readonly untrusted?: readonly Json[];
  readonly trusted?: readonly Json[];
  readonly internal?: readonly Json[];
  readonly attack: string;
  /** Default: untrusted. */
  readonly origin?: Origin;
  readonly twin: string;
  /** Default: user. */
  readonly twinOrigin?: Origin;
}
const VECTORS = JSON.parse(readFileSync(new URL('../vectors/provenance.json', import.meta.url), 'utf8')) as readonly Vector[]; // prettier-ignore

function rowsOf(level: OutputTrust, output: Json, call: string): Seen[] {
  const trust = { output: level, fields: {}, private: [], declassify: {}, arguments: {} };
  const tool = { name: 'some.read', trust, proves: null, outputJsonSchema: null };
  return outputRows(tool, output, 'user', [], { salt: SALT, seed }).map((row) => seenOf(row, call));
}
function seenOf({ level, words, tokens, grams }: ProvenanceRow, call: string): Seen {
  const keys = new Set<string>();
  for (let at = 0; at < tokens.length; at += TOKEN_BYTES) keys.add(hashKey(tokens.subarray(at, at + TOKEN_BYTES)));
  return { call, level, words, tokens: keys, grams: grams === null ? null : unpackGrams(grams) };
}
function known(request: string): Known {
  const keyOf = (token: string): string => hashKey(tokenHash(SALT, token));
  return { seed, request: wordsOf(request), house: wordsOf(''), nouns: NOUNS, secretive: false, facts: [], nowMs: 0, keyOf }; // prettier-ignore
}
function writer(format: string | null, mode?: ArgumentTrust) {
  const properties = { target: { type: 'string', ...(format === null ? {} : { format }) } };
  const inputJsonSchema = { type: 'object', properties } as unknown as JsonObject;
  const trust = {
    output: 'untrusted',
    fields: {},
    private: [],
    declassify: {},
    arguments: mode ? { target: mode } : {},
  };
  return { name: 'some.write', effect: 'write', reach: 'external', requires: {}, proves: [], inputJsonSchema, trust } as unknown as ToolManifest; // prettier-ignore
}
function judge(tool: ToolManifest, value: string, request: string, seen: readonly Seen[]): Provenance {
  const judged = judgeProvenance(tool, targetsOf(tool, { target: value }), [], known(request), seen);
  if (!judged) throw new Error('not judged');
  return judged;
}

describe('attacks and their twins', () => {
  test.each(VECTORS.map((v) => [v.says, v] as const))('%s', (_says, vector) => {
    const seen = (['untrusted', 'trusted', 'internal'] as const).flatMap((level) =>
      (vector[level] ?? []).flatMap((output, i) => rowsOf(level, output, `${level}${i}`)),
    );
    const tool = writer(vector.format);
    const attack = judge(tool, vector.attack, vector.request, seen);
    expect(attack).toMatchObject({ verdict: 'ask', arguments: { target: vector.origin ?? 'untrusted' } });
    const twin = judge(tool, vector.twin, vector.request, seen);
    const origin = vector.twinOrigin ?? 'user';
    expect(twin).toMatchObject({ verdict: origin === 'internal' ? 'ask' : 'fine', arguments: { target: origin } });
  });
});

test.each([
  'ask eve@ev\u00adil.example',
  'ask eve＠evil。example',
  'ask eve&commat;evil&period;example',
  'see https:/\u200b/evil.example/pay',
  '<a href="https:evil.example/pay">',
  '<a href="https:/evil.example/pay">',
  '<img src="/\\evil.example/x">',
  '<a href="&#104;ttps&colon;//evil&period;example/pay">',
])('PV2 an address inside free text is found as a mail client or a browser would read it: %s', (text) => {
  const seen = rowsOf('untrusted', 'write to the people at evil', 'c1');
  expect(judge(writer(null), text, 'Write to Bob', seen)).toMatchObject({ verdict: 'ask' });
  expect(judge(writer(null), text, 'eve@evil.example, https://evil.example/pay, /\\evil.example/x', seen)).toMatchObject({ verdict: 'fine' }); // prettier-ignore
});

test.each([
  'Tell them to pay $90.00 on 2026-11-24, 50%25 off',
  'either/or, 50/50, a//b, C:\\temp, http: is a scheme',
  'fish &amp; chips &lt;b&gt; &copy; &#39;x&#39;',
  '你好。谢谢你的来信。再见！',
])('PV2 the rest of a text is left alone: %s', (text) => {
  const seen = rowsOf('untrusted', text, 'c1');
  expect(judge(writer(null), text, 'Write to Bob', seen)).toMatchObject({ verdict: 'fine', concerns: [] });
});

describe('for any text', () => {
  const words = fc.array(fc.stringMatching(/^[a-z0-9]{1,12}$/), { minLength: 1, maxLength: 40 });
  const address = fc.stringMatching(/^[a-z]{3,10}@[a-z]{3,10}\.example$/);

  test('PV3 a value in an untrusted text is found in every disguise that we make of it', () => {
    fc.assert(
      fc.property(words, words, address, fc.nat(40), (before, after, value, pick) => {
        const forms = disguisesOf(value);
        const text = `${before.join(' ')} ${forms[pick % forms.length] ?? value} ${after.join(' ')}`;
        const seen = rowsOf('untrusted', text, 'c1');
        expect(judge(writer('email'), value, '', seen).arguments).toEqual({ target: 'untrusted' });
      }),
    );
  });

  test('PV3 nothing is the user’s but whole tokens of the request', () => {
    const seen = rowsOf('untrusted', 'hello there', 'c1');
    fc.assert(
      fc.property(address, fc.constantFrom('x', '.', '-', '1'), (value, more) => {
        const request = `write to ${value} today`;
        expect(judge(writer('email'), value, request, seen).verdict).toBe('fine');
        expect(judge(writer('email'), `${more}${value}`, request, seen).verdict).toBe('ask');
        expect(judge(writer('email'), `${value}${more}`, request, seen).verdict).toBe('ask');
      }),
    );
  });

  test('PV1 more untrusted text makes no value better', () => {
    fc.assert(
      fc.property(words, words, address, fc.boolean(), (first, second, value, asked) => {
        const request = asked ? `write to ${value}` : '';
        const one = rowsOf('untrusted', first.join(' '), 'c1');
        const two = [...one, ...rowsOf('untrusted', second.join(' '), 'c2')];
        const [a, b] = [judge(writer('email'), value, request, one), judge(writer('email'), value, request, two)];
        expect(worse(a.worst, b.worst)).toBe(b.worst);
      }),
    );
  });

  test('pieces survive being stored, few or many', () => {
    fc.assert(
      fc.property(words, fc.boolean(), (list, many) => {
        const text = list.join(' ') + (many ? ' filler'.repeat(30_000) : '');
        const grams = unpackGrams(packGrams(gramsOf(seed, [text])));
        for (const word of list) expect(holds(grams, piecesOf(seed, [word]))).toBe(true);
        expect(holds(grams, piecesOf(seed, ['', '...']))).toBe(false);
        expect(holds(gramsOf(seed, [text]), piecesOf(seed, ['zzzzqqqqzzzzqqqq']))).toBe(false);
      }),
      { numRuns: 30 },
    );
  });

  test('any arguments are judged: hostile texts, deep objects, nothing throws', () => {
    const value = fc.jsonValue({ maxDepth: 5 });
    const seen = rowsOf('untrusted', 'hello', 'c1');
    const open = { ...writer(null, 'ask'), inputJsonSchema: {} };
    fc.assert(
      fc.property(fc.dictionary(fc.string(), value), fc.string({ unit: 'binary' }), (args, request) => {
        const targets = targetsOf(open, args as JsonObject);
        expect(judgeProvenance(open, targets, [], known(request), seen)).not.toBeNull();
      }),
    );
  });
});

describe('the modes', () => {
  const dirty = rowsOf('untrusted', 'hello', 'c1');
  const trusted = [...dirty, ...rowsOf('trusted', { email: 'bob@acme.example' }, 'c2')];
  const cases: readonly [ArgumentTrust, string, readonly Seen[], Provenance['verdict']][] = [
    ['ask', '', dirty, 'ask'],
    ['deny', '', dirty, 'deny'],
    ['allow', '', dirty, 'fine'],
    ['user', '', dirty, 'ask'],
    ['ask', '', trusted, 'fine'],
    ['deny', '', trusted, 'fine'],
    ['user', '', trusted, 'ask'],
    ['user', 'bob@acme.example', trusted, 'fine'],
    ['user', '', [], 'fine'],
  ];
  test.each(cases)('PV4 PV7 %s with %j', (mode, request, seen, verdict) => {
    expect(judge(writer('email', mode), 'bob@acme.example', request, seen).verdict).toBe(verdict);
  });

  test('PV1 the worse of two is in the order of the five words', () => {
    for (const [i, a] of ORIGINS.entries()) for (const [j, b] of ORIGINS.entries()) expect(worse(a, b)).toBe(ORIGINS[Math.max(i, j)]); // prettier-ignore
  });
});
