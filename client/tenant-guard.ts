/**
 * A client of one tenant: it starts nothing for another, and another's runs are not there for it. The database keeps its
 * side of that by itself (activities/functions/tenants.sql); this keeps Temporal's side for whoever shares a namespace.
 */
import type { Client, WorkflowClientInterceptor } from '@temporalio/client';
import { ActGuardError } from '../governance/errors.ts';
import { quote } from '../governance/denial.ts';
import { runOfWorkflow, workflowIdOf } from '../workflows/ids.ts';

/** How many runs are remembered as the tenant's own. */
const REMEMBERED_RUNS = 1_000;

/**
 * An interceptor for Temporal's client.
 * @param raw a client without it: it looks up whose a run is
 * @param place the tenant of a run by the database, where Temporal does not say
 */
export function tenantGuard(
  tenant: string,
  raw: Client,
  place: (run: string) => Promise<string | null>,
): WorkflowClientInterceptor {
  const own = new Set<string>();
  const visible = async (workflowId: string): Promise<void> => {
    const run = runOfWorkflow(workflowId);
    if (run === null || own.has(workflowId)) return;
    const known = await raw.workflow
      .getHandle(workflowId)
      .describe()
      .catch(() => null);
    const whose = known?.searchAttributes['ActGuardTenant']?.[0] ?? (await place(run));
    if (whose !== tenant) throw notThere(run);
    if (own.size >= REMEMBERED_RUNS) own.clear();
    own.add(workflowId);
  };
  const begins = async (args: readonly unknown[]): Promise<void> => {
    const [input] = args as readonly { tenant?: unknown; run?: unknown; account?: { tenant?: unknown }; envelope?: unknown }[]; // prettier-ignore
    for (const named of [input?.tenant, input?.account?.tenant, signedFor(input?.envelope)]) {
      if (typeof named === 'string' && named !== tenant) throw otherTenant(tenant, named);
    }
    if (input?.tenant === undefined && typeof input?.run === 'string') await visible(workflowIdOf(input.run));
  };
  const started = async <I extends { readonly options: { readonly args?: readonly unknown[] } }, R>(
    input: I,
    next: (input: I) => Promise<R>,
  ): Promise<R> => {
    await begins(input.options.args ?? []);
    return next(input);
  };
  const reached = async <I extends { readonly workflowExecution: { readonly workflowId?: string | null } }, R>(
    input: I,
    next: (input: I) => Promise<R>,
  ): Promise<R> => {
    await visible(input.workflowExecution.workflowId ?? '');
    return next(input);
  };
  return {
    start: started,
    startWithDetails: started,
    signalWithStart: started,
    startUpdateWithStart: async (input, next) => {
      await begins(input.workflowStartOptions.args ?? []);
      return next(input);
    },
    startUpdate: reached,
    signal: reached,
    query: reached,
    cancel: reached,
    terminate: reached,
    describe: reached,
  };
}

/** The tenant that a signed command names; null: it is none, and counts nowhere. */
function signedFor(envelope: unknown): unknown {
  try {
    const { payload } = envelope as { payload: string };
    return (JSON.parse(Buffer.from(payload, 'base64').toString('utf8')) as { tenant?: unknown }).tenant;
  } catch {
    return null;
  }
}

function notThere(run: string): ActGuardError {
  return new ActGuardError('NOT_FOUND', `there is no run ${quote(run)}`, {
    details: { run },
    hint: 'see what there is with `actguard runs`',
  });
}

function otherTenant(tenant: string, named: string): ActGuardError {
  return new ActGuardError('FORBIDDEN', `this client is kept to tenant ${quote(tenant)}, not ${quote(named)}`, {
    details: { tenant, named },
    hint: 'name that tenant, or connect without ACTGUARD_TENANT',
  });
}
