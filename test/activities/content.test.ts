/** Content at rest: sealed per tenant and kind, opened by its own key only, plain where there are no keys. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { ContentCipher, IN_CLEAR, sealEntries } from '../../activities/content.ts';
import { refuseUndecodable } from '../../activities/readable.ts';
import { SecretSet } from '../../activities/scrub.ts';
import { addPayloadKey, openPayloadKeys, writePayloadKeys } from '../../activities/payload-keys.ts';
import { contentProblem, goneKey } from '../../governance/content.ts';
import { makeEntry } from '../../governance/entry.ts';

const folder = mkdtempSync(join(tmpdir(), 'actguard-content-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const keys = addPayloadKey(addPayloadKey([], null, false), 'acme', false);
const [rest, acme] = keys;
const file = join(folder, 'keys.json');
writePayloadKeys(file, keys);
const cipher = new ContentCipher(openPayloadKeys(file));
const result = { kind: 'done' as const, output: { note: 'canary \u0000 ü' }, spentMicros: 5, bytes: 3 };

test('P5 what is sealed shows nothing but what SQL reads, and comes back as it was', () => {
  const sealed = cipher.seal('result', 'acme', result);
  expect(Object.keys(sealed).sort()).toEqual(['bytes', 'kind', 'sealed', 'spentMicros']);
  expect(JSON.stringify(sealed)).not.toContain('canary');
  expect(cipher.open('result', 'acme', sealed)).toEqual(result);
  expect(cipher.seal('result', 'acme', result)).not.toEqual(sealed); // a fresh nonce each time
  const text = cipher.sealText('title', 'acme', 'Refund $412');
  expect(text).not.toContain('412');
  expect(cipher.needText('title', 'acme', text)).toBe('Refund $412');
  expect((sealed as unknown as { sealed: string }).sealed).toMatch(new RegExp(`^${acme?.id}\\.`));
  expect((cipher.seal('result', 'globex', result) as unknown as { sealed: string }).sealed).toMatch(new RegExp(`^${rest?.id}\\.`)); // prettier-ignore
});

test('P5 sealed content passes for no other tenant, no other kind and nothing that was changed', () => {
  const sealed = cipher.seal('result', 'globex', result) as unknown as { sealed: string };
  const flipped = Buffer.from(sealed.sealed.split('.')[1] ?? '', 'base64').map((byte, i) => (i === 20 ? byte ^ 1 : byte)); // prettier-ignore
  for (const [kind, tenant, text] of [
    ['result', 'initech', sealed.sealed],
    ['answer', 'globex', sealed.sealed],
    ['result', 'globex', `${rest?.id}.${Buffer.from(flipped).toString('base64')}`],
    ['result', 'globex', `${rest?.id}.`],
    ['result', 'globex', sealed.sealed.replace(`${rest?.id}`, `${acme?.id}`)],
  ] as const) {
    const opened = cipher.open(kind, tenant, { kind: 'done', sealed: text });
    expect(goneKey(opened)).toHaveProperty('damaged');
    expect(() => cipher.need(kind, tenant, { kind: 'done', sealed: text })).toThrow('is not what was written');
  }
});

test('P5 without its key content says so to people and waits for workers; without keys nothing is encrypted', () => {
  const sealed = cipher.seal('result', 'acme', result);
  expect(IN_CLEAR.open('result', 'acme', sealed)).toMatchObject({ kind: 'done', unreadable: acme?.id });
  expect(IN_CLEAR.showText('title', 'acme', cipher.sealText('title', 'acme', 'x'))).toBe(`(its content is unreadable: key ${acme?.id} is gone)`); // prettier-ignore
  expect(() => IN_CLEAR.need('result', 'acme', sealed)).toThrow(expect.objectContaining({ code: 'BACKEND_UNAVAILABLE' }) as Error); // prettier-ignore
  expect(contentProblem({} as never, { unreadable: 'k-1' } as never)).toBe(
    'its content is unreadable: key k-1 is gone',
  );
  expect(IN_CLEAR.seal('result', 'acme', result)).toBe(result);
  expect(cipher.open('result', 'acme', result)).toBe(result); // from before there were keys
  // what a hostile tool returned is inside, and never opened
  const hostile = { ...result, output: { sealed: (sealed as unknown as { sealed: string }).sealed } };
  expect(cipher.open('result', 'acme', cipher.seal('result', 'acme', hostile))).toEqual(hostile);
  expect(cipher.open('result', 'acme', hostile)).toEqual(hostile);
});

test('P5 P7 an activity whose input is under an unknown key does nothing and waits for the key; its twin runs', async () => {
  const done: unknown[] = [];
  const { pay } = refuseUndecodable({ pay: (input: object) => done.push(input) }, new SecretSet());
  const marker = { __actguardUndecodable: true, reason: 'unknown-key' };
  expect(() => pay(marker)).toThrow(expect.objectContaining({ type: 'BACKEND_UNAVAILABLE', nonRetryable: false }) as Error); // prettier-ignore
  expect(done).toEqual([]);
  pay({ v: 1 });
  expect(done).toHaveLength(1);
});

test('P5 entries: signed statements stay in clear, all else beside them is sealed', () => {
  const entry = (content: object | null) =>
    makeEntry({
      kind: 'call.started',
      tenant: 'acme',
      run: 'r',
      key: 'k',
      atMs: 0,
      data: {},
      content: content as never,
    });
  const [plain, statement, both] = sealEntries(cipher, [
    entry(null),
    entry({ envelope: { payload: 'e' }, chain: [] }),
    entry({ envelope: 'e', args: 'canary', argsSalt: 's' }),
  ]);
  expect([plain?.content, statement?.content]).toEqual([null, { envelope: { payload: 'e' }, chain: [] }]);
  expect(Object.keys(both?.content as object)).toEqual(['envelope', 'sealed']);
});
