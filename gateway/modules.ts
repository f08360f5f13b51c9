/**
 * The page's own files, and nothing else: its modules with everything they import (the same governance/ code that the
 * worker runs), under one origin, no bundler. Sources are stripped of their types here; a built package serves its .js.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, extname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A file as it is served. */
export interface PageFile {
  readonly type: string;
  readonly body: string;
  readonly etag: string;
}

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = resolve(HERE, '..');
/** Static imports and re-exports, at the start of a line: what stands in comments is left alone. */
const IMPORT = /^(import\s+|(?:import|export)\b[^'"\n]*\bfrom\s+|\}\s*from\s+)(['"])([^'"\n]+)\2/gm;

/** Where a page's module begins; the shell names it. */
export const MAIN_MODULE = '/m/gateway/page/main.js';

/** Reads everything that the page needs, following imports from its main module. Throws when a file is missing. */
export function readPageFiles(): ReadonlyMap<string, PageFile> {
  const files = new Map<string, PageFile>();
  const main = ['main.ts', 'main.js'].map((name) => join(HERE, 'page', name)).find((path) => existsSync(path));
  if (main === undefined) throw new Error('the approval page is not part of this installation');
  addModule(files, main);
  files.set('/style.css', fileOf('text/css; charset=utf-8', readFileSync(join(HERE, 'page', 'style.css'), 'utf8')));
  return files;
}

function addModule(files: Map<string, PageFile>, path: string): string {
  const url = urlOf(path);
  if (files.has(url)) return url;
  files.set(url, fileOf('', '')); // importing each other is fine
  const source = readFileSync(path, 'utf8');
  const code = extname(path) === '.ts' ? withoutTypes(source) : source.replace(/^\/\/# sourceMappingURL=.*$/m, '');
  const body = code.replaceAll(IMPORT, (_whole, head: string, quote: string, name: string) => {
    const target = name.startsWith('.') ? resolve(dirname(path), name) : fileURLToPath(import.meta.resolve(name));
    return `${head}${quote}${addModule(files, target)}${quote}`;
  });
  files.set(url, fileOf('text/javascript; charset=utf-8', body));
  return url;
}

/** `/m/governance/canonical.js`, `/m/npm/@noble/hashes/sha2.js`: no path of a machine is shown. */
function urlOf(path: string): string {
  const packages = `${sep}node_modules${sep}`;
  const inside = path.lastIndexOf(packages);
  const own = inside < 0 || (path.startsWith(`${ROOT}${sep}`) && !relative(ROOT, path).includes(`node_modules${sep}`));
  const name = own ? relative(ROOT, path) : `npm/${path.slice(inside + packages.length)}`;
  return `/m/${name.split(sep).join('/').replace(/\.ts$/, '.js')}`;
}

// Experimental in Node, and used in a checkout only: its warning would tell users of `npm start` nothing.
function withoutTypes(source: string): string {
  const { emitWarning } = process;
  process.emitWarning = () => undefined;
  try {
    return stripTypeScriptTypes(source);
  } finally {
    process.emitWarning = emitWarning;
  }
}

function fileOf(type: string, body: string): PageFile {
  return { type, body, etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"` };
}
