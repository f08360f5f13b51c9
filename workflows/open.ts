/** Opening a run: the first activity. A refusal ends the workflow's work with a result that can be read. */
import { ApplicationFailure } from '@temporalio/workflow';
import type { OpenRunInput, OpenRunResult } from '../activities/types.ts';
import type { RunResult } from '../governance/call.ts';
import type { Denial, ErrorCode } from '../governance/errors.ts';
import { transactions } from './proxies.ts';
import { checkReadable, whyUndecodable } from './readable.ts';
import type { AgentRunInput } from './messages.ts';

/** What a run that could not be opened answers. */
export function refusedResult(denial: Denial): RunResult {
  return {
    status: 'failed',
    text: `${denial.reason} (${denial.hint})`,
    usage: { usd: 0, usdMicros: 0, tokens: 0, calls: 0 },
    denials: [denial],
  };
}

/** Asks for the run's grant. */
export async function openRun(input: AgentRunInput, mode: OpenRunInput['mode']): Promise<OpenRunResult> {
  checkInput(input);
  const opened = await transactions.openRun({
    v: 1,
    run: input.run,
    mode,
    principal: { tenant: input.tenant, user: input.user, agent: input.agent },
    openedBy: input.openedBy,
    ...(input.opening === undefined ? {} : { opening: input.opening }),
    budget: input.budget,
    input: input.input,
    deadlineMs: input.deadlineMs,
  });
  checkReadable(opened);
  return opened;
}

/** An input that did not decode, or is of another version, fails the workflow instead of wedging it. */
export function checkInput(input: unknown, carried?: unknown): void {
  const why = whyUndecodable(input) ?? whyUndecodable(carried);
  // what no key would decode is whoever sent it's to mend
  const type = why === 'malformed' ? 'ARGUMENTS_INVALID' : 'BACKEND_UNAVAILABLE';
  if (why !== null) throw unreadable(type, `the input of this workflow does not decode: ${why}`);
  const fields = input as { v?: unknown; run?: unknown } | null | undefined;
  const readable = typeof fields === 'object' && fields?.v === 1 && typeof fields.run === 'string';
  if (readable && (carried === undefined || (carried as { v?: unknown } | null)?.v === 1)) return;
  throw unreadable('ARGUMENTS_INVALID', 'the input of this workflow cannot be read');
}

function unreadable(type: ErrorCode, message: string): ApplicationFailure {
  return ApplicationFailure.create({ message, type, nonRetryable: true });
}
