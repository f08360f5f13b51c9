#!/usr/bin/env node
// Plain JavaScript that Node 18 can read: finds a Node that is new enough, then runs the sources or what was built.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const LEAST = [22, 18];

/** @param {string} version */
function isNewEnough(version) {
  const [major, minor] = version.replace(/^v/, '').split('.').map(Number);
  return major > LEAST[0] || (major === LEAST[0] && minor >= LEAST[1]);
}

/** Where npm put the package `node` without its program: its install script was not run. */
let withoutProgram;

/** A `node` that npm installed, here or above, for the package or for the project. */
function findNode() {
  const suffix = process.platform === 'win32' ? '.exe' : '';
  for (const start of [dirname(fileURLToPath(import.meta.url)), process.cwd()]) {
    for (let folder = start; ; folder = dirname(folder)) {
      for (const place of [`node_modules/node/bin/node${suffix}`, `node_modules/.bin/node${suffix}`]) {
        const candidate = join(folder, place);
        if (!existsSync(candidate)) continue;
        const { status, stdout } = spawnSync(candidate, ['--version'], { encoding: 'utf8' });
        if (status === 0 && isNewEnough(stdout.trim())) return candidate;
      }
      const installed = join(folder, 'node_modules', 'node');
      if (existsSync(join(installed, 'package.json')) && !existsSync(join(installed, 'bin')))
        withoutProgram ??= installed;
      if (folder === dirname(folder)) break;
    }
  }
  return undefined;
}

if (isNewEnough(process.versions.node)) {
  const source = new URL('../client/cli/main.ts', import.meta.url);
  const built = new URL('../dist/client/cli/main.js', import.meta.url);
  const { main } = await import((existsSync(source) ? source : built).href);
  await main(process.argv.slice(2));
} else {
  const node = findNode();
  if (!node) {
    const fix = withoutProgram
      ? 'the one in `node_modules/node` has no program because install scripts were not run (--ignore-scripts): `npm rebuild node`'
      : 'install one beside it with `npm install --save-dev node@24`';
    console.error(`actguard needs Node ${LEAST.join('.')} or newer, this is ${process.versions.node}: ${fix}`);
    process.exit(3);
  }
  // The channel tells the child when we are gone, however that happened.
  const child = spawn(node, process.argv.slice(1), { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  // What the child tells its parent goes on to ours (a dev stack listens to its worker).
  child.on('message', (message) => process.send?.(message));
  child.on('error', (error) => {
    console.error(`actguard could not run ${pathToFileURL(node).pathname}: ${error.message}`);
    process.exit(3);
  });
  child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)));
}
