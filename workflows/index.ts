/**
 * `actguard/workflow`: everything that may run inside Temporal's sandbox. The worker's bundle is made from this file.
 */
export { agentRun } from './agent-run.ts';
export { budgetAccount } from './budget-account.ts';
export { command } from './command.ts';
export { janitor } from './janitor.ts';
export { sealer } from './sealer.ts';
export { session } from './session.ts';
export { Governor } from './governor.ts';
export { LongHistory } from './governed-run.ts';
export type { CallOptions, GovernedCall } from './governed-call.ts';
export { newState, type GovernorState } from './governor-state.ts';
export { openRun } from './open.ts';
export { Governed, openGoverned, type GovernedCallOptions, type GovernedOptions } from './own.ts';
