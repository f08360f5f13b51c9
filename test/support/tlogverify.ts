/** The independent verifier of `../shared/tlogverify` (Go): built once, asked with documents, answers with its checks. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('../../../shared/tlogverify/', import.meta.url));

export interface TlogCheck {
  readonly kind: string;
  readonly id: string;
  readonly ok: boolean;
  readonly detail: string;
}

export interface TlogResult {
  readonly ok: boolean;
  readonly checks: readonly TlogCheck[];
}

let program: string | undefined;

/** One result a document. @throws when the verifier cannot read its input */
export function tlogverify(documents: readonly object[]): TlogResult[] {
  return tlogverifyText(documents.map((document) => JSON.stringify(document)).join('\n'));
}

/** The same for text that holds documents already. */
export function tlogverifyText(input: string): TlogResult[] {
  const done = spawnSync((program ??= build()), [], { input, encoding: 'utf8', maxBuffer: 256 * 1024 * 1024 });
  if (done.status !== 0 && done.status !== 1) throw new Error(`tlogverify: ${done.stderr || String(done.error)}`);
  return done.stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as TlogResult);
}

function build(): string {
  const digest = createHash('sha256');
  for (const file of ['main.go', 'approvals.go', 'go.mod', 'go.sum']) digest.update(readFileSync(join(SOURCE, file)));
  const folder = join(tmpdir(), 'actguard-tlogverify');
  const file = join(folder, digest.digest('hex').slice(0, 16));
  if (existsSync(file)) return file;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // another test may build it at the same moment: the name appears when the program is whole
  const own = `${file}.${process.pid}`;
  execFileSync('go', ['build', '-o', own, '.'], { cwd: SOURCE, stdio: 'pipe' });
  renameSync(own, file);
  return file;
}
