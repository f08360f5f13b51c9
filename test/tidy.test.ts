/** The tree keeps its own rules: who may import whom, sizes, purity, doc comments, words that must not stand anywhere. */
import { readFileSync, readdirSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { ERROR_CODES } from '../governance/errors.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const SKIPPED = new Set(['node_modules', 'dist', '.git', '.actguard', 'coverage']);
const ROOMS = ['governance', 'define', 'workflows', 'activities', 'worker', 'client', 'gateway'];
const MAX_LINES = 300;

/** Which rooms a room may import; `types`: by `import type` only. A room may always import itself. */
const MAY_IMPORT: { readonly [room: string]: { readonly [room: string]: 'values' | 'types' } } = {
  governance: {},
  define: { governance: 'values' },
  workflows: { governance: 'values', activities: 'types' },
  activities: { governance: 'values', define: 'values' },
  client: { governance: 'values', define: 'values', activities: 'types', workflows: 'types' },
  gateway: { governance: 'values', define: 'values', activities: 'types', workflows: 'types', client: 'values' },
  worker: Object.fromEntries(ROOMS.map((room) => [room, 'values' as const])),
};
/** Files that are open by value where their room is open by type only, with the reason. */
const OPEN_BY_VALUE: { readonly [file: string]: string } = {
  'workflows/messages.ts': 'signals, queries and updates: clients send them (design, Rooms)',
  'workflows/ids.ts': 'names of workflows and of the task queue, nothing runs',
  'workflows/converter-path.ts': 'client and worker must load the same payload converter',
  'activities/postgres.ts': 'one place opens connections; clients read the ledger and the directory',
  'activities/payload-codec.ts': 'client and worker encrypt payloads alike',
  'activities/payload-keys.ts': 'client and worker read the same keys',
  'activities/signatures.ts': 'one place checks signatures; clients refuse forgeries before they are sent',
  'activities/history.ts': 'worker and audit read workflow histories alike',
  'activities/directory.ts': 'one place verifies an enrolment before it is stored, for worker and command line',
};
/** Commands that run parts of the platform, with the reason; nobody may import them statically. */
const WORKER_COMMANDS: { readonly [file: string]: string } = {
  'client/cli/dev.ts': 'starts the dev stack',
  'client/cli/worker.ts': 'runs a worker',
  'client/cli/witness.ts': 'runs a witness',
  'client/cli/doctor.ts': 'looks at what a worker would find',
};
/** Packages that pure rooms may import. */
const PACKAGES: { readonly [room: string]: readonly string[] } = {
  governance: ['@noble/hashes'],
  define: ['zod', 're2js'],
  workflows: ['@temporalio/workflow', '@temporalio/common'],
};
/** Node built-ins in pure rooms, with the reason. */
const NODE_ALLOWED: { readonly [file: string]: string } = {
  'workflows/converter-path.ts': 'computes a file name for client and worker; no workflow imports it',
};

interface Source {
  readonly file: string;
  readonly text: string;
  readonly ast: ts.SourceFile;
}

const files = walk('');
const sources: readonly Source[] = files
  .filter((file) => file.endsWith('.ts'))
  .map((file) => {
    const text = read(file);
    return { file, text, ast: ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true) };
  });
const byFile = new Map(sources.map((source) => [source.file, source]));
const rooms = sources.filter(({ file }) => ROOMS.includes(roomOf(file)));

test('imports go one way between the rooms', () => {
  const found = rooms.flatMap((source) =>
    importsOf(source).flatMap(({ specifier, typeOnly, dynamic, line }) => {
      if (!specifier.startsWith('.')) return [];
      const target = posix.join(dirname(source.file), specifier);
      const [from, to] = [roomOf(source.file), roomOf(target)];
      if (from === to) return [];
      // loaded when the command runs: without it the command line needs no native worker
      const loadedLate = dynamic && source.file.startsWith('client/cli/');
      if (to === 'worker' && (loadedLate || source.file in WORKER_COMMANDS)) return [];
      const allowed = MAY_IMPORT[from]?.[to];
      if (allowed === 'values' || (allowed === 'types' && (typeOnly || target in OPEN_BY_VALUE))) return [];
      const why = allowed === 'types' ? `${from}/ may import types only from ${to}/` : `${from}/ may not import ${to}/`;
      return [`${source.file}:${line} ${why}: ${specifier}`];
    }),
  );
  expect(found).toEqual([]);
});

test('commands that need the worker are loaded only when they are asked for', () => {
  const found = rooms.flatMap((source) =>
    importsOf(source)
      .filter(({ specifier, dynamic, typeOnly }) => specifier.startsWith('.') && !dynamic && !typeOnly)
      .filter(({ specifier }) => posix.join(dirname(source.file), specifier) in WORKER_COMMANDS)
      .map(({ specifier, line }) => `${source.file}:${line} imports ${specifier} statically`),
  );
  expect(found).toEqual([]);
});

test('every import inside the rooms names a file that exists, with its extension', () => {
  const found = rooms.flatMap((source) =>
    importsOf(source)
      .filter(({ specifier }) => specifier.startsWith('.'))
      .filter(({ specifier }) => !byFile.has(posix.join(dirname(source.file), specifier)))
      .map(({ specifier, line }) => `${source.file}:${line} imports ${specifier}, which is not there`),
  );
  expect(found).toEqual([]);
});

test('governance, define and workflows import no package and no Node built-in beyond their own', () => {
  const builtins = new Set(builtinModules);
  const found = rooms.flatMap((source) => {
    const allowed = PACKAGES[roomOf(source.file)];
    if (!allowed) return [];
    return importsOf(source).flatMap(({ specifier, line }) => {
      if (specifier.startsWith('.') || allowed.some((p) => specifier === p || specifier.startsWith(`${p}/`))) return [];
      const node = specifier.startsWith('node:') || builtins.has(specifier);
      if (node && source.file in NODE_ALLOWED) return [];
      return [`${source.file}:${line} ${node ? 'imports a Node built-in' : 'imports a package'}: ${specifier}`];
    });
  });
  expect(found).toEqual([]);
});

test('named exceptions still exist', () => {
  expect(
    [OPEN_BY_VALUE, WORKER_COMMANDS, NODE_ALLOWED]
      .flatMap((named) => Object.keys(named))
      .filter((file) => !byFile.has(file)),
  ).toEqual([]);
});

test(`no source file is longer than ${MAX_LINES} lines`, () => {
  const found = rooms
    .map(({ file, text }) => ({ file, lines: text.trimEnd().split('\n').length }))
    .filter(({ lines }) => lines > MAX_LINES)
    .map(({ file, lines }) => `${file}:${lines} has ${lines} lines, at most ${MAX_LINES}: split it by idea`);
  expect(found).toEqual([]);
});

test('every export of governance, define and the public entries has a doc comment', () => {
  const entries = publicEntries();
  const found = new Set<string>();
  for (const source of rooms) {
    if (!['governance', 'define'].includes(roomOf(source.file)) && !entries.includes(source.file)) continue;
    for (const name of exportedNames(source)) for (const problem of undocumented(source, name)) found.add(problem);
  }
  expect([...found]).toEqual([]);
});

test('only erasable TypeScript: no enum, no namespace, no parameter property', () => {
  const found = sources.flatMap((source) =>
    nodesOf(source.ast).flatMap((node) => {
      const bad = ts.isEnumDeclaration(node)
        ? 'enum'
        : ts.isModuleDeclaration(node) && ts.isIdentifier(node.name)
          ? 'namespace'
          : ts.isParameter(node) && ts.isParameterPropertyDeclaration(node, node.parent)
            ? 'parameter property'
            : null;
      return bad ? [`${source.file}:${lineOf(source, node)} ${bad}`] : [];
    }),
  );
  expect(found).toEqual([]);
});

test('governance and workflows read no clock and make no randomness of their own', () => {
  // In a workflow Date.now() is the time of the history, the same in every replay; the pure steps get it as an argument.
  const clockAllowed = (file: string): boolean =>
    roomOf(file) === 'workflows' && file !== 'workflows/governor-state.ts' && file !== 'workflows/details.ts';
  const found = rooms
    .filter(({ file }) => ['governance', 'workflows'].includes(roomOf(file)))
    .flatMap((source) =>
      nodesOf(source.ast).flatMap((node) => {
        const text = ts.isPropertyAccessExpression(node) ? node.getText() : '';
        const clock =
          text === 'Date.now' ||
          (ts.isNewExpression(node) && node.getText() === 'new Date()') ||
          text === 'performance.now';
        const random = text === 'Math.random' || /^(?:globalThis\.)?crypto\./.test(text);
        if (!random && !(clock && !clockAllowed(source.file))) return [];
        return [`${source.file}:${lineOf(source, node)} ${random ? 'randomness' : 'a clock'}: ${node.getText()}`];
      }),
    );
  expect(found).toEqual([]);
});

test('no unfinished marks, no paths of a machine, no package hosts in any file', () => {
  const rules: readonly (readonly [string, RegExp])[] = [
    ['an unfinished mark', new RegExp(`\\b(?:${['TO', 'DO'].join('')}|${['FIX', 'ME'].join('')})\\b`)],
    ['a path of a machine', /(?<![\w.*)\]}-])\/(?:work|Users\/[a-z]\w*|home\/[a-z]\w*)\//],
    ['a package host', new RegExp(`\\b(?:${'regis'}try\\.[a-z0-9-]+\\.[a-z]+|files\\.${'python'}hosted)`)],
  ];
  const found = files.flatMap((file) =>
    read(file)
      .split('\n')
      .flatMap((line, index) =>
        rules.filter(([, rule]) => rule.test(line)).map(([what]) => `${file}:${index + 1} ${what}`),
      ),
  );
  expect(found).toEqual([]);
});

test('no test is left out or run alone', () => {
  const found = sources
    .filter(({ file }) => file.startsWith('test/'))
    .flatMap((source) =>
      nodesOf(source.ast)
        .filter(ts.isPropertyAccessExpression)
        .filter(({ name }) => ['only', 'skip', 'todo', 'skipIf', 'runIf', 'fails'].includes(name.text))
        .filter((node) => /^(?:test|it|describe|suite|bench)\b/.test(node.expression.getText()))
        .map(
          (node) =>
            `${source.file}:${lineOf(source, node)} ${node.expression.getText().slice(0, 20)}.${node.name.text}`,
        ),
    );
  expect(found).toEqual([]);
});

test('docs/errors.md has a heading for every code, and no other', () => {
  const headings = [...read('docs/errors.md').matchAll(/^## (\S+)$/gm)].map((match) => match[1]);
  expect(headings).toEqual([...ERROR_CODES]);
});

test('docs/dependencies.md has a reason for every dependency, and no other', () => {
  const manifest = JSON.parse(read('package.json')) as { [field: string]: { [name: string]: string } | undefined };
  const names = ['dependencies', 'optionalDependencies', 'devDependencies'].flatMap((f) =>
    Object.keys(manifest[f] ?? {}),
  );
  const listed = [...read('docs/dependencies.md').matchAll(/^- `([^`]+)`: \S/gm)].map((match) => match[1]);
  expect([...listed].sort()).toEqual([...names].sort());
});

// ---------------------------------------------------------------- reading the tree

function walk(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((item) => {
    const path = posix.join(folder, item.name);
    if (SKIPPED.has(item.name) || /\.(?:log|tgz|png|jpg|wasm|gz)$/.test(item.name)) return [];
    if (item.isDirectory()) return walk(path);
    return item.isFile() ? [path] : [];
  });
}

function read(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

function roomOf(file: string): string {
  return file.split('/')[0] ?? '';
}

function lineOf({ ast }: Source, node: ts.Node): number {
  return ast.getLineAndCharacterOfPosition(node.getStart()).line + 1;
}

function nodesOf(node: ts.Node): ts.Node[] {
  const nodes: ts.Node[] = [];
  const visit = (child: ts.Node): void => {
    nodes.push(child);
    ts.forEachChild(child, visit);
  };
  visit(node);
  return nodes;
}

interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
  readonly dynamic: boolean;
  readonly line: number;
}

function importsOf(source: Source): Import[] {
  return nodesOf(source.ast).flatMap((node): Import[] => {
    const line = lineOf(source, node);
    const of = (to: ts.Node | undefined, typeOnly: boolean, dynamic = false): Import[] =>
      to && ts.isStringLiteralLike(to) ? [{ specifier: to.text, typeOnly, dynamic, line }] : [];
    if (ts.isImportDeclaration(node)) return of(node.moduleSpecifier, isTypeImport(node.importClause));
    if (ts.isExportDeclaration(node)) {
      const named = node.exportClause && ts.isNamedExports(node.exportClause) ? node.exportClause.elements : [];
      return of(node.moduleSpecifier, node.isTypeOnly || (named.length > 0 && named.every((e) => e.isTypeOnly)));
    }
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      return of(node.arguments[0], false, true);
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) return of(node.argument.literal, true);
    return [];
  });
}

function isTypeImport(clause: ts.ImportClause | undefined): boolean {
  if (!clause) return false;
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  if (clause.name || !clause.namedBindings || !ts.isNamedImports(clause.namedBindings)) return false;
  return clause.namedBindings.elements.every((element) => element.isTypeOnly);
}

function publicEntries(): string[] {
  const { exports } = JSON.parse(read('package.json')) as {
    exports: { [entry: string]: string | { [c: string]: string } };
  };
  return Object.values(exports).flatMap((entry) => {
    const source = typeof entry === 'string' ? undefined : entry['actguard:source'];
    return source === undefined ? [] : [posix.normalize(source)];
  });
}

interface Exported {
  readonly name: string;
  readonly from: string | null;
  readonly node: ts.Node | null;
}

/** Names a file exports, with the file and name where each is declared when it is passed on. */
function exportedNames({ ast }: Source): Exported[] {
  return ast.statements.flatMap((statement): Exported[] => {
    if (ts.isExportDeclaration(statement)) {
      const from =
        statement.moduleSpecifier && ts.isStringLiteral(statement.moduleSpecifier)
          ? statement.moduleSpecifier.text
          : null;
      const clause = statement.exportClause;
      if (!clause || !ts.isNamedExports(clause)) return [];
      return clause.elements.map((e) => ({ name: (e.propertyName ?? e.name).text, from, node: null }));
    }
    const exported =
      ts.canHaveModifiers(statement) && ts.getModifiers(statement)?.some((m) => m.kind === ts.SyntaxKind.ExportKeyword);
    if (!exported) return [];
    if (ts.isVariableStatement(statement))
      return statement.declarationList.declarations.map((d) => ({
        name: d.name.getText(),
        from: null,
        node: statement as ts.Node,
      }));
    const name = (statement as { name?: ts.Identifier }).name?.text ?? 'default';
    return [{ name, from: null, node: statement as ts.Node }];
  });
}

/** Where an exported name has no doc comment; follows names that are passed on. */
function undocumented(source: Source, item: Exported): string[] {
  if (item.node) {
    // overloads: the first one carries the comment
    const first =
      source.ast.statements.find((s) => (s as { name?: ts.Identifier }).name?.text === item.name) ?? item.node;
    if ([first, item.node].some((node) => ts.getJSDocCommentsAndTags(node).length > 0)) return [];
    return [`${source.file}:${lineOf(source, item.node)} \`${item.name}\` has no doc comment`];
  }
  if (item.from === null || !item.from.startsWith('.')) return [];
  const origin = byFile.get(posix.join(dirname(source.file), item.from));
  if (!origin) return [`${source.file}: ${item.from} is not there`];
  return exportedNames(origin)
    .filter(({ name }) => name === item.name)
    .flatMap((there) => undocumented(origin, there));
}
