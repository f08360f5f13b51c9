/** A request that belongs to no run: one activity checks it and carries it out, its answer is the workflow's result. */
import { ApplicationFailure } from '@temporalio/workflow';
import type {
  AgentInput,
  AgentResult,
  EraseInput,
  EraseResult,
  FreezeInput,
  FreezeResult,
  PolicyInput,
  PolicyResult,
  RunCommandInput,
  RunCommandResult,
} from '../activities/request-types.ts';
import { agents, erasing, freezing, policies, runCommands } from './proxies.ts';

/** Sets or lifts a freeze, activates policies, resolves, recovers and erases, describes an agent. Its workflow id comes from `commandIdOf` (workflows/ids.ts). */
export async function command(
  input: FreezeInput | PolicyInput | RunCommandInput | AgentInput | EraseInput,
): Promise<FreezeResult | PolicyResult | RunCommandResult | AgentResult | EraseResult> {
  if ((input as Partial<FreezeInput> | null | undefined)?.v !== 1) {
    throw ApplicationFailure.create({
      message: 'the input of this workflow cannot be read',
      type: 'ARGUMENTS_INVALID',
      nonRetryable: true,
    });
  }
  if (input.kind === 'agent') return agents.describeAgent(input);
  if (input.kind === 'run') return runCommands.commandRun(input);
  if (input.kind === 'erase') return erasing.eraseContent(input);
  return input.kind === 'policies' ? policies.changePolicies(input) : freezing.changeFreeze(input);
}
