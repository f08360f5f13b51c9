/** Writes what the workflow has to say before it waits, continues as new or ends. */
import { makeEntry } from '../governance/entry.ts';
import { workflowEntryRows } from './call-entries.ts';
import type { CallShared } from './prepared.ts';
import type { OpenInfo } from './open-run.ts';
import { pgJson } from './pg-json.ts';
import type { RecordInput } from './types.ts';

export async function record(shared: CallShared, input: RecordInput, info: OpenInfo): Promise<void> {
  const grant = await shared.grants.of(input.run, info.workflowId);
  const entries = workflowEntryRows(input.run, grant, input.entries);
  if (input.closed) {
    entries.push(
      makeEntry({
        kind: 'run.closed',
        tenant: grant.principal.tenant,
        run: input.run,
        key: 'closed',
        atMs: Date.now(),
        data: {
          user: grant.principal.user,
          agent: grant.principal.agent,
          status: input.closed.status,
          lastSeq: input.closed.lastSeq,
        },
      }),
    );
  }
  await shared.deps.db.query('select actguard.record_run($1::jsonb)', [
    pgJson({
      run: input.run,
      entries,
      ...(input.closed ? { status: input.closed.status, lastSeq: input.closed.lastSeq } : {}),
    }),
  ]);
}
