/** What an agent has reached when its run ends without an answer: its last words, and its calls with what came of them. */
import type { CallResult } from '../governance/call.ts';
import type { Json } from '../governance/json.ts';

const MAX_SAID_CHARS = 4_000;
const MAX_CALLS = 100;
const MAX_NAMED = 5;

/** Plain data: carried through continue-as-new. */
export interface Progress {
  readonly said: string;
  /** The last ones, oldest first. */
  readonly calls: readonly { readonly call: string; readonly tool: string; readonly result: string }[];
}

/** Nothing was reached. */
export const NO_PROGRESS: Progress = { said: '', calls: [] };

/** After a turn of the model. */
export function noteSaid(progress: Progress = NO_PROGRESS, text: string): Progress {
  return text.trim() === '' ? progress : { ...progress, said: text.slice(0, MAX_SAID_CHARS).toWellFormed() };
}

/** After a call: `done`, or the code of what it came to. */
export function noteCall(progress: Progress = NO_PROGRESS, tool: string, result: CallResult): Progress {
  const { callId } = result;
  const code =
    result.kind === 'denied' ? result.denial.code : result.kind === 'failed' ? result.error.code : result.kind;
  const call = { call: callId, tool: tool.slice(0, 100), result: code };
  return { ...progress, calls: [...progress.calls, call].slice(-MAX_CALLS) };
}

/** As a run's result: why it ended, in words, and what there is, as data. */
export function partialResult(why: string, progress: Progress = NO_PROGRESS): { text: string; output: Json } {
  const { said, calls } = progress;
  const done = [...new Set(calls.filter((c) => c.result === 'done').map((c) => c.tool))];
  const more = done.length > MAX_NAMED ? ` and ${done.length - MAX_NAMED} more` : '';
  const parts = [
    why,
    done.length === 0
      ? 'Nothing was done until then.'
      : `Done until then: ${done.slice(0, MAX_NAMED).join(', ')}${more}.`,
    ...(said === '' ? [] : [`The agent's last words: ${said}`]),
  ];
  return { text: parts.join(' '), output: { partial: true, said, calls: calls.map((c) => ({ ...c })) } };
}
