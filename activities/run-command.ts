/**
 * Signed commands about a run that may not be there to take a signal: `resolve` after its end, `recover` after a Temporal
 * reset or a restored database. Verified and used once like every command; carried out next to the run's row.
 */
import { makeEntry } from '../governance/entry.ts';
import { refuseCommand, verifyCommand } from './commands.ts';
import { deliveryId } from './delivery.ts';
import type { WorkflowEyes } from './janitor.ts';
import { pgJson } from './pg-json.ts';
import type { CallShared } from './prepared.ts';
import { applyResolve } from './resolve.ts';
import type { RunCommandInput, RunCommandResult } from './request-types.ts';
import type { VerifyCommandInput, VerifyCommandResult } from './types.ts';

/** A run that lives takes its thaws and top-ups itself. */
const OF_LIVING_RUNS = ['resolve', 'recover'] as const;

type Accepted = Extract<VerifyCommandResult, { kind: 'accepted' }>;

/** What is wrong with a command is a value, however hostile. @throws BACKEND_UNAVAILABLE */
export async function commandRun(
  shared: CallShared,
  input: RunCommandInput,
  eyes: WorkflowEyes,
  delivery: string = deliveryId(),
): Promise<RunCommandResult> {
  const { deps } = shared;
  const run = String(input.run);
  const [row] = await deps.db.query<{ r: { workflowId: string; tenant: string; status: string } | null }>(
    'select actguard.run_place($1) as r',
    [run],
  );
  if (!row?.r) return { kind: 'rejected', reason: 'the run was never opened' };
  const { workflowId, tenant, status } = row.r;
  const takes = status === 'open' ? { takes: OF_LIVING_RUNS } : {};
  const asked: VerifyCommandInput = { v: 1, run, entries: [], envelope: input.envelope, ...takes };
  const verified = await verifyCommand(deps, asked, delivery);
  if (verified.kind === 'rejected') return { kind: 'rejected', reason: verified.reason };
  const applied = await apply(shared, asked, verified, { workflowId, tenant }, eyes);
  // a run that lives looks at once, also where nothing new was written: an earlier attempt may have written it and died
  // before it told the run
  if (verified.verb === 'resolve') await eyes.tell(workflowId, String(verified.data['call']));
  if (applied.kind === 'accepted') {
    return { kind: 'done', verb: applied.verb, by: applied.person };
  }
  const refused = await refuseCommand(deps, asked, tenant, applied.reason, `${delivery}:refused`);
  return refused.kind === 'rejected' ? refused : { kind: 'rejected', reason: applied.reason };
}

async function apply(
  shared: CallShared,
  input: VerifyCommandInput,
  command: Accepted,
  { workflowId, tenant }: { readonly workflowId: string; readonly tenant: string },
  eyes: WorkflowEyes,
): Promise<VerifyCommandResult> {
  switch (command.verb) {
    case 'resolve':
      return applyResolve(shared, input, command, workflowId);
    case 'recover':
      return recover(shared, input, command, workflowId, tenant, eyes);
    case 'topUp':
      return { kind: 'rejected', reason: 'the run has ended: it cannot be topped up' }; // one that lives takes it itself
    case 'thaw':
      return { kind: 'rejected', reason: 'the run itself takes this command' };
    default:
      return command.verb satisfies never;
  }
}

/** The run goes on from where Temporal runs it now; what the database knows of its calls stands. */
async function recover(
  shared: CallShared,
  input: VerifyCommandInput,
  command: Accepted,
  workflowId: string,
  tenant: string,
  eyes: WorkflowEyes,
): Promise<VerifyCommandResult> {
  const seen = await eyes.describe(workflowId);
  if (seen?.status !== 'RUNNING')
    return { kind: 'rejected', reason: 'Temporal does not run it: there is nothing to recover' };
  const entry = makeEntry({
    kind: 'run.recovered',
    tenant,
    run: input.run,
    key: `recovered:${seen.temporalRun}`,
    atMs: Date.now(),
    data: { person: command.person, reason: command.reason, temporalRun: seen.temporalRun },
  });
  const [row] = await shared.deps.db.query<{ r: string }>('select actguard.recover_run($1::jsonb) as r', [
    pgJson({ run: input.run, temporalRun: seen.temporalRun, entries: [entry] }),
  ]);
  if (row?.r === 'ok') return command;
  return { kind: 'rejected', reason: row?.r === 'closed' ? 'the run has ended' : 'nothing is wrong with this run' };
}
