/** Opening a run: the first activity. A refusal ends the workflow's work with a result that can be read. */
import { ApplicationFailure } from '@temporalio/workflow';
import type { OpenRunInput, OpenRunResult } from '../activities/types.ts';
import type { RunResult } from '../governance/call.ts';
import { transactions } from './proxies.ts';
import type { AgentRunInput } from './messages.ts';

/** What a run that could not be opened answers. */
export function refusedResult(result: Extract<OpenRunResult, { kind: 'denied' }>): RunResult {
  return {
    status: 'failed',
    text: `${result.denial.reason} (${result.denial.hint})`,
    usage: { usd: 0, usdMicros: 0, tokens: 0, calls: 0 },
    denials: [result.denial],
  };
}

/** Asks for the run's grant. */
export function openRun(input: AgentRunInput, mode: OpenRunInput['mode']): Promise<OpenRunResult> {
  checkInput(input);
  return transactions.openRun({
    v: 1,
    run: input.run,
    mode,
    principal: { tenant: input.tenant, user: input.user, agent: input.agent },
    openedBy: input.openedBy,
    budget: input.budget,
    input: input.input,
    deadlineMs: input.deadlineMs,
  });
}

/** An input that did not decode, or is of another version, fails the workflow instead of wedging it. */
export function checkInput(input: unknown): void {
  const fields = input as { v?: unknown; run?: unknown } | null | undefined;
  if (typeof fields === 'object' && fields?.v === 1 && typeof fields.run === 'string') return;
  throw ApplicationFailure.create({
    message: 'the input of this workflow cannot be read',
    type: 'ARGUMENTS_INVALID',
    nonRetryable: true,
  });
}
