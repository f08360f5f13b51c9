/** A workflow of your own. Its payments are governed, everything else in it is plain Temporal. */
import { continueAsNew } from '@temporalio/workflow';
import { openGoverned, type GovernorState } from 'actguard/workflow';

/** A payout run: who gets what. */
export interface Payout {
  readonly user: string;
  readonly payments: readonly { readonly to: string; readonly cents: number }[];
}

/** Pays one after the other; continues as new halfway, budget and facts with it. */
export async function payout({ user, payments }: Payout, carried?: GovernorState): Promise<string[]> {
  const run = await openGoverned({ tenant: 'acme', user, agent: 'payouts', budget: { calls: 3 } }, carried);
  const lines: string[] = [];
  for (const [n, { to, cents }] of payments.entries()) {
    const paid = await run.call<{ receipt: string }>('payments.send', { to, cents });
    lines.push(paid.kind === 'done' ? paid.output.receipt : paid.kind === 'denied' ? paid.denial.code : paid.kind);
    if (n === 0 && carried === undefined) {
      return continueAsNew<typeof payout>({ user, payments: payments.slice(1) }, await run.state());
    }
  }
  await run.close();
  return lines;
}
