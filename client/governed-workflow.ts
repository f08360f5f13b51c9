/** Starting a workflow of your own whose calls are governed (`openGoverned` of `actguard/workflow`). */
import { sha256 } from '../governance/digest.ts';
import { parseName } from '../governance/id.ts';
import { workflowIdOf } from '../workflows/ids.ts';

/** A run's id derived from an id of yours: the same everywhere and for ever. */
export function derivedRun(kind: 'session' | 'workflow', tenant: string, id: string): string {
  const bytes = sha256(new TextEncoder().encode(JSON.stringify([kind, tenant, id])));
  const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
  // 26 characters of a ULID hold 130 bits; the first one is at most 7
  return Array.from({ length: 26 }, (_, i) => alphabet[(bytes[i] ?? 0) % (i === 0 ? 8 : 32)]).join('');
}

/** Options of Temporal's `client.workflow.start`, and the run that they name. */
export interface GovernedWorkflow {
  /** For `actguard show`, `actguard.run(run)`. */
  readonly run: string;
  readonly start: {
    readonly workflowId: string;
    readonly workflowIdReusePolicy: 'REJECT_DUPLICATE';
    readonly searchAttributes: { readonly [name: string]: readonly string[] };
    readonly staticSummary: string;
  };
}

/**
 * How a workflow of your own is started so that its run can be found, approved and frozen. The same tenant and id give the
 * same workflow: starting it twice is refused by Temporal.
 *
 * @example
 * const { run, start } = governedWorkflow({ tenant: 'acme', agent: 'payouts', id: 'order-1042' });
 * await client.workflow.start('payout', { ...start, taskQueue: 'payouts', args: [order] });
 * @throws ARGUMENTS_INVALID
 */
export function governedWorkflow(of: {
  readonly tenant: string;
  readonly agent: string;
  readonly id: string;
}): GovernedWorkflow {
  const [tenant, agent, id] = [parseName(of.tenant, 'tenant'), parseName(of.agent, 'agent'), parseName(of.id, 'id')];
  const run = derivedRun('workflow', tenant, id);
  return {
    run,
    start: {
      workflowId: workflowIdOf(run),
      workflowIdReusePolicy: 'REJECT_DUPLICATE',
      searchAttributes: { ActGuardTenant: [tenant], ActGuardAgent: [agent], ActGuardStatus: ['running'] },
      staticSummary: `${agent}: ${id} in ${tenant}`.slice(0, 200),
    },
  };
}
