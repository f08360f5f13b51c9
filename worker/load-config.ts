/** Finds and loads a user's `actguard.config.*`: any TypeScript or JavaScript, also what Node itself would not run. */
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { createJiti } from 'jiti';
import * as actguard from '../define/index.ts';
import { CONFIG } from '../define/types.ts';
import type { Config } from '../define/types.ts';
import { ActGuardError, isActGuardError } from '../governance/errors.ts';

/** File names, in the order they are looked for. */
export const CONFIG_NAMES = ['ts', 'mts', 'js', 'mjs', 'cts', 'cjs'].map((extension) => `actguard.config.${extension}`);

/** Folders that are looked into for a configuration in the wrong place. */
const MAX_FOLDERS = 100;

/** A configuration and where it stands: its `policies` folder is relative to `directory`. */
export interface LoadedConfig {
  readonly config: Config;
  readonly path: string;
  readonly directory: string;
}

/** The configuration file at `path`, or the first one from `cwd` upwards; undefined: there is none. */
export function findConfig(path?: string, cwd: string = process.cwd()): string | undefined {
  if (path !== undefined) {
    const given = resolve(cwd, path);
    return existsSync(given) ? given : undefined;
  }
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    const name = CONFIG_NAMES.find((candidate) => existsSync(join(folder, candidate)));
    if (name !== undefined) return join(folder, name);
    if (folder === dirname(folder)) return undefined;
  }
}

/**
 * Loads a configuration. Extensionless imports, enums, tsconfig paths and CommonJS work; `actguard` is the copy that
 * runs already. Throws CONFIG_INVALID: not found (says where it looked), does not load (file and line), is none.
 */
export async function loadConfig(path?: string, cwd: string = process.cwd()): Promise<LoadedConfig> {
  const file = findConfig(path, cwd);
  if (file === undefined) throw notFound(path, cwd);
  const jiti = createJiti(file, {
    virtualModules: { actguard },
    tsconfigPaths: true,
    fsCache: false, // its default lies in a folder that others may write to
    interopDefault: false,
  });
  let module: unknown;
  try {
    module = await jiti.import(file);
  } catch (error) {
    throw withPlace(error, file, cwd);
  }
  const config = configOf(module);
  if (config === undefined) {
    const has = typeof module === 'object' && module !== null && 'default' in module;
    throw new ActGuardError(
      'CONFIG_INVALID',
      `\`${short(file, cwd)}\` ${has ? 'exports something else than a configuration' : 'has no default export'}`,
      {
        details: { file },
        hint: 'end it with `export default defineConfig({ ... })`, imported from `actguard`',
      },
    );
  }
  return { config, path: file, directory: dirname(file) };
}

function configOf(module: unknown): Config | undefined {
  // CommonJS: `module.exports = defineConfig(...)` or `exports.default = ...`, with or without interop in between.
  let value: unknown = module;
  for (let depth = 0; depth < 3 && typeof value === 'object' && value !== null; depth++) {
    if ((value as { [CONFIG]?: unknown })[CONFIG] === true) return value as Config;
    value = (value as { default?: unknown }).default;
  }
  return undefined;
}

function notFound(path: string | undefined, cwd: string): ActGuardError {
  if (path !== undefined) {
    return new ActGuardError('CONFIG_INVALID', `there is no configuration at \`${resolve(cwd, path)}\``, {
      hint: 'check the path given with --config',
    });
  }
  const below = findBelow(cwd);
  return new ActGuardError('CONFIG_INVALID', `no \`actguard.config.ts\` in \`${resolve(cwd)}\` or above`, {
    details: { lookedFor: CONFIG_NAMES, from: resolve(cwd), ...(below === undefined ? {} : { below }) },
    hint:
      below === undefined
        ? 'change to your project, give --config, or have a first one written: npx actguard init'
        : `there is one below: move it here, or give --config ${below}`,
  });
}

/** A configuration in a folder below, where people put it by mistake: `src/actguard.config.ts`. Only told, never used. */
function findBelow(cwd: string): string | undefined {
  const folders = (of: string): string[] => {
    try {
      return readdirSync(of, { withFileTypes: true })
        .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.') && entry.name !== 'node_modules')
        .slice(0, MAX_FOLDERS)
        .map((entry) => join(of, entry.name));
    } catch {
      return [];
    }
  };
  const near = folders(cwd);
  for (const folder of [...near, ...near.flatMap(folders).slice(0, MAX_FOLDERS)]) {
    const name = CONFIG_NAMES.find((candidate) => existsSync(join(folder, candidate)));
    if (name !== undefined) return relative(cwd, join(folder, name));
  }
  return undefined;
}

// Puts file and line before the message; everything else of the error stays.
function withPlace(error: unknown, file: string, cwd: string): ActGuardError {
  const place = placeOf(error, dirname(file)) ?? { file };
  const text = error instanceof Error ? error.message : String(error);
  const message = text.replace(/\s*\n\s*at .*$/s, '').replace(/^.*?actguard\.config\.\w+: /, '');
  const line = place.line === undefined ? '' : `:${place.line}`;
  return new ActGuardError('CONFIG_INVALID', `${short(place.file, cwd)}${line}: ${message}`, {
    details: { file: place.file, ...(place.line === undefined ? {} : { line: place.line }) },
    ...(isActGuardError(error) ? { problems: error.problems, ...(error.hint ? { hint: error.hint } : {}) } : {}),
    cause: error,
  });
}

interface Place {
  readonly file: string;
  readonly line?: number;
}

function placeOf(error: unknown, directory: string): Place | undefined {
  if (!(error instanceof Error)) return undefined;
  // A parser's error: "…/file.ts: Unexpected token (3:5)", or the file and line of the first stack lines.
  const parse = /((?:\/|[A-Za-z]:\\)[^\n:]*\.\w+):[^\n]*\((\d+):\d+\)/.exec(error.message);
  if (parse?.[1]) return { file: parse[1], line: Number(parse[2]) };
  for (const frame of (error.stack ?? '').split('\n')) {
    const at = /(?:file:\/\/)?((?:\/|[A-Za-z]:[\\/])[^\n():]*\.[cm]?[jt]sx?):(\d+)/.exec(frame);
    if (at?.[1]?.startsWith(directory) && !at[1].includes('node_modules')) return { file: at[1], line: Number(at[2]) };
  }
  return undefined;
}

function short(file: string, cwd: string): string {
  const inside = relative(cwd, file);
  return inside.startsWith('..') ? file : inside;
}
