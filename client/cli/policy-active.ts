/** `actguard policy push|activate|rollback|shadow|list`: sets in the database, and which of them decides where. */
import { userInfo } from 'node:os';
import type { Command } from 'commander';
import { ActGuardError, type Problem, throwIfProblems } from '../../governance/errors.ts';
import { EVERY_TENANT } from '../../governance/freeze.ts';
import type { Json } from '../../governance/json.ts';
import type { PolicyRole, PolicyTarget } from '../../governance/policy-activation.ts';
import type { ActGuard } from '../client.ts';
import {
  activatePolicies,
  activeIn,
  listPolicies,
  makeActivation,
  pushPolicies,
  storedPolicies,
  type ListedActivation,
} from '../policies.ts';
import { connected, withActguard } from './doors.ts';
import type { Io } from './io.ts';
import { EXIT } from './output.ts';
import { ownKey } from './own-key.ts';
import { visible } from './show-approval.ts';

interface Flags {
  readonly tenant: string;
  readonly reason: string;
  readonly key?: string;
}

/** Registers the commands under `policy`. */
export function registerActive(policy: Command, io: Io): void {
  policy
    .command('push')
    .description('check the policies against your tools and store them under their digest; they decide nothing yet')
    .argument('[dir]', 'folder of *.cedar files; default: `policies` of your config')
    .option('--config <file>', 'your actguard.config.ts; default: found from here upwards')
    .option('--anyway', 'also when your tools no longer fit a set that is active: this one will replace it')
    .action((directory: string | undefined, options: { config?: string; anyway?: boolean }) =>
      push(io, directory, options),
    );
  signing(policy.command('activate'), 'let a pushed set decide: before the next call anywhere, without a restart')
    .argument('<digest>', 'of `policy push`; its first 8 digits are enough')
    .action((digest: string, flags: Flags) =>
      withActguard(io, async (actguard) => change(io, actguard, 'enforced', await wanted(actguard, digest), flags)),
    );
  signing(policy.command('rollback'), 'let the set decide again that was active before').action((flags: Flags) =>
    withActguard(io, async (actguard) => {
      const { digest, before } = activeIn(await listPolicies(actguard.db, flags.tenant), flags.tenant, 'enforced');
      if (digest === null && before === null) {
        throw new ActGuardError('NOT_FOUND', `nothing was ever activated for ${placeOf(flags.tenant)}`, {
          hint: 'see `actguard policy list`',
        });
      }
      return change(io, actguard, 'enforced', before, flags);
    }),
  );
  signing(
    policy.command('shadow'),
    'evaluate and record a pushed set beside the one that decides, without enforcing it',
  )
    .argument('<digest>', 'of `policy push`, or `none` to stop')
    .action((digest: string, flags: Flags) =>
      withActguard(io, async (actguard) =>
        change(io, actguard, 'shadow', digest === 'none' ? null : await wanted(actguard, digest), flags),
      ),
    );
  policy
    .command('list')
    .description('list policy sets and activations: what decides where, who activated it and why')
    .option('--tenant <tenant>', 'only what concerns this tenant')
    .action((options: { tenant?: string }) => list(io, options.tenant ?? null));
}

function signing(command: Command, description: string): Command {
  return command
    .description(`${description}; signed with your key`)
    .requiredOption('--reason <text>', 'why; it stands in the ledger')
    .option('--tenant <tenant>', "where ('*': every tenant that has none of its own)", EVERY_TENANT)
    .option('--key <file>', 'your key; default: the key of the dev stack');
}

async function push(
  io: Io,
  directory: string | undefined,
  flags: { config?: string; anyway?: boolean },
): Promise<void> {
  const { checkPolicies, checkStored } = await import('../../worker/policy.ts');
  const place = flags.config === undefined ? {} : { configPath: flags.config };
  const { files, policies } = await checkPolicies({ ...place, ...(directory === undefined ? {} : { directory }) });
  await connected(io, async ({ db }) => {
    const { digest } = policies;
    const { activations } = await listPolicies(db, null);
    const active = activations.filter((a) => a.active && a.role === 'enforced' && a.digest !== digest);
    const sets = await Promise.all(active.map((a) => storedPolicies(db, a.digest ?? '')));
    const checked = await checkStored(
      place,
      sets.filter((set) => set !== null),
    );
    const problems = [...checked].flatMap(([set, found]) => brokenSet(set, found, activations));
    if (flags.anyway !== true) throwIfProblems(problems, 'policies that are active, with these tools');
    const stored = await pushPolicies(db, { digest, files }, `local:${userInfo().username}`);
    io.json({ digest, stored, policies: policies.policies.length });
    io.line(`${stored === 'again' ? 'known      ' : 'pushed     '}${digest}`);
    io.line(`activate it with: actguard policy activate ${digest.slice(0, 12)} --tenant TENANT --reason "..."`);
  });
}

/** Tools that changed under an active set: workers with these tools would not start. */
function brokenSet(set: string, problems: readonly Problem[], all: readonly ListedActivation[]): Problem[] {
  const where = all.filter((a) => a.active && a.digest === set).map((a) => placeOf(a.tenant));
  return problems.map(({ where: at, problem }) => ({
    where: `${set.slice(0, 12)} of ${where.join(', ')}, ${at}`,
    problem: problem.split('\n', 1)[0] ?? '',
    fix: 'keep the tools as that set knows them; or push with `--anyway` the set that will replace it',
  }));
}

async function wanted(actguard: ActGuard, digest: string): Promise<string> {
  const { sets } = await listPolicies(actguard.db, null);
  const found = /^[0-9a-f]{8,64}$/.test(digest) ? sets.filter((set) => set.digest.startsWith(digest)) : [];
  const [only, more] = found;
  if (only && !more) return only.digest;
  if (/^[0-9a-f]{64}$/.test(digest)) return digest;
  throw new ActGuardError(
    'ARGUMENTS_INVALID',
    `\`${visible(digest)}\` names ${more ? 'several policy sets' : 'no policy set'}`,
    {
      hint: 'see `actguard policy list`; push a new set with `actguard policy push`',
    },
  );
}

async function change(
  io: Io,
  actguard: ActGuard,
  role: PolicyRole,
  digest: string | null,
  flags: Flags,
): Promise<void> {
  const { tenant, reason } = flags;
  const replaces = activeIn(await listPolicies(actguard.db, tenant), tenant, role).digest;
  const key = await ownKey(io, actguard.target.stateDirectory, flags.key);
  const target: PolicyTarget = { role, digest };
  const result = await activatePolicies(
    actguard,
    makeActivation(target, { tenant, replaces, reason }, key, Date.now()),
  );
  io.json(result as unknown as Json);
  const what = digest === null ? 'no set of its own' : digest.slice(0, 12);
  const where = placeOf(tenant);
  if (result.kind === 'proposed') {
    io.line(`waits      ${what} for ${where} loosens; another operator or administrator has to sign the same:`);
    for (const line of result.loosens) io.line(`           ${visible(line)}`);
    io.exitWith(EXIT.denied);
    const again = digest === null ? 'rollback' : `activate ${digest}`;
    const at = tenant === EVERY_TENANT ? "'*'" : tenant;
    io.line(`           actguard policy ${again} --tenant ${at} --reason "..." --key THEIRS`);
    return;
  }
  const by = result.by.map((person) => visible(person || 'a root key')).join(' and ');
  io.line(`${role === 'shadow' ? 'shadow    ' : 'active    '} ${what} for ${where}, signed by ${by}`);
}

async function list(io: Io, tenant: string | null): Promise<void> {
  await connected(io, async ({ db }) => {
    const listed = await listPolicies(db, tenant);
    io.json(listed as unknown as Json);
    if (!listed.activations.some((a) => a.active && a.role === 'enforced')) {
      io.line("nothing is activated: the files next to the worker's configuration decide");
    }
    for (const a of listed.activations) {
      const mark = a.active ? (a.role === 'shadow' ? 'shadow' : 'active') : '      ';
      const what = a.digest === null ? 'none        ' : a.digest.slice(0, 12);
      const who = a.people.map((person) => visible(person || 'a root key')).join(' and ');
      io.line(
        `${mark}  ${what}  ${placeOf(a.tenant)}  ${new Date(a.activatedAtMs).toISOString()} by ${who}: ${visible(a.reason)}`,
      );
    }
    for (const p of listed.proposals) {
      io.line(
        `waits   ${(p.digest ?? 'none').slice(0, 12)}  ${placeOf(p.tenant)}  for a second person beside ${visible(p.person)}`,
      );
    }
    for (const s of listed.sets) {
      const how = s.source === 'worker' ? 'files of' : 'pushed by';
      io.line(
        `set     ${s.digest.slice(0, 12)}  ${new Date(s.pushedAtMs).toISOString()}  ${how} ${visible(s.pushedBy)}`,
      );
    }
  });
}

function placeOf(tenant: string): string {
  return tenant === EVERY_TENANT ? 'every tenant' : visible(tenant);
}
