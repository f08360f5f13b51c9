/** What an auditor says of the ledger that the experiment leaves behind: workers sealed it while they were killed. */
import { readHistory } from '../../activities/history.ts';
import { signatureChecks } from '../../activities/signatures.ts';
import { auditLedger, type AuditVerdict } from '../../client/ledger-audit.ts';
import { TASK_QUEUE, sealerIdOf } from '../../workflows/ids.ts';
import { sealedQuery } from '../../workflows/messages.ts';
import { devSigner } from '../../worker/sealing-key.ts';
import type { ChaosStack } from './stack.ts';

/** How long the last entries may take to be sealed. */
const SEALED_WITHIN_MS = 60_000;

/** Everything compared: tree, checkpoints, what the sealer remembers, calls, approvals, every workflow history. */
export async function audited({ actguard, db, folder }: ChaosStack): Promise<AuditVerdict> {
  const { client } = actguard;
  const sealer = await client.workflow.getHandle(sealerIdOf(TASK_QUEUE)).query(sealedQuery);
  return auditLedger(db, {
    keys: [devSigner(folder, 'log').key],
    witness: null,
    commands: { roots: null, checks: signatureChecks },
    tripwire: sealer.last,
    history: (workflowId, run) => readHistory(client, workflowId, run),
    waitMs: SEALED_WITHIN_MS,
    allHistories: true,
  });
}
