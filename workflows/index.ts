/**
 * `actguard/workflow`: everything that may run inside Temporal's sandbox. The worker's bundle is made from this file.
 */
export { agentRun } from './agent-run.ts';
export { session } from './session.ts';
export { Governor, type CallOptions, type GovernedCall } from './governor.ts';
export { newState, type GovernorState } from './governor-state.ts';
export { openRun } from './open.ts';
