/** `actguard policy test|explain|replay`: what policies decide, decided and would have decided. */
import { relative } from 'node:path';
import type { Command } from 'commander';
import { goneWords } from '../../governance/content.ts';
import { parseDuration } from '../../governance/duration.ts';
import { ActGuardError } from '../../governance/errors.ts';
import type { Json, JsonObject } from '../../governance/json.ts';
import { recordedDecisions, type RecordedDecision } from '../policy-decisions.ts';
import { storedPolicies } from '../policies.ts';
import { connected } from './doors.ts';
import type { Io } from './io.ts';
import { EXIT } from './output.ts';
import { visible } from './show-approval.ts';

const CONFIG = ['--config <file>', 'your actguard.config.ts; default: found from here upwards'] as const;
/** Examples shown of each change. */
const EXAMPLES = 5;
/** How often a replay says how far it is. */
const PROGRESS_EVERY = 5_000;

/** Registers the commands under `policy`. */
export function registerAuthor(policy: Command, io: Io): void {
  policy
    .command('test')
    .description('decide the cases in *.test.yaml next to the policies; exit 1 when one is decided otherwise')
    .argument('[dir]', 'folder of *.cedar and *.test.yaml files; default: `policies` of your config')
    .option(...CONFIG)
    .action((directory: string | undefined, options: { config?: string }) => runCases(io, directory, options.config));
  policy
    .command('explain')
    .description('show what was asked of the policies for a call, who answered and why')
    .argument('<call>', 'RUN/CALL, as the run shows it')
    .option(...CONFIG)
    .action((id: string, options: { config?: string }) => explain(io, id, options.config));
  policy
    .command('replay')
    .description('decide every recorded call again under another set: what would have been allowed, asked, denied')
    .option('--since <duration>', 'how far back', '7d')
    .option('--policies <dir>', 'folder of *.cedar files; default: `policies` of your config')
    .option('--tenant <tenant>', 'only calls of this tenant')
    .option(...CONFIG)
    .action((flags: ReplayFlags) => replay(io, flags));
}

async function runCases(io: Io, directory: string | undefined, configPath: string | undefined): Promise<void> {
  const { testPolicies } = await import('../../worker/policy-cases.ts');
  const { folder, results } = await testPolicies({
    ...(configPath === undefined ? {} : { configPath }),
    ...(directory === undefined ? {} : { directory }),
  });
  const failed = results.filter(({ ok }) => !ok);
  io.json({ folder, cases: results.length, failed: failed.length, results: results as unknown as Json });
  for (const r of results) {
    io.line(`${r.ok ? 'ok    ' : 'FAILED'}  ${r.file}:${r.line}  ${visible(r.name)}`);
    if (r.ok) continue;
    io.line(`          expected ${r.expected}${by(r.expectedBy)}, it is ${r.found}${by(r.foundBy)}`);
    if (r.hint !== null) io.line(`          ${visible(r.hint)}`);
  }
  const where = relative(process.cwd(), folder) || '.';
  io.line(`${results.length - failed.length} of ${results.length} cases of ${where} are decided as expected`);
  if (failed.length > 0) io.exitWith(EXIT.failed);
}

function by(ids: readonly string[] | null): string {
  if (ids === null) return '';
  return ids.length === 0 ? ' by no policy' : ` by ${ids.map((id) => `\`${id}\``).join(', ')}`;
}

async function explain(io: Io, id: string, configPath: string | undefined): Promise<void> {
  const [run = '', call = '', more] = id.split('/');
  if (!run || !call || more !== undefined) {
    throw new ActGuardError('ARGUMENTS_INVALID', `\`${visible(id)}\` names no call`, { hint: 'write it as RUN/CALL' });
  }
  const { storedSet } = await import('../../worker/policy-replay.ts');
  await connected(io, async ({ db }) => {
    const shown: JsonObject[] = [];
    for await (const decision of recordedDecisions(db, { run, call })) {
      const stored = await storedPolicies(db, decision.policy);
      const set = stored && (await storedSet(stored.files, configPath === undefined ? {} : { configPath }));
      const deciding = set?.policies.filter((policy) => decision.reasons.includes(policy.id)) ?? [];
      const again = decision.request && set ? set.repeat(decision.request) : null;
      const { was } = decision;
      const agrees =
        again && (again.kind === (was === 'ask' ? 'deny' : was)) && again.reasons.join() === [...decision.reasons].sort().join(); // prettier-ignore
      shown.push({ ...decision, policies: deciding, repeats: agrees } as unknown as JsonObject);
      printDecision(io, decision);
      for (const p of deciding)
        io.line(`\n// ${visible(p.file)}:${p.line}\n${p.text.split('\n').map(visible).join('\n')}`);
      if (!set) io.line(`the text of the set ${decision.policy.slice(0, 12)} is not in the database`);
      io.line(decision.request ? `\nrequest ${JSON.stringify(decision.request, null, 2)}` : `\n${absence(decision)}`);
      if (decision.request && !decision.holds)
        io.line('WARNING: this request is not the one that the entry commits to');
      if (agrees !== null)
        io.line(agrees ? 'cedar alone decides the same' : `cedar alone decides otherwise: ${again?.kind}`);
    }
    io.json({ run, call, decisions: shown });
    if (shown.length > 0) return;
    throw new ActGuardError('NOT_FOUND', `no decision of the policies is recorded for \`${visible(id)}\``, {
      hint: 'what is refused before the policies (facts, rules, arguments) never reaches them: `actguard show RUN`',
    });
  });
}

function absence({ gone }: RecordedDecision): string {
  return gone ? `the request cannot be shown: ${visible(goneWords(gone))}` : 'the request was erased';
}

function printDecision(io: Io, decision: RecordedDecision): void {
  const { was, approved, reasons, atMs, policy, tool, tenant } = decision;
  const how = was === 'allow' ? (approved ? 'allowed after a yes' : 'allowed') : WORDS[was];
  io.line(`${new Date(atMs).toISOString()}  ${visible(tool)} in ${visible(tenant)}: ${how}${by(reasons)}`);
  io.line(`set ${policy}`);
}

const WORDS = { allow: 'allowed', ask: 'asked', deny: 'denied', error: 'denied, the policies could not be evaluated' };

interface ReplayFlags {
  readonly since: string;
  readonly policies?: string;
  readonly tenant?: string;
  readonly config?: string;
}

async function replay(io: Io, flags: ReplayFlags): Promise<void> {
  const sinceMs = Date.now() - parseDuration(flags.since);
  const { replaySet } = await import('../../worker/policy-replay.ts');
  const { folder, digest, decide } = await replaySet({
    ...(flags.config === undefined ? {} : { configPath: flags.config }),
    ...(flags.policies === undefined ? {} : { directory: flags.policies }),
  });
  await connected(io, async ({ db }) => {
    let decisions = 0;
    let erased = 0;
    const changes = new Map<string, number>();
    const examples: JsonObject[] = [];
    for await (const d of recordedDecisions(db, {
      sinceMs,
      ...(flags.tenant === undefined ? {} : { tenant: flags.tenant }),
    })) {
      decisions += 1;
      if (decisions % PROGRESS_EVERY === 0) io.progress(`${decisions} decisions, at ${new Date(d.atMs).toISOString()}`);
      if (d.request === null || !d.holds) {
        erased += 1;
        continue;
      }
      const now = decide(d.request);
      if (now.kind === d.was) continue;
      const change = `${d.was} -> ${now.kind}`;
      const count = (changes.get(change) ?? 0) + 1;
      changes.set(change, count);
      if (count > EXAMPLES) continue;
      examples.push({ change, run: d.run, call: d.call, tool: d.tool, tenant: d.tenant, atMs: d.atMs, was: d.reasons, now: now.reasons, ...(now.message === undefined ? {} : { message: now.message }) }); // prettier-ignore
      io.line(`${change.padEnd(15)}  ${d.run}/${visible(d.call)}  ${visible(d.tool)}: ${explained(d, now)}`);
    }
    io.json({ folder, digest, decisions, changed: Object.fromEntries(changes), unreadable: erased, examples });
    const changed = [...changes.values()].reduce((sum, n) => sum + n, 0);
    io.line(
      `${decisions} decisions of the last ${flags.since}, ${changed} of them otherwise under ${digest.slice(0, 12)}`,
    );
    for (const [change, count] of [...changes].sort(([, a], [, b]) => b - a)) io.line(`  ${change}: ${count}`);
    if (erased > 0)
      io.line(
        `  ${erased} could not be repeated: their request was erased, cannot be read, or is not the one that was committed to`,
      );
  });
}

function explained(
  was: RecordedDecision,
  now: { readonly reasons: readonly string[]; readonly message?: string },
): string {
  return `was${by(was.reasons)}, is${now.message === undefined ? by(now.reasons) : ` an error: ${visible(now.message)}`}`;
}
