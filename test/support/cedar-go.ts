/** A second implementation of Cedar (cedar-go, test/cedar-go/main.go): built once, asked with decisions, answers its own. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CedarAnswer, CedarSet } from '../../activities/policy-cedar.ts';
import type { CedarRequest } from '../../activities/policy-request.ts';

const SOURCE = fileURLToPath(new URL('../cedar-go/', import.meta.url));

/** A decision of ours. */
export interface MadeDecision {
  /** id -> text */
  readonly policies: { readonly [id: string]: string };
  readonly request: CedarRequest;
  readonly answer: CedarAnswer;
}

interface Theirs {
  readonly decision: 'allow' | 'deny';
  readonly reasons: readonly string[];
  /** Policies that erred. */
  readonly errors: readonly string[];
}

/** Whether Go is here to build it. */
export function hasGo(): boolean {
  return spawnSync('go', ['version']).status === 0;
}

/**
 * Decisions that the second implementation makes otherwise, a line each. It has no schema: a request that ours refuses
 * as invalid is not compared, a policy that errs is.
 */
export function disagreements(made: readonly MadeDecision[]): string[] {
  const compared = made.filter(({ answer }) => answer.kind !== 'error' || answer.message.includes('policy `'));
  if (compared.length === 0) return [];
  const input = compared.map(({ policies, request }) => JSON.stringify({ policies, request })).join('\n');
  const done = spawnSync(builtProgram(), [], { input, encoding: 'utf8', maxBuffer: 256 * 1024 * 1024 });
  if (done.status !== 0) throw new Error(`cedar-go: ${done.stderr || String(done.error)}`);
  const answers = done.stdout.trimEnd().split('\n');
  if (answers.length !== compared.length) throw new Error(`cedar-go answered ${answers.length} of ${compared.length}`);
  return compared.flatMap(({ answer, request }, index) => {
    const theirs = JSON.parse(answers[index] ?? '') as Theirs;
    const ours = answer.kind === 'error' ? 'error' : `${answer.kind} by ${[...answer.reasons].sort().join(', ')}`;
    const said = theirs.errors.length > 0 ? 'error' : `${theirs.decision} by ${theirs.reasons.join(', ')}`;
    return ours === said ? [] : [`ours: ${ours}; cedar-go: ${said}; ${JSON.stringify(request)}`];
  });
}

/** Every decision that is made meanwhile in this process. */
export function decisionsOf(work: () => void): MadeDecision[] {
  const made: MadeDecision[] = [];
  const { decide } = CedarSet.prototype;
  CedarSet.prototype.decide = function (this: CedarSet, request) {
    const answer = decide.call(this, request);
    made.push({ policies: this.policies, request: structuredClone(request), answer });
    return answer;
  };
  try {
    work();
  } finally {
    CedarSet.prototype.decide = decide;
  }
  return made;
}

/** The decisions of a whole run, a process at a time (record-decisions.mjs); a line that a killed process left half is none. */
export function* recordedDecisions(folder: string): Generator<MadeDecision[]> {
  for (const name of readdirSync(folder)) {
    const sets = new Map<number, MadeDecision['policies']>();
    const made: MadeDecision[] = [];
    for (const line of readFileSync(join(folder, name), 'utf8').split('\n')) {
      if (!line.endsWith('}')) continue;
      const said = JSON.parse(line) as { set: number } & Partial<MadeDecision>;
      if (said.policies) sets.set(said.set, said.policies);
      const policies = sets.get(said.set);
      if (said.request && said.answer && policies) made.push({ policies, request: said.request, answer: said.answer });
    }
    yield made;
  }
}

/** The program; the first time on a machine it is compiled, which takes a minute or two. */
export function builtProgram(): string {
  const digest = createHash('sha256');
  for (const file of ['main.go', 'go.mod', 'go.sum']) digest.update(readFileSync(join(SOURCE, file)));
  const folder = join(tmpdir(), 'actguard-cedar-go');
  const file = join(folder, digest.digest('hex').slice(0, 16));
  if (existsSync(file)) return file;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // another test may build it at the same moment: the name appears when the program is whole
  const own = `${file}.${process.pid}`;
  execFileSync('go', ['build', '-o', own, '.'], { cwd: SOURCE, stdio: 'pipe' });
  renameSync(own, file);
  return file;
}
