/** `actguard freeze` and `actguard thaw`: a run, or a scope beyond it. Freezing is unsigned: it only takes away. Thawing is a signed command. */
import { userInfo } from 'node:os';
import type { Command } from 'commander';
import { ActGuardError } from '../../governance/errors.ts';
import { EVERY_TENANT, type FreezeScope, parseFreezeTarget } from '../../governance/freeze.ts';
import { workflowIdOf } from '../../workflows/ids.ts';
import { thawSignal } from '../../workflows/messages.ts';
import type { ActGuard } from '../client.ts';
import { makeCommand, makeFreeze, makeThaw } from '../commands.ts';
import { freezeScope, freezeScopeSigned, tellFrozen, thawScope } from '../freezes.ts';
import { untilRun } from '../run-commands.ts';
import { type Doors, withActguard } from './doors.ts';
import { ownKey } from './own-key.ts';
import { visible } from './show-approval.ts';

interface Flags {
  readonly reason: string;
  readonly tenant?: string;
  readonly key?: string;
  readonly abort?: boolean;
}

/** Registers both commands. */
export function register(program: Command, doors: Doors): void {
  const what = 'RUN, tool:NAME, agent:NAME, user:NAME, tenant:NAME, model:NAME or all';
  program
    .command('freeze')
    .description('freeze a run, a tool, an agent, a user, a tenant or everything: nothing begins until it is thawed')
    .argument('<what>', what)
    .requiredOption('--reason <text>', 'why; it stands in the ledger')
    .option('--tenant <tenant>', "where: for tool, agent, user and model ('*': every tenant)")
    .option(
      '--abort',
      'also stop the calls in flight, within 3 seconds; a write that is stopped is unknown, a model call is paid for',
    )
    .option('--key <file>', 'sign it with your key: needed when too many were set within the hour')
    .action((id: string, flags: Flags) =>
      withActguard(doors, async (actguard) => {
        const by = `local:${userInfo().username}`;
        const target = targetOf(id, flags.tenant);
        if (target.kind === 'run') {
          const { run } = target;
          const { tenant } = await actguard.run(run).state();
          const aborted = await freezeWith(doors, actguard, { tenant, scope: 'run', value: run }, by, flags);
          await tellFrozen(actguard, run, { by, reason: flags.reason });
          await untilRun(actguard, run, (state) => state.frozen !== null);
          doors.line(`frozen     ${run}; lift it with: actguard thaw ${run} --reason "..."`);
          if (flags.abort) doors.line(stopping(aborted));
          doors.json({ run, frozen: true, aborted });
          return;
        }
        const aborted = await freezeWith(doors, actguard, target.scope, by, flags);
        doors.line(
          `frozen     ${visible(id)}${placeOf(target.scope)}; lift it with \`actguard thaw\`, see \`actguard freezes\``,
        );
        if (flags.abort) doors.line(stopping(aborted));
        doors.json({ ...target.scope, frozen: true, aborted });
      }),
    );
  program
    .command('thaw')
    .description('thaw what is frozen, signed with your key')
    .argument('<what>', what)
    .requiredOption('--reason <text>', 'why; it stands in the ledger')
    .option('--tenant <tenant>', "where: for tool, agent, user and model ('*': every tenant)")
    .option('--key <file>', 'your key; default: the key of the dev stack')
    .action((id: string, flags: Flags) =>
      withActguard(doors, async (actguard) => {
        const { reason } = flags;
        const target = targetOf(id, flags.tenant);
        if (target.kind === 'run') {
          const { run } = target;
          const { tenant, rejectedMessages } = await actguard.run(run).state();
          const key = await ownKey(doors, actguard.target.stateDirectory, flags.key);
          const envelope = makeCommand('thaw', { tenant, run, reason }, key, Date.now());
          await actguard.client.workflow.getHandle(workflowIdOf(run)).signal(thawSignal, { envelope });
          await untilRun(actguard, run, (state) => state.frozen === null, rejectedMessages);
          doors.line(`thawed     ${run}, signed by ${key.person}`);
          doors.json({ run, frozen: false, person: key.person });
          return;
        }
        const key = await ownKey(doors, actguard.target.stateDirectory, flags.key);
        await thawScope(actguard, makeThaw(target.scope, reason, key, Date.now()));
        doors.line(
          `thawed     ${visible(id)}${placeOf(target.scope)}, signed by ${visible(key.person || 'a root key')}`,
        );
        doors.json({ ...target.scope, frozen: false, person: key.person });
      }),
    );
}

async function freezeWith(
  doors: Doors,
  actguard: ActGuard,
  scope: FreezeScope,
  by: string,
  { reason, abort = false, key: file }: Flags,
): Promise<number> {
  if (file === undefined) return freezeScope(actguard, scope, { by, reason, abort });
  const key = await ownKey(doors, actguard.target.stateDirectory, file);
  return freezeScopeSigned(actguard, makeFreeze(scope, reason, abort, key, Date.now()));
}

function stopping(aborted: number): string {
  if (aborted === 0) return 'nothing was in flight';
  return `stopping   ${aborted === 1 ? 'the call' : `${aborted} calls`} in flight, within 3 seconds`;
}

type Target = { readonly kind: 'run'; readonly run: string } | { readonly kind: 'scope'; readonly scope: FreezeScope };

/** A run, `run:RUN`, or a scope. @throws ARGUMENTS_INVALID */
function targetOf(id: string, tenant: string | undefined): Target {
  if (id !== 'all' && !id.includes(':')) return { kind: 'run', run: id };
  if (id.startsWith('run:')) return { kind: 'run', run: id.slice('run:'.length) };
  const own = id === 'all' ? EVERY_TENANT : id.startsWith('tenant:') ? id.slice('tenant:'.length) : undefined;
  const where = tenant ?? own;
  if (where === undefined) {
    throw new ActGuardError('ARGUMENTS_INVALID', `\`${visible(id)}\` is frozen or thawed in a tenant`, {
      hint: "name it with `--tenant NAME`, or `--tenant '*'` for every tenant",
    });
  }
  const parsed = parseFreezeTarget(id, where);
  if (parsed.kind === 'ok') return { kind: 'scope', scope: parsed.value };
  throw new ActGuardError('ARGUMENTS_INVALID', parsed.reason, { hint: 'see `actguard freeze --help`' });
}

function placeOf(scope: FreezeScope): string {
  if (scope.scope === 'all' || scope.scope === 'tenant') return '';
  return scope.tenant === EVERY_TENANT ? ' in every tenant' : ` in ${visible(scope.tenant)}`;
}
