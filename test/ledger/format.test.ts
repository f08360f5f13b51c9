/** P6: what docs/ledger-format.md and its schema say is what is written. (Every test database is checked against it at its end.) */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ENTRY_KINDS, makeEntry } from '../../governance/entry.ts';
import { ENTRY_SAYS, entrySchema, entryTable } from '../../governance/entry-schema.ts';
import type { JsonObject } from '../../governance/json.ts';
import { misfit } from '../support/entry-schema.ts';

const read = (file: string): string => readFileSync(new URL(`../../docs/${file}`, import.meta.url), 'utf8');
const squeezed = (text: string): string => text.replaceAll(/ +/g, ' ').replaceAll(/-{2,}/g, '---');

test('P6: the published schema and the table of kinds are those of the code', () => {
  expect(JSON.parse(read('ledger-entry.schema.json'))).toEqual(entrySchema());
  expect(squeezed(read('ledger-format.md'))).toContain(squeezed(entryTable()));
  expect(Object.keys(ENTRY_SAYS)).toEqual([...ENTRY_KINDS]);
});

test('P6: the schema takes what is whole and refuses what is not', () => {
  const entry = (change: (e: { [field: string]: unknown }) => void = () => undefined): unknown => {
    const row = makeEntry({
      kind: 'call.started',
      tenant: 'acme',
      run: 'r',
      key: 'c:1:started',
      seq: 1,
      call: 'c1',
      atMs: 0,
      data: { authorization: 'autonomous', reserved: { usdMicros: 1, tokens: 0, calls: 1 }, more: [null] },
    });
    const value = JSON.parse(row.body) as { [field: string]: unknown };
    change(value);
    return value;
  };
  expect(misfit(entry())).toBeNull();
  const data = (more: JsonObject) => (e: { [field: string]: unknown }) => void (e['data'] = more);
  for (const change of [
    (e: { [field: string]: unknown }) => delete e['run'],
    (e: { [field: string]: unknown }) => delete e['call'],
    (e: { [field: string]: unknown }) => void (e['v'] = 2),
    (e: { [field: string]: unknown }) => void (e['kind'] = 'call.undone'),
    (e: { [field: string]: unknown }) => void (e['at'] = 'today'),
    (e: { [field: string]: unknown }) => void (e['seq'] = 1.5),
    (e: { [field: string]: unknown }) => void (e['more'] = true),
    data({ authorization: 'autonomous' }),
    data({ authorization: 1, reserved: { usdMicros: 1, tokens: 0, calls: 1 } }),
    data({ authorization: 'autonomous', reserved: { usdMicros: 1 } }),
  ])
    expect(misfit(entry(change)), String(change)).not.toBeNull();
  expect(misfit(null)).not.toBeNull();
});
