/**
 * `actguard/client`: starts governed runs, opens sessions, reads what happened.
 *
 * @example
 * import { connect } from 'actguard/client';
 * const actguard = await connect();
 * const run = await actguard.start('refund-desk', { input: 'Refund order 1042', user: 'alice', tenant: 'acme' });
 * console.log((await run.result()).text);
 * await actguard.close();
 */
export { ActGuardError, isActGuardError } from '../governance/errors.ts';
export type { CallResult, RunResult, SessionUsage, Usage } from '../governance/call.ts';
export type { RunState } from '../workflows/messages.ts';
export { accountOf, changeAccount, listAccounts, spendBy, type ListedAccount, type Spend } from './accounts.ts';
export { BudgetExceededError } from '../governance/budget-exceeded.ts';
export { BudgetGuard, type BudgetGuardOptions } from './budget-guard.ts';
export { ActGuard, connect } from './client.ts';
export type { ConnectOptions } from './connection.ts';
export type { EventsOptions, RunEvent } from './events.ts';
export { governedWorkflow, type GovernedWorkflow } from './governed-workflow.ts';
export type { StartOptions } from './requests.ts';
export { Run } from './run.ts';
export { topUpRun } from './run-commands.ts';
export { Session, type SessionOptions } from './session.ts';
export {
  countEntries,
  followEntries,
  listEntries,
  newestEntries,
  readEntry,
  type EntryFilter,
  type ListedEntry,
} from './ledger.ts';
