/** The requirements manifest: every promise is cited by the name of a test, and no test cites one that is not there. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, test } from 'vitest';

interface Promised {
  readonly id: string;
  readonly says: string;
  /** Why nothing keeps it yet; what is marked so is refused or absent in the product. */
  readonly notYet?: string;
}

const here = fileURLToPath(new URL('.', import.meta.url));
const promises = JSON.parse(readFileSync(join(here, 'promises.json'), 'utf8')) as Promised[];
const ID = /\b(?:P|O|RL|CB|MC|RT|TO|EX|FA|RU|BU|PV|D)[1-9]\d?\b/g;
/** Ids of guards.md and design.md, by their family and how many there are. */
const FAMILIES = { P: 9, O: 4, RL: 6, CB: 6, MC: 1, RT: 1, TO: 2, EX: 7, FA: 5, RU: 2, BU: 7, D: 10, PV: 7 };

const cited = new Map<string, string>();
for (const file of readdirSync(here, { recursive: true, encoding: 'utf8' })) {
  if (!file.endsWith('.test.ts') || file === 'promises.test.ts') continue;
  for (const { name, line } of testNames(file)) {
    for (const id of name.match(ID) ?? []) if (!cited.has(id)) cited.set(id, `test/${file}:${line}`);
  }
}

test('the manifest names every promise once, in a line of its own words', () => {
  const all = Object.entries(FAMILIES).flatMap(([family, count]) =>
    Array.from({ length: count }, (_, index) => `${family}${index + 1}`),
  );
  expect(promises.map(({ id }) => id).sort()).toEqual(all.sort());
  expect(promises.filter(({ says, notYet }) => !says.trim() || notYet?.trim() === '')).toEqual([]);
});

test('every promise that is not marked `notYet` is cited by the name of a test', () => {
  const missing = promises.filter(({ id, notYet }) => notYet === undefined && !cited.has(id));
  expect(missing.map(({ id, says }) => `${id} ${says}`)).toEqual([]);
});

test('no test cites a promise that is not in the manifest', () => {
  const known = new Set(promises.map(({ id }) => id));
  const foreign = [...cited].filter(([id]) => !known.has(id));
  expect(foreign.map(([id, where]) => `${where} cites ${id}`)).toEqual([]);
});

/** First arguments of `test`, `it` and `describe`, with `.each` and others in between; of templates the fixed text. */
function testNames(file: string): { name: string; line: number }[] {
  const ast = ts.createSourceFile(file, readFileSync(join(here, file), 'utf8'), ts.ScriptTarget.Latest, true);
  const names: { name: string; line: number }[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && /^(?:test|it|describe)\b/.test(node.expression.getText())) {
      const [first] = node.arguments;
      const line = ast.getLineAndCharacterOfPosition(node.getStart()).line + 1;
      if (first && (ts.isStringLiteralLike(first) || ts.isTemplateExpression(first))) {
        names.push({ name: first.getText(), line });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(ast);
  return names;
}
