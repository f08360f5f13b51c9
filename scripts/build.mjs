// Compiles the sources to dist/ and copies the files that are not TypeScript. Plain JS: it also runs as the `prepare` script.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
process.chdir(root);
const tsc = 'node_modules/typescript/bin/tsc';
if (!existsSync('tsconfig.build.json') || !existsSync(tsc)) {
  // Installed without dev dependencies (a production install of a checkout): dist/ must already be there.
  process.exit(existsSync('dist') || process.env['npm_lifecycle_event'] === 'prepare' ? 0 : 1);
}
rmSync('dist', { recursive: true, force: true });
const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { stdio: 'inherit' });
if (status !== 0) process.exit(status ?? 1);
// The approval page's scripts run in browsers: their own library of types, the same output folder.
const page = spawnSync(process.execPath, [tsc, '-p', 'gateway/page', '--noEmit', 'false', '--sourceMap', 'false'], {
  stdio: 'inherit',
});
if (page.status !== 0) process.exit(page.status ?? 1);
cpSync('gateway/page/style.css', 'dist/gateway/page/style.css');
for (const sql of ['migrations', 'functions']) {
  cpSync(`activities/${sql}`, `dist/activities/${sql}`, { recursive: true });
}
// The workflows' bundle, so that a published worker starts without webpack. Needs the Node that runs the platform.
const bundled = spawnSync('node', ['dist/worker/bundle-main.js', 'dist/workflow-bundle.js'], { stdio: 'inherit' });
if (bundled.status !== 0) process.stderr.write('the workflow bundle is made at worker start instead\n');
