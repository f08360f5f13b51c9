import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { isActGuardError } from '../../governance/errors.ts';
import { load } from './world.ts';

const directory = new URL('../vectors/policies/', import.meta.url);
const cases = JSON.parse(readFileSync(new URL('cases.json', directory), 'utf8')) as {
  name: string;
  line: number;
  column: number;
  says: string;
  /** Further places that are named. */
  others: string[];
}[];

function problemsOf(text: string) {
  try {
    load(text, 'main.cedar');
    return [];
  } catch (error) {
    if (!isActGuardError(error) || error.code !== 'CONFIG_INVALID') throw error;
    return error.problems;
  }
}

describe('a broken policy set is refused at its line, its twin loads', () => {
  test.each(cases)('$name', ({ name, line, column, says, others }) => {
    const broken = problemsOf(readFileSync(new URL(`${name}.broken.cedar`, directory), 'utf8'));
    expect(broken.map(({ where }) => where)).toEqual([`main.cedar:${line}:${column}`, ...others]);
    expect(`${broken[0]?.problem}\n${broken[0]?.fix}`).toContain(says);
    expect(broken[0]?.problem).toMatch(new RegExp(`\\n {4}${line} \\| .*\\n +\\| *\\^+$`));
    expect(problemsOf(readFileSync(new URL(`${name}.valid.cedar`, directory), 'utf8'))).toEqual([]);
  });

  test('every file belongs to a case', () => {
    const files = readdirSync(directory)
      .filter((name) => name.endsWith('.cedar'))
      .sort();
    expect(files).toEqual(cases.flatMap(({ name }) => [`${name}.broken.cedar`, `${name}.valid.cedar`]).sort());
  });
});
