import { expect, test } from 'vitest';
import { isActGuardError } from '../../governance/errors.ts';
import { parseAgentId, parseName, parseRunId, parseTenantId, parseUserId } from '../../governance/id.ts';

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (isActGuardError(error) && error.code === 'ARGUMENTS_INVALID') return error.message;
    throw error;
  }
  return 'accepted';
}

test('a run id is a ULID in capitals', () => {
  expect(parseRunId('01ARZ3NDEKTSV4RRFFQ69G5FAV')).toBe('01ARZ3NDEKTSV4RRFFQ69G5FAV');
  expect(parseRunId('7ZZZZZZZZZZZZZZZZZZZZZZZZZ')).toHaveLength(26);
  const bad = [
    '01arz3ndektsv4rrffq69g5fav',
    '81ARZ3NDEKTSV4RRFFQ69G5FAV',
    '01ARZ3NDEKTSV4RRFFQ69G5FA',
    '01ARZ3NDEKTSV4RRFFQ69G5FAVX',
    '01ARZ3NDEKTSV4RRFFQ69G5FAI',
    '01ARZ3NDEKTSV4RRFFQ69G5FAV\n',
    '',
    null,
    7,
    { toString: () => '01ARZ3NDEKTSV4RRFFQ69G5FAV' },
  ];
  for (const value of bad) expect(refusal(() => parseRunId(value))).toMatch(/^run .*is not a run id$/);
});

test.each([
  ['a', 'acme', 'Zoë Müller', 'a b', '用户', 'user@example.com', '😀', 'x'.repeat(128), "o'neil; drop table"],
])('names that pass', (...names) => {
  for (const name of names) expect(parseName(name, 'tenant')).toBe(name);
});

test.each([
  ['empty', '', 'is empty'],
  ['too long', 'x'.repeat(129), 'is longer than 128'],
  ['a leading space', ' a', 'starts or ends with a space'],
  ['a trailing space', 'a ', 'starts or ends with a space'],
  ['a line feed', 'a\nb', 'cannot be seen'],
  ['a null byte', 'a\0', 'cannot be seen'],
  ['a zero-width space', 'ac\u200bme', 'cannot be seen'],
  ['a bidi override', 'a\u202eb', 'cannot be seen'],
  ['a no-break space', 'a\u00a0b', 'cannot be seen'],
  ['a lone surrogate', 'a\ud800', 'cannot be seen'],
  ['a decomposed letter', 'Zoe\u0308', 'NFC'],
  ['a number', 5, 'is not text'],
  ['null', null, 'is not text'],
])('a name with %s is refused and the field is named', (_name, value, problem) => {
  const message = refusal(() => parseName(value, 'tenant'));
  expect(message).toMatch(/^tenant /);
  expect(message).toContain(problem);
  expect(message).not.toMatch(/[\n\0\u202e\u200b]/);
});

test('each kind of id names itself', () => {
  expect(refusal(() => parseTenantId(''))).toMatch(/^tenant /);
  expect(refusal(() => parseUserId(''))).toMatch(/^user /);
  expect(refusal(() => parseAgentId(''))).toMatch(/^agent /);
});
