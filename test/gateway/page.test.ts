/** The page's scripts compile with a browser's library, and are served as what they are. */
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { MAIN_MODULE, readPageFiles } from '../../gateway/modules.ts';

test('the scripts of the page compile, with the types of a browser', () => {
  const { status, stdout } = spawnSync(
    process.execPath,
    ['node_modules/typescript/bin/tsc', '--noEmit', '-p', 'gateway/page'],
    {
      encoding: 'utf8',
    },
  );
  expect(stdout).toBe('');
  expect(status).toBe(0);
});

test('every import of a served module is served, from our own origin, and no path of a machine is in it', () => {
  const files = readPageFiles();
  expect([...files.keys()]).toContain(MAIN_MODULE);
  expect([...files.keys()]).toContain('/m/governance/canonical.js');
  for (const [url, { body, type }] of files) {
    expect(url).toMatch(/^\/(?:m\/[\w@./-]+\.js|style\.css)$/);
    expect(body.length).toBeGreaterThan(0);
    expect(body).not.toContain(process.cwd());
    if (!type.startsWith('text/javascript')) continue;
    for (const [, name = ''] of body.matchAll(/^(?:import|export)\b[^'"\n]*\bfrom\s+['"]([^'"]+)['"]/gm))
      expect([...files.keys()]).toContain(name);
  }
});
